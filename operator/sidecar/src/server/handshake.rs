//! Asking the server who it is and what tools it has, as an MCP client would, and leaving no session behind.
//!
//! Legacy first (`initialize`, `notifications/initialized`, `tools/list`, then DELETE of the session), for a server of both
//! eras answers that too; a server that refuses it is asked the modern way (`server/discover`, `tools/list`).

use super::Upstream;
use crate::headers::{MCP_METHOD, MCP_PROTOCOL_VERSION, MCP_SESSION_ID};
use crate::pipeline::Denial;
use crate::wire::sse::{Piece, Splitter};
use crate::wire::strict::{self, Members};
use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use sallyport_policy::tools::{Catalog, ListError};
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

/// Pages of `tools/list` at most, and their size in all: a hostile server must not fill the memory.
const PAGES: usize = 64;
const PAGES_BYTES: usize = 4 << 20;

/// What one look at the server gave.
#[derive(Debug)]
pub struct Look {
    /// What it says of itself.
    pub info: ServerInfo,
    /// What tools it has. Empty where it declares none; unknown where it did not say.
    pub tools: Result<Catalog, HandshakeError>,
}

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
    /// More than anybody needs.
    #[error("tools/list has more than {PAGES} pages or {PAGES_BYTES} bytes")]
    TooManyTools,
    /// A list that can be read in more than one way.
    #[error("the answer to tools/list is refused: {0}")]
    Tools(#[from] ListError),
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
pub async fn shake_hands(upstream: &Upstream, path: &PathAndQuery) -> Result<Look, HandshakeError> {
    let legacy = match initialize(upstream, path).await {
        Ok(look) => return Ok(look),
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

async fn initialize(upstream: &Upstream, path: &PathAndQuery) -> Result<Look, HandshakeError> {
    let params = json!({"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": client_info()});
    let (headers, result) = ask(upstream, path, HeaderMap::new(), "initialize", params).await?;
    let result = value(&result, "initialize")?;
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
    let initialized = Bytes::from(initialized.to_string());
    if let Err(error) = send(upstream, path, Method::POST, session.clone(), initialized).await {
        tracing::debug!(%error, "the server did not take notifications/initialized");
    }
    let tools = list_tools(upstream, path, &session, &result, &json!({})).await;
    if minted.is_some()
        && let Err(error) = send(upstream, path, Method::DELETE, session, Bytes::new()).await
    {
        tracing::debug!(%error, "the server did not end the session of the handshake");
    }
    Ok(Look { info: info?, tools })
}

async fn discover(upstream: &Upstream, path: &PathAndQuery) -> Result<Look, HandshakeError> {
    let mut headers = HeaderMap::new();
    headers.insert(MCP_PROTOCOL_VERSION, HeaderValue::from_static(MODERN));
    let params = json!({"_meta": {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": client_info(),
    }});
    let mut discovery = headers.clone();
    discovery.insert(MCP_METHOD, HeaderValue::from_static("server/discover"));
    let (_, result) = ask(upstream, path, discovery, "server/discover", params.clone()).await?;
    let result = value(&result, "server/discover")?;
    let info = modern_info(&result).ok_or(HandshakeError::Unexpected {
        method: "server/discover",
        status: StatusCode::OK,
        what: "no supportedVersions".into(),
    })?;
    headers.insert(MCP_METHOD, HeaderValue::from_static("tools/list"));
    let tools = list_tools(upstream, path, &headers, &result, &params).await;
    Ok(Look { info, tools })
}

/// All pages of `tools/list`, if the server declares tools in `handshake`.
async fn list_tools(
    upstream: &Upstream,
    path: &PathAndQuery,
    headers: &HeaderMap,
    handshake: &Value,
    params: &Value,
) -> Result<Catalog, HandshakeError> {
    let mut pages: Vec<String> = vec![];
    let declared = handshake
        .get("capabilities")
        .and_then(|capabilities| capabilities.get("tools"));
    if declared.is_none() {
        return Ok(Catalog::crawled([])?);
    }
    let mut params = params.clone();
    loop {
        let (_, page) = ask(upstream, path, headers.clone(), "tools/list", params.clone()).await?;
        let next = value(&page, "tools/list")?
            .get("nextCursor")
            .filter(|cursor| cursor.is_string())
            .cloned();
        pages.push(page);
        if pages.len() > PAGES || pages.iter().map(String::len).sum::<usize>() > PAGES_BYTES {
            return Err(HandshakeError::TooManyTools);
        }
        match next {
            Some(cursor) => params["cursor"] = cursor,
            None => return Ok(Catalog::crawled(pages.iter().map(String::as_str))?),
        }
    }
}

fn value(result: &str, method: &'static str) -> Result<Value, HandshakeError> {
    serde_json::from_str(result).map_err(|error| HandshakeError::Unexpected {
        method,
        status: StatusCode::OK,
        what: error.to_string(),
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

/// One request and the result of its answer as it was sent, in JSON or server-sent events.
async fn ask(
    upstream: &Upstream,
    path: &PathAndQuery,
    headers: HeaderMap,
    method: &'static str,
    params: Value,
) -> Result<(HeaderMap, String), HandshakeError> {
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let response = send(upstream, path, Method::POST, headers, Bytes::from(message.to_string())).await?;
    let (head, body) = response.into_parts();
    let answer = tokio::time::timeout(ANSWER_BOUND, read_answer(&head.headers, body))
        .await
        .ok()
        .flatten()
        .ok_or(HandshakeError::Unreadable { method })?;
    let what = match answer_of(&answer) {
        Answer::Result(result) if head.status.is_success() => return Ok((head.headers, result)),
        Answer::Result(_) => "a result".into(),
        Answer::Error(message) => format!("the error {}", shortened(&message)),
        Answer::None => "no JSON-RPC answer".into(),
    };
    Err(HandshakeError::Unexpected {
        method,
        status: head.status,
        what,
    })
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
    upstream.forward(&head, body, None).await
}

enum Answer {
    Result(String),
    Error(String),
    None,
}

/// What a message says in answer to request 1.
fn answer_of(message: &[u8]) -> Answer {
    let read = || {
        let text = strict::read(message, strict::MAX_DEPTH).ok()?;
        let root = Members::of(text, &["id", "result", "error"]).ok()?;
        if let Some(error) = root.get("error") {
            let error = Members::of(error.get(), &[]).ok()?;
            return Some(Answer::Error(error.string("message")?.into_owned()));
        }
        let is_answer = root.get("id").is_some_and(|id| id.get() == "1");
        let result = root.get("result").filter(|_| is_answer)?;
        Some(Answer::Result(result.get().to_owned()))
    };
    read().unwrap_or(Answer::None)
}

/// Reads until the answer to request 1 is whole; an event stream is not read to its end. `None` when it breaks off.
async fn read_answer(headers: &HeaderMap, mut body: Incoming) -> Option<Bytes> {
    let mut splitter = crate::pipeline::is_event_stream(headers).then(|| Splitter::new(ANSWER_BYTES));
    let mut text = BytesMut::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        length += data.len();
        if length > ANSWER_BYTES {
            return None;
        }
        let Some(splitter) = &mut splitter else {
            text.extend_from_slice(&data);
            continue;
        };
        for piece in splitter.push(&data).ok()? {
            let Piece::Event(event) = piece else { continue };
            let message = event.data().unwrap_or_default();
            if !matches!(answer_of(&message), Answer::None) {
                return Some(Bytes::from(message.into_owned()));
            }
        }
    }
    splitter.is_none().then(|| text.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    #[test]
    fn only_what_answers_request_1_is_an_answer() {
        let of = |text: &str| match answer_of(text.as_bytes()) {
            Answer::Result(result) => result,
            Answer::Error(message) => format!("error {message}"),
            Answer::None => "none".to_owned(),
        };
        assert_eq!(of(r#"{"jsonrpc":"2.0","id":1,"result":{ "a":1 }}"#), r#"{ "a":1 }"#);
        assert_eq!(
            of(r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"no"}}"#),
            "error no"
        );
        for text in [
            r#"{"jsonrpc":"2.0","method":"notifications/message"}"#,
            r#"{"jsonrpc":"2.0","id":2,"result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{},"result":{}}"#,
            "[]",
            "",
        ] {
            assert_eq!(of(text), "none", "{text}");
        }
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
