//! The way to the server: a loopback port, by either address family, or a unix socket. Nothing outside the pod.

use futures::future::BoxFuture;
use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use sallyport_policy::ServerAddress;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tower::Service;

/// Bytes that the kernel buffers of an answer; it counts twice as much.
const RECEIVE_BUFFER: u32 = 32 * 1024;

/// Connects to one address and ignores what the URI names: nothing can send a request elsewhere.
#[derive(Clone, Debug)]
pub struct Connector(Arc<ServerAddress>);

/// A connection to the server.
pub enum ServerStream {
    /// Over loopback.
    Tcp(TcpStream),
    /// Over a unix socket.
    Unix(UnixStream),
}

impl Connector {
    /// A connector to `address`.
    pub fn new(address: ServerAddress) -> Self {
        Self(Arc::new(address))
    }

    /// Connects; to a port by 127.0.0.1 or, when nothing listens there, by `::1`.
    ///
    /// # Errors
    ///
    /// The IPv4 attempt's error when both fail.
    pub async fn connect(&self) -> io::Result<ServerStream> {
        let port = match self.0.as_ref() {
            ServerAddress::Socket(path) => return UnixStream::connect(path).await.map(ServerStream::Unix),
            ServerAddress::Port(port) => *port,
        };
        let stream = match connect(TcpSocket::new_v4(), (Ipv4Addr::LOCALHOST, port).into()).await {
            Ok(stream) => stream,
            Err(error) => connect(TcpSocket::new_v6(), (Ipv6Addr::LOCALHOST, port).into())
                .await
                .map_err(|_| error)?,
        };
        stream.set_nodelay(true)?;
        Ok(ServerStream::Tcp(stream))
    }

    /// Whether a bridge listens there, in front of a server that reads no headers.
    pub fn leads_to_bridge(&self) -> bool {
        matches!(self.0.as_ref(), ServerAddress::Socket(_))
    }

    /// What the server reads as `Host`. Servers behind a socket get the name that they expect of a local client.
    pub fn authority(&self) -> String {
        match self.0.as_ref() {
            ServerAddress::Port(port) => format!("127.0.0.1:{port}"),
            ServerAddress::Socket(_) => "localhost".to_owned(),
        }
    }
}

async fn connect(socket: io::Result<TcpSocket>, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = socket?;
    // Left to itself, the kernel buffers megabytes of an answer whose client does not read.
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.connect(address).await
}

impl std::fmt::Display for Connector {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.as_ref() {
            ServerAddress::Port(port) => write!(formatter, "port {port}"),
            ServerAddress::Socket(path) => write!(formatter, "socket {}", path.display()),
        }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<ServerStream>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.connect().await.map(TokioIo::new) })
    }
}

impl Connection for ServerStream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for ServerStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for ServerStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, buffers),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(context, buffers),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Unix(stream) => stream.is_write_vectored(),
        }
    }
}
