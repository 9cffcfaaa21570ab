//! What passes, and as what.

use crate::support::{
    CALL, CALL_ARGUMENTS_SHA256, Running, Server, get, json_answer, json_of, pair, policy, post, raw, reply, send,
};
use bytes::Bytes;
use http_body_util::BodyExt;
use pretty_assertions::assert_eq;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use tokio::net::TcpListener;

const RESULT: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#;

#[tokio::test]
async fn a_call_reaches_the_server_as_it_was_sent_and_leaves_one_record() {
    let server = Server::start(async |_| json_answer(RESULT)).await;
    let (sidecar, lines) = pair(&server).await;
    let mut request = post(sidecar.traffic, CALL);
    for (name, value) in [
        ("authorization", "Bearer token-of-the-caller"),
        ("cookie", "session=cookie-of-the-caller"),
        ("x-forwarded-for", "198.51.100.1"),
        ("forwarded", "for=198.51.100.1"),
        ("sallyport-caller", "another-caller"),
        ("accept-encoding", "gzip"),
        ("origin", "https://app.example"),
        ("mcp-session-id", "s-1"),
        ("mcp-protocol-version", "2025-11-25"),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let (status, body) = json_of(send(request).await).await;
    assert_eq!(
        (status.as_u16(), body),
        (200, json!({"jsonrpc":"2.0","id":1,"result":{"content":[]}}))
    );

    let received = server.received().remove(0);
    assert_eq!(received.body, CALL.as_bytes());
    assert_eq!(received.target, "/mcp");
    let mut headers: Vec<String> = received
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    headers.sort();
    assert_eq!(
        headers,
        [
            "accept-encoding: identity".to_owned(),
            "accept: application/json, text/event-stream".to_owned(),
            format!("content-length: {}", CALL.len()),
            "content-type: application/json".to_owned(),
            format!("host: 127.0.0.1:{}", server.port),
            "mcp-protocol-version: 2025-11-25".to_owned(),
            "mcp-session-id: s-1".to_owned(),
            "x-test: 1".to_owned(),
        ]
    );

    let mut record = lines.wait(1).await.remove(0);
    for volatile in ["timestamp", "requestId", "latencyMs", "traceId", "upstream", "version"] {
        assert!(record.as_object_mut().unwrap().remove(volatile).is_some(), "{volatile}");
    }
    assert_eq!(
        record,
        json!({
            "kind": "audit",
            "event": "request",
            "endpoint": {"namespace": "team-a", "name": "demo", "uid": "uid-1"},
            "policyGeneration": 0,
            "caller": {"kind": "anonymous"},
            "era": "legacy",
            "protocolVersion": "2025-11-25",
            "jsonrpcId": "1",
            "argumentsBytes": 17,
            "closedBy": "upstream",
            "sessionId": "6a840baf5d8c3ff241688aeb14546e653774cd5387faf1cb982b0fbbf1fbb810",
            "clientIp": "127.0.0.1",
            "httpMethod": "POST",
            "path": "/mcp",
            "mcpMethod": "tools/call",
            "toolName": "echo",
            "argumentsSha256": CALL_ARGUMENTS_SHA256,
            "status": 200,
            "outcome": "allowed",
            "requestBytes": CALL.len(),
            "responseBytes": RESULT.len(),
        })
    );
    for secret in ["secret", "token-of-the-caller", "cookie-of-the-caller"] {
        assert!(!lines.text().contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn the_server_s_statuses_pass_and_headers_that_steer_clients_do_not() {
    let server = Server::start(async |_| {
        let mut answer = reply(404, "");
        for (name, value) in [
            ("mcp-session-id", "minted"),
            ("www-authenticate", "Bearer"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
        ] {
            answer.headers_mut().insert(name, value.parse().unwrap());
        }
        answer
    })
    .await;
    let (sidecar, lines) = pair(&server).await;
    let response = send(post(sidecar.traffic, CALL)).await;
    assert_eq!(response.status(), 404);
    assert_eq!(response.headers()["mcp-session-id"], "minted");
    for name in ["connection", "x-hop", "keep-alive", "www-authenticate"] {
        assert!(!response.headers().contains_key(name), "{name}");
    }
    let record = lines.wait(1).await.remove(0);
    assert_eq!(
        (&record["status"], &record["outcome"]),
        (&json!(404), &json!("allowed"))
    );
    assert_eq!(
        record["sessionId"],
        "6f4bb4bb61640eb583fa7aaa1fe13f2eeff9042839dd0b63f12c904420d73ec4"
    );
}

#[tokio::test]
async fn get_and_delete_pass_without_a_body_and_the_query_is_kept_but_not_recorded() {
    let server = Server::start(async |_| reply(200, "")).await;
    let (sidecar, lines) = pair(&server).await;
    let mut request = get(sidecar.traffic);
    *request.uri_mut() = format!("http://{}/mcp?key=hidden", sidecar.traffic).parse().unwrap();
    assert_eq!(send(request).await.status(), 200);
    let mut request = get(sidecar.traffic);
    *request.method_mut() = http::Method::DELETE;
    assert_eq!(send(request).await.status(), 200);
    let received = server.received();
    assert_eq!(received[0].target, "/mcp?key=hidden");
    assert_eq!(received[1].method, "DELETE");
    let records = lines.wait(2).await;
    assert_eq!(
        (&records[0]["path"], &records[1]["httpMethod"]),
        (&json!("/mcp"), &json!("DELETE"))
    );
    assert!(!lines.text().contains("hidden"));
}

#[tokio::test]
async fn a_server_on_the_ipv6_loopback_only_is_reached() {
    let Ok(listener) = TcpListener::bind("[::1]:0").await else {
        eprintln!("this machine has no IPv6 loopback");
        return;
    };
    let server = Server::listen(listener, async |_| json_answer(RESULT));
    let (sidecar, _) = pair(&server).await;
    assert_eq!(send(post(sidecar.traffic, CALL)).await.status(), 200);
}

#[tokio::test]
async fn an_offered_upgrade_is_not_taken_and_not_passed_on() {
    let server = Server::start(async |_| json_answer(RESULT)).await;
    let (sidecar, _) = pair(&server).await;
    let request = format!(
        "POST /mcp HTTP/1.1\r\nHost: demo.team-a.svc\r\nx-test: 1\r\nContent-Type: application/json\r\n\
         Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\
         Content-Length: {}\r\n\r\n{CALL}",
        CALL.len()
    );
    let answer = raw(sidecar.traffic, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let received = server.received().remove(0);
    for name in ["upgrade", "http2-settings", "connection"] {
        assert!(!received.headers.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn a_smuggled_request_is_never_seen_by_the_server() {
    let server = Server::start(async |_| json_answer(RESULT)).await;
    let (sidecar, lines) = pair(&server).await;
    let chunked = format!("{:x}\r\n{CALL}\r\n0\r\n\r\n", CALL.len());
    let smuggled = "DELETE /mcp HTTP/1.1\r\nHost: evil\r\nx-test: 1\r\n\r\n";
    for framing in [
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
    ] {
        let request = format!(
            "POST /mcp HTTP/1.1\r\nHost: demo.team-a.svc\r\nx-test: 1\r\nContent-Type: application/json\r\n\
             {framing}\r\n{chunked}{smuggled}"
        );
        raw(sidecar.traffic, request.as_bytes()).await;
    }
    for received in server.received() {
        assert_eq!(received.method, "POST");
        assert_eq!(received.body, CALL.as_bytes());
        assert!(!received.headers.contains_key("transfer-encoding"));
        assert_eq!(received.headers["content-length"], CALL.len().to_string().as_str());
    }
    for record in lines.wait(1).await {
        let refused = record["httpMethod"] == "DELETE" && record["reason"] == "host_not_allowed";
        assert!(refused || record["httpMethod"] == "POST", "{record}");
    }
}

/// JSON text with spacing, escapes and numbers that a parser would not write the same way again.
fn odd_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("1.0e+2".to_owned()),
        Just("-0".to_owned()),
        Just(r#""\u00e9\/\ud83d\ude00""#.to_owned()),
        "[a-zA-Z ]{0,8}".prop_map(|text| format!("\"{text}\"")),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[ {} ]", items.join(" ,\t"))),
            proptest::collection::vec(inner, 0..4).prop_map(|items| {
                let members: Vec<String> = items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| format!("\"k{index}\" :\n{item}"))
                    .collect();
                format!("{{{}}}", members.join(", "))
            }),
        ]
    })
}

#[test]
fn every_accepted_body_is_forwarded_byte_for_byte() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (server, sidecar) = runtime.block_on(async {
        let server = Server::start(async |received| reply(200, received.body)).await;
        let sidecar = Running::start(policy(server.port), std::io::sink()).await;
        (server, sidecar)
    });
    let client = crate::support::client();
    let at = sidecar.traffic;
    let mut runner = TestRunner::new(Config::with_cases(64));
    let body = (odd_json(), "[ \n\t]{0,3}").prop_map(|(value, space)| {
        format!(
            "{space}{{\"method\":\"ping\",{space}\"params\":{{\"v\":{value}}},\"id\":7,\"jsonrpc\":\"2.0\"}}{space}"
        )
    });
    runner
        .run(&body, |body| {
            let echoed = runtime.block_on(async {
                let response = client.request(post(at, body.clone())).await.unwrap();
                response.into_body().collect().await.unwrap().to_bytes()
            });
            prop_assert_eq!(&echoed, &Bytes::from(body.clone()));
            let received = server.received();
            prop_assert_eq!(&received.last().unwrap().body, &Bytes::from(body));
            Ok(())
        })
        .unwrap();
}
