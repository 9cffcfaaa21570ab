//! What does not pass, and what the client and the record say of it.

use crate::support::{CALL, Server, client, get, json_answer, json_of, pair, policy, post, raw, send, with_limits};
use bytes::Bytes;
use futures::StreamExt;
use http::{Method, Request};
use http_body::Frame;
use http_body_util::{Full, StreamBody};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use pretty_assertions::assert_eq;
use serde_json::json;
use std::convert::Infallible;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const RESULT: &str = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;

async fn fixture() -> Server {
    Server::start(async |_| json_answer(RESULT)).await
}

fn call_with(headers: &str) -> String {
    let length = CALL.len();
    format!("POST /mcp HTTP/1.1\r\nx-test: 1\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{CALL}")
}

#[tokio::test]
async fn what_is_no_request_of_http_is_recorded_once_and_a_connection_that_only_ends_is_not() {
    let server = fixture().await;
    let (sidecar, lines) = pair(&server).await;
    let host = "Host: demo.team-a.svc\r\n";
    let many: Vec<_> = (0..101).map(|number| format!("x-{number}: 1\r\n")).collect();
    let many = many.concat();
    let whole = call_with(&format!("{host}Content-Type: application/json\r\n")).replace("Connection: close\r\n", "");
    for (count, request, status) in [
        (1, format!("POST /mcp HTTP/1.1\r\n{host}{many}\r\n"), 431),
        (2, "no request of anything\r\n\r\n".to_owned(), 400),
        (3, format!("POST /mcp HTTP/1.1\r\n{host}Content-Length: x\r\n\r\n"), 400),
        // After one that is answered, on the same connection.
        (5, format!("{whole}no request of anything\r\n\r\n"), 400),
    ] {
        let answer = raw(sidecar.traffic, request.as_bytes()).await;
        assert!(answer.contains(&format!("HTTP/1.1 {status} ")), "{count}: {answer}");
        let record = lines.wait(count).await.remove(count - 1);
        assert_eq!(
            (&record["outcome"], &record["reason"], &record["status"]),
            (&json!("malformed"), &json!("unreadable_head"), &json!(status))
        );
        assert_eq!(
            (&record["clientIp"], &record["httpMethod"], &record["path"]),
            (&json!("127.0.0.1"), &json!("_OTHER"), &json!(""))
        );
    }
    // A client that leaves, with or without the beginning of a head, was refused nothing.
    for beginning in ["", "POST /mcp HT"] {
        let mut stream = TcpStream::connect(sidecar.traffic).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        drop(stream);
    }
    assert_eq!(send(post(sidecar.traffic, CALL)).await.status(), 200);
    assert_eq!(lines.wait(6).await[5]["outcome"], "allowed");
    sidecar.stop().await.unwrap();
    assert_eq!(lines.records().len(), 6);
}

/// Requests, the status that each gets, and the record's reason if it is refused.
fn heads() -> Vec<(String, u16, Option<&'static str>)> {
    const HOST: &str = "Host: demo.team-a.svc:8080\r\n";
    const JSON: &str = "Content-Type: application/json\r\n";
    let with = |headers: &str| call_with(&format!("{HOST}{JSON}{headers}"));
    vec![
        (with(""), 200, None),
        (with("Origin: https://app.example\r\n"), 200, None),
        (with("Content-Encoding: identity\r\n"), 200, None),
        (
            call_with(&format!("{HOST}Content-Type: application/json; charset=utf-8\r\n")),
            200,
            None,
        ),
        (call_with(JSON), 400, Some("host_missing")),
        (
            call_with(&format!("{JSON}Host: evil.example\r\n")),
            403,
            Some("host_not_allowed"),
        ),
        (
            call_with(&format!("{JSON}Host: demo.team-a.svc.evil.example\r\n")),
            403,
            Some("host_not_allowed"),
        ),
        (with(HOST), 400, Some("duplicate_header")),
        (
            with("Origin: https://evil.example\r\n"),
            403,
            Some("origin_not_allowed"),
        ),
        (with("Origin: null\r\n"), 403, Some("origin_not_allowed")),
        (with("Origin: http://app.example\r\n"), 403, Some("origin_not_allowed")),
        (
            with("Origin: https://app.example\r\nOrigin: https://app.example\r\n"),
            400,
            Some("duplicate_header"),
        ),
        (with(JSON), 400, Some("duplicate_header")),
        (
            with("Authorization: Bearer a\r\nAuthorization: Bearer b\r\n"),
            400,
            Some("duplicate_header"),
        ),
        (
            with("Mcp-Session-Id: a\r\nmcp-session-id: b\r\n"),
            400,
            Some("duplicate_header"),
        ),
        (with("Content-Encoding: gzip\r\n"), 415, Some("content_encoded")),
        (call_with(HOST), 415, Some("content_type_not_json")),
        (
            call_with(&format!("{HOST}Content-Type: text/plain\r\n")),
            415,
            Some("content_type_not_json"),
        ),
        (
            with("").replace("POST /mcp ", "POST http://demo.team-a.svc/mcp "),
            400,
            Some("absolute_target"),
        ),
        (
            with("").replace("POST /mcp ", "POST /mcp/ "),
            404,
            Some("path_not_served"),
        ),
        (
            with("").replace("POST /mcp ", "POST //mcp "),
            404,
            Some("path_not_served"),
        ),
        (
            with("").replace("POST /mcp ", "POST /%6dcp "),
            404,
            Some("path_not_served"),
        ),
        (
            with("").replace("POST /mcp ", "POST /admin "),
            404,
            Some("path_not_served"),
        ),
        (with("").replace("POST ", "PUT "), 405, Some("method_not_allowed")),
        (with("").replace("POST ", "OPTIONS "), 405, Some("method_not_allowed")),
        (with("").replace("POST ", "GET "), 400, Some("unexpected_body")),
        (with("").replace("POST ", "DELETE "), 400, Some("unexpected_body")),
    ]
}

#[tokio::test]
async fn a_head_that_policy_or_protocol_forbids_is_refused_with_its_status_and_reason() {
    let server = fixture().await;
    let (sidecar, lines) = pair(&server).await;
    for (index, (request, status, reason)) in heads().into_iter().enumerate() {
        let before = server.received().len();
        let answer = raw(sidecar.traffic, request.as_bytes()).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request}\n{answer}"
        );
        let record = lines.wait(index + 1).await.remove(index);
        assert_eq!(record["status"], json!(status), "{request}");
        assert_eq!(record["reason"].as_str(), reason, "{request}");
        assert_eq!(
            server.received().len() - before,
            usize::from(reason.is_none()),
            "{request}"
        );
        if let Some(reason) = reason {
            let body = answer.split("\r\n\r\n").nth(1).unwrap();
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            assert_eq!(body["error"]["code"], json!(-31000 - i32::from(status)), "{reason}");
            assert!(
                body["error"]["message"]
                    .as_str()
                    .is_some_and(|message| message.len() > 10),
                "{reason}"
            );
        }
    }
}

#[tokio::test]
async fn a_body_that_is_no_single_message_is_refused_with_a_json_rpc_error() {
    let server = fixture().await;
    let (sidecar, lines) = pair(&server).await;
    for (index, (body, code, reason)) in [
        ("{", -32700, "not_json"),
        ("[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}]", -32600, "batch"),
        (
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\",\"method\":\"tools/call\"}",
            -32600,
            "duplicate_key",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let (status, answer) = json_of(send(post(sidecar.traffic, body)).await).await;
        assert_eq!(
            (status.as_u16(), &answer["error"]["code"], &answer["id"]),
            (400, &json!(code), &json!(null))
        );
        let record = lines.wait(index + 1).await.remove(index);
        assert_eq!(
            (&record["outcome"], &record["reason"]),
            (&json!("malformed"), &json!(reason))
        );
    }
    assert!(server.received().is_empty());
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_by_its_announced_length_and_by_its_real_one() {
    let server = fixture().await;
    let (sidecar, lines) = pair(&server).await;
    let limit = usize::try_from(policy(1).limits.body_bytes).unwrap();
    let at_most = |length: usize| {
        let frame = r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"v":""}}"#;
        frame.replace("\"\"", &format!("\"{}\"", "a".repeat(length - frame.len())))
    };
    // Exactly the limit passes, announced and chunked.
    assert_eq!(send(post(sidecar.traffic, at_most(limit))).await.status(), 200);
    assert_eq!(send_chunked(sidecar.traffic, at_most(limit)).await, 200);
    for _ in 0..5 {
        let (status, answer) = json_of(send(post(sidecar.traffic, at_most(limit + 1))).await).await;
        assert_eq!((status.as_u16(), &answer["error"]["code"]), (413, &json!(-31413)));
        assert_eq!(send(post(sidecar.traffic, at_most(40 * limit))).await.status(), 413);
        assert_eq!(send_chunked(sidecar.traffic, at_most(limit + 1)).await, 413);
        assert_eq!(send_chunked(sidecar.traffic, at_most(40 * limit)).await, 413);
    }
    assert_eq!(server.received().len(), 2);
    let records = lines.wait(22).await;
    assert!(
        records[2..]
            .iter()
            .all(|record| record["outcome"] == "too_large" && record["status"] == 413)
    );
}

async fn send_chunked(at: std::net::SocketAddr, body: String) -> u16 {
    let chunks: Vec<Bytes> = body.as_bytes().chunks(16 * 1024).map(Bytes::copy_from_slice).collect();
    let frames = futures::stream::iter(chunks).map(|chunk| Ok::<_, Infallible>(Frame::data(chunk)));
    let client: Client<_, StreamBody<_>> = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::post(format!("http://{at}/mcp"))
        .header("content-type", "application/json")
        .header("x-test", "1")
        .body(StreamBody::new(frames))
        .unwrap();
    client.request(request).await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_slow_client_that_reads_only_once_it_has_sent_all_gets_to_read_the_413() {
    let server = fixture().await;
    let (sidecar, _) = pair(&server).await;
    let mut stream = TcpStream::connect(sidecar.traffic).await.unwrap();
    let head = "POST /mcp HTTP/1.1\r\nHost: demo.team-a.svc\r\nContent-Type: application/json\r\nContent-Length: 819200\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..100 {
        stream.write_all(&[b' '; 8192]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 413");
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_413_before_it_sends() {
    let server = fixture().await;
    let (sidecar, _) = pair(&server).await;
    let head = "POST /mcp HTTP/1.1\r\nHost: demo.team-a.svc\r\nContent-Type: application/json\r\n\
                Content-Length: 9999999\r\nExpect: 100-continue\r\n\r\n";
    let answer = raw(sidecar.traffic, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_502_with_the_request_s_id() {
    let server = fixture().await;
    let (sidecar, lines) = pair(&server).await;
    assert_eq!(send(post(sidecar.traffic, CALL)).await.status(), 200);
    server.kill();
    let (status, answer) = json_of(send(post(sidecar.traffic, CALL.replace("\"id\":1", "\"id\":\"x-9\""))).await).await;
    assert_eq!(
        (status.as_u16(), &answer["error"]["code"], &answer["id"]),
        (502, &json!(-31502), &json!("x-9"))
    );
    let record = lines.wait(2).await.remove(1);
    assert_eq!(
        (&record["outcome"], &record["toolName"]),
        (&json!("upstream_failed"), &json!("echo"))
    );
}

#[tokio::test]
async fn a_server_that_does_not_begin_to_answer_in_time_is_504() {
    let server = Server::start(async |_| {
        tokio::time::sleep(Duration::from_mins(1)).await;
        json_answer(RESULT)
    })
    .await;
    let (sidecar, lines) = with_limits(&server, |limits| limits.response_header_seconds = 1).await;
    let (status, answer) = json_of(send(post(sidecar.traffic, CALL)).await).await;
    assert_eq!((status.as_u16(), &answer["error"]["code"]), (504, &json!(-31504)));
    assert_eq!(lines.wait(1).await[0]["outcome"], "timed_out");
}

#[tokio::test]
async fn a_body_that_breaks_off_leaves_a_record() {
    let server = fixture().await;
    let (sidecar, lines) = pair(&server).await;
    let mut stream = TcpStream::connect(sidecar.traffic).await.unwrap();
    let head =
        "POST /mcp HTTP/1.1\r\nHost: demo.team-a.svc\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(stream);
    let record = lines.wait(1).await.remove(0);
    assert!(
        ["malformed", "client_gone"].contains(&record["outcome"].as_str().unwrap()),
        "{record}"
    );
    assert_eq!(record["requestBytes"], 1);
    assert!(server.received().is_empty());
}

#[tokio::test]
async fn a_connection_over_the_limit_waits_for_one_that_ends() {
    let server = fixture().await;
    let mut small = policy(server.port);
    small.limits.connections = 1;
    let sidecar = crate::support::Running::start(small, std::io::sink()).await;
    let mut first = TcpStream::connect(sidecar.traffic).await.unwrap();
    first
        .write_all(
            call_with("Host: demo.team-a.svc\r\nContent-Type: application/json\r\n")
                .replace("close", "keep-alive")
                .as_bytes(),
        )
        .await
        .unwrap();
    let mut byte = [0];
    first.read_exact(&mut byte).await.unwrap();
    let second = client().request(get(sidecar.traffic));
    tokio::pin!(second);
    assert!(
        tokio::time::timeout(Duration::from_millis(300), &mut second)
            .await
            .is_err()
    );
    drop(first);
    let second = tokio::time::timeout(Duration::from_secs(20), second)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(second.status(), 200);
}

#[tokio::test]
async fn only_the_methods_of_mcp_are_named_as_allowed() {
    let server = fixture().await;
    let (sidecar, _) = pair(&server).await;
    let mut request: Request<Full<Bytes>> = get(sidecar.traffic);
    *request.method_mut() = Method::PATCH;
    assert_eq!(send(request).await.headers()["allow"], "POST, GET, DELETE");
}
