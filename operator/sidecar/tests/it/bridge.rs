//! What the bridge of a stdio server is told of who calls.

use crate::support::{CALL, Running, json_text, policy};
use http::{HeaderMap, Request};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use pretty_assertions::assert_eq;
use serde_json::json;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, UnixListener};

/// What stands in a bridge's place, and the headers that it got.
struct Bridge {
    socket: PathBuf,
    received: Arc<Mutex<Vec<HeaderMap>>>,
}

impl Bridge {
    fn start() -> Self {
        let socket = std::env::temp_dir().join(format!("sallyport-{}.sock", uuid::Uuid::now_v7()));
        let listener = UnixListener::bind(&socket).unwrap();
        let received = Arc::new(Mutex::new(vec![]));
        let seen = received.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let seen = seen.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    seen.lock().unwrap().push(request.headers().clone());
                    async {
                        let body = json!({"jsonrpc": "2.0", "id": 1, "result": {"protocolVersion": "2025-11-25",
                            "capabilities": {}, "serverInfo": {"name": "socket", "version": "1"}}});
                        Ok::<_, Infallible>(json_text(body.to_string()))
                    }
                });
                let serving =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                tokio::spawn(serving);
            }
        });
        Self { socket, received }
    }

    /// The callers of the requests with `x-test`, which are not the sidecar's own.
    fn callers(&self) -> Vec<Vec<String>> {
        let received = self.received.lock().unwrap();
        let tests = received.iter().filter(|headers| headers.contains_key("x-test"));
        let callers = |headers: &HeaderMap| {
            let named = headers.get_all("sallyport-caller").iter();
            named.map(|caller| caller.to_str().unwrap().to_owned()).collect()
        };
        tests.map(callers).collect()
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// Calls from the address `from`, which tells anonymous callers apart, with `headers` besides.
async fn call(from: &str, at: SocketAddr, headers: &str) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    let mut stream = socket.connect(at).await.unwrap();
    let length = CALL.len();
    let request = format!(
        "POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\ncontent-length: {length}\r\nx-test: 1\r\n{headers}\r\n{CALL}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    let reading = tokio::time::timeout(Duration::from_secs(10), stream.read_exact(&mut answer));
    reading.await.unwrap().unwrap();
    assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 200", "{headers}");
}

#[tokio::test]
async fn a_bridge_is_told_who_calls_and_no_caller_can_say_so_himself() {
    let bridge = Bridge::start();
    let mut there = policy(1);
    there.upstream = sallyport_policy::Upstream::socket(&bridge.socket, "/mcp");
    let sidecar = Running::start(there, std::io::sink()).await;
    sidecar.until_ready().await;
    call("127.0.0.1", sidecar.traffic, "").await;
    let alice = bridge.callers().remove(0).remove(0);
    assert!(
        alice.len() == 64 && alice.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{alice}"
    );
    for headers in [
        "sallyport-caller: forged\r\n",
        "Sallyport-Caller: forged\r\nSALLYPORT-CALLER: forged\r\n",
        "connection: sallyport-caller\r\nsallyport-caller: forged\r\n",
    ] {
        call("127.0.0.1", sidecar.traffic, headers).await;
    }
    assert_eq!(bridge.callers(), vec![vec![alice.clone()]; 4]);
    // Whoever knows the name of another is still himself.
    call("127.0.0.2", sidecar.traffic, &format!("sallyport-caller: {alice}\r\n")).await;
    let mallory = bridge.callers().remove(4);
    assert_eq!(mallory.len(), 1);
    assert_ne!(mallory[0], alice);
    // The sidecar's own requests are nobody's.
    let own = bridge.received.lock().unwrap()[0].clone();
    assert!(!own.contains_key("x-test") && !own.contains_key("sallyport-caller"));
}
