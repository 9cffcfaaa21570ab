//! What the kubelet, the operator and Prometheus get to know.

use crate::support::{CALL, Running, Server, json_answer, pair, policy, post, reply, send, until};
use pretty_assertions::assert_eq;
use sallyport_policy::Authentication;
use sallyport_policy::authentication::ApiKeys;
use tokio::net::TcpListener;

#[tokio::test]
async fn a_sidecar_without_server_is_healthy_and_not_ready_until_the_server_answers() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let sidecar = Running::start(policy(port), std::io::sink()).await;
    assert_eq!(sidecar.admin("/healthz").await.0, 200);
    for path in ["/readyz", "/upstream/startup", "/upstream/live", "/server"] {
        assert_eq!(sidecar.admin(path).await.0, 503, "{path}");
    }
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let server = Server::listen(listener, async |_| reply(200, ""));
    sidecar.until_ready().await;
    for path in ["/upstream/startup", "/upstream/live"] {
        assert_eq!(sidecar.admin(path).await.0, 200, "{path}");
    }
    let (_, info) = sidecar.admin("/server").await;
    assert_eq!(
        info,
        r#"{"name":"fixture","version":"7","protocolVersion":"2025-11-25"}"#
    );
    let handshakes = server.handshakes.lock().unwrap().clone();
    let expected = [
        ("initialize", false),
        ("notifications/initialized", true),
        ("DELETE", true),
    ];
    assert_eq!(handshakes, expected.map(|(name, session)| (name.to_owned(), session)));

    server.kill();
    let _ = send(post(sidecar.traffic, CALL)).await;
    until("the loss is noticed", async || sidecar.admin("/readyz").await.0 == 503).await;
    assert_eq!(sidecar.admin("/upstream/live").await.0, 503);
}

#[tokio::test]
async fn what_keeps_callers_from_being_told_apart_is_counted_by_where_it_comes_from() {
    let server = Server::start(async |_| reply(200, "")).await;
    let file = std::env::temp_dir().join(format!("sallyport-keys-{}.json", std::process::id()));
    let mut policy = policy(server.port);
    policy.authentication = Authentication {
        api_keys: Some(ApiKeys {
            file: file.display().to_string(),
        }),
        ..Authentication::default()
    };
    let sidecar = Running::start(policy, std::io::sink()).await;
    let counts = async |source: &str, count: u8| {
        let line = format!("sallyport_sidecar_authentication_problems{{source=\"{source}\"}} {count}");
        sidecar.admin("/metrics").await.1.lines().any(|found| found == line)
    };
    assert!(counts("api_keys", 1).await && counts("issuers", 0).await && counts("tls", 0).await);
    let told = sidecar.admin("/policy").await.1;
    assert!(told.contains("API keys: cannot read"), "{told}");
    std::fs::write(&file, r#"{"keys": []}"#).unwrap();
    until("the key file is read", async || counts("api_keys", 0).await).await;
    std::fs::remove_file(&file).unwrap();
}

#[tokio::test]
async fn a_modern_server_is_asked_the_modern_way() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let service = hyper::service::service_fn(async |request: http::Request<hyper::body::Incoming>| {
            let modern = request
                .headers()
                .get("mcp-method")
                .is_some_and(|method| method == "server/discover")
                && request
                    .headers()
                    .get("mcp-protocol-version")
                    .is_some_and(|version| version == "2026-07-28");
            let mut answer = if modern {
                json_answer(concat!(
                    r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","supportedVersions":["2026-07-28"],"#,
                    r#""capabilities":{},"serverInfo":{"name":"modern","version":"9"}}}"#
                ))
            } else {
                json_answer(
                    r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32022,"message":"Unsupported protocol version"}}"#,
                )
            };
            if !modern {
                *answer.status_mut() = http::StatusCode::BAD_REQUEST;
            }
            Ok::<_, std::convert::Infallible>(answer)
        });
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let io = hyper_util::rt::TokioIo::new(stream);
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(io, service)
                .await;
        }
    });
    let sidecar = Running::start(policy(port), std::io::sink()).await;
    sidecar.until_ready().await;
    let (_, info) = sidecar.admin("/server").await;
    assert_eq!(
        info,
        r#"{"name":"modern","version":"9","protocolVersion":"2026-07-28"}"#
    );
}

#[tokio::test]
async fn the_handshake_leaves_no_record_and_requests_are_counted_by_outcome() {
    let server = Server::start(async |_| reply(200, "")).await;
    let (sidecar, lines) = pair(&server).await;
    sidecar.until_ready().await;
    assert!(lines.records().is_empty());
    send(post(sidecar.traffic, CALL)).await;
    send(post(sidecar.traffic, "[]")).await;
    lines.wait(2).await;
    let (_, metrics) = sidecar.admin("/metrics").await;
    for line in [
        r#"sallyport_sidecar_requests_total{outcome="allowed",method="tools_call"} 1"#,
        r#"sallyport_sidecar_requests_total{outcome="malformed",method="none"} 1"#,
        r#"sallyport_sidecar_request_duration_seconds_count{method="tools_call"} 1"#,
        "sallyport_sidecar_active_requests 0",
        "sallyport_sidecar_audit_queue_depth 0",
        "sallyport_sidecar_audit_records_total 2",
        "sallyport_sidecar_audit_sink_failures_total 0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}\n{metrics}");
    }
    assert!(metrics.ends_with("# EOF\n"));
}

#[tokio::test]
async fn the_admin_port_forwards_nothing() {
    let server = Server::start(async |_| reply(200, "")).await;
    let (sidecar, _) = pair(&server).await;
    assert_eq!(sidecar.admin("/mcp").await.0, 404);
    assert_eq!(send(post(sidecar.admin, CALL)).await.status(), 405);
    assert!(server.received().is_empty());
}
