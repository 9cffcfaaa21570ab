//! What a request asks for.

use crate::otlp::SpanContext;
use crate::redact::{self, Redaction};
use crate::text::{CallerText, hex_digest};
use sallyport_policy::ArgumentsMode;
use serde::Serialize;

/// Longest method and name of a tool, a prompt or a client that is kept as it is, in bytes.
const MAX_NAME: usize = 256;

/// Longest URI, in bytes.
const MAX_URI: usize = 1024;

/// Text of the arguments that is kept at most, in bytes. A record stays below the 16 KiB at which container runtimes split
/// lines.
const MAX_ARGUMENTS: usize = 8 * 1024;

/// Longest JSON-RPC id and protocol version, in bytes.
const MAX_ID: usize = 128;

/// Which of the two wires a request is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Era {
    /// Sessions; up to 2025-11-25.
    Legacy,
    /// Stateless; from 2026-07-28 on.
    Modern,
}

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Target {
    /// `params.name` of a `tools/call`.
    #[serde(rename = "toolName")]
    Tool(CallerText),
    /// `params.name` of a `prompts/get`.
    #[serde(rename = "promptName")]
    Prompt(CallerText),
    /// `params.uri` of a `resources/...`, without its query.
    #[serde(rename = "resourceUri")]
    Resource(CallerText),
}

/// How far the confirmation of a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Confirmation {
    /// It was asked for.
    Requested,
    /// It was given, and used up by this call.
    Given,
    /// What came as a confirmation is none: of another call or caller, expired, or used before.
    Refused,
}

impl Confirmation {
    /// As in the record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Given => "given",
            Self::Refused => "refused",
        }
    }
}

/// A tool's pin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pin {
    /// The pinned digest, in hexadecimal.
    pub sha256: String,
    /// Whether the server's tool has it.
    pub matches: bool,
}

/// What is kept of the arguments of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CallArguments {
    #[serde(rename = "argumentsSha256")]
    sha256: String,
    #[serde(rename = "argumentsBytes")]
    bytes: u64,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    kept: Option<Kept>,
}

/// The text of arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Kept {
    #[serde(rename = "arguments")]
    text: String,
    /// Secrets that were taken out.
    #[serde(rename = "argumentsRedacted")]
    redacted: u32,
    /// Whether its end is missing.
    #[serde(rename = "argumentsTruncated")]
    truncated: bool,
}

/// What a request asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// Which wire it is of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub era: Option<Era>,
    /// The protocol version that it names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol_version: Option<CallerText>,
    /// The JSON-RPC method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mcp_method: Option<CallerText>,
    /// The JSON-RPC id, as JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jsonrpc_id: Option<CallerText>,
    /// What it is about: `toolName`, `promptName` or `resourceUri`.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// The arguments: `argumentsSha256`, `argumentsBytes` and, if the endpoint says so, `arguments`, `argumentsRedacted` and
    /// `argumentsTruncated`.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<CallArguments>,
    /// SHA-256 of the task's identifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_sha256: Option<String>,
    /// SHA-256 of the `requestState` that came back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_state_sha256: Option<String>,
    /// `clientInfo.name` and `.version`: what the client says of itself, which nobody checks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_info: Option<CallerText>,
    /// The caller's span, of `params._meta.traceparent` (SEP-414).
    #[serde(skip)]
    pub parent: Option<SpanContext>,
}

impl Target {
    /// A tool by its name.
    pub fn tool(name: &str) -> Self {
        Self::Tool(CallerText::new(name, MAX_NAME))
    }

    /// A prompt by its name.
    pub fn prompt(name: &str) -> Self {
        Self::Prompt(CallerText::new(name, MAX_NAME))
    }

    /// A resource by its URI. What follows `?` is left out: it may hold a credential.
    pub fn resource(uri: &str) -> Self {
        let plain = uri.split(['?', '#']).next().unwrap_or_default();
        Self::Resource(CallerText::new(plain, MAX_URI))
    }

    /// Name or URI.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Tool(name) | Self::Prompt(name) | Self::Resource(name) => name.as_str(),
        }
    }
}

impl Kept {
    /// The first part of `redaction`: it was looked at as a whole, so that no secret is cut in two.
    fn bounded(redaction: Redaction) -> Self {
        let Redaction { mut text, count } = redaction;
        let truncated = text.len() > MAX_ARGUMENTS;
        if truncated {
            text.truncate(text.floor_char_boundary(MAX_ARGUMENTS));
        }
        Self {
            text,
            redacted: count,
            truncated,
        }
    }
}

impl CallArguments {
    /// What `mode` says to keep of `raw`, the arguments byte for byte as they were sent.
    pub fn new(raw: &str, mode: ArgumentsMode) -> Self {
        Self {
            sha256: hex_digest(raw.as_bytes()),
            bytes: raw.len() as u64,
            kept: match mode {
                ArgumentsMode::Digest => None,
                ArgumentsMode::Redacted => redact::object(raw).map(Kept::bounded),
                ArgumentsMode::Full => Some(Kept::bounded(redact::own_credentials(raw))),
            },
        }
    }

    /// SHA-256 of the arguments as they were sent, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Their size as they were sent.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Their text, as far as it is kept.
    pub fn kept(&self) -> Option<&str> {
        self.kept.as_ref().map(|kept| kept.text.as_str())
    }
}

impl Asked {
    /// Notes the protocol version that the request names.
    pub fn protocol_version(&mut self, version: &str) {
        self.protocol_version = Some(CallerText::new(version, MAX_ID));
    }

    /// Notes the method.
    pub fn method(&mut self, method: &str) {
        self.mcp_method = Some(CallerText::new(method, MAX_NAME));
    }

    /// Notes the id, as JSON.
    pub fn id(&mut self, id: &str) {
        self.jsonrpc_id = Some(CallerText::new(id, MAX_ID));
    }

    /// Notes `params._meta.traceparent`; what is not one is left out.
    pub fn traceparent(&mut self, traceparent: &str) {
        self.parent = SpanContext::parse(traceparent);
    }

    /// Notes the task by its digest.
    pub fn task(&mut self, id: &str) {
        self.task_sha256 = Some(hex_digest(id.as_bytes()));
    }

    /// Notes the `requestState` by its digest.
    pub fn request_state(&mut self, state: &str) {
        self.request_state_sha256 = Some(hex_digest(state.as_bytes()));
    }

    /// Notes what the client says of itself.
    pub fn client_info(&mut self, name: &str, version: &str) {
        self.client_info = Some(CallerText::new(&format!("{name} {version}"), MAX_NAME));
    }
}
