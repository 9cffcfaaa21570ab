//! A hop that puts headers into requests, for clients that cannot set them themselves.

use http::header::HeaderMap;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Either, Empty, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};

/// A reverse proxy that adds headers to each request and changes nothing else: `Host` and `Origin` pass as they are. It ends
/// when this is dropped.
#[derive(Debug)]
pub struct Hop {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Hop {
    /// Passes on to `upstream`, with `headers` in each request; a header that the client sent itself gives way.
    ///
    /// # Errors
    ///
    /// When no port is free.
    pub async fn start(upstream: SocketAddr, headers: HeaderMap) -> io::Result<Self> {
        Self::start_deaf(upstream, headers, None).await
    }

    /// The same, and answers 403 to requests whose body has the word `deaf_to` in it.
    ///
    /// # Errors
    ///
    /// When no port is free.
    pub async fn start_deaf(
        upstream: SocketAddr,
        headers: HeaderMap,
        deaf_to: Option<&'static str>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        Self::listening(listener, upstream, headers, deaf_to)
    }

    /// The same at a listener that is there already, for an upstream that has to know its address.
    ///
    /// # Errors
    ///
    /// When the listener has no address.
    pub fn listening(
        listener: TcpListener,
        upstream: SocketAddr,
        headers: HeaderMap,
        deaf_to: Option<&'static str>,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let serving = tokio::spawn(serve(listener, upstream, headers, deaf_to));
        Ok(Self { address, serving })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The MCP endpoint behind it.
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }
}

impl Drop for Hop {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(listener: TcpListener, upstream: SocketAddr, headers: HeaderMap, deaf_to: Option<&'static str>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        while connections.try_join_next().is_some() {}
        let headers = headers.clone();
        connections.spawn(async move {
            let service = service_fn(move |mut request: Request<Incoming>| {
                for (name, value) in &headers {
                    request.headers_mut().insert(name, value.clone());
                }
                async move { Ok::<_, std::convert::Infallible>(pass(request, upstream, deaf_to).await) }
            });
            // A client that breaks off is no concern of the hop.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

type Body = Either<Tied, Empty<Bytes>>;

async fn pass(request: Request<Incoming>, upstream: SocketAddr, deaf_to: Option<&str>) -> Response<Body> {
    forward(request, upstream, deaf_to).await.unwrap_or_else(|error| {
        let mut response = Response::new(Either::Right(Empty::new()));
        *response.status_mut() = match error {
            HopError::Deaf => StatusCode::FORBIDDEN,
            _ => StatusCode::BAD_GATEWAY,
        };
        response
    })
}

#[derive(Debug, thiserror::Error)]
enum HopError {
    #[error(transparent)]
    Connect(#[from] io::Error),
    #[error("the request has the word in it that the hop does not hear")]
    Deaf,
    #[error(transparent)]
    Http(#[from] hyper::Error),
}

/// One connection for each request: it is closed with the answer, and so as soon as the client is gone.
async fn forward(
    request: Request<Incoming>,
    upstream: SocketAddr,
    deaf_to: Option<&str>,
) -> Result<Response<Body>, HopError> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    if deaf_to.is_some_and(|word| String::from_utf8_lossy(&body).contains(word)) {
        return Err(HopError::Deaf);
    }
    let request = Request::from_parts(head, Full::new(body));
    let stream = TcpStream::connect(upstream).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = Abort(tokio::spawn(connection).abort_handle());
    let response = sender.send_request(request).await?;
    Ok(response.map(|body| {
        Either::Left(Tied {
            body,
            _connection: connection,
        })
    }))
}

/// An answer's body, and the connection that it comes on.
struct Tied {
    body: Incoming,
    _connection: Abort,
}

struct Abort(AbortHandle);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl hyper::body::Body for Tied {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, hyper::Error>>> {
        std::pin::Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::AUTHORIZATION;
    use sallyport_fixture::{Options, Server};

    #[tokio::test]
    async fn a_header_is_put_in_and_host_and_origin_stay() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let upstream = server.local_addr().unwrap();
        let headers = HeaderMap::from_iter([(AUTHORIZATION, "Bearer x".parse().unwrap())]);
        let hop = Hop::start(upstream, headers).await.unwrap();
        let serving = tokio::spawn(async move {
            let (stream, _) = server.accept().await.unwrap();
            let service = service_fn(|request: Request<Incoming>| async move {
                let seen = format!("{:?}", request.headers());
                Ok::<_, std::convert::Infallible>(Response::new(seen))
            });
            http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await
        });
        let stream = TcpStream::connect(hop.address()).await.unwrap();
        let (mut sender, connection) = conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::post("/mcp")
            .header("host", "a.example")
            .header("origin", "http://a.example");
        let response = sender
            .send_request(request.body(Empty::<Bytes>::new()).unwrap())
            .await
            .unwrap();
        let seen = response.into_body().collect().await.unwrap().to_bytes();
        let seen = String::from_utf8(seen.to_vec()).unwrap();
        assert!(
            seen.contains("Bearer x") && seen.contains("\"host\": \"a.example\""),
            "{seen}"
        );
        assert!(seen.contains("\"origin\": \"http://a.example\""), "{seen}");
        serving.abort();
    }

    #[tokio::test]
    async fn a_server_that_is_gone_is_a_bad_gateway() {
        let server = Server::start(Options::default()).await.unwrap();
        let upstream = server.address();
        drop(server);
        tokio::task::yield_now().await;
        let hop = Hop::start(upstream, HeaderMap::new()).await.unwrap();
        let stream = TcpStream::connect(hop.address()).await.unwrap();
        let (mut sender, connection) = conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::get("/mcp")
            .header("host", "x")
            .body(Empty::<Bytes>::new())
            .unwrap();
        assert_eq!(
            sender.send_request(request).await.unwrap().status(),
            StatusCode::BAD_GATEWAY
        );
    }
}
