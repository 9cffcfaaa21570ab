//! Why a request was not passed on or got no answer, and what the client is told.
//!
//! Clients differ in what they make of an HTTP error. What a policy denies is answered as JSON-RPC errors with status 200,
//! which every official client hands to its caller as it is; statuses are used where the specification or HTTP asks for
//! them, always with a JSON-RPC body, so that no modern client takes the answer for that of a legacy server.

use super::answer::Answer;
use super::budget::BufferFull;
use super::limit::Limited;
use crate::audit::Outcome;
use crate::confirm::Refusal;
use crate::guard::NotClosed;
use crate::seal::BindingError;
use crate::wire::mirror::MirrorError;
use crate::wire::{EraError, MessageError};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use sallyport_auth::Rejection;
use sallyport_policy::authorization::TargetKind;
use sallyport_policy::tools::ToolDenial;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// A refusal: an HTTP status and a JSON-RPC error.
#[derive(Debug, thiserror::Error)]
pub enum Denial {
    /// The record of this request could not be written.
    #[error("this endpoint cannot record calls at the moment, so it answers none: try again later")]
    SinkUnavailable,
    /// Two readers could believe different values.
    #[error("the header {0} is sent more than once: send it once")]
    DuplicateHeader(HeaderName),
    /// `GET http://host/path`: a form for forward proxies.
    #[error("the request target names a host: send the path only")]
    AbsoluteTarget,
    /// HTTP/1.1 asks for it.
    #[error("the Host header is missing")]
    HostMissing,
    /// Not one of the endpoint's names.
    #[error("the Host header is none of this endpoint's names: use the URL of the endpoint's status")]
    HostNotAllowed,
    /// A browser's page that may not call.
    #[error("calls from this Origin are not allowed")]
    OriginNotAllowed,
    /// Only the MCP endpoint is served.
    #[error("only the endpoint's MCP path is served")]
    PathNotServed,
    /// Only POST, GET and DELETE.
    #[error("only POST, GET and DELETE are served")]
    MethodNotAllowed,
    /// Transfer-Encoding and Content-Length.
    #[error("the body's length is given twice: send Content-Length or Transfer-Encoding, not both")]
    AmbiguousLength,
    /// GET or DELETE with a body.
    #[error("GET and DELETE carry no body")]
    UnexpectedBody,
    /// POST without `application/json`.
    #[error("the Content-Type of a POST must be application/json, in UTF-8")]
    ContentTypeNotJson,
    /// Compressed bodies cannot be read before they are forwarded.
    #[error("the body must be sent without Content-Encoding")]
    ContentEncoded,
    /// Over the limit.
    #[error("the body is larger than this endpoint's limit of {limit} bytes")]
    BodyTooLarge {
        /// In bytes.
        limit: u64,
    },
    /// The client was too slow.
    #[error("the body did not arrive in time")]
    BodyTimedOut,
    /// The client stopped in the middle or broke the framing.
    #[error("the body ended early")]
    BodyBroken,
    /// The pod's network is open where it must be closed.
    #[error("this endpoint takes no calls at the moment: {0}")]
    Network(#[from] NotClosed),
    /// All callers together, or this one, send or receive too much at the moment.
    #[error(transparent)]
    BufferFull(#[from] BufferFull),
    /// Nobody, or somebody who needs another credential.
    #[error("{0}")]
    Unauthenticated(Rejection),
    /// Not a message that can be decided on.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// A version that is not served, or two of them.
    #[error(transparent)]
    Era(#[from] EraError),
    /// Headers that say something else than the body.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// A method that this era does not have, or an extension's that is not allowed.
    #[error("Method not found")]
    UnknownMethod {
        /// Whether the request is of the modern era, which answers with 404.
        modern: bool,
    },
    /// `initialize` with a version from before 2025-06-18.
    #[error("Unsupported protocol version")]
    OldVersion {
        /// What the client asked for.
        requested: String,
    },
    /// Of another caller, another endpoint, or ended.
    #[error("there is no such session: begin a new one")]
    NoSession,
    /// A task or state of another caller or call.
    #[error(transparent)]
    Binding(#[from] BindingError),
    /// Rules do not allow it.
    #[error("this endpoint's policy does not allow this call")]
    NotAllowed {
        /// One word for the record.
        reason: &'static str,
    },
    /// There is none, or none that the caller may know of.
    #[error("{message}")]
    NoSuch {
        /// As a server without it would say.
        message: String,
        /// One word for the record.
        reason: &'static str,
    },
    /// Arguments out of bounds.
    #[error("{message}")]
    Arguments {
        /// Which, and what they must be.
        message: String,
        /// One word for the record.
        reason: &'static str,
    },
    /// The tool is not the one that was approved.
    #[error("this tool cannot be called at the moment: {0}")]
    Drift(ToolDenial),
    /// The call must be confirmed by a person, and is not.
    #[error(transparent)]
    Confirmation(#[from] Refusal),
    /// Too often, or too many at a time.
    #[error("too many requests: try again later")]
    Limited(Limited),
    /// The sidecar stops.
    #[error("this endpoint is shutting down: call again")]
    Draining,
    /// No connection, or no answer on it.
    #[error("the MCP server behind this endpoint does not answer")]
    UpstreamFailed,
    /// Connected, but no head of an answer in time.
    #[error("the MCP server behind this endpoint did not answer in time")]
    UpstreamTimedOut,
    /// An answer over the limit.
    #[error("the answer of the MCP server behind this endpoint is too large")]
    AnswerTooLarge,
    /// An answer that cannot be passed on.
    #[error("the answer of the MCP server behind this endpoint is refused: {0}")]
    AnswerRefused(&'static str),
}

/// JSON-RPC codes of our own, outside of what JSON-RPC and MCP reserve (MCP 2026-07-28, basic, "Error Codes").
const POLICY_DENIED: i32 = -31001;
const TOOL_DRIFT: i32 = -31002;
const RATE_LIMITED: i32 = -31029;

impl Denial {
    /// The denial of a call of something that the caller may not know of.
    pub fn no_such(kind: TargetKind, name: &str, reason: &'static str) -> Self {
        let message = match kind {
            TargetKind::Tool => format!("Unknown tool: {name}"),
            TargetKind::Prompt => format!("Unknown prompt: {name}"),
            TargetKind::Resource => format!("Resource not found: {name}"),
        };
        Self::NoSuch { message, reason }
    }

    /// The denial of a call with these arguments.
    pub fn arguments(violation: &impl ToString, reason: &'static str) -> Self {
        Self::Arguments {
            message: violation.to_string(),
            reason,
        }
    }

    /// The HTTP status of the answer to a request, or to what has no id and so cannot be answered otherwise.
    fn status(&self, is_request: bool) -> StatusCode {
        match self {
            Self::DuplicateHeader(_)
            | Self::AbsoluteTarget
            | Self::HostMissing
            | Self::AmbiguousLength
            | Self::UnexpectedBody
            | Self::BodyBroken
            | Self::Message(_)
            | Self::Mirror(_)
            | Self::Era(
                EraError::VersionMismatch
                | EraError::Unsupported { .. }
                | EraError::MissingMeta(_)
                | EraError::UndeclaredExtension(_)
                | EraError::ResponseOfModernClient,
            ) => StatusCode::BAD_REQUEST,
            Self::Era(EraError::PostOnly) | Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Unauthenticated(rejection) => rejection.status(),
            Self::HostNotAllowed | Self::OriginNotAllowed => StatusCode::FORBIDDEN,
            Self::PathNotServed | Self::NoSession | Self::UnknownMethod { modern: true } => StatusCode::NOT_FOUND,
            Self::BodyTimedOut => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::ContentTypeNotJson | Self::ContentEncoded => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Limited(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::UpstreamFailed | Self::AnswerTooLarge | Self::AnswerRefused(_) => StatusCode::BAD_GATEWAY,
            Self::SinkUnavailable | Self::Network(_) | Self::BufferFull(_) | Self::Draining => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::UpstreamTimedOut => StatusCode::GATEWAY_TIMEOUT,
            Self::UnknownMethod { modern: false }
            | Self::OldVersion { .. }
            | Self::Binding(_)
            | Self::NotAllowed { .. }
            | Self::NoSuch { .. }
            | Self::Arguments { .. }
            | Self::Drift(_)
            | Self::Confirmation(_) => {
                if is_request {
                    StatusCode::OK
                } else {
                    StatusCode::FORBIDDEN
                }
            }
        }
    }

    /// How the record calls it.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::SinkUnavailable
            | Self::Network(_)
            | Self::HostNotAllowed
            | Self::OriginNotAllowed
            | Self::PathNotServed
            | Self::MethodNotAllowed
            | Self::ContentTypeNotJson
            | Self::ContentEncoded
            | Self::UnknownMethod { .. }
            | Self::OldVersion { .. }
            | Self::NoSession
            | Self::Binding(_)
            | Self::NotAllowed { .. }
            | Self::NoSuch { .. }
            | Self::Arguments { .. }
            | Self::Drift(_)
            | Self::Confirmation(_) => Outcome::Denied,
            Self::Unauthenticated(rejection) => match rejection.reason() {
                sallyport_auth::Reason::InsufficientScope | sallyport_auth::Reason::InsufficientAuthentication => {
                    Outcome::Denied
                }
                _ => Outcome::Unauthenticated,
            },
            Self::DuplicateHeader(_)
            | Self::AbsoluteTarget
            | Self::HostMissing
            | Self::AmbiguousLength
            | Self::UnexpectedBody
            | Self::BodyBroken
            | Self::Message(_)
            | Self::Era(_)
            | Self::Mirror(_) => Outcome::Malformed,
            Self::BodyTooLarge { .. } => Outcome::TooLarge,
            Self::Draining => Outcome::Drained,
            Self::BodyTimedOut | Self::UpstreamTimedOut => Outcome::TimedOut,
            Self::Limited(_) | Self::BufferFull(_) | Self::AnswerTooLarge => Outcome::Limited,
            Self::UpstreamFailed | Self::AnswerRefused(_) => Outcome::UpstreamFailed,
        }
    }

    /// One word for the record.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::SinkUnavailable => "sink_unavailable",
            Self::DuplicateHeader(_) => "duplicate_header",
            Self::AbsoluteTarget => "absolute_target",
            Self::HostMissing => "host_missing",
            Self::HostNotAllowed => "host_not_allowed",
            Self::OriginNotAllowed => "origin_not_allowed",
            Self::PathNotServed => "path_not_served",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::AmbiguousLength => "ambiguous_length",
            Self::UnexpectedBody => "unexpected_body",
            Self::ContentTypeNotJson => "content_type_not_json",
            Self::ContentEncoded => "content_encoded",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::BodyTimedOut => "body_timed_out",
            Self::BodyBroken => "body_broken",
            Self::Network(NotClosed::Open) => "network_open",
            Self::Network(NotClosed::Unknown) => "network_unknown",
            Self::BufferFull(BufferFull::All) => "buffers_full",
            Self::BufferFull(BufferFull::OfCaller) => "buffers_of_caller",
            Self::Unauthenticated(rejection) => rejection.reason().as_str(),
            Self::Message(error) => error.reason(),
            Self::Era(EraError::VersionMismatch) => "version_mismatch",
            Self::Era(EraError::Unsupported { .. }) | Self::OldVersion { .. } => "unsupported_version",
            Self::Era(EraError::MissingMeta(_)) => "missing_meta",
            Self::Era(EraError::UndeclaredExtension(_)) => "undeclared_extension",
            Self::Era(EraError::ResponseOfModernClient) => "response_of_modern_client",
            Self::Era(EraError::PostOnly) => "post_only",
            Self::Mirror(_) => "header_mismatch",
            Self::UnknownMethod { .. } => "unknown_method",
            Self::NoSession => "no_session",
            Self::Binding(error) => error.reason(),
            Self::NotAllowed { reason }
            | Self::NoSuch { reason, .. }
            | Self::Arguments { reason, .. }
            | Self::AnswerRefused(reason) => reason,
            Self::Drift(denial) => denial.as_str(),
            Self::Confirmation(refusal) => refusal.reason(),
            Self::Draining => "sidecar_stops",
            Self::Limited(limited) => limited.reason,
            Self::UpstreamFailed => "upstream_failed",
            Self::UpstreamTimedOut => "upstream_timed_out",
            Self::AnswerTooLarge => "answer_too_large",
        }
    }

    /// The JSON-RPC code: the standard's own where there is one, else -31000 minus the HTTP status.
    pub fn code(&self) -> i32 {
        match self {
            Self::Message(error) => error.code(),
            Self::Mirror(_) | Self::Era(EraError::VersionMismatch) => -32020,
            Self::Era(EraError::UndeclaredExtension(_)) => -32021,
            Self::Era(EraError::Unsupported { .. }) => -32022,
            Self::Era(EraError::ResponseOfModernClient) => -32600,
            Self::UnknownMethod { .. } => -32601,
            Self::Era(EraError::MissingMeta(_))
            | Self::OldVersion { .. }
            | Self::NoSuch { .. }
            | Self::Arguments { .. } => -32602,
            Self::Binding(error) => error.code(),
            Self::NotAllowed { .. } => POLICY_DENIED,
            Self::Drift(_) => TOOL_DRIFT,
            Self::Confirmation(refusal) => refusal.code(),
            Self::Limited(_) => RATE_LIMITED,
            _ => -31000 - i32::from(self.status(true).as_u16()),
        }
    }

    fn data(&self) -> Option<Value> {
        match self {
            Self::Era(EraError::Unsupported { requested, supported }) => {
                Some(json!({"supported": supported, "requested": requested}))
            }
            Self::Era(EraError::UndeclaredExtension(extension)) => {
                Some(json!({"requiredCapabilities": {"extensions": {*extension: {}}}}))
            }
            Self::OldVersion { requested } => {
                Some(json!({"supported": crate::wire::era::LEGACY_VERSIONS, "requested": requested}))
            }
            Self::Confirmation(refusal) => Some(refusal.data()),
            _ => None,
        }
    }

    fn add_headers(&self, headers: &mut HeaderMap) {
        let retry_after = match self {
            Self::SinkUnavailable | Self::UpstreamFailed | Self::BufferFull(_) | Self::Draining => Some(1),
            // Rounds come no sooner while it is open.
            Self::Network(_) => Some(5),
            Self::Limited(limited) => Some(limited.retry_after.as_secs() + 1),
            Self::Unauthenticated(rejection) => rejection.retry_after().map(u64::from),
            _ => None,
        };
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        match self {
            Self::MethodNotAllowed => {
                headers.insert(header::ALLOW, HeaderValue::from_static("POST, GET, DELETE"));
            }
            Self::Era(EraError::PostOnly) => {
                headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
            }
            Self::Unauthenticated(rejection) => {
                if let Some(challenge) = rejection.www_authenticate() {
                    headers.insert(header::WWW_AUTHENTICATE, challenge.clone());
                }
            }
            _ => {}
        }
    }

    /// The JSON-RPC error.
    pub fn body(&self, id: Option<&RawValue>) -> Vec<u8> {
        let body = ErrorBody {
            jsonrpc: "2.0",
            id,
            error: ErrorObject {
                code: self.code(),
                message: self.to_string(),
                data: self.data(),
            },
        };
        // It always serializes; an empty body would still carry the status.
        serde_json::to_vec(&body).unwrap_or_default()
    }

    /// The answer to the message with `id`, where it could be read.
    pub fn response(&self, id: Option<&RawValue>) -> Response<Answer> {
        let mut response = Response::new(Answer::whole(self.body(id).into()));
        *response.status_mut() = self.status(id.is_some());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.add_headers(headers);
        response
    }
}

impl From<Limited> for Denial {
    fn from(limited: Limited) -> Self {
        Self::Limited(limited)
    }
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    jsonrpc: &'static str,
    id: Option<&'a RawValue>,
    error: ErrorObject,
}

#[derive(Serialize)]
struct ErrorObject {
    code: i32,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
}
