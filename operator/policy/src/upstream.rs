//! Where the server is.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Where the server is. Always in the same pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct Upstream {
    /// How it is reached.
    pub address: ServerAddress,
    /// Path of the MCP endpoint; the only path that is forwarded.
    pub path: String,
}

/// How the server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerAddress {
    /// Port on 127.0.0.1 or `::1`.
    Port(u16),
    /// Path of a unix socket, as a bridge of a stdio server listens on.
    Socket(PathBuf),
}

impl Upstream {
    /// A server that listens on a loopback port.
    pub fn port(port: u16, path: impl Into<String>) -> Self {
        Self {
            address: ServerAddress::Port(port),
            path: path.into(),
        }
    }

    /// A server that listens on a unix socket.
    pub fn socket(socket: impl Into<PathBuf>, path: impl Into<String>) -> Self {
        Self {
            address: ServerAddress::Socket(socket.into()),
            path: path.into(),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wire {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    socket: Option<PathBuf>,
    path: String,
}

/// Neither or both.
#[derive(Debug, thiserror::Error)]
#[error("upstream needs exactly one of port and socket")]
struct NotOneAddress;

impl TryFrom<Wire> for Upstream {
    type Error = NotOneAddress;

    fn try_from(wire: Wire) -> Result<Self, NotOneAddress> {
        let address = match (wire.port, wire.socket) {
            (Some(port), None) => ServerAddress::Port(port),
            (None, Some(socket)) => ServerAddress::Socket(socket),
            _ => return Err(NotOneAddress),
        };
        Ok(Self {
            address,
            path: wire.path,
        })
    }
}

impl From<Upstream> for Wire {
    fn from(upstream: Upstream) -> Self {
        let (port, socket) = match upstream.address {
            ServerAddress::Port(port) => (Some(port), None),
            ServerAddress::Socket(socket) => (None, Some(socket)),
        };
        Self {
            port,
            socket,
            path: upstream.path,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    #[test]
    fn a_server_has_one_address() {
        for (text, upstream) in [
            (r#"{"port":3001,"path":"/mcp"}"#, Upstream::port(3001, "/mcp")),
            (
                r#"{"socket":"/run/s.sock","path":"/mcp"}"#,
                Upstream::socket("/run/s.sock", "/mcp"),
            ),
        ] {
            assert_eq!(serde_json::from_str::<Upstream>(text).unwrap(), upstream);
            assert_eq!(serde_json::to_string(&upstream).unwrap(), text);
        }
        for text in [
            r#"{"path":"/mcp"}"#,
            r#"{"port":1,"socket":"/a","path":"/mcp"}"#,
            r#"{"port":1,"path":"/mcp","host":"evil.example"}"#,
        ] {
            assert!(serde_json::from_str::<Upstream>(text).is_err(), "{text}");
        }
    }
}
