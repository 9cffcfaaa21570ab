//! A server, a sidecar before it, a client, and the records.

mod server;
mod sinks;

pub use server::{Answer, Received, Server, events, json_answer, json_text, reply};
pub use sinks::{Gate, Lines};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use sallyport_policy::enforcement::{Enforcement, EnforcementMode, KubernetesApi};
use sallyport_policy::{EndpointIdentity, Limits, Listen, PolicyFile, Rate, Rates, Upstream};
use sallyport_sidecar::{Place, Sidecar, UnwrittenRecords};
use serde_json::Value;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A whole `tools/call`.
pub const CALL: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"secret"}}}"#;

/// SHA-256 of [`CALL`]'s arguments, by another implementation (`printf ... | sha256sum`).
pub const CALL_ARGUMENTS_SHA256: &str = "9b8a2160ecdd8368b97236ab8bd1eb6e043126499c1a89882ca9dc95ff5baa09";

/// An address at which connections are refused: nothing listens on a port that needs privileges.
pub const REFUSING: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// A policy for a server on `port`, with bounds short enough for tests.
pub fn policy(port: u16) -> PolicyFile {
    let endpoint = EndpointIdentity {
        namespace: "team-a".into(),
        name: "demo".into(),
        uid: "uid-1".into(),
    };
    let listen = Listen::new(0, 0);
    PolicyFile {
        hosts: vec!["demo.team-a.svc".into(), "127.0.0.1".into()],
        origins: vec!["https://app.example".into()],
        limits: Limits {
            body_bytes: 64 * 1024,
            response_header_seconds: 20,
            stream_seconds: 30,
            connections: 64,
            drain_seconds: 5,
            concurrent_requests_per_principal: 1024,
            rates: fast(),
            ..Limits::default()
        },
        enforcement: Enforcement {
            mode: EnforcementMode::Required,
            wait_seconds: 1,
            canaries: vec![REFUSING],
            kubernetes_api: KubernetesApi::Forbidden,
        },
        ..PolicyFile::open(endpoint, listen, Upstream::port(port, "/mcp"))
    }
}

/// Rates that no test reaches unless it means to.
pub fn fast() -> Rates {
    let rate = Rate::per_minute(60_000_000, 1_000_000);
    Rates {
        per_principal: rate,
        per_tool: rate,
        discover: rate,
        failed_authentication: rate,
        tools: vec![],
    }
}

/// Where the sidecar of a test is.
pub fn place() -> Place {
    Place {
        api_server: Some(REFUSING),
        pod: None,
        ports: None,
        termination_log: None,
    }
}

/// The program itself, in a pod whose API server is refused.
pub fn program() -> tokio::process::Command {
    let mut program = tokio::process::Command::new(env!("CARGO_BIN_EXE_sallyport-sidecar"));
    program
        .env("KUBERNETES_SERVICE_HOST", REFUSING.ip().to_string())
        .env("KUBERNETES_SERVICE_PORT", REFUSING.port().to_string());
    program
}

/// A sidecar that runs.
pub struct Running {
    pub traffic: SocketAddr,
    pub admin: SocketAddr,
    pub signer: Option<SocketAddr>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), UnwrittenRecords>>,
}

impl Running {
    pub async fn start(policy: PolicyFile, sink: impl Write + Send + 'static) -> Self {
        Self::start_at(policy, place(), sink).await
    }

    pub async fn start_at(policy: PolicyFile, place: Place, sink: impl Write + Send + 'static) -> Self {
        Self::serve(Sidecar::bind(policy, place, sink).await.unwrap())
    }

    /// The same with a sidecar that waits so long for clients that take nothing.
    pub async fn start_with_patience(policy: PolicyFile, patience: Duration) -> Self {
        let sidecar = Sidecar::bind(policy, place(), std::io::sink()).await.unwrap();
        Self::serve(sidecar.with_patience(patience))
    }

    pub fn serve(sidecar: Sidecar) -> Self {
        let on_loopback = |address: SocketAddr| SocketAddr::from(([127, 0, 0, 1], address.port()));
        let traffic = on_loopback(sidecar.traffic_address());
        let admin = on_loopback(sidecar.admin_address());
        let signer = sidecar.signer_address().map(on_loopback);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(sidecar.serve(async {
            let _ = stopped.await;
        }));
        Self {
            traffic,
            admin,
            signer,
            stop,
            task,
        }
    }

    /// Stops it and waits for its end.
    pub async fn stop(self) -> Result<(), UnwrittenRecords> {
        let _ = self.stop.send(());
        self.task.await.unwrap()
    }

    /// Tells it to stop and leaves the waiting to the caller.
    pub fn begin_stop(self) -> JoinHandle<Result<(), UnwrittenRecords>> {
        let _ = self.stop.send(());
        self.task
    }

    pub async fn admin(&self, path: &str) -> (StatusCode, String) {
        let uri = format!("http://{}{path}", self.admin);
        let response = client()
            .request(Request::get(uri).body(Full::default()).unwrap())
            .await
            .unwrap();
        let (head, body) = response.into_parts();
        let text = body.collect().await.unwrap().to_bytes();
        (head.status, String::from_utf8(text.to_vec()).unwrap())
    }

    pub async fn until_ready(&self) {
        until("the sidecar is ready", async || self.admin("/readyz").await.0 == 200).await;
    }
}

/// Server and sidecar, the records in memory.
pub async fn pair(server: &Server) -> (Running, Lines) {
    let lines = Lines::default();
    let running = Running::start(policy(server.port), lines.clone()).await;
    (running, lines)
}

pub fn client() -> Client<HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new()).build_http()
}

/// A client at another address, which is another caller where nobody proves who they are.
pub fn neighbour() -> Client<HttpConnector, Full<Bytes>> {
    let mut connector = HttpConnector::new();
    connector.set_local_address(Some(Ipv4Addr::new(127, 0, 0, 2).into()));
    Client::builder(TokioExecutor::new()).build(connector)
}

/// A client that sends `body`, takes the head of the answer and no more of it than its buffer does.
pub async fn stuck(at: SocketAddr, body: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    let mut stream = socket.connect(at).await.unwrap();
    let length = body.len();
    let request = format!(
        "POST /mcp HTTP/1.1\r\nHost: demo.team-a.svc\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nX-Test: 1\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    stream
}

/// A POST of `body` as an MCP client sends it.
pub fn post(at: SocketAddr, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post(format!("http://{at}/mcp"))
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("x-test", "1")
        .body(Full::new(body.into()))
        .unwrap()
}

/// A GET as an MCP client sends it.
pub fn get(at: SocketAddr) -> Request<Full<Bytes>> {
    Request::get(format!("http://{at}/mcp"))
        .header("accept", "text/event-stream")
        .header("x-test", "1")
        .body(Full::default())
        .unwrap()
}

/// A POST of a modern request: `params` without their braces.
pub fn modern(at: SocketAddr, method: &str, name: Option<&str>, params: &str) -> Request<Full<Bytes>> {
    let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
    let comma = if params.is_empty() { "" } else { "," };
    let body = format!(r#"{{"jsonrpc":"2.0","id":7,"method":"{method}","params":{{{params}{comma}{meta}}}}}"#);
    let mut request = post(at, body);
    let headers = request.headers_mut();
    headers.insert("mcp-protocol-version", "2026-07-28".parse().unwrap());
    headers.insert("mcp-method", method.parse().unwrap());
    if let Some(name) = name {
        headers.insert("mcp-name", name.parse().unwrap());
    }
    request
}

pub async fn send(request: Request<Full<Bytes>>) -> Response<Incoming> {
    client().request(request).await.unwrap()
}

/// Status and JSON body.
pub async fn json_of(response: Response<Incoming>) -> (StatusCode, Value) {
    let (head, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    (head.status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

/// A sidecar with other limits before `server`.
pub async fn with_limits(server: &Server, change: impl FnOnce(&mut Limits)) -> (Running, Lines) {
    let mut policy = policy(server.port);
    change(&mut policy.limits);
    let lines = Lines::default();
    (Running::start(policy, lines.clone()).await, lines)
}

/// Writes bytes on a connection of their own and returns all that comes back until the peer closes or 10 s pass.
pub async fn raw(at: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// Waits up to 10 s.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..1000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not reached in 10 s: {what}");
}
