//! What a collector gets: it is read here by structures of its own, made from the protocol's definition, which refuse
//! fields that the protocol does not have.

mod refusals;

use super::*;
use crate::journal::{Journal, Journaled, Program, Settings};
use crate::verify::{Leniency, verify};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use pretty_assertions::assert_eq;
use rustls::pki_types::PrivateKeyDer;
use sallyport_policy::{AuditFormat, AuditPolicy, AuditSinks, EndpointIdentity};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::io::Write as _;
use std::sync::Mutex;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LogsRequest {
    resource_logs: Vec<ResourceLogs>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ResourceLogs {
    resource: Resource,
    scope_logs: Vec<ScopeLogs>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resource {
    attributes: Vec<KeyValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ScopeLogs {
    scope: Scope,
    log_records: Vec<LogRecord>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Scope {
    name: String,
    #[serde(rename = "version")]
    _version: String,
}

#[derive(Deserialize, Clone)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LogRecord {
    time_unix_nano: String,
    #[serde(rename = "observedTimeUnixNano")]
    _observed: String,
    severity_number: u8,
    severity_text: String,
    event_name: String,
    body: AnyValue,
    attributes: Vec<KeyValue>,
    trace_id: Option<String>,
    span_id: Option<String>,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
struct KeyValue {
    key: String,
    value: AnyValue,
}

#[derive(Deserialize, Clone, Debug, PartialEq)]
enum AnyValue {
    #[serde(rename = "stringValue")]
    Text(String),
    #[serde(rename = "intValue")]
    Integer(String),
    #[serde(rename = "boolValue")]
    Boolean(bool),
    #[serde(rename = "arrayValue")]
    Array { values: Vec<AnyValue> },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TracesRequest {
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ResourceSpans {
    #[serde(rename = "resource")]
    _resource: Resource,
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ScopeSpans {
    #[serde(rename = "scope")]
    _scope: Scope,
    spans: Vec<ReceivedSpan>,
}

#[derive(Deserialize, Clone)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ReceivedSpan {
    trace_id: String,
    span_id: String,
    parent_span_id: String,
    name: String,
    kind: u8,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    attributes: Vec<KeyValue>,
    #[serde(rename = "links")]
    _links: Vec<Value>,
    status: Value,
}

/// Takes those that it does not keep out of the records of a request, and says what is answered: nothing, if the
/// connection breaks.
type Judge = Arc<dyn Fn(&mut Vec<LogRecord>) -> Option<(StatusCode, &'static str)> + Send + Sync>;

/// A collector that speaks OTLP over HTTP.
#[derive(Clone, Default)]
struct Receiver {
    logs: Arc<Mutex<Vec<LogRecord>>>,
    resource: Arc<Mutex<Vec<KeyValue>>>,
    spans: Arc<Mutex<Vec<ReceivedSpan>>>,
    answer: Arc<Mutex<Option<(StatusCode, &'static str)>>>,
    judge: Arc<Mutex<Option<Judge>>>,
    requests: Arc<Mutex<usize>>,
}

impl Receiver {
    async fn start(&self) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let receiver = self.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(receiver.clone().serve(stream));
            }
        });
        port
    }

    /// As `start`, behind TLS with a certificate for 127.0.0.1. Returns the port and the certificate's file.
    async fn start_tls(&self) -> (u16, tempfile::Ca) {
        let certificate = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(certificate.signing_key.serialize_der().into());
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let receiver = self.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                if let Ok(stream) = acceptor.accept(stream).await {
                    tokio::spawn(receiver.clone().serve(stream));
                }
            }
        });
        (port, tempfile::Ca::new(&certificate.cert.pem()))
    }

    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let service = service_fn(move |request| {
            let receiver = self.clone();
            async move { receiver.take(request).await.ok_or("broken off") }
        });
        let _ = http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    async fn take(&self, request: Request<Incoming>) -> Option<Response<Full<Bytes>>> {
        *self.requests.lock().unwrap() += 1;
        let answer = *self.answer.lock().unwrap();
        let (mut status, mut text) = answer.unwrap_or((StatusCode::OK, "{}"));
        assert_eq!(request.headers()["content-type"], "application/json");
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        if status.is_success() && text == "{}" {
            match path.as_str() {
                "/base/v1/logs" => (status, text) = self.take_logs(&body)?,
                "/base/v1/traces" => self.take_traces(&body),
                other => panic!("{other}"),
            }
        }
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = status;
        Some(response)
    }

    fn take_logs(&self, body: &[u8]) -> Option<(StatusCode, &'static str)> {
        let request: LogsRequest = serde_json::from_slice(body).unwrap();
        let mut records = Vec::new();
        for resource in request.resource_logs {
            *self.resource.lock().unwrap() = resource.resource.attributes;
            for scope in resource.scope_logs {
                assert_eq!(scope.scope.name, "sallyport.audit");
                records.extend(scope.log_records);
            }
        }
        let judge = self.judge.lock().unwrap().clone();
        let answer = judge.map_or(Some((StatusCode::OK, "{}")), |judge| judge(&mut records));
        self.logs.lock().unwrap().extend(records);
        answer
    }

    fn take_traces(&self, body: &[u8]) {
        let request: TracesRequest = serde_json::from_slice(body).unwrap();
        let scopes = request
            .resource_spans
            .into_iter()
            .flat_map(|resource| resource.scope_spans);
        self.spans.lock().unwrap().extend(scopes.flat_map(|scope| scope.spans));
    }

    fn answer(&self, answer: Option<(StatusCode, &'static str)>) {
        *self.answer.lock().unwrap() = answer;
    }

    fn judge(&self, judge: impl Fn(&mut Vec<LogRecord>) -> Option<(StatusCode, &'static str)> + Send + Sync + 'static) {
        *self.judge.lock().unwrap() = Some(Arc::new(judge));
    }

    /// The bodies of what came, as a log.
    fn log(&self) -> Vec<u8> {
        let mut log = Vec::new();
        for record in self.logs.lock().unwrap().iter() {
            writeln!(log, "{}", record.line()).unwrap();
        }
        log
    }
}

impl LogRecord {
    fn line(&self) -> &str {
        let AnyValue::Text(line) = &self.body else {
            panic!("{:?}", self.body)
        };
        line
    }
}

/// A file that is gone with the test.
mod tempfile {
    use std::path::PathBuf;

    pub struct Ca(pub PathBuf);

    impl Ca {
        pub fn new(pem: &str) -> Self {
            let path = std::env::temp_dir().join(format!("sallyport-{}.pem", uuid::Uuid::now_v7()));
            std::fs::write(&path, pem).unwrap();
            Self(path)
        }
    }

    impl Drop for Ca {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }
}

/// A call with a span.
struct Call(u64);

impl Journaled for Call {
    fn render(&self, _: AuditFormat) -> Result<Map<String, Value>, serde_json::Error> {
        Ok([("number".to_owned(), json!(self.0))].into_iter().collect())
    }

    fn telemetry(&self) -> Option<Telemetry> {
        let time: Timestamp = "2026-11-21T05:06:07Z".parse().unwrap();
        let context = SpanContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        let mut telemetry = Telemetry::plain(time, "request", self.0 == 1);
        telemetry.attributes = vec![
            ("gen_ai.tool.name", Attribute::Text("echo".into())),
            ("http.response.status_code", Attribute::Integer(200)),
            ("sallyport.tool.pin.matches", Attribute::Boolean(true)),
            ("user.roles", Attribute::Texts(vec!["reader".into()])),
        ];
        telemetry.context = context;
        telemetry.spans = vec![Span {
            name: "tools/call echo".into(),
            kind: SpanKind::Server,
            context: context?.sibling([1; 8]),
            parent: context,
            link: context,
            start: time,
            end: "2026-11-21T05:06:08Z".parse().unwrap(),
            attributes: telemetry.attributes.clone(),
            failed: true,
        }];
        Some(telemetry)
    }
}

type Started = (Journal<Call>, crate::journal::JournalThread);

fn start(url: String, ca: Option<&tempfile::Ca>, on_sink_failure: OnSinkFailure, capacity: usize) -> Started {
    let policy = policy(url, ca, on_sink_failure);
    start_with(policy, capacity, JournalMetrics::default())
}

fn policy(url: String, ca: Option<&tempfile::Ca>, on_sink_failure: OnSinkFailure) -> AuditPolicy {
    AuditPolicy {
        sinks: AuditSinks {
            stdout: false,
            otlp: Some(OtlpSink {
                endpoint: url,
                ca_file: ca.map(|ca| ca.0.display().to_string()),
                traces: true,
            }),
        },
        on_sink_failure,
        ..AuditPolicy::default()
    }
}

fn start_with(policy: AuditPolicy, capacity: usize, metrics: JournalMetrics) -> Started {
    let endpoint = EndpointIdentity {
        namespace: "team-a".into(),
        name: "demo".into(),
        uid: "u".into(),
    };
    let settings = Settings::new(Program::here("test", "0", Arc::new(endpoint)), policy, capacity);
    Journal::start(std::io::sink(), settings, metrics).unwrap()
}

async fn until(mut holds: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not reached in 10 s");
}

async fn send(journal: &Journal<Call>, number: u64) {
    journal.admit().await.unwrap().send(Call(number));
}

#[tokio::test]
async fn a_collector_gets_each_line_with_its_names_and_spans() {
    let receiver = Receiver::default();
    let port = receiver.start().await;
    let (journal, thread) = start(format!("http://127.0.0.1:{port}/base/"), None, OnSinkFailure::Block, 8);
    for number in 0..3 {
        send(&journal, number).await;
    }
    drop(journal);
    thread.finish(Duration::from_mins(1)).await.unwrap();

    let report = verify(&receiver.log(), &[], Leniency::default());
    assert_eq!(
        (
            report.findings.len(),
            report.chains[0].records.last,
            report.chains[0].ended
        ),
        (0, 4, true)
    );

    let records = receiver.logs.lock().unwrap().clone();
    let record = &records[2];
    assert_eq!(record.time_unix_nano, "1795237567000000000");
    assert_eq!((record.severity_number, record.severity_text.as_str()), (13, "WARN"));
    assert_eq!(record.event_name, "sallyport.audit.request");
    assert_eq!(record.trace_id.as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
    assert_eq!(record.span_id.as_deref(), Some("00f067aa0ba902b7"));
    let value = |key: &str| {
        record
            .attributes
            .iter()
            .find(|pair| pair.key == key)
            .map(|pair| pair.value.clone())
    };
    assert_eq!(value("gen_ai.tool.name"), Some(AnyValue::Text("echo".into())));
    assert_eq!(
        value("http.response.status_code"),
        Some(AnyValue::Integer("200".into()))
    );
    assert_eq!(value("sallyport.tool.pin.matches"), Some(AnyValue::Boolean(true)));
    let roles = vec![AnyValue::Text("reader".into())];
    assert_eq!(value("user.roles"), Some(AnyValue::Array { values: roles }));

    let resource = receiver.resource.lock().unwrap().clone();
    assert!(
        resource
            .iter()
            .any(|pair| pair.key == "service.name" && pair.value == AnyValue::Text("test".into()))
    );

    let spans = receiver.spans.lock().unwrap().clone();
    assert_eq!(spans.len(), 3);
    let span = &spans[0];
    assert_eq!((span.name.as_str(), span.kind), ("tools/call echo", 2));
    assert_eq!(
        (span.span_id.as_str(), span.parent_span_id.as_str()),
        ("0101010101010101", "00f067aa0ba902b7")
    );
    assert_eq!(span.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(span.start_time_unix_nano, "1795237567000000000");
    assert_eq!(span.end_time_unix_nano, "1795237568000000000");
    assert_eq!(span.status, json!({"code": 2}));
    assert_eq!(span.attributes.len(), 4);
}

#[tokio::test]
async fn a_collector_behind_tls_must_lead_to_the_named_authority() {
    let receiver = Receiver::default();
    let (port, ca) = receiver.start_tls().await;
    let (journal, thread) = start(
        format!("https://127.0.0.1:{port}/base"),
        Some(&ca),
        OnSinkFailure::Block,
        8,
    );
    send(&journal, 0).await;
    drop(journal);
    thread.finish(Duration::from_mins(1)).await.unwrap();
    assert_eq!(receiver.logs.lock().unwrap().len(), 3);

    let (_, other) = Receiver::default().start_tls().await;
    let (journal, _thread) = start(
        format!("https://127.0.0.1:{port}/base"),
        Some(&other),
        OnSinkFailure::Block,
        8,
    );
    send(&journal, 1).await;
    until(|| journal.check_sink().is_err()).await;
    assert_eq!(
        receiver.logs.lock().unwrap().len(),
        3,
        "nothing came from whom the collector cannot prove itself to"
    );
}

#[tokio::test]
async fn calls_are_blocked_while_the_collector_refuses_and_nothing_is_lost() {
    let receiver = Receiver::default();
    let port = receiver.start().await;
    receiver.answer(Some((StatusCode::SERVICE_UNAVAILABLE, "")));
    let (journal, thread) = start(format!("http://127.0.0.1:{port}/base"), None, OnSinkFailure::Block, 8);
    send(&journal, 0).await;
    until(|| journal.check_sink().is_err()).await;
    let before = *receiver.requests.lock().unwrap();
    until(|| *receiver.requests.lock().unwrap() > before + 1).await;
    assert!(journal.check_sink().is_err());
    receiver.answer(None);
    until(|| journal.check_sink().is_ok()).await;
    send(&journal, 1).await;
    drop(journal);
    thread.finish(Duration::from_mins(1)).await.unwrap();
    let report = verify(&receiver.log(), &[], Leniency::default());
    assert_eq!((report.findings.len(), report.chains[0].records.last), (0, 3));
}

#[tokio::test]
async fn drop_lets_calls_pass_and_the_chain_says_what_the_collector_was_not_given() {
    let receiver = Receiver::default();
    let port = receiver.start().await;
    receiver.answer(Some((StatusCode::SERVICE_UNAVAILABLE, "")));
    let (journal, thread) = start(format!("http://127.0.0.1:{port}/base"), None, OnSinkFailure::Drop, 4096);
    // From here on its thread holds what it could not send, and takes no more.
    until(|| *receiver.requests.lock().unwrap() > 0).await;
    let calls = QUEUE as u64 * 2;
    for number in 0..calls {
        journal.check_sink().unwrap();
        send(&journal, number).await;
    }
    until(|| journal.anchor().is_some_and(|anchor| anchor.seq == calls)).await;
    receiver.answer(None);
    until(|| receiver.logs.lock().unwrap().len() >= QUEUE).await;
    send(&journal, calls).await;
    drop(journal);
    thread.finish(Duration::from_mins(1)).await.unwrap();
    let report = verify(&receiver.log(), &[], Leniency::default());
    assert_eq!(report.findings, []);
    let chain = &report.chains[0];
    let arrived = receiver.logs.lock().unwrap().len() as u64;
    assert!(chain.lost > 0);
    // All calls, the start, the end and the mark of the loss.
    assert_eq!(arrived + chain.lost, calls + 1 + 3);
}

#[tokio::test]
async fn a_collector_that_never_takes_the_last_records_is_told_of_at_the_end() {
    let (journal, thread) = start("http://127.0.0.1:1".into(), None, OnSinkFailure::Block, 8);
    send(&journal, 0).await;
    drop(journal);
    let end = thread.finish(Duration::from_mins(1)).await;
    assert!(
        matches!(end, Err(crate::journal::UnwrittenRecords::Failed { count: 3 })),
        "{end:?}"
    );
}

#[test]
fn a_missing_authority_is_told_of() {
    let sink = OtlpSink {
        endpoint: "https://127.0.0.1:4318".into(),
        ca_file: Some("/nowhere/ca.crt".into()),
        traces: false,
    };
    assert!(matches!(Client::new(&sink), Err(OtlpError::ReadAuthority { .. })));
}
