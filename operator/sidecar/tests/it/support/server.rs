//! A server that does what a test says and remembers what it was sent.

use bytes::Bytes;
use futures::StreamExt;
use futures::channel::mpsc;
use http::{HeaderMap, Method, Request, Response};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Collected, Full, StreamBody};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;

pub type Answer = Response<BoxBody<Bytes, std::io::Error>>;

/// What the server saw of one request.
#[derive(Clone, Debug)]
pub struct Received {
    pub method: Method,
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Answers the sidecar's own handshake by itself; everything with `x-test` is the test's.
#[derive(Clone)]
pub struct Server {
    pub port: u16,
    received: Arc<Mutex<Vec<Received>>>,
    /// Methods of the sidecar's own requests, and whether each carried a session.
    pub handshakes: Arc<Mutex<Vec<(String, bool)>>>,
    pub tasks: Arc<Mutex<Vec<tokio::task::AbortHandle>>>,
    /// What the sidecar's own `tools/list` is answered, as a JSON array; `None`: it has no tools.
    pub tools: Arc<Mutex<Option<String>>>,
}

impl Server {
    pub async fn start<F>(answer: impl Fn(Received) -> F + Clone + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        Self::listen(TcpListener::bind("127.0.0.1:0").await.unwrap(), answer)
    }

    pub fn listen<F>(listener: TcpListener, answer: impl Fn(Received) -> F + Clone + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            received: Arc::default(),
            handshakes: Arc::default(),
            tasks: Arc::default(),
            tools: Arc::default(),
        };
        let accepting = server.clone();
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    return;
                };
                let server = accepting.clone();
                let answer = answer.clone();
                let connection = tokio::spawn(async move {
                    let service = service_fn(|request| server.clone().serve(request, answer.clone()));
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
                accepting.tasks.lock().unwrap().push(connection.abort_handle());
            }
        });
        server.tasks.lock().unwrap().push(task.abort_handle());
        server
    }

    /// Stops listening and resets all connections.
    pub fn kill(&self) {
        for task in self.tasks.lock().unwrap().drain(..) {
            task.abort();
        }
    }

    /// The test's requests that arrived.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    async fn serve<F>(self, request: Request<Incoming>, answer: impl Fn(Received) -> F) -> Result<Answer, Infallible>
    where
        F: Future<Output = Answer>,
    {
        let (head, body) = request.into_parts();
        let received = Received {
            method: head.method,
            target: head.uri.to_string(),
            body: body.collect().await.map(Collected::to_bytes).unwrap_or_default(),
            headers: head.headers,
        };
        if !received.headers.contains_key("x-test") {
            return Ok(self.handshake(&received));
        }
        self.received.lock().unwrap().push(received.clone());
        Ok(answer(received).await)
    }

    fn handshake(&self, received: &Received) -> Answer {
        let message: serde_json::Value = serde_json::from_slice(&received.body).unwrap_or_default();
        let name = message["method"]
            .as_str()
            .unwrap_or(received.method.as_str())
            .to_owned();
        let session = received.headers.contains_key("mcp-session-id");
        self.handshakes.lock().unwrap().push((name.clone(), session));
        let tools = self.tools.lock().unwrap().clone();
        match name.as_str() {
            "tools/list" => json_text(format!(
                r#"{{"jsonrpc":"2.0","id":1,"result":{{"tools":{}}}}}"#,
                tools.unwrap_or_default()
            )),
            "initialize" => {
                let capabilities = if tools.is_some() { r#"{"tools":{}}"# } else { "{}" };
                let mut answer = json_text(format!(
                    r#"{{"jsonrpc":"2.0","id":1,"result":{{"protocolVersion":"2025-11-25","capabilities":{capabilities},"serverInfo":{{"name":"fixture","version":"7"}}}}}}"#
                ));
                answer.headers_mut().insert("mcp-session-id", "own".parse().unwrap());
                answer
            }
            "notifications/initialized" => reply(202, ""),
            _ => reply(200, ""),
        }
    }
}

pub fn reply(status: u16, body: impl Into<Bytes>) -> Answer {
    let body = Full::new(body.into()).map_err(|never| match never {}).boxed();
    Response::builder().status(status).body(body).unwrap()
}

pub fn json_answer(body: &'static str) -> Answer {
    json_text(body.to_owned())
}

pub fn json_text(body: String) -> Answer {
    let mut answer = reply(200, body);
    answer
        .headers_mut()
        .insert("content-type", "application/json".parse().unwrap());
    answer
}

/// A stream of events, and where to put them. An error breaks the connection off.
pub fn events(content_type: &'static str) -> (mpsc::UnboundedSender<Result<&'static str, std::io::Error>>, Answer) {
    let (sender, receiver) = mpsc::unbounded();
    let frames = receiver.map(|event: Result<&'static str, std::io::Error>| {
        event.map(|event| Frame::data(Bytes::from_static(event.as_bytes())))
    });
    let body = BodyExt::boxed(StreamBody::new(frames));
    let answer = Response::builder()
        .header("content-type", content_type)
        .body(body)
        .unwrap();
    (sender, answer)
}
