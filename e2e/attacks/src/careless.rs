//! A server that is careless in the ways that attacks live on. Each carelessness is one of a real server.

use serde::Deserializer;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// Which of two equal keys is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// The first.
    First,
    /// The last, as most parsers do.
    Last,
    /// The last whose name is the same after case folding, as Go's `encoding/json` does (CVE-2026-27896).
    AnyCase,
}

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// `Content-Length` wins.
    Length,
    /// `Transfer-Encoding` wins, wherever its value has the word `chunked`.
    Chunked,
}

/// What a server believes.
#[derive(Clone, Copy, Debug)]
pub struct Beliefs {
    /// Of JSON.
    pub keys: Keys,
    /// Of HTTP.
    pub framing: Framing,
    /// Take the tool's name from `Mcp-Name`, and what it is to run from `Mcp-Param-Route`.
    pub header: bool,
    /// Take names for equal that look equal.
    pub looks: bool,
    /// The tools that it offers, as a JSON array.
    pub tools: &'static str,
}

impl Default for Beliefs {
    fn default() -> Self {
        Self {
            keys: Keys::Last,
            framing: Framing::Chunked,
            header: false,
            looks: false,
            tools: TOOLS,
        }
    }
}

/// A serving careless server. It ends when this is dropped.
#[derive(Debug)]
pub struct Careless {
    address: SocketAddr,
    seen: Seen,
    serving: JoinHandle<()>,
}

/// What reached it. Clones share it.
#[derive(Clone, Debug, Default)]
struct Seen(Arc<Mutex<(Vec<String>, Vec<u8>)>>);

impl Seen {
    fn with<T>(&self, change: impl FnOnce(&mut (Vec<String>, Vec<u8>)) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Careless {
    /// Serves from now on.
    ///
    /// # Errors
    ///
    /// When no port is free.
    pub async fn start(beliefs: Beliefs) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let seen = Seen::default();
        let serving = tokio::spawn(serve(listener, beliefs, seen.clone()));
        Ok(Self { address, seen, serving })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The tools that it ran, by the name that it believed.
    pub fn ran(&self) -> Vec<String> {
        self.seen.with(|(ran, _)| ran.clone())
    }

    /// Whether it runs this tool after the first `before` ones; what is on its way gets up to 5 s to arrive.
    pub async fn runs(&self, tool: &str, before: usize) -> bool {
        for _ in 0..500 {
            if self.ran()[before..].iter().any(|ran| ran == tool) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }

    /// Every byte that reached it.
    pub fn received(&self) -> Vec<u8> {
        self.seen.with(|(_, bytes)| bytes.clone())
    }
}

impl Drop for Careless {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, beliefs: Beliefs, seen: Seen) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        while connections.try_join_next().is_some() {}
        connections.spawn(connection(stream, beliefs, seen.clone()));
    }
}

/// Reads requests until the other side ends; an attacker's view of HTTP has no errors.
async fn connection(mut stream: TcpStream, beliefs: Beliefs, seen: Seen) {
    let mut unread = vec![];
    let mut buffer = vec![0; 64 * 1024];
    loop {
        while let Some((request, rest)) = take_request(&unread, beliefs.framing) {
            unread = rest;
            let answer = request.answer(beliefs, &seen);
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
        match stream.read(&mut buffer).await {
            Ok(read) if read > 0 => {
                unread.extend_from_slice(&buffer[..read]);
                seen.with(|(_, bytes)| bytes.extend_from_slice(&buffer[..read]));
            }
            _ => return,
        }
    }
}

struct Request {
    head: String,
    body: Vec<u8>,
}

/// The first whole request of the bytes, and what is left.
fn take_request(bytes: &[u8], framing: Framing) -> Option<(Request, Vec<u8>)> {
    let text = String::from_utf8_lossy(bytes);
    // A bare line feed ends a line, too.
    let end = text.find("\r\n\r\n").map(|at| at + 4).into_iter();
    let end = end.chain(text.find("\n\n").map(|at| at + 2)).min()?;
    let head = text[..end].to_owned();
    // The head is ASCII, so the position holds for the bytes, too; others are no head of ours.
    let rest = bytes.get(end..)?;
    let chunked = header(&head, "transfer-encoding").is_some_and(|value| value.contains("chunked"));
    let length = header(&head, "content-length").and_then(|value| value.trim_start_matches('+').parse::<usize>().ok());
    let (body, rest) = match (framing, chunked, length) {
        (Framing::Chunked, true, _) | (Framing::Length, true, None) => take_chunks(rest)?,
        (_, _, Some(length)) => (rest.get(..length)?.to_vec(), &rest[length..]),
        _ => (vec![], rest),
    };
    let rest = rest.to_vec();
    Some((Request { head, body }, rest))
}

fn take_chunks(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut body = vec![];
    loop {
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let line = String::from_utf8_lossy(&rest[..end]).into_owned();
        // Whatever begins like a number is one.
        let digits: String = line
            .trim()
            .trim_start_matches("0x")
            .chars()
            .take_while(char::is_ascii_hexdigit)
            .collect();
        let size = usize::from_str_radix(&digits, 16).unwrap_or(0);
        rest = &rest[end + 1..];
        if size == 0 {
            let end = rest
                .iter()
                .position(|byte| *byte == b'\n')
                .map_or(rest.len(), |at| at + 1);
            return Some((body, &rest[end..]));
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = &rest[size..];
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        rest = &rest[end + 1..];
    }
}

fn header(head: &str, name: &str) -> Option<String> {
    // A bare carriage return ends a line as well.
    head.split(['\r', '\n']).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.trim()
            .eq_ignore_ascii_case(name)
            .then(|| value.trim().to_ascii_lowercase())
    })
}

impl Request {
    fn answer(&self, beliefs: Beliefs, seen: &Seen) -> String {
        let keys = beliefs.keys;
        let text = String::from_utf8_lossy(&self.body);
        let text = text.trim_start_matches('\u{feff}');
        // Of a batch, every message.
        let messages: Vec<&RawValue> = match serde_json::from_str::<Vec<&RawValue>>(text) {
            Ok(messages) => messages,
            Err(_) => serde_json::from_str(text).into_iter().collect(),
        };
        let mut id = "null".to_owned();
        let mut result = r#"{"content":[],"resultType":"complete"}"#.to_owned();
        for message in messages {
            let member = |key| member(message.get(), key, keys);
            id = member("id").unwrap_or(id);
            let method = member("method").and_then(|text| serde_json::from_str::<String>(&text).ok());
            match method.as_deref() {
                Some("tools/call") => {
                    let name = member("params").and_then(|params| crate::careless::member(&params, "name", keys));
                    let name = name.and_then(|name| serde_json::from_str::<String>(&name).ok());
                    let routed = header(&self.head, "mcp-param-route");
                    let mirrored = routed.or_else(|| header(&self.head, "mcp-name"));
                    let name = mirrored.filter(|_| beliefs.header).or(name).unwrap_or_default();
                    let name = if beliefs.looks { looks_like(&name) } else { name };
                    seen.with(|(ran, _)| ran.push(name));
                }
                Some("tools/list") => {
                    let rest = r#""resultType":"complete","ttlMs":0,"cacheScope":"private""#;
                    result = format!(r#"{{"tools":{},{rest}}}"#, beliefs.tools);
                }
                Some("initialize") => INITIALIZED.clone_into(&mut result),
                Some("server/discover") => DISCOVERED.clone_into(&mut result),
                _ => {}
            }
        }
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#);
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length";
        format!("{head}: {}\r\n\r\n{body}", body.len())
    }
}

/// What it offers unless a test wants otherwise.
pub const TOOLS: &str = r#"[{"name":"echo","inputSchema":{"type":"object","properties":{"route":{"type":"string","x-mcp-header":"Route"}}},"annotations":{"readOnlyHint":true}},{"name":"delete_note","inputSchema":{"type":"object"}}]"#;
const INITIALIZED: &str =
    r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"careless","version":"1"}}"#;
const DISCOVERED: &str = r#"{"supportedVersions":["2026-07-28","2025-11-25"],"capabilities":{"tools":{}},"serverInfo":{"name":"careless","version":"1"},"resultType":"complete","ttlMs":0,"cacheScope":"private"}"#;

/// A member of an object, as these keys are believed.
fn member(text: &str, key: &str, keys: Keys) -> Option<String> {
    let members = serde_json::Deserializer::from_str(text).deserialize_map(Members).ok()?;
    let mut fitting = members.into_iter().filter(|(name, _)| match keys {
        Keys::First | Keys::Last => name == key,
        Keys::AnyCase => fold(name) == fold(key),
    });
    let found = match keys {
        Keys::First => fitting.next(),
        Keys::Last | Keys::AnyCase => fitting.next_back(),
    };
    found.map(|(_, value)| value)
}

/// Simple case folding: U+017F is an `s` and U+212A a `k`.
fn fold(name: &str) -> String {
    name.chars()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .collect()
}

/// What a reader sees: no invisible characters, no case, full-width letters as plain ones.
fn looks_like(name: &str) -> String {
    let plain = name.chars().map(|character| match character {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(character) - 0xfee0).unwrap_or(character),
        '\u{435}' => 'e',
        '\u{43e}' => 'o',
        other => other,
    });
    plain
        .filter(char::is_ascii_graphic)
        .collect::<String>()
        .to_ascii_lowercase()
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, String)>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = vec![];
        while let Some((key, value)) = map.next_entry::<String, &RawValue>()? {
            members.push((key, value.get().to_owned()));
        }
        Ok(members)
    }
}
