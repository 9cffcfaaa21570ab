//! The way to the server: loopback only, by either address family.

use futures::future::BoxFuture;
use http::Uri;
use hyper_util::rt::TokioIo;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::task::{Context, Poll};
use tokio::net::TcpStream;
use tower::Service;

/// Connects to 127.0.0.1 or, when nothing listens there, to `::1`.
///
/// # Errors
///
/// The IPv4 attempt's error when both fail.
pub async fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = match TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
        Ok(stream) => stream,
        Err(error) => TcpStream::connect((Ipv6Addr::LOCALHOST, port))
            .await
            .map_err(|_| error)?,
    };
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A connector that knows one port and ignores what the URI names: nothing can send a request elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Loopback {
    /// The server's port.
    pub port: u16,
}

impl Service<Uri> for Loopback {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let port = self.port;
        Box::pin(async move { connect(port).await.map(TokioIo::new) })
    }
}
