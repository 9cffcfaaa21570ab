//! An HTTP proxy that opens tunnels to one host, and records whom it was asked for.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use tokio::net::{TcpListener, TcpStream};

pub struct Proxy {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// Lets through who asks for `host`, on any port, to 127.0.0.1 on that port.
    pub async fn start(host: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(vec![]));
        let task = tokio::spawn(serve(listener, host.to_owned(), asked.clone()));
        Self { port, asked, task }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, host: String, asked: Arc<Mutex<Vec<String>>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (host, asked) = (host.clone(), asked.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let answer = answer(request, &host, &asked);
                async move { Ok::<_, Infallible>(answer) }
            });
            let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            let _ = serving.with_upgrades().await;
        });
    }
}

fn answer(request: Request<Incoming>, host: &str, asked: &Mutex<Vec<String>>) -> Response<Empty<Bytes>> {
    let target = request.uri().authority().cloned();
    asked
        .lock()
        .unwrap()
        .push(format!("{} {}", request.method(), request.uri()));
    let target = target.filter(|target| request.method() == Method::CONNECT && target.host() == host);
    let Some(port) = target.and_then(|target| target.port_u16()) else {
        return Response::builder()
            .status(StatusCode::FORBIDDEN)
            .body(Empty::new())
            .unwrap();
    };
    tokio::spawn(async move {
        let mut client = TokioIo::new(hyper::upgrade::on(request).await.unwrap());
        let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
    });
    Response::new(Empty::new())
}
