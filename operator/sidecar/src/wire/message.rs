//! A strict view of the JSON-RPC message that a client sends.
//!
//! The server's own parser may believe the first of two equal keys, the last, or one in another case. So a message on
//! which two parsers could disagree is refused, and the view is read from the very bytes that are forwarded.

use super::era::{META_CLIENT_CAPABILITIES, META_PROTOCOL_VERSION};
use super::strict::{self, Members, StrictError};
use serde_json::value::RawValue;

/// Longest method and tool name in bytes; the specification's tool names end at 128.
const MAX_NAME: usize = 256;

/// Longest URI, task id, cursor and request state in bytes. What the sidecar seals fits.
const MAX_TEXT: usize = 16 * 1024;

/// Most task ids that one `subscriptions/listen` names.
const MAX_TASKS: usize = 256;

/// Keys of the message and of its `params` that decide something. A key that differs from one of these only in case is
/// refused.
const DECISIVE_KEYS: [&str; 20] = [
    "jsonrpc",
    "id",
    "method",
    "params",
    "result",
    "error",
    "name",
    "arguments",
    "uri",
    "taskId",
    "cursor",
    "_meta",
    "inputResponses",
    "requestState",
    "notifications",
    "ref",
    "task",
    "taskIds",
    "protocolVersion",
    "capabilities",
];

/// The key of `_meta` that names the task which a message belongs to (MCP 2025-11-25, basic/utilities/tasks).
const META_RELATED_TASK: &str = "io.modelcontextprotocol/related-task";

const META_CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";

/// Keys of `_meta` that decide something.
const META_KEYS: [&str; 5] = [
    META_PROTOCOL_VERSION,
    META_CLIENT_CAPABILITIES,
    META_CLIENT_INFO,
    META_RELATED_TASK,
    "traceparent",
];

/// What a message says, as far as it decides something.
#[derive(Clone, Debug)]
pub enum Message {
    /// A request or a notification.
    Call(Box<Call>),
    /// The answer to a request of the server (legacy era).
    Response(Reply),
}

/// A request or, without `id`, a notification.
#[derive(Clone, Debug)]
pub struct Call {
    /// Exactly as sent.
    pub id: Option<Box<RawValue>>,
    /// At most 256 bytes.
    pub method: String,
    /// `params.name`: of a tool or prompt, at most 256 bytes.
    pub name: Option<String>,
    /// `params.uri`: of a resource.
    pub uri: Option<String>,
    /// `params.taskId`.
    pub task_id: Option<String>,
    /// `params.arguments`, an object, exactly as sent.
    pub arguments: Option<Box<RawValue>>,
    /// `params.requestState`.
    pub request_state: Option<String>,
    /// `params.ref` of `completion/complete`.
    pub reference: Option<Reference>,
    /// `params.notifications.taskIds` of `subscriptions/listen`.
    pub task_ids: Vec<String>,
    /// Resources of a `subscriptions/listen`, by their URIs.
    pub subscribed: Vec<String>,
    /// `params.protocolVersion` of `initialize`.
    pub protocol_version: Option<String>,
    /// `params.capabilities` of `initialize`, an object, exactly as sent.
    pub capabilities: Option<Box<RawValue>>,
    /// Who the client says it is. Unverified.
    pub client_info: Option<ClientInfo>,
    /// `params._meta`.
    pub meta: Meta,
}

/// What `params._meta` says, as far as it decides something.
#[derive(Clone, Debug, Default)]
pub struct Meta {
    /// The version of the protocol (modern era).
    pub protocol_version: Option<String>,
    /// What the client can do, an object, exactly as sent (modern era).
    pub client_capabilities: Option<Box<RawValue>>,
    /// The task that the message belongs to (legacy era).
    pub related_task: Option<String>,
    /// W3C trace context.
    pub traceparent: Option<String>,
}

/// What a completion is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// An argument of the prompt of this name.
    Prompt(String),
    /// A variable of the resource template with this URI.
    Resource(String),
}

/// Who a client says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientInfo {
    /// As sent.
    pub name: String,
    /// As sent; empty when missing.
    pub version: String,
}

/// The answer to a request of the server.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Which request it answers, exactly as sent.
    pub id: Box<RawValue>,
    /// Its result, exactly as sent; an error otherwise.
    pub result: Option<Box<RawValue>>,
}

/// Why a body is not a message that can be decided on.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// Not JSON that every parser reads alike.
    #[error("the message is refused: {0}")]
    Strict(#[from] StrictError),
    /// A batch.
    #[error("JSON-RPC batches are not accepted: send each message in a request of its own")]
    Batch,
    /// A number, a string...
    #[error("the body must be one JSON-RPC object")]
    NotAnObject,
    /// An object, but not JSON-RPC 2.0 or not of MCP's form.
    #[error("not a JSON-RPC 2.0 message of MCP: {0}")]
    Invalid(&'static str),
}

impl MessageError {
    /// The JSON-RPC code (JSON-RPC 2.0 section 5.1).
    pub const fn code(&self) -> i32 {
        match self {
            Self::Strict(StrictError::NotJson(_) | StrictError::NotUtf8(_)) => -32700,
            _ => -32600,
        }
    }

    /// One word for the record.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Strict(StrictError::NotJson(_) | StrictError::NotUtf8(_)) => "not_json",
            Self::Strict(StrictError::TooDeep(_)) => "too_deep",
            Self::Strict(StrictError::DuplicateKey) => "duplicate_key",
            Self::Strict(StrictError::TooManyKeys) => "too_many_keys",
            Self::Strict(StrictError::CaseVariantKey) => "case_variant_key",
            Self::Batch => "batch",
            Self::NotAnObject => "not_an_object",
            Self::Invalid(_) => "not_json_rpc",
        }
    }
}

impl Message {
    /// The `id` that an answer must carry, exactly as sent.
    pub fn id(&self) -> Option<&RawValue> {
        match self {
            Self::Call(call) => call.id.as_deref(),
            Self::Response(_) => None,
        }
    }
}

impl Call {
    /// What the `Mcp-Name` header must repeat, if the method has such a thing.
    pub fn mirrored_name(&self) -> Option<&str> {
        match self.method.as_str() {
            "tools/call" | "prompts/get" => self.name.as_deref(),
            "resources/read" | "resources/subscribe" | "resources/unsubscribe" => self.uri.as_deref(),
            _ if self.method.starts_with("tasks/") => self.task_id.as_deref(),
            _ => None,
        }
    }

    /// Whether a modern client says that it knows an extension.
    pub fn declares_extension(&self, name: &str) -> bool {
        let declared = || {
            let capabilities = Members::of(self.meta.client_capabilities.as_deref()?.get(), &["extensions"]).ok()?;
            let extensions = Members::of(capabilities.get("extensions")?.get(), &[name]).ok()?;
            extensions.get(name)
        };
        declared().is_some()
    }

    /// Whether it is a request, which is answered.
    pub const fn is_request(&self) -> bool {
        self.id.is_some()
    }
}

/// Reads one message, nested at most `depth` deep.
///
/// # Errors
///
/// When two parsers could disagree about it, or when it is no JSON-RPC 2.0 message.
pub fn parse(body: &[u8], depth: usize) -> Result<Message, MessageError> {
    let text = strict::read(body, depth)?;
    match text.trim_start_matches([' ', '\t', '\n', '\r']).as_bytes().first() {
        Some(b'{') => {}
        Some(b'[') => return Err(MessageError::Batch),
        _ => return Err(MessageError::NotAnObject),
    }
    let root = Members::of(text, &DECISIVE_KEYS)?;
    if root.string("jsonrpc").as_deref() != Some("2.0") {
        return Err(MessageError::Invalid("jsonrpc must be \"2.0\""));
    }
    let id = root.get("id");
    if id.is_some_and(|id| !is_id(id)) {
        return Err(MessageError::Invalid("id must be a string or an integer"));
    }
    let answers = root.get("result").is_some() || root.get("error").is_some();
    match (root.get("method"), answers, id) {
        (Some(_), false, _) => call(&root, id).map(|call| Message::Call(Box::new(call))),
        (None, true, Some(id)) => Ok(Message::Response(reply(&root, id))),
        (Some(_), true, _) => Err(MessageError::Invalid("method stands beside result or error")),
        (None, true, None) => Err(MessageError::Invalid("a response needs the id that it answers")),
        (None, false, _) => Err(MessageError::Invalid("method is missing")),
    }
}

fn reply(root: &Members<'_>, id: &RawValue) -> Reply {
    Reply {
        id: id.to_owned(),
        result: root.get("result").map(ToOwned::to_owned),
    }
}

fn call(root: &Members<'_>, id: Option<&RawValue>) -> Result<Call, MessageError> {
    let method = text(root, "method", MAX_NAME, "method must be a string of 1 to 256 bytes")?
        .ok_or(MessageError::Invalid("method must be a string of 1 to 256 bytes"))?;
    let params = match root.get("params") {
        None => Members::of("{}", &[])?,
        Some(params) if params.get().starts_with('{') => Members::of(params.get(), &DECISIVE_KEYS)?,
        Some(_) => return Err(MessageError::Invalid("params must be an object")),
    };
    let meta_members = object(&params, "_meta", "params._meta must be an object")?
        .map(|members| Members::of(members.get(), &META_KEYS))
        .transpose()?;
    let mut call = Call {
        id: id.map(ToOwned::to_owned),
        name: text(
            &params,
            "name",
            MAX_NAME,
            "params.name must be a string of 1 to 256 bytes",
        )?,
        uri: text(
            &params,
            "uri",
            MAX_TEXT,
            "params.uri must be a string of 1 to 16384 bytes",
        )?,
        task_id: text(
            &params,
            "taskId",
            MAX_TEXT,
            "params.taskId must be a string of 1 to 16384 bytes",
        )?,
        arguments: object(&params, "arguments", "params.arguments must be an object")?.map(ToOwned::to_owned),
        request_state: text(
            &params,
            "requestState",
            usize::MAX,
            "params.requestState must be a string",
        )?,
        reference: None,
        task_ids: vec![],
        subscribed: vec![],
        protocol_version: text(
            &params,
            "protocolVersion",
            MAX_NAME,
            "params.protocolVersion must be a string",
        )?,
        capabilities: object(&params, "capabilities", "params.capabilities must be an object")?.map(ToOwned::to_owned),
        client_info: meta_members
            .as_ref()
            .and_then(|meta| meta.get(META_CLIENT_INFO))
            .or_else(|| params.get("clientInfo"))
            .and_then(client_info),
        meta: meta(&params)?,
        method,
    };
    match call.method.as_str() {
        "completion/complete" => call.reference = Some(reference(&params)?),
        "subscriptions/listen" => {
            call.task_ids = listed(
                &params,
                "taskIds",
                "params.notifications.taskIds must be at most 256 strings",
            )?;
            call.subscribed = listed(
                &params,
                "resourceSubscriptions",
                "params.notifications.resourceSubscriptions must be at most 256 strings",
            )?;
        }
        _ => {}
    }
    Ok(call)
}

impl Call {
    /// Checks that what the method is about is named. A method that the caller's era does not have is refused before.
    ///
    /// # Errors
    ///
    /// When it is not.
    pub fn require_target(&self) -> Result<(), MessageError> {
        match self.method.as_str() {
            "tools/call" | "prompts/get" if self.name.is_none() => Err(MessageError::Invalid("params.name is missing")),
            "resources/read" | "resources/subscribe" | "resources/unsubscribe" if self.uri.is_none() => {
                Err(MessageError::Invalid("params.uri is missing"))
            }
            "tasks/get" | "tasks/result" | "tasks/cancel" | "tasks/update" if self.task_id.is_none() => {
                Err(MessageError::Invalid("params.taskId is missing"))
            }
            _ => Ok(()),
        }
    }
}

fn meta(params: &Members<'_>) -> Result<Meta, MessageError> {
    let Some(meta) = object(params, "_meta", "_meta must be an object")? else {
        return Ok(Meta::default());
    };
    let meta = Members::of(meta.get(), &META_KEYS)?;
    let related = object(&meta, META_RELATED_TASK, "_meta's related-task must be an object")?
        .map(|related| Members::of(related.get(), &["taskId"]))
        .transpose()?;
    Ok(Meta {
        protocol_version: text(
            &meta,
            META_PROTOCOL_VERSION,
            MAX_NAME,
            "_meta's protocolVersion must be a string",
        )?,
        client_capabilities: object(
            &meta,
            META_CLIENT_CAPABILITIES,
            "_meta's clientCapabilities must be an object",
        )?
        .map(ToOwned::to_owned),
        related_task: match related {
            None => None,
            Some(related) => text(&related, "taskId", MAX_TEXT, "related-task's taskId must be a string")?,
        },
        traceparent: meta.string("traceparent").map(std::borrow::Cow::into_owned),
    })
}

fn client_info(info: &RawValue) -> Option<ClientInfo> {
    let info = Members::of(info.get(), &[]).ok()?;
    Some(ClientInfo {
        name: info.string("name")?.into_owned(),
        version: info.string("version").unwrap_or_default().into_owned(),
    })
}

fn reference(params: &Members<'_>) -> Result<Reference, MessageError> {
    const FORM: &str = "params.ref must name a prompt or a resource";
    let members = object(params, "ref", FORM)?.ok_or(MessageError::Invalid(FORM))?;
    let members = Members::of(members.get(), &["type", "name", "uri"])?;
    let named = |key| text(&members, key, MAX_TEXT, FORM)?.ok_or(MessageError::Invalid(FORM));
    match members.string("type").as_deref() {
        Some("ref/prompt") => named("name").map(Reference::Prompt),
        Some("ref/resource") => named("uri").map(Reference::Resource),
        _ => Err(MessageError::Invalid(FORM)),
    }
}

/// The strings under `key` of a subscription's `notifications`.
fn listed(params: &Members<'_>, key: &'static str, form: &'static str) -> Result<Vec<String>, MessageError> {
    let Some(notifications) = object(params, "notifications", "params.notifications must be an object")? else {
        return Ok(vec![]);
    };
    let Some(ids) = Members::of(notifications.get(), &["taskIds", "resourceSubscriptions"])?.get(key) else {
        return Ok(vec![]);
    };
    let ids: Vec<String> = serde_json::from_str(ids.get()).map_err(|_| MessageError::Invalid(form))?;
    if ids.len() > MAX_TASKS || ids.iter().any(|id| id.is_empty() || id.len() > MAX_TEXT) {
        return Err(MessageError::Invalid(form));
    }
    Ok(ids)
}

fn text(members: &Members<'_>, key: &str, longest: usize, form: &'static str) -> Result<Option<String>, MessageError> {
    match members.get(key) {
        None => Ok(None),
        Some(value) => match strict::string(value) {
            Some(text) if !text.is_empty() && text.len() <= longest => Ok(Some(text.into_owned())),
            _ => Err(MessageError::Invalid(form)),
        },
    }
}

fn object<'a>(members: &Members<'a>, key: &str, form: &'static str) -> Result<Option<&'a RawValue>, MessageError> {
    match members.get(key) {
        Some(value) if !value.get().starts_with('{') => Err(MessageError::Invalid(form)),
        value => Ok(value),
    }
}

/// A string or an integer (MCP, basic, "Requests"; null is not allowed there).
fn is_id(id: &RawValue) -> bool {
    let text = id.get();
    let integer = || {
        let digits = text.strip_prefix('-').unwrap_or(text);
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    text.starts_with('"') || integer()
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
