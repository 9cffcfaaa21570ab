//! First stage: everything that the head of a request decides.

use super::cors;
use super::denial::Denial;
use crate::headers;
use bytes::Bytes;
use http::Method;
use http::header::{self, HeaderMap};
use http::request::Parts;
use sallyport_policy::{PolicyFile, allows_host, allows_origin};

/// The HTTP methods of MCP's Streamable HTTP transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Carries one JSON-RPC message.
    Post,
    /// Opens a stream (legacy era).
    Get,
    /// Ends a session (legacy era).
    Delete,
}

impl Verb {
    fn of(method: &Method) -> Option<Self> {
        match *method {
            Method::POST => Some(Self::Post),
            Method::GET => Some(Self::Get),
            Method::DELETE => Some(Self::Delete),
            _ => None,
        }
    }
}

/// What a request whose head may pass is there for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// MCP.
    Mcp(Verb),
    /// To learn whether another request may be sent from a page.
    Preflight,
    /// To learn who issues tokens for this endpoint (RFC 9728). Needs no authentication.
    Metadata(Bytes),
}

/// Whether the head may pass, and as what. `metadata` are the documents that are served at other paths.
///
/// # Errors
///
/// The first reason against it, in the order of the lines below.
pub fn check(
    head: &Parts,
    policy: &PolicyFile,
    metadata: impl FnOnce(&str) -> Option<Bytes>,
) -> Result<Purpose, Denial> {
    if let Some(name) = headers::duplicate_singleton(&head.headers) {
        return Err(Denial::DuplicateHeader(name));
    }
    check_host(head, policy)?;
    check_origin(&head.headers, policy)?;
    if head.uri.path() != policy.upstream.path {
        let document = metadata(head.uri.path()).ok_or(Denial::PathNotServed)?;
        return match head.method {
            Method::GET | Method::HEAD => Ok(Purpose::Metadata(document)),
            Method::OPTIONS if cors::is_preflight(&head.headers) => Ok(Purpose::Preflight),
            _ => Err(Denial::MethodNotAllowed),
        };
    }
    if head.method == Method::OPTIONS && cors::is_preflight(&head.headers) {
        return Ok(Purpose::Preflight);
    }
    let verb = Verb::of(&head.method).ok_or(Denial::MethodNotAllowed)?;
    check_framing(&head.headers)?;
    if verb == Verb::Post {
        check_content(&head.headers)?;
    }
    Ok(Purpose::Mcp(verb))
}

/// An absolute request target would name a second host, which wins over `Host` (RFC 9112 section 3.2.2).
fn check_host(head: &Parts, policy: &PolicyFile) -> Result<(), Denial> {
    if head.uri.authority().is_some() {
        return Err(Denial::AbsoluteTarget);
    }
    let host = head.headers.get(header::HOST).ok_or(Denial::HostMissing)?;
    match host.to_str() {
        Ok(host) if allows_host(&policy.hosts, host) => Ok(()),
        _ => Err(Denial::HostNotAllowed),
    }
}

fn check_origin(headers: &HeaderMap, policy: &PolicyFile) -> Result<(), Denial> {
    match headers.get(header::ORIGIN).map(http::HeaderValue::to_str) {
        None => Ok(()),
        Some(Ok(origin)) if allows_origin(&policy.origins, origin) => Ok(()),
        Some(_) => Err(Denial::OriginNotAllowed),
    }
}

/// Two ways to end a body are one too many (RFC 9112 section 6.3). hyper already lets `Transfer-Encoding` win and
/// drops `Content-Length`; this holds should both ever arrive here.
fn check_framing(headers: &HeaderMap) -> Result<(), Denial> {
    if headers.contains_key(header::TRANSFER_ENCODING) && headers.contains_key(header::CONTENT_LENGTH) {
        return Err(Denial::AmbiguousLength);
    }
    Ok(())
}

fn check_content(headers: &HeaderMap) -> Result<(), Denial> {
    let json = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(is_json_in_utf8);
    if !json {
        return Err(Denial::ContentTypeNotJson);
    }
    match headers.get(header::CONTENT_ENCODING) {
        Some(encoding) if !encoding.as_bytes().eq_ignore_ascii_case(b"identity") => Err(Denial::ContentEncoded),
        _ => Ok(()),
    }
}

/// A server that believed another `charset` would read other bytes than the sidecar.
fn is_json_in_utf8(content_type: &str) -> bool {
    let mut parts = content_type.split(';');
    let essence = parts.next().unwrap_or_default().trim();
    let utf8 = |parameter: &str| match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    };
    essence.eq_ignore_ascii_case("application/json") && parts.all(utf8)
}
