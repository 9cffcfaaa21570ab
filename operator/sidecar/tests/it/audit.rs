//! What is recorded of requests, and that it is whole.

use crate::support::{CALL, Lines, Running, Server, events, json_answer, pair, policy, post, send, until};
use http_body_util::{BodyExt, Full};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use pretty_assertions::assert_eq;
use sallyport_audit::Anchor;
use sallyport_audit::verify::{Leniency, verify};
use sallyport_policy::{ArgumentsMode, AuditFormat, AuditPolicy, AuditSinks, OtlpSink};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;

const RESULT: &str = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;

const WITH_SECRETS: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"password":"hunter2","text":"ghp_abcdefghijklmnopqrstuvwxyz0123456789"}}}"#;

async fn started(audit: AuditPolicy) -> (Running, Lines) {
    let server = Server::start(async |_| json_answer(RESULT)).await;
    let mut policy = policy(server.port);
    policy.audit = audit;
    let lines = Lines::default();
    (Running::start(policy, lines.clone()).await, lines)
}

#[tokio::test]
async fn the_records_of_a_sidecar_are_a_whole_chain_that_its_anchor_knows() {
    let (sidecar, lines) = started(AuditPolicy::default()).await;
    for _ in 0..5 {
        send(post(sidecar.traffic, CALL)).await;
    }
    send(post(sidecar.traffic, "no message")).await;
    lines.wait(6).await;
    let anchor: Anchor = serde_json::from_str(&sidecar.admin("/anchor").await.1).unwrap();
    assert_eq!(anchor.seq, 6);
    sidecar.stop().await.unwrap();
    let log = lines.text();
    let report = verify(log.as_bytes(), std::slice::from_ref(&anchor), Leniency::default());
    assert_eq!(report.findings, []);
    let chain = &report.chains[0];
    assert_eq!((chain.records.last, chain.ended, chain.anchored), (7, true, Some(6)));

    let cut = log.lines().take(4).collect::<Vec<_>>().join("\n");
    assert!(!verify(cut.as_bytes(), &[anchor], Leniency::default()).is_whole());
    let edited = log.replacen("\"allowed\"", "\"denied\"", 1);
    assert!(!verify(edited.as_bytes(), &[], Leniency::default()).is_whole());
}

#[tokio::test]
async fn a_stream_has_a_record_when_it_opens_and_one_when_it_closes() {
    let sender = Arc::new(Mutex::new(None));
    let kept = sender.clone();
    let server = Server::start(move |_| {
        let (sender, answer) = events("text/event-stream");
        *kept.lock().unwrap() = Some(sender);
        async { answer }
    })
    .await;
    let (sidecar, lines) = pair(&server).await;
    let response = send(post(sidecar.traffic, CALL)).await;
    let all = || -> Vec<Value> {
        let text = lines.text();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines.filter(|line: &Value| line["kind"] == "audit").collect()
    };
    until("the stream's opening is recorded", async || all().len() == 1).await;
    let open = all().remove(0);
    assert_eq!(
        (&open["event"], &open["toolName"], &open["status"]),
        (&json!("stream_open"), &json!("echo"), &json!(200))
    );
    assert!(open.get("outcome").is_none(), "nobody knows yet how it ends");
    sender.lock().unwrap().take();
    response.into_body().collect().await.unwrap();
    until("the stream's end is recorded", async || all().len() == 2).await;
    let close = all().remove(1);
    assert_eq!(
        (&close["event"], &close["outcome"]),
        (&json!("stream_close"), &json!("allowed"))
    );
    assert_eq!(close["requestId"], open["requestId"]);
}

#[tokio::test]
async fn the_endpoint_says_what_is_kept_of_arguments_and_secrets_are_not() {
    let (control, lines) = started(AuditPolicy {
        arguments: ArgumentsMode::Full,
        ..AuditPolicy::default()
    })
    .await;
    send(post(control.traffic, WITH_SECRETS)).await;
    let arguments = lines.wait(1).await.remove(0)["arguments"].clone();
    assert!(
        arguments.as_str().unwrap().contains("hunter2"),
        "the control: all of it is kept"
    );

    let (redacting, lines) = started(AuditPolicy {
        arguments: ArgumentsMode::Redacted,
        ..AuditPolicy::default()
    })
    .await;
    send(post(redacting.traffic, WITH_SECRETS)).await;
    let record = lines.wait(1).await.remove(0);
    assert_eq!(record["arguments"], r#"{"password":"[redacted]","text":"[redacted]"}"#);
    assert_eq!(record["argumentsRedacted"], 2);

    let (digesting, lines) = started(AuditPolicy::default()).await;
    send(post(digesting.traffic, WITH_SECRETS)).await;
    assert!(lines.wait(1).await.remove(0).get("arguments").is_none());
    let text = lines.text();
    assert!(!text.contains("hunter2") && !text.contains("ghp_"), "{text}");
}

#[tokio::test]
async fn records_may_be_ocsf_events_and_are_linked_all_the_same() {
    let (sidecar, lines) = started(AuditPolicy {
        format: AuditFormat::Ocsf,
        ..AuditPolicy::default()
    })
    .await;
    send(post(sidecar.traffic, CALL)).await;
    sidecar.stop().await.unwrap();
    let text = lines.text();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let classes: Vec<_> = events
        .iter()
        .map(|event| event["class_uid"].as_u64().unwrap())
        .collect();
    assert_eq!(classes, [6002, 6003, 6002]);
    assert_eq!(events[1]["resources"][0]["name"], "echo");
    let report = verify(text.as_bytes(), &[], Leniency::default());
    assert!(report.is_whole() && report.chains[0].ended, "{:?}", report.findings);
}

/// A collector that keeps what comes.
async fn collector() -> (u16, Arc<Mutex<Vec<(String, Value)>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let kept: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
    let received = kept.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let kept = kept.clone();
            let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let kept = kept.clone();
                async move {
                    let path = request.uri().path().to_owned();
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    kept.lock()
                        .unwrap()
                        .push((path, serde_json::from_slice(&body).unwrap()));
                    Ok::<_, Infallible>(http::Response::new(Full::new(bytes::Bytes::from_static(b"{}"))))
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (port, received)
}

#[tokio::test]
async fn a_collector_gets_the_records_and_spans_of_calls() {
    let (port, received) = collector().await;
    let (sidecar, lines) = started(AuditPolicy {
        sinks: AuditSinks {
            otlp: Some(OtlpSink {
                endpoint: format!("http://127.0.0.1:{port}"),
                ca_file: None,
                traces: true,
            }),
            ..AuditSinks::default()
        },
        ..AuditPolicy::default()
    })
    .await;
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let meta = format!(r#""params":{{"_meta":{{"traceparent":"{parent}"}},"#);
    send(post(sidecar.traffic, CALL.replace(r#""params":{"#, &meta))).await;
    sidecar.stop().await.unwrap();
    let received = received.lock().unwrap().clone();
    let of = |path: &str| {
        received
            .iter()
            .filter(|(at, _)| at == path)
            .map(|(_, body)| body.clone())
            .collect::<Vec<_>>()
    };
    let bodies: Vec<String> = of("/v1/logs")
        .iter()
        .flat_map(|request| {
            request["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
                .as_array()
                .unwrap()
                .clone()
        })
        .map(|record| record["body"]["stringValue"].as_str().unwrap().to_owned())
        .collect();
    let printed: Vec<_> = lines.text().lines().map(str::to_owned).collect();
    assert_eq!(bodies, printed, "both sinks have the same lines");
    let spans: Vec<Value> = of("/v1/traces")
        .iter()
        .flat_map(|request| {
            request["resourceSpans"][0]["scopeSpans"][0]["spans"]
                .as_array()
                .unwrap()
                .clone()
        })
        .collect();
    let kinds: Vec<_> = spans
        .iter()
        .map(|span| (span["name"].as_str().unwrap(), span["kind"].as_u64().unwrap()))
        .collect();
    assert_eq!(kinds, [("tools/call echo", 2), ("tools/call echo", 3)]);
    assert_eq!(spans[0]["parentSpanId"], "00f067aa0ba902b7");
    assert_eq!(spans[1]["parentSpanId"], spans[0]["spanId"]);
    assert_eq!(spans[1]["traceId"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(lines.records()[0]["traceId"], "4bf92f3577b34da6a3ce929d0e0e4736");
}

#[tokio::test]
async fn callers_cannot_make_metrics_by_calling_tools_that_nobody_pinned() {
    let (sidecar, lines) = started(AuditPolicy::default()).await;
    for number in 0..3 {
        send(post(
            sidecar.traffic,
            CALL.replace("echo", &format!("made-up-{number}")),
        ))
        .await;
    }
    lines.wait(3).await;
    let metrics = sidecar.admin("/metrics").await.1;
    assert!(!metrics.contains("made-up"), "{metrics}");
    assert!(
        metrics.contains(r#"sallyport_sidecar_tool_calls_total{tool="_OTHER",outcome="allowed"} 3"#),
        "{metrics}"
    );
}
