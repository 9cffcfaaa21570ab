//! What a call costs through the sidecar, as a ratio to the same call made directly: `cargo bench --bench overhead`.
//!
//! Client, sidecar and server share one process and loopback, so absolute figures say little; the ratio is of two things
//! measured in turns in one run. Every call leaves an audit record, which is written to nowhere.

use bytes::Bytes;
use futures::future::try_join_all;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use sallyport_policy::enforcement::{Enforcement, EnforcementMode, KubernetesApi};
use sallyport_policy::{EndpointIdentity, Limits, Listen, PolicyFile, Rate, Rates, Upstream};
use sallyport_sidecar::{Place, Sidecar};
use std::{
    convert::Infallible,
    error::Error,
    time::{Duration, Instant},
};
use tokio::net::TcpListener;

const CALL: &str =
    r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"hello"}}}"#;
const ANSWER: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"hello"}]}}"#;
const ROUNDS: usize = 7;
const CALLS: usize = 2000;

type Failure = Box<dyn Error + Send + Sync>;
type Caller = Client<HttpConnector, Full<Bytes>>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let server = serve().await?;
    let sidecar = Sidecar::bind(policy(server), Place::default(), std::io::sink()).await?;
    let port = sidecar.traffic_address().port();
    tokio::spawn(sidecar.serve(std::future::pending()));
    for callers in [1, 16] {
        let (mut direct, mut through) = (vec![], vec![]);
        for _ in 0..ROUNDS {
            direct.push(round(server, callers).await?);
            through.push(round(port, callers).await?);
        }
        let (direct, through) = (median(direct), median(through));
        println!(
            "{callers:>2} callers: direct {:>6.1} µs a call, through the sidecar {:>6.1} µs, ratio {:.2} (medians of {ROUNDS} rounds of {CALLS} calls)",
            micros(direct),
            micros(through),
            through.as_secs_f64() / direct.as_secs_f64(),
        );
    }
    Ok(())
}

async fn round(port: u16, callers: usize) -> Result<Duration, Failure> {
    let client: Caller = Client::builder(TokioExecutor::new()).build_http();
    let started = Instant::now();
    try_join_all((0..callers).map(|_| calls(&client, port, CALLS / callers))).await?;
    Ok(started.elapsed())
}

async fn calls(client: &Caller, port: u16, count: usize) -> Result<(), Failure> {
    for _ in 0..count {
        let request = Request::post(format!("http://127.0.0.1:{port}/mcp"))
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .body(Full::new(Bytes::from_static(CALL.as_bytes())))?;
        let response = client.request(request).await?;
        if !response.status().is_success() {
            return Err(format!("a call was answered with {}", response.status()).into());
        }
        response.into_body().collect().await?;
    }
    Ok(())
}

/// An MCP server as fast as one can be, so that the sidecar's share is not hidden.
async fn serve() -> Result<u16, Failure> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)));
        }
    });
    Ok(port)
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let _ = request.into_body().collect().await;
    let mut response = Response::new(Full::new(Bytes::from_static(ANSWER.as_bytes())));
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, json);
    Ok(response)
}

fn policy(port: u16) -> PolicyFile {
    let endpoint = EndpointIdentity {
        namespace: "bench".into(),
        name: "bench".into(),
        uid: "bench".into(),
    };
    let listen = Listen::new(0, 0);
    PolicyFile {
        hosts: vec!["127.0.0.1".into()],
        enforcement: Enforcement {
            mode: EnforcementMode::Warn,
            wait_seconds: 1,
            canaries: vec![],
            kubernetes_api: KubernetesApi::Forbidden,
        },
        limits: Limits {
            rates: Rates {
                per_principal: Rate::per_minute(60_000_000, 1_000_000),
                per_tool: Rate::per_minute(60_000_000, 1_000_000),
                ..Rates::default()
            },
            ..Limits::default()
        },
        ..PolicyFile::open(endpoint, listen, Upstream::port(port, "/mcp"))
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[allow(clippy::cast_precision_loss)]
fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6 / CALLS as f64
}
