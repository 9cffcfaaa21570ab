//! One audit record.

mod asked;
mod caller;
mod telemetry;
#[cfg(test)]
mod tests;

pub use asked::{Asked, CallArguments, Confirmation, Era, Pin, Target};
pub use caller::Caller;

use crate::journal::Journaled;
use crate::otlp::{SpanContext, Telemetry};
use crate::text::{CallerText, hex, hex_digest};
use jiff::Timestamp;
use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};
use sallyport_policy::{AuditFormat, EndpointIdentity};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use std::fmt::{self, Write as _};
use std::net::IpAddr;
use std::sync::Arc;
use uuid::Uuid;

/// Version of the record's form. Fields may be added under the same version; a field never changes its meaning.
const VERSION: u32 = 1;

/// Longest HTTP method and path that is kept as it is, in bytes.
const MAX_METHOD: usize = 32;
const MAX_PATH: usize = 512;

/// Longest `resultType`, in bytes.
const MAX_RESULT_TYPE: usize = 64;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The server answered and its answer was passed on to its end, whatever status it has.
    Allowed,
    /// As `Allowed`, after a person confirmed the call.
    Confirmed,
    /// Not forwarded: a person must confirm the call first, and was asked.
    ConfirmationRequired,
    /// Who calls is not known; the server never saw it.
    Unauthenticated,
    /// Refused by policy; the server never saw it.
    Denied,
    /// Refused because a rate, a number at a time or a size of the answer is over its limit.
    Limited,
    /// Not a request that MCP knows; the server never saw it.
    Malformed,
    /// The body is over the limit; the server never saw it.
    TooLarge,
    /// The server did not answer or broke off its answer.
    UpstreamFailed,
    /// A time bound was reached.
    TimedOut,
    /// The client went away before the answer's end.
    ClientGone,
    /// Ended because the sidecar stops.
    Drained,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 12] = [
        Self::Allowed,
        Self::Confirmed,
        Self::ConfirmationRequired,
        Self::Unauthenticated,
        Self::Denied,
        Self::Limited,
        Self::Malformed,
        Self::TooLarge,
        Self::UpstreamFailed,
        Self::TimedOut,
        Self::ClientGone,
        Self::Drained,
    ];

    /// As in the record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Confirmed => "confirmed",
            Self::ConfirmationRequired => "confirmation_required",
            Self::Unauthenticated => "unauthenticated",
            Self::Denied => "denied",
            Self::Limited => "limited",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::UpstreamFailed => "upstream_failed",
            Self::TimedOut => "timed_out",
            Self::ClientGone => "client_gone",
            Self::Drained => "drained",
        }
    }
}

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), fmt::Error> {
        encoder.write_str(self.as_str())
    }
}

/// Which moment a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A request that has ended.
    Request,
    /// The answer to a request is an event stream, which has begun.
    StreamOpen,
    /// The event stream of a request has ended. Has the same `requestId` as its opening.
    StreamClose,
}

impl Event {
    /// As in the record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::StreamOpen => "stream_open",
            Self::StreamClose => "stream_close",
        }
    }
}

/// Who ended the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClosedBy {
    /// The client went away.
    Client,
    /// The server ended or broke off its answer.
    Upstream,
    /// The sidecar refused, a bound was reached, or it stops.
    Sidecar,
}

/// What the server answered, as far as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Upstream {
    /// From the request's head until it was handed to the server, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forwarded_after_ms: Option<u64>,
    /// From then to the head of the answer, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_ms: Option<u64>,
    /// `resultType` of the result: `complete`, `input_required`, `task` (modern era).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result_type: Option<CallerText>,
    /// `isError` of a tool's result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_error: Option<bool>,
    /// Code of the JSON-RPC error, the sidecar's own included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<i64>,
    /// Server-sent events that were passed on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<u64>,
}

impl Upstream {
    /// Notes what a result says of itself.
    pub fn set_result(&mut self, result_type: Option<&str>, is_error: Option<bool>) {
        self.result_type = result_type.map(|kind| CallerText::new(kind, MAX_RESULT_TYPE));
        self.is_error = is_error;
    }
}

/// What is kept of one request. Never a token or a header's value; arguments only if the endpoint says so.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    kind: Kind,
    version: u32,
    /// Which moment this is about.
    pub event: Event,
    /// When the request's head had been read, in UTC with milliseconds; the same in both records of a stream.
    #[serde(serialize_with = "milliseconds")]
    pub timestamp: Timestamp,
    /// Minted here; sorts by time.
    pub request_id: Uuid,
    /// The trace that it belongs to: the caller's, or one of its own.
    pub trace_id: String,
    /// A span that the HTTP header `traceparent` names.
    #[serde(skip)]
    pub link: Option<SpanContext>,
    /// Whose request it is.
    #[serde(serialize_with = "shared")]
    pub endpoint: Arc<EndpointIdentity>,
    /// Generation of the endpoint's spec whose policy decided.
    pub policy_generation: i64,
    /// SHA-256 of the MCP session's identifier, which itself is a credential of a kind. Legacy era.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Who connected, as the kernel says. Forwarding headers are never believed.
    pub client_ip: IpAddr,
    /// The request line's method.
    pub http_method: CallerText,
    /// The request line's path, without the query.
    pub path: CallerText,
    /// Who calls, as authentication found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<Caller>,
    /// What is asked for.
    #[serde(flatten)]
    pub asked: Asked,
    /// The rule that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// How it ended; absent while a stream is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Why it ended so, as one word; absent when allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// Scopes that the caller was told to ask for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub required_scopes: Vec<String>,
    /// How far the confirmation of the call is, if it needs one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmation: Option<Confirmation>,
    /// The tool's pin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pin: Option<Pin>,
    /// The status that was sent; 499 when the client or the drain ended the request before there was one.
    pub status: u16,
    /// What the server answered.
    pub upstream: Upstream,
    /// Who ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed_by: Option<ClosedBy>,
    /// From the request's head to the end of the answer, or to a stream's opening, in milliseconds.
    pub latency_ms: u64,
    /// Bytes of the request's body that were read.
    pub request_bytes: u64,
    /// Bytes of the answer's body that were passed on.
    pub response_bytes: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Audit,
}

impl Record {
    /// Status of a request that ended before an answer began.
    pub const NO_ANSWER: u16 = 499;

    /// A record whose end is not known yet.
    pub fn open(
        endpoint: Arc<EndpointIdentity>,
        policy_generation: i64,
        client_ip: IpAddr,
        http_method: &str,
        path: &str,
    ) -> Self {
        let request_id = Uuid::now_v7();
        Self {
            kind: Kind::Audit,
            version: VERSION,
            event: Event::Request,
            timestamp: Timestamp::now(),
            request_id,
            trace_id: hex(request_id.as_bytes()),
            link: None,
            endpoint,
            policy_generation,
            session_id: None,
            client_ip: client_ip.to_canonical(),
            http_method: CallerText::new(http_method, MAX_METHOD),
            path: CallerText::new(path, MAX_PATH),
            caller: None,
            asked: Asked::default(),
            rule: None,
            outcome: None,
            reason: None,
            required_scopes: Vec::new(),
            confirmation: None,
            pin: None,
            status: Self::NO_ANSWER,
            upstream: Upstream::default(),
            closed_by: None,
            latency_ms: 0,
            request_bytes: 0,
            response_bytes: 0,
        }
    }

    /// Notes what the request asks for.
    pub fn asked(&mut self, asked: Asked) {
        if let Some(parent) = &asked.parent {
            self.trace_id = parent.trace_id();
        }
        self.asked = asked;
    }

    /// Notes the MCP session by its digest.
    pub fn session(&mut self, id: &[u8]) {
        self.session_id = Some(hex_digest(id));
    }
}

impl Journaled for Record {
    fn render(&self, format: AuditFormat) -> Result<Map<String, Value>, serde_json::Error> {
        match format {
            AuditFormat::Json => own(self),
            AuditFormat::Ocsf => Ok(crate::ocsf::api_activity(self, own(self)?)),
        }
    }

    fn telemetry(&self) -> Option<Telemetry> {
        Some(telemetry::of(self))
    }
}

fn own(record: &Record) -> Result<Map<String, Value>, serde_json::Error> {
    match serde_json::to_value(record)? {
        Value::Object(object) => Ok(object),
        // Cannot happen: a structure is an object.
        _ => Ok(Map::new()),
    }
}

fn milliseconds<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.3}"))
}

fn shared<S: Serializer>(endpoint: &Arc<EndpointIdentity>, serializer: S) -> Result<S::Ok, S::Error> {
    endpoint.as_ref().serialize(serializer)
}
