//! Asking the server who it is, as an MCP client would, and leaving no session behind.
//!
//! Legacy first (`initialize`, `notifications/initialized`, then DELETE of the session), for a server of both eras
//! answers that too; a server that refuses it is asked the modern way (`server/discover`).

use super::Upstream;
use crate::headers::{MCP_METHOD, MCP_PROTOCOL_VERSION, MCP_SESSION_ID};
use crate::pipeline::Denial;
use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;

/// The newest legacy revision; a server that knows only older ones answers with one of those.
const LEGACY: &str = "2025-11-25";

/// The first modern revision.
const MODERN: &str = "2026-07-28";

/// How long one answer may take and how large it may be.
const ANSWER_BOUND: Duration = Duration::from_secs(10);
const ANSWER_BYTES: usize = 1 << 20;

/// Longest name and version that are passed on, in characters.
const MAX_TEXT: usize = 128;

/// What the server says of itself. Unverified: for people to read, never to decide on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerInfo {
    /// `serverInfo.name`, at most 128 characters.
    pub name: String,
    /// `serverInfo.version`, at most 128 characters.
    pub version: String,
    /// The revision that it chose.
    pub protocol_version: String,
}

/// Why the handshake failed.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// Not reached, or no answer in time.
    #[error("{0}")]
    Upstream(#[from] Denial),
    /// The answer broke off, is too large or too slow.
    #[error("the answer to {method} did not arrive whole within {} s and {ANSWER_BYTES} bytes", ANSWER_BOUND.as_secs())]
    Unreadable {
        /// Which request.
        method: &'static str,
    },
    /// An answer, but not the expected one.
    #[error("the answer to {method} has status {status} and {what}")]
    Unexpected {
        /// Which request.
        method: &'static str,
        /// The HTTP status.
        status: StatusCode,
        /// What is wrong with it.
        what: String,
    },
    /// Neither era.
    #[error("the server speaks neither MCP {LEGACY} nor {MODERN} at this path: {legacy}; {modern}")]
    Neither {
        /// Of `initialize`.
        legacy: Box<HandshakeError>,
        /// Of `server/discover`.
        modern: Box<HandshakeError>,
    },
}

/// Asks the server at `path`.
///
/// # Errors
///
/// When it answers in neither era.
pub async fn shake_hands(upstream: &Upstream, path: &PathAndQuery) -> Result<ServerInfo, HandshakeError> {
    let legacy = match initialize(upstream, path).await {
        Ok(info) => return Ok(info),
        Err(error @ (HandshakeError::Upstream(_) | HandshakeError::Unreadable { .. })) => return Err(error),
        Err(error) => error,
    };
    discover(upstream, path)
        .await
        .map_err(|modern| HandshakeError::Neither {
            legacy: Box::new(legacy),
            modern: Box::new(modern),
        })
}

async fn initialize(upstream: &Upstream, path: &PathAndQuery) -> Result<ServerInfo, HandshakeError> {
    let params = json!({"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": client_info()});
    let (headers, result) = ask(upstream, path, HeaderMap::new(), "initialize", params).await?;
    let info = legacy_info(&result).ok_or(HandshakeError::Unexpected {
        method: "initialize",
        status: StatusCode::OK,
        what: "no serverInfo and protocolVersion".into(),
    });
    let version = result.get("protocolVersion").and_then(Value::as_str).unwrap_or(LEGACY);
    let mut session = HeaderMap::new();
    if let Ok(version) = HeaderValue::from_str(version) {
        session.insert(MCP_PROTOCOL_VERSION, version);
    }
    let minted = headers.get(MCP_SESSION_ID).cloned();
    if let Some(id) = minted.clone() {
        session.insert(MCP_SESSION_ID, id);
    }
    let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    if let Err(error) = send(
        upstream,
        path,
        Method::POST,
        session.clone(),
        Bytes::from(initialized.to_string()),
    )
    .await
    {
        tracing::debug!(%error, "the server did not take notifications/initialized");
    }
    if minted.is_some()
        && let Err(error) = send(upstream, path, Method::DELETE, session, Bytes::new()).await
    {
        tracing::debug!(%error, "the server did not end the session of the handshake");
    }
    info
}

async fn discover(upstream: &Upstream, path: &PathAndQuery) -> Result<ServerInfo, HandshakeError> {
    let mut headers = HeaderMap::new();
    headers.insert(MCP_PROTOCOL_VERSION, HeaderValue::from_static(MODERN));
    headers.insert(MCP_METHOD, HeaderValue::from_static("server/discover"));
    let params = json!({"_meta": {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": client_info(),
    }});
    let (_, result) = ask(upstream, path, headers, "server/discover", params).await?;
    modern_info(&result).ok_or(HandshakeError::Unexpected {
        method: "server/discover",
        status: StatusCode::OK,
        what: "no supportedVersions".into(),
    })
}

fn client_info() -> Value {
    json!({"name": "sallyport-sidecar", "version": env!("CARGO_PKG_VERSION")})
}

#[derive(Deserialize)]
struct Implementation {
    name: String,
    version: String,
}

fn legacy_info(result: &Value) -> Option<ServerInfo> {
    let server = Implementation::deserialize(result.get("serverInfo")?).ok()?;
    Some(ServerInfo {
        name: shortened(&server.name),
        version: shortened(&server.version),
        protocol_version: shortened(result.get("protocolVersion")?.as_str()?),
    })
}

/// A modern server names itself in the result or in its `_meta`, or not at all.
fn modern_info(result: &Value) -> Option<ServerInfo> {
    let versions = result.get("supportedVersions")?.as_array()?;
    let newest = versions.iter().filter_map(Value::as_str).max()?;
    let server = result
        .get("serverInfo")
        .or_else(|| result.get("_meta")?.get("io.modelcontextprotocol/serverInfo"))
        .and_then(|server| Implementation::deserialize(server).ok());
    let (name, version) = server.map_or_else(Default::default, |server| (server.name, server.version));
    Some(ServerInfo {
        name: shortened(&name),
        version: shortened(&version),
        protocol_version: shortened(newest),
    })
}

fn shortened(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).take(MAX_TEXT).collect()
}

/// One request and the result of its answer, JSON or server-sent events.
async fn ask(
    upstream: &Upstream,
    path: &PathAndQuery,
    headers: HeaderMap,
    method: &'static str,
    params: Value,
) -> Result<(HeaderMap, Value), HandshakeError> {
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let response = send(upstream, path, Method::POST, headers, Bytes::from(message.to_string())).await?;
    let (head, body) = response.into_parts();
    let answer = tokio::time::timeout(ANSWER_BOUND, read_answer(&head.headers, body))
        .await
        .ok()
        .flatten()
        .ok_or(HandshakeError::Unreadable { method })?;
    let unexpected = |what: String| HandshakeError::Unexpected {
        method,
        status: head.status,
        what,
    };
    match answer {
        Answer::Message(mut message) => match message.get_mut("result").map(Value::take) {
            Some(result) if head.status.is_success() => Ok((head.headers, result)),
            _ => Err(unexpected(
                match message.get("error").and_then(|error| error.get("message")) {
                    Some(error) => format!("the error {}", shortened(&error.to_string())),
                    None => "neither result nor error".into(),
                },
            )),
        },
        Answer::Other => Err(unexpected("no JSON-RPC message".into())),
    }
}

async fn send(
    upstream: &Upstream,
    path: &PathAndQuery,
    method: Method,
    mut headers: HeaderMap,
    body: Bytes,
) -> Result<http::Response<Incoming>, Denial> {
    headers.insert(
        header::ACCEPT,
        HeaderValue::from_static("application/json, text/event-stream"),
    );
    if method == Method::POST {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    let (mut head, ()) = Request::new(()).into_parts();
    head.method = method;
    head.headers = headers;
    head.uri = Uri::from(path.clone());
    upstream.forward(&head, body).await
}

enum Answer {
    Message(Value),
    Other,
}

/// Reads until the answer to request 1 is whole; an event stream is not read to its end. `None` when it breaks off.
async fn read_answer(headers: &HeaderMap, mut body: Incoming) -> Option<Answer> {
    let events = crate::pipeline::is_event_stream(headers);
    let mut text = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.ok()?.into_data() {
            text.extend_from_slice(&data);
        }
        if text.len() > ANSWER_BYTES {
            return None;
        }
        if events && let Some(message) = answer_in_events(&text) {
            return Some(Answer::Message(message));
        }
    }
    if events {
        return None;
    }
    Some(match serde_json::from_slice(&text) {
        Ok(message @ Value::Object(_)) => Answer::Message(message),
        _ => Answer::Other,
    })
}

/// The message with id 1 among the complete events (HTML, "Server-sent events", section 9.2.6).
fn answer_in_events(text: &[u8]) -> Option<Value> {
    let text = String::from_utf8_lossy(text).replace("\r\n", "\n").replace('\r', "\n");
    let (complete, _) = text.rsplit_once("\n\n")?;
    complete.split("\n\n").find_map(|event| {
        let data: Vec<&str> = event
            .lines()
            .filter_map(|line| line.strip_prefix("data:"))
            .map(|data| data.strip_prefix(' ').unwrap_or(data))
            .collect();
        let message: Value = serde_json::from_str(&data.join("\n")).ok()?;
        (message.get("id") == Some(&json!(1))).then_some(message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    #[test]
    fn the_answer_is_found_among_other_events() {
        let text = b": hello\n\nevent: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n\n\
            id: 7\r\ndata: {\"jsonrpc\":\"2.0\",\r\ndata: \"id\":1,\"result\":{}}\r\n\r\n";
        let message = answer_in_events(text).unwrap();
        assert_eq!(message["result"], json!({}));
    }

    #[test]
    fn an_event_that_is_not_complete_is_waited_for() {
        assert_eq!(answer_in_events(b"data: {\"id\":1,\"result\":{}}\n"), None);
    }

    #[test]
    fn a_modern_server_may_name_itself_in_the_meta_of_its_result() {
        let info = modern_info(&json!({
            "supportedVersions": ["2026-07-28"],
            "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "a\u{7}b", "version": "1"}},
        }));
        assert_eq!(
            info,
            Some(ServerInfo {
                name: "ab".into(),
                version: "1".into(),
                protocol_version: "2026-07-28".into()
            })
        );
    }
}
