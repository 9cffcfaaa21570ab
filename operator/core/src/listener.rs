//! Accepting connections, as many as allowed, and ending them in order.

use crate::client::ClientStream;
use crate::drain::{Drain, DrainControl, Phase};
use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::metrics::gauge::Gauge;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How long a connection may take to send a request's head, and how long it may stay idle.
const HEAD_BOUND: Duration = Duration::from_secs(30);

/// Headers and bytes of a request's head at most.
const MAX_HEADERS: usize = 100;
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// How long answers may take to end once they were told to.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How long a connection may stay idle once the pod's end is decided.
const IDLE_BOUND: Duration = Duration::from_secs(2);

/// Pause after a failed accept: it fails for want of file descriptors or memory, which a busy loop does not cure.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// Bytes that the kernel buffers for a connection in either direction; it counts twice as much.
pub const SOCKET_BUFFER: usize = 32 * 1024;

/// `EAFNOSUPPORT` on Linux, for which the standard library has no name.
const NO_SUCH_FAMILY: i32 = 97;

/// A port that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on port {port}: is another process in the pod using it?")]
pub struct BindError {
    port: u16,
    #[source]
    source: io::Error,
}

/// Listens on every address of the pod, of both families where the kernel has both.
///
/// Nobody else can listen on any of them then: the socket takes IPv4 too, whatever the node's default is, and never shares
/// its port (`SO_REUSEPORT`).
///
/// # Errors
///
/// When the port is taken on one of them.
// Async, because it needs the runtime that it is awaited in.
#[allow(clippy::unused_async)]
pub async fn bind(port: u16) -> Result<TcpListener, BindError> {
    let both = listen(Domain::IPV6, SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)));
    match both {
        Err(error) if has_no_ipv6(&error) => listen(Domain::IPV4, SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))),
        bound => bound,
    }
    .map_err(|source| BindError { port, source })
}

fn listen(domain: Domain, address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    if domain == Domain::IPV6 {
        socket.set_only_v6(false)?;
    }
    // Connections of a former life that linger do not keep the port.
    socket.set_reuse_address(true)?;
    // Connections inherit these. Left to itself, the kernel buffers megabytes for each reader that does not read, and counts
    // them as this container's memory.
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// A port that is taken is no such error: to fall back then would leave IPv6 to whoever holds it.
fn has_no_ipv6(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported
    ) || error.raw_os_error() == Some(NO_SUCH_FAMILY)
}

/// What becomes of callers that come once a server has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latecomers {
    /// They are refused at once, by whoever has the socket.
    Refused,
    /// They wait for the next process that has the socket. Refused, they would leave the port to somebody else: a socket
    /// that does not listen gives way to one that may share its address (`SO_REUSEADDR`).
    Waiting,
}

/// One listening port.
pub struct Server {
    /// Where connections come from.
    pub listener: TcpListener,
    /// What becomes of those that come too late.
    pub latecomers: Latecomers,
    /// Connections at a time; more wait in the kernel's queue.
    pub connections: usize,
    /// How long a client may take nothing of what it is sent; [`PATIENCE`](crate::client::PATIENCE), but in tests.
    pub patience: Duration,
    /// How many there are.
    pub gauge: Gauge,
}

impl Server {
    /// Lets `serve` serve each connection until the drain begins, then gives them `drain_bound` to finish, then ends
    /// them. `serve` learns of the peer and must watch the drain itself.
    ///
    /// On return no connection is left.
    pub async fn run<S, F>(self, serve: S, mut drain: Drain, control: &DrainControl, drain_bound: Duration)
    where
        S: Fn(ClientStream, IpAddr) -> F,
        F: Future + Send + 'static,
    {
        let places = Arc::new(Semaphore::new(self.connections));
        let mut connections = JoinSet::new();
        let accepting = async {
            loop {
                // Never closed.
                let Ok(place) = places.clone().acquire_owned().await else {
                    break;
                };
                let (stream, peer) = match self.listener.accept().await {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                };
                while connections.try_join_next().is_some() {}
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "TCP_NODELAY is refused");
                }
                let connection = serve(ClientStream::new(stream, self.patience), peer.ip());
                let gauge = self.gauge.clone();
                connections.spawn(async move {
                    gauge.inc();
                    connection.await;
                    gauge.dec();
                    drop(place);
                });
            }
        };
        tokio::select! {
            () = accepting => {}
            () = drain.reached(Phase::Draining) => {}
        }
        if self.latecomers == Latecomers::Refused
            && let Err(error) = SockRef::from(&self.listener).shutdown(Shutdown::Both)
        {
            tracing::debug!(%error, "the listening does not end at once");
        }
        drop(self.listener);
        let finish = async |connections: &mut JoinSet<()>| while connections.join_next().await.is_some() {};
        if tokio::time::timeout(drain_bound, finish(&mut connections))
            .await
            .is_err()
        {
            tracing::warn!(left = connections.len(), "the time to drain is over");
            control.advance(Phase::Ended);
            if tokio::time::timeout(LAST_WORDS, finish(&mut connections))
                .await
                .is_err()
            {
                connections.shutdown().await;
            }
        }
    }
}

/// When a connection is closed though nobody calls on it: a while after the pod's end is decided, so that a caller who is
/// about to use it is told by an answer's header, and not by a request that fails.
async fn idle_end(drain: &mut Drain) {
    let mut stopping = drain.clone();
    drain.reached(Phase::Leaving).await;
    tokio::select! {
        () = tokio::time::sleep(IDLE_BOUND) => {}
        () = stopping.reached(Phase::Draining) => {}
    }
}

/// Serves HTTP/1.1 on one connection: `handler` answers its requests, one after the other; once the drain begins, the
/// one under way is the last.
///
/// Returns the status that a request was answered with whose head no handler saw, since it is none of HTTP/1.1's or has too
/// many headers or bytes: it ended the connection.
pub async fn serve_http<S, H, F, B>(stream: S, peer: IpAddr, handler: H, mut drain: Drain) -> Option<StatusCode>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    H: Fn(Request<Incoming>, IpAddr) -> F,
    F: Future<Output = Response<B>>,
    B: Body + 'static,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let phase = drain.clone();
    let service = service_fn(|request| {
        let response = handler(request, peer);
        let phase = &phase;
        async move {
            let mut response = response.await;
            if phase.phase() >= Phase::Leaving {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_BOUND)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES)
        .half_close(false)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = std::pin::pin!(serving);
    let result = tokio::select! {
        result = serving.as_mut() => result,
        () = idle_end(&mut drain) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    let error = result.err()?;
    tracing::debug!(%error, %peer, "a connection ended with an error");
    // As hyper answers them.
    error.is_parse().then_some(if error.is_parse_too_large() {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
    } else {
        StatusCode::BAD_REQUEST
    })
}
