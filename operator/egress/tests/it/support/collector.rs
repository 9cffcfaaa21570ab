//! A collector of OpenTelemetry.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;

/// Keeps the log records that it is sent, unless it refuses.
#[derive(Clone)]
pub struct Collector {
    pub endpoint: String,
    records: Arc<Mutex<Vec<Value>>>,
    refuses: Arc<AtomicBool>,
    refused: Arc<AtomicBool>,
}

impl Collector {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let collector = Self {
            endpoint: format!("http://{}", listener.local_addr().unwrap()),
            records: Arc::default(),
            refuses: Arc::default(),
            refused: Arc::default(),
        };
        let served = collector.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let served = served.clone();
                let service = service_fn(move |request| {
                    let served = served.clone();
                    async move { Ok::<_, Infallible>(served.take(request).await) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        collector
    }

    async fn take(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from_static(b"{}")));
        if self.refuses.load(Ordering::Relaxed) {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            self.refused.store(true, Ordering::Relaxed);
            return response;
        }
        assert_eq!(request.uri().path(), "/v1/logs", "connections are no spans");
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let records = &body["resourceLogs"][0]["scopeLogs"][0]["logRecords"];
        self.records.lock().unwrap().extend(records.as_array().unwrap().clone());
        response
    }

    pub fn refuse(&self, refuses: bool) {
        self.refuses.store(refuses, Ordering::Relaxed);
    }

    /// Whether it refused anything yet.
    pub fn has_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    pub fn records(&self) -> Vec<Value> {
        self.records.lock().unwrap().clone()
    }

    /// The lines that the log records hold.
    pub fn lines(&self) -> Vec<String> {
        let records = self.records().into_iter();
        records
            .map(|record| record["body"]["stringValue"].as_str().unwrap().to_owned())
            .collect()
    }
}
