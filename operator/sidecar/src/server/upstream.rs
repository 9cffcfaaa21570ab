//! Forwarding one request to the server.

use super::{Connector, ServerStream};
use crate::headers::CALLER;
use crate::pipeline::{Denial, LimitKey};
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use sallyport_policy::ServerAddress;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Shorter than the keep-alive of Node's HTTP server (5 s): a pooled connection is dropped before the server drops it.
const POOL_IDLE: Duration = Duration::from_secs(4);

/// Bytes that are read ahead of one answer, whose client may not read.
const MAX_BUFFER: usize = 16 * 1024;

/// Speaks HTTP/1.1 to the server over pooled connections. Clones share the pool.
#[derive(Clone)]
pub struct Upstream {
    client: Client<Connector, Full<Bytes>>,
    connector: Connector,
    /// Also the `Host` that the server sees: the client writes it from the URI.
    authority: String,
    head_bound: Duration,
    lost: Arc<Notify>,
}

impl Upstream {
    /// An upstream at `address`, whose answers must begin within `head_bound`.
    pub fn new(address: ServerAddress, head_bound: Duration) -> Self {
        let connector = Connector::new(address);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .http1_max_buf_size(MAX_BUFFER)
            .pool_idle_timeout(POOL_IDLE)
            .build(connector.clone());
        Self {
            client,
            authority: connector.authority(),
            connector,
            head_bound,
            lost: Arc::new(Notify::new()),
        }
    }

    /// Sends `body`, byte for byte, under `head`, whose headers must be stripped already. Dropping the future, or the
    /// answer's body before its end, closes the connection to the server. A bridge is told of `caller`, so that callers
    /// share its sessions fairly; a server is not.
    ///
    /// # Errors
    ///
    /// When the server does not answer, in time.
    pub async fn forward(
        &self,
        head: &Parts,
        body: Bytes,
        caller: Option<LimitKey>,
    ) -> Result<Response<Incoming>, Denial> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = self.target(&head.uri).map_err(|error| self.failed(&error))?;
        *request.headers_mut() = head.headers.clone();
        // The answer passes through readable.
        request
            .headers_mut()
            .insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if self.connector.leads_to_bridge()
            && let Some(caller) = caller
            && let Ok(digest) = HeaderValue::from_str(&caller.digest())
        {
            request.headers_mut().insert(CALLER, digest);
        }
        let response = match tokio::time::timeout(self.head_bound, self.client.request(request)).await {
            Err(_) => return Err(Denial::UpstreamTimedOut),
            Ok(Err(error)) => return Err(self.failed(&error)),
            Ok(Ok(response)) => response,
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            tracing::warn!("the server switched protocols, which nobody asked for");
            return Err(Denial::UpstreamFailed);
        }
        Ok(response)
    }

    /// A connection of its own, outside the pool.
    ///
    /// # Errors
    ///
    /// When nothing accepts it.
    pub async fn connect(&self) -> io::Result<ServerStream> {
        self.connector.connect().await
    }

    /// Where the server is, for people.
    pub const fn address(&self) -> &Connector {
        &self.connector
    }

    /// Returns when a request could not reach the server.
    pub async fn lost(&self) {
        self.lost.notified().await;
    }

    fn target(&self, uri: &Uri) -> Result<Uri, http::Error> {
        let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        Uri::builder()
            .scheme("http")
            .authority(self.authority.as_str())
            .path_and_query(path)
            .build()
    }

    fn failed(&self, error: &dyn std::error::Error) -> Denial {
        let cause = std::iter::successors(error.source(), |error| error.source()).last();
        tracing::warn!(%error, cause = cause.map(tracing::field::display), "the server does not answer");
        self.lost.notify_one();
        Denial::UpstreamFailed
    }
}
