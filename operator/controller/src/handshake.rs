//! What the server said of itself in the MCP handshake, asked of the audit sidecar in front of it.

use bytes::Bytes;
use http::{Request, StatusCode, header::HOST};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use sallyport_api::v1alpha1::ServerInfo;
use std::{net::SocketAddr, time::Duration};
use tokio::{net::TcpStream, time::timeout};

const PATH: &str = "/server";
const DEADLINE: Duration = Duration::from_secs(3);
const MAX_BODY: usize = 16 << 10;
const MAX_TEXT: usize = 128;

/// Why the sidecar did not tell.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// No answer in time.
    #[error("the audit sidecar did not answer within {DEADLINE:?}")]
    Timeout,
    /// No connection.
    #[error("the audit sidecar cannot be reached from the operator; does a NetworkPolicy of the operator forbid it?")]
    Connect(#[source] std::io::Error),
    /// The connection broke.
    #[error("the connection to the audit sidecar broke")]
    Http(#[source] hyper::Error),
    /// The answer is no description of a server.
    #[error("the audit sidecar's answer cannot be read; operator and sidecar must be of one release")]
    Unreadable,
    /// The server has not answered yet.
    #[error("the server has not answered the MCP handshake yet")]
    Pending,
}

/// Asks the admin port of the sidecar at `address`, within three seconds.
///
/// The texts come from the server, which is not trusted: they are cut short and rid of control characters.
///
/// # Errors
///
/// See [`HandshakeError`].
pub async fn fetch(address: SocketAddr) -> Result<ServerInfo, HandshakeError> {
    timeout(DEADLINE, exchange(address))
        .await
        .map_err(|_| HandshakeError::Timeout)?
}

async fn exchange(address: SocketAddr) -> Result<ServerInfo, HandshakeError> {
    let stream = TcpStream::connect(address).await.map_err(HandshakeError::Connect)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(HandshakeError::Http)?;
    let request = Request::get(PATH)
        .header(HOST, address.to_string())
        .body(Empty::<Bytes>::new());
    let request = request.map_err(|_| HandshakeError::Unreadable)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(HandshakeError::Http)?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::SERVICE_UNAVAILABLE => return Err(HandshakeError::Pending),
            _ => return Err(HandshakeError::Unreadable),
        }
        let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
        let body = body.map_err(|_| HandshakeError::Unreadable)?.to_bytes();
        let info: ServerInfo = serde_json::from_slice(&body).map_err(|_| HandshakeError::Unreadable)?;
        Ok(ServerInfo {
            name: plain(&info.name),
            version: plain(&info.version),
            protocol_version: plain(&info.protocol_version),
        })
    };
    tokio::pin!(connection, answer);
    tokio::select! {
        answer = &mut answer => answer,
        // The connection may be done before its answer was taken.
        _ = &mut connection => answer.await,
    }
}

fn plain(text: &str) -> String {
    text.chars()
        .filter(|character| !character.is_control())
        .take(MAX_TEXT)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sidecar;

    #[tokio::test]
    async fn the_server_is_described_and_its_texts_are_cut() {
        let name = format!("every\\nthing{}", "x".repeat(500));
        let body = format!(r#"{{"name":"{name}","version":"1.0","protocolVersion":"2025-11-25"}}"#);
        let info = fetch(sidecar("200 OK", body).await).await.unwrap();
        assert!(
            info.name.starts_with("everything") && info.name.len() == MAX_TEXT,
            "{info:?}"
        );
        assert_eq!(info.protocol_version, "2025-11-25");
    }

    #[tokio::test]
    async fn a_server_that_has_not_answered_is_pending_and_nonsense_is_refused() {
        let pending = fetch(sidecar("503 Service Unavailable", String::new()).await).await;
        assert!(matches!(pending, Err(HandshakeError::Pending)), "{pending:?}");
        let nonsense = fetch(sidecar("200 OK", "[]".to_owned()).await).await;
        assert!(matches!(nonsense, Err(HandshakeError::Unreadable)), "{nonsense:?}");
        let endless = fetch(sidecar("200 OK", " ".repeat(MAX_BODY + 1)).await).await;
        assert!(matches!(endless, Err(HandshakeError::Unreadable)), "{endless:?}");
        let nobody = fetch("127.0.0.1:1".parse().unwrap()).await;
        assert!(matches!(nobody, Err(HandshakeError::Connect(_))), "{nobody:?}");
    }
}
