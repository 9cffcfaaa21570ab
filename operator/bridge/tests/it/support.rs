//! A bridge that runs, and a client of it.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use sallyport_bridge::environment::FromFile;
use sallyport_bridge::{Mode, Program, Settings, serve};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub struct Bridge {
    pub socket: PathBuf,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

/// The server that `server.sh` is, under a bridge.
pub async fn bridge(mode: Mode, environment: Vec<FromFile>) -> Bridge {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/server.sh");
    bridge_of(vec!["sh", script], mode, environment, None).await
}

pub async fn bridge_of(command: Vec<&str>, mode: Mode, environment: Vec<FromFile>, peer: Option<u32>) -> Bridge {
    let socket = std::env::temp_dir().join(format!("bridge-{}.sock", uuid::Uuid::new_v4().simple()));
    let (stop, stopped) = oneshot::channel();
    let settings = Settings {
        socket: socket.clone(),
        peer,
        mode,
        program: Program {
            command: command.into_iter().map(Into::into).collect(),
            environment,
        },
    };
    let task = tokio::spawn(async move {
        let stop = async {
            let _ = stopped.await;
        };
        serve(settings, stop).await.unwrap();
    });
    for _ in 0..200 {
        if socket.exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Bridge {
        socket,
        running: Some((stop, task)),
    }
}

impl Bridge {
    /// A bridge that runs elsewhere.
    pub fn at(socket: PathBuf) -> Self {
        Self { socket, running: None }
    }

    pub async fn send(&self, method: Method, session: Option<&str>, body: impl Into<String>) -> Response<Incoming> {
        self.send_for(None, method, session, body).await
    }

    /// As the sidecar does it for `caller`.
    pub async fn send_for(
        &self,
        caller: Option<&str>,
        method: Method,
        session: Option<&str>,
        body: impl Into<String>,
    ) -> Response<Incoming> {
        let stream = UnixStream::connect(&self.socket).await.unwrap();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri("/mcp").header("host", "bridge");
        if let Some(session) = session {
            request = request.header("mcp-session-id", session);
        }
        if let Some(caller) = caller {
            request = request.header("sallyport-caller", caller);
        }
        let body = Full::new(Bytes::from(body.into()));
        sender.send_request(request.body(body).unwrap()).await.unwrap()
    }

    pub async fn post(&self, session: Option<&str>, message: Value) -> Response<Incoming> {
        self.send(Method::POST, session, message.to_string()).await
    }

    /// Sends a request and gives the messages that come back.
    pub async fn ask(&self, session: Option<&str>, message: Value) -> (StatusCode, Vec<Value>) {
        let response = self.post(session, message).await;
        (response.status(), messages(response).await)
    }

    /// Asks without params and gives the result.
    pub async fn result(&self, session: Option<&str>, method: &str) -> Value {
        let (status, messages) = self.ask(session, request(1, method)).await;
        assert_eq!(status, StatusCode::OK, "{messages:?}");
        messages.last().unwrap()["result"].clone()
    }

    /// Opens a session.
    pub async fn open(&self) -> String {
        self.try_open(None).await.unwrap()
    }

    /// Opens a session for `caller`; the status, if there is none.
    pub async fn try_open(&self, caller: Option<&str>) -> Result<String, StatusCode> {
        let initialize = request(0, "initialize").to_string();
        let response = self.send_for(caller, Method::POST, None, initialize).await;
        if response.status() != StatusCode::OK {
            return Err(response.status());
        }
        let session = response.headers()["mcp-session-id"].to_str().unwrap().to_owned();
        let answer = messages(response).await;
        assert_eq!(answer[0]["id"], 0, "{answer:?}");
        Ok(session)
    }

    pub async fn end(self) {
        if let Some((stop, task)) = self.running {
            let _ = stop.send(());
            task.await.unwrap();
        }
        assert!(!self.socket.exists());
    }
}

pub fn request(id: u32, method: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method })
}

/// All messages of an answer, whatever its form.
pub async fn messages(response: Response<Incoming>) -> Vec<Value> {
    let stream = response
        .headers()
        .get("content-type")
        .is_some_and(|form| form == "text/event-stream");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8(body.to_vec()).unwrap();
    if stream {
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        data.map(|data| serde_json::from_str(data).unwrap()).collect()
    } else if text.is_empty() {
        vec![]
    } else {
        vec![serde_json::from_str(&text).unwrap()]
    }
}
