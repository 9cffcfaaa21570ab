//! Why a request was not passed on or got no answer, and what the client is told.

use super::answer::Answer;
use super::message::MessageError;
use crate::audit::Outcome;
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use serde::Serialize;
use serde_json::value::RawValue;

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
    #[error("the Content-Type of a POST must be application/json")]
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
    /// Not a message that can be decided on.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// No connection, or no answer on it.
    #[error("the MCP server behind this endpoint does not answer")]
    UpstreamFailed,
    /// Connected, but no head of an answer in time.
    #[error("the MCP server behind this endpoint did not answer in time")]
    UpstreamTimedOut,
}

impl Denial {
    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::DuplicateHeader(_)
            | Self::AbsoluteTarget
            | Self::HostMissing
            | Self::AmbiguousLength
            | Self::UnexpectedBody
            | Self::BodyBroken
            | Self::Message(_) => StatusCode::BAD_REQUEST,
            Self::HostNotAllowed | Self::OriginNotAllowed => StatusCode::FORBIDDEN,
            Self::PathNotServed => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTimedOut => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::ContentTypeNotJson | Self::ContentEncoded => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::UpstreamFailed => StatusCode::BAD_GATEWAY,
            Self::SinkUnavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::UpstreamTimedOut => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// How the record calls it.
    pub const fn outcome(&self) -> Outcome {
        match self {
            Self::SinkUnavailable
            | Self::HostNotAllowed
            | Self::OriginNotAllowed
            | Self::PathNotServed
            | Self::MethodNotAllowed
            | Self::ContentTypeNotJson
            | Self::ContentEncoded => Outcome::Denied,
            Self::DuplicateHeader(_)
            | Self::AbsoluteTarget
            | Self::HostMissing
            | Self::AmbiguousLength
            | Self::UnexpectedBody
            | Self::BodyBroken
            | Self::Message(_) => Outcome::Malformed,
            Self::BodyTooLarge { .. } => Outcome::TooLarge,
            Self::BodyTimedOut | Self::UpstreamTimedOut => Outcome::TimedOut,
            Self::UpstreamFailed => Outcome::UpstreamFailed,
        }
    }

    /// One word for the record.
    pub const fn reason(&self) -> &'static str {
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
            Self::Message(error) => error.reason(),
            Self::UpstreamFailed => "upstream_failed",
            Self::UpstreamTimedOut => "upstream_timed_out",
        }
    }

    /// The JSON-RPC code: the standard's own for messages that are none, else -31000 minus the HTTP status, which is
    /// outside of what JSON-RPC and MCP reserve (MCP 2026-07-28, basic, "Error Codes").
    fn code(&self) -> i32 {
        match self {
            Self::Message(error) => error.code(),
            _ => -31000 - i32::from(self.status().as_u16()),
        }
    }

    /// The answer. `id` is the request's, where it was read.
    pub fn response(&self, id: Option<&RawValue>) -> Response<Answer> {
        let body = ErrorBody {
            jsonrpc: "2.0",
            id,
            error: ErrorObject {
                code: self.code(),
                message: self.to_string(),
            },
        };
        // It always serializes; an empty body would still carry the status.
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = Response::new(Answer::whole(body.into()));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        match self {
            Self::MethodNotAllowed => {
                headers.insert(header::ALLOW, HeaderValue::from_static("POST, GET, DELETE"));
            }
            Self::SinkUnavailable | Self::UpstreamFailed => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
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
}
