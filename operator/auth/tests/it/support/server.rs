//! A small authorization server: HTTPS, a key set, introspection with client authentication.

use super::{Authority, Directory, Signer};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

pub const CLIENT_SECRET: &str = "s3cret&:%";

/// How the server behaves.
#[derive(Clone, Debug)]
pub enum Mode {
    Good,
    Status(u16),
    Redirect(String),
    /// Silent for longer than anybody waits.
    Silent,
    /// More bytes than anybody reads.
    Huge,
    /// Another document than asked for.
    Document(String),
}

pub struct State {
    pub mode: Mode,
    pub keys: Vec<Value>,
    /// Answers on tokens; others are inactive.
    pub tokens: HashMap<String, Value>,
    pub key_requests: usize,
    /// Tokens that were asked about by an authenticated client.
    pub questions: Vec<String>,
    pub unauthenticated: usize,
}

pub struct AuthorizationServer {
    port: u16,
    state: Arc<Mutex<State>>,
    directory: Directory,
    task: tokio::task::JoinHandle<()>,
}

impl AuthorizationServer {
    /// Serves HTTPS for `localhost` and `issuer.test`, with the keys of `signers`.
    pub async fn start(signers: &[&Signer]) -> Self {
        let authority = Authority::new("Issuers' CA");
        let directory = Directory::new();
        directory.write("ca.crt", &authority.pem);
        directory.write("client-secret", &format!("{CLIENT_SECRET}\n"));
        let state = Arc::new(Mutex::new(State {
            mode: Mode::Good,
            keys: signers.iter().map(|signer| signer.jwk()).collect(),
            tokens: HashMap::new(),
            key_requests: 0,
            questions: vec![],
            unauthenticated: 0,
        }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let tls = TlsAcceptor::from(authority.server(&["localhost", "issuer.test"]).server_config());
        let task = tokio::spawn(serve(listener, tls, state.clone()));
        Self {
            port,
            state,
            directory,
            task,
        }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn become_(&self, mode: Mode) {
        self.state().mode = mode;
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.port)
    }

    pub fn ca_file(&self) -> String {
        self.directory.path("ca.crt")
    }

    pub fn secret_file(&self) -> String {
        self.directory.path("client-secret")
    }

    pub fn write_secret(&self, secret: &str) {
        self.directory.write("client-secret", secret);
    }
}

impl Drop for AuthorizationServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, state: Arc<Mutex<State>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (tls, state) = (tls.clone(), state.clone());
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let service = service_fn(move |request| {
                let state = state.clone();
                async move { Ok::<_, Infallible>(answer(request, &state).await) }
            });
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(request: Request<Incoming>, state: &Mutex<State>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    if path == "/jwks" {
        state.lock().unwrap().key_requests += 1;
    }
    let mode = state.lock().unwrap().mode.clone();
    let document = match mode {
        Mode::Good => None,
        Mode::Status(status) => return plain(StatusCode::from_u16(status).unwrap(), ""),
        Mode::Redirect(to) => {
            let response = Response::builder().status(StatusCode::FOUND).header(LOCATION, to);
            return response.body(Full::default()).unwrap();
        }
        Mode::Silent => {
            tokio::time::sleep(Duration::from_mins(10)).await;
            None
        }
        Mode::Huge => Some(format!("{{\"keys\": [], \"filler\": \"{}\"}}", "x".repeat(1 << 20))),
        Mode::Document(text) => Some(text),
    };
    if let Some(document) = document {
        return plain(StatusCode::OK, &document);
    }
    match (request.method(), path.as_str()) {
        (&Method::GET, "/jwks") => {
            let keys = &state.lock().unwrap().keys;
            plain(StatusCode::OK, &json!({ "keys": keys }).to_string())
        }
        (&Method::POST, "/introspect") => introspect(request, state).await,
        _ => plain(StatusCode::NOT_FOUND, ""),
    }
}

/// RFC 7662 section 2, with HTTP Basic as RFC 6749 section 2.3.1 encodes it.
async fn introspect(request: Request<Incoming>, state: &Mutex<State>) -> Response<Full<Bytes>> {
    let pair = STANDARD.encode("sallyport%3Ademo:s3cret%26%3A%25");
    let authenticated = request
        .headers()
        .get(AUTHORIZATION)
        .is_some_and(|value| *value == format!("Basic {pair}"));
    let form = request
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|value| value == "application/x-www-form-urlencoded");
    if !authenticated || !form {
        state.lock().unwrap().unauthenticated += 1;
        return plain(StatusCode::UNAUTHORIZED, "{\"error\": \"invalid_client\"}");
    }
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let body = std::str::from_utf8(&body).unwrap();
    let token = body
        .split('&')
        .find_map(|pair| pair.strip_prefix("token="))
        .unwrap()
        .to_owned();
    let mut state = state.lock().unwrap();
    state.questions.push(token.clone());
    let answer = state.tokens.get(&token).cloned();
    plain(StatusCode::OK, &answer.unwrap_or(json!({"active": false})).to_string())
}

fn plain(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "application/json")
        .body(body)
        .unwrap()
}
