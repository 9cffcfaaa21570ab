//! Streamable HTTP as the audit sidecar speaks it: POST a message, GET the session's stream, DELETE the session.
//!
//! The sidecar has checked the request's head, its size and its form; what is checked here keeps one caller from
//! another's session.

use crate::answer::{self, Abandoned, Body};
use crate::frame::{self, Frame, Kind};
use crate::sessions::{Greeting, Owner, SessionError, Sessions};
use http::header::HeaderValue;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use std::sync::Arc;

/// Header that names a legacy session.
const SESSION: &str = "mcp-session-id";

/// Header by which the sidecar, and nobody else, says who calls: a digest, the same for all requests of one caller.
const CALLER: &str = "sallyport-caller";

/// Largest message in bytes. The sidecar's own bound is lower.
const LARGEST: usize = 16 * 1024 * 1024;

/// JSON-RPC's code for a failure on this side.
const INTERNAL_ERROR: i32 = -32603;

/// Answers one request.
pub async fn handle(sessions: Arc<Sessions>, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let Ok(session) = session(&head.headers) else {
        let text = "Mcp-Session-Id must come once, in visible ASCII\n";
        return answer::plain(StatusCode::BAD_REQUEST, text);
    };
    let owner = Owner(head.headers.get(CALLER).cloned());
    match (head.method, session) {
        (Method::POST, session) => match Limited::new(body, LARGEST).collect().await {
            Ok(body) => post(&sessions, owner, session.as_deref(), &body.to_bytes()).await,
            Err(_) => answer::plain(StatusCode::PAYLOAD_TOO_LARGE, "the message is too large\n"),
        },
        (Method::GET, Some(session)) => match sessions.of(&session).await {
            Ok(call) => answer::listening(call.listen()),
            Err(error) => refusal(&error, None),
        },
        (Method::DELETE, Some(session)) => match sessions.close(&session).await {
            Ok(()) => answer::empty(StatusCode::NO_CONTENT),
            Err(error) => refusal(&error, None),
        },
        _ => answer::empty(StatusCode::METHOD_NOT_ALLOWED),
    }
}

/// A session that is named twice: two readers could choose differently.
struct Ambiguous;

/// The session that the request names.
fn session(headers: &HeaderMap) -> Result<Option<String>, Ambiguous> {
    let mut named = headers.get_all(SESSION).iter();
    match (named.next(), named.next()) {
        (None, _) => Ok(None),
        (Some(id), None) => id.to_str().map(|id| Some(id.to_owned())).map_err(|_| Ambiguous),
        (Some(_), Some(_)) => Err(Ambiguous),
    }
}

async fn post(sessions: &Sessions, owner: Owner, session: Option<&str>, body: &[u8]) -> Response<Body> {
    let frame = match Frame::parse(body) {
        Ok(frame) => frame,
        Err(error) => {
            return answer::document(
                StatusCode::BAD_REQUEST,
                frame::error("null", -32600, &error.to_string()),
            );
        }
    };
    match (frame.kind(), session) {
        (Kind::Request { id, method }, None) if method == "initialize" => open(sessions, owner, &frame, id).await,
        (Kind::Request { id, .. }, session) => {
            let (call, abandoned) = match session {
                Some(session) => (sessions.of(session).await, Abandoned::Continue),
                None => (sessions.stateless().await, Abandoned::Cancel),
            };
            let asked = match call {
                Ok(call) => match call.request(&frame, id).await {
                    Ok(pending) => Ok((call, pending)),
                    Err(error) => Err(error.into()),
                },
                Err(error) => Err(error),
            };
            match asked {
                Ok((call, pending)) => answer::of(call, pending, abandoned).await,
                Err(error) => refusal(&error, Some(id)),
            }
        }
        (Kind::Notification { .. } | Kind::Response { .. }, session) => {
            let call = match session {
                Some(session) => sessions.of(session).await,
                None => sessions.stateless().await,
            };
            let told = match call {
                Ok(call) => call.tell(&frame).await.map_err(SessionError::from),
                Err(error) => Err(error),
            };
            match told {
                Ok(()) => answer::empty(StatusCode::ACCEPTED),
                Err(error) => refusal(&error, None),
            }
        }
    }
}

async fn open(sessions: &Sessions, owner: Owner, frame: &Frame, id: &str) -> Response<Body> {
    let opened = match sessions.open(owner, frame).await {
        Ok(opened) => opened,
        Err(error) => return refusal(&error, Some(id)),
    };
    let mut response = match opened.greeting {
        Greeting::Ask(call) => match call.request(frame, id).await {
            Ok(pending) => answer::of(call, pending, Abandoned::Continue).await,
            Err(error) => return refusal(&error.into(), Some(id)),
        },
        Greeting::Known(greeting) => answer::document(StatusCode::OK, greeting.with(&["id"], id)),
    };
    // Hexadecimal digits are a header value.
    if let Ok(value) = HeaderValue::from_str(&opened.id) {
        response.headers_mut().insert(SESSION, value);
    }
    response
}

fn refusal(error: &SessionError, id: Option<&str>) -> Response<Body> {
    let status = match error {
        SessionError::Unknown => StatusCode::NOT_FOUND,
        SessionError::Full | SessionError::Link(_) => StatusCode::SERVICE_UNAVAILABLE,
        SessionError::Spawn(_) | SessionError::KeepsEnding | SessionError::Handshake => StatusCode::BAD_GATEWAY,
    };
    tracing::warn!(%error, status = status.as_u16(), "a request is refused");
    answer::document(
        status,
        frame::error(id.unwrap_or("null"), INTERNAL_ERROR, &error.to_string()),
    )
}
