//! Asking the admin port of an audit sidecar.

use bytes::Bytes;
use http::{Request, StatusCode, header::HOST};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use std::{net::SocketAddr, time::Duration};
use tokio::{net::TcpStream, time::timeout};

const MAX_BODY: usize = 16 << 10;

/// Why the sidecar did not tell.
#[derive(Debug, thiserror::Error)]
pub enum SidecarError {
    /// No answer in time.
    #[error("the audit sidecar did not answer within {0:?}")]
    Timeout(Duration),
    /// No connection.
    #[error("the audit sidecar cannot be reached from the operator; does a NetworkPolicy of the operator forbid it?")]
    Connect(#[source] std::io::Error),
    /// The connection broke.
    #[error("the connection to the audit sidecar broke")]
    Http(#[source] hyper::Error),
    /// The answer is not what was asked for.
    #[error("the audit sidecar's answer cannot be read; operator and sidecar must be of one release")]
    Unreadable,
    /// The sidecar does not know yet.
    #[error("the audit sidecar cannot tell yet")]
    Pending,
}

/// Reads the JSON document at `path` of the sidecar at `address`, within `deadline`.
///
/// # Errors
///
/// See [`SidecarError`].
pub async fn get<T: DeserializeOwned>(
    address: SocketAddr,
    path: &'static str,
    deadline: Duration,
) -> Result<T, SidecarError> {
    get_up_to(address, path, deadline, MAX_BODY).await
}

/// As [`get`], with an answer of at most `longest` bytes.
///
/// # Errors
///
/// See [`SidecarError`].
pub async fn get_up_to<T: DeserializeOwned>(
    address: SocketAddr,
    path: &'static str,
    deadline: Duration,
    longest: usize,
) -> Result<T, SidecarError> {
    timeout(deadline, exchange(address, path, longest))
        .await
        .map_err(|_| SidecarError::Timeout(deadline))?
}

/// What a pod said, fit for a status: at most `longest` characters, without those that control a terminal.
pub fn plain(text: &str, longest: usize) -> String {
    let visible = text.chars().filter(|character| !character.is_control());
    visible.take(longest).collect()
}

async fn exchange<T: DeserializeOwned>(
    address: SocketAddr,
    path: &'static str,
    longest: usize,
) -> Result<T, SidecarError> {
    let stream = TcpStream::connect(address).await.map_err(SidecarError::Connect)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(SidecarError::Http)?;
    let request = Request::get(path)
        .header(HOST, address.to_string())
        .body(Empty::<Bytes>::new());
    let request = request.map_err(|_| SidecarError::Unreadable)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(SidecarError::Http)?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::SERVICE_UNAVAILABLE => return Err(SidecarError::Pending),
            _ => return Err(SidecarError::Unreadable),
        }
        let body = Limited::new(response.into_body(), longest).collect().await;
        let body = body.map_err(|_| SidecarError::Unreadable)?.to_bytes();
        serde_json::from_slice(&body).map_err(|_| SidecarError::Unreadable)
    };
    tokio::pin!(connection, answer);
    tokio::select! {
        answer = &mut answer => answer,
        // The connection may be done before its answer was taken.
        _ = &mut connection => answer.await,
    }
}
