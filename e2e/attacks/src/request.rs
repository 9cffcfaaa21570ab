//! Requests as an attacker writes them: right in all but what the attack is about.

use crate::raw::{Answer, Connection};
use serde_json::{Value, json};
use std::net::SocketAddr;

/// In which protocol a request is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// 2025-11-25.
    Legacy,
    /// 2026-07-28.
    Modern,
}

impl Era {
    /// The version's name.
    pub const fn version(self) -> &'static str {
        match self {
            Self::Legacy => "2025-11-25",
            Self::Modern => "2026-07-28",
        }
    }
}

/// A well-formed JSON-RPC message.
#[derive(Clone, Debug)]
pub struct Message(Value);

impl Message {
    /// A request. In the modern era it carries what each request must.
    pub fn request(era: Era, method: &str, params: &Value) -> Self {
        let mut message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        if era == Era::Modern {
            message["params"]["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": era.version(),
                "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}},
                "io.modelcontextprotocol/clientInfo": {"name": "attacker", "version": "1"},
            });
        }
        Self(message)
    }

    /// A call of a tool.
    pub fn call(era: Era, tool: &str, arguments: &Value) -> Self {
        Self::request(era, "tools/call", &json!({"name": tool, "arguments": arguments}))
    }

    /// With `patch` set at the JSON pointer.
    #[must_use]
    pub fn set(mut self, pointer: &str, patch: Value) -> Self {
        if let Some((parent, key)) = pointer.rsplit_once('/') {
            let key = key.replace("~1", "/").replace("~0", "~");
            self.0.pointer_mut(parent).unwrap_or(&mut json!({}))[key.as_str()] = patch;
        }
        self
    }

    /// Its text.
    pub fn text(&self) -> String {
        self.0.to_string()
    }

    fn string(&self, pointer: &str) -> Option<&str> {
        self.0.pointer(pointer)?.as_str()
    }
}

/// A POST: header lines and a body, neither of which needs to be right.
#[derive(Clone, Debug)]
pub struct Post {
    lines: Vec<String>,
    body: Vec<u8>,
}

impl Post {
    /// The headers that go with `message`, and the message.
    pub fn of(era: Era, message: &Message) -> Self {
        let mut post = Self::bare(message.text());
        if message.string("/method") != Some("initialize") {
            post = post.header("MCP-Protocol-Version", era.version());
        }
        if era == Era::Modern {
            post = post.header("Mcp-Method", message.string("/method").unwrap_or_default());
            let named = ["/params/name", "/params/uri", "/params/taskId"];
            let name = named.into_iter().find_map(|pointer| message.string(pointer));
            if let Some(name) = name {
                post = post.header("Mcp-Name", name);
            }
        }
        post
    }

    /// The headers of HTTP alone, and a body.
    pub fn bare(body: impl Into<Vec<u8>>) -> Self {
        let lines = [
            "POST /mcp HTTP/1.1",
            "Host: 127.0.0.1",
            "Content-Type: application/json",
            "Accept: application/json, text/event-stream",
        ];
        Self {
            lines: lines.map(str::to_owned).to_vec(),
            body: body.into(),
        }
    }

    /// With a header more.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.lines.push(format!("{name}: {value}"));
        self
    }

    /// With a line as it is, whatever it is.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    /// With another value of a header, or without it.
    #[must_use]
    pub fn replace(mut self, name: &str, value: Option<&str>) -> Self {
        let prefix = format!("{}:", name.to_ascii_lowercase());
        self.lines
            .retain(|line| !line.to_ascii_lowercase().starts_with(&prefix));
        match value {
            Some(value) => self.header(name, value),
            None => self,
        }
    }

    /// With another request line.
    #[must_use]
    pub fn target(mut self, line: &str) -> Self {
        line.clone_into(&mut self.lines[0]);
        self
    }

    /// Its bytes, with the length of the body.
    pub fn bytes(&self) -> Vec<u8> {
        self.clone()
            .header("Content-Length", &self.body.len().to_string())
            .unframed()
    }

    /// Its bytes without a word about the body's length: for those who say it themselves.
    pub fn unframed(&self) -> Vec<u8> {
        let mut bytes = self.lines.join("\r\n").into_bytes();
        bytes.extend_from_slice(b"\r\n\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Sends it on a connection of its own.
    pub async fn send(&self, address: SocketAddr) -> Option<Answer> {
        let mut connection = Connection::open(address).await.ok()?;
        connection.send(&self.bytes()).await;
        connection.answer().await
    }
}
