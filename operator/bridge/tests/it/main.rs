//! The bridge with a real process behind it and a real client before it.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "tests")]

mod checks;
mod orphans;
mod sharing;
mod support;

use http::{Method, StatusCode};
use http_body_util::BodyExt;
use pretty_assertions::assert_eq;
use sallyport_bridge::Mode;
use serde_json::{Value, json};
use std::time::Duration;
use support::{Bridge, bridge, bridge_of, messages, request};

async fn alive(pid: &str) -> bool {
    for _ in 0..100 {
        if !std::path::Path::new(&format!("/proc/{pid}")).exists() {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    true
}

async fn pid(bridge: &Bridge, session: Option<&str>) -> String {
    bridge.result(session, "pid").await["pid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn each_session_has_a_process_of_its_own_that_ends_with_it() {
    let bridge = bridge(Mode::PerSession, vec![]).await;
    let (one, other) = (bridge.open().await, bridge.open().await);
    let (first, second) = (pid(&bridge, Some(&one)).await, pid(&bridge, Some(&other)).await);
    assert_ne!(first, second);
    assert_eq!(pid(&bridge, Some(&one)).await, first);
    let deleted = bridge.send(Method::DELETE, Some(&one), "").await;
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    assert!(!alive(&first).await, "the process outlives its session");
    let (status, _) = bridge.ask(Some(&one), request(1, "pid")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(pid(&bridge, Some(&other)).await, second);
    bridge.end().await;
    assert!(!alive(&second).await, "the process outlives the bridge");
}

#[tokio::test]
async fn sessions_may_share_one_process_and_hear_nothing_of_each_other() {
    let bridge = bridge(Mode::Shared, vec![]).await;
    let (one, other) = (bridge.open().await, bridge.open().await);
    assert_ne!(one, other);
    assert_eq!(pid(&bridge, Some(&one)).await, pid(&bridge, Some(&other)).await);
    // Ids and progress tokens are equal in both sessions.
    let work = |token: Value| json!({"jsonrpc": "2.0", "id": "same", "method": "work", "params": {"_meta": {"progressToken": token}}});
    let (left, right) = tokio::join!(
        bridge.ask(Some(&one), work(json!("same"))),
        bridge.ask(Some(&other), work(json!("same")))
    );
    for (_, messages) in [left, right] {
        assert_eq!(messages.len(), 2, "{messages:?}");
        assert_eq!(messages[0]["params"]["progressToken"], "same");
        assert_eq!(
            messages[1],
            json!({"jsonrpc": "2.0", "id": "same", "result": {"done": true}})
        );
    }
    // What belongs to no request could be another's.
    let (_, messages) = bridge.ask(Some(&one), request(1, "log")).await;
    assert_eq!(messages, [json!({"jsonrpc": "2.0", "id": 1, "result": {}})]);
    // The server is told at once that nobody can be asked.
    let (_, messages) = bridge.ask(Some(&one), request(1, "ask")).await;
    assert_eq!(messages[0]["result"]["heard"]["error"]["code"], -32601, "{messages:?}");
    bridge.end().await;
}

#[tokio::test]
async fn with_a_session_of_its_own_the_same_server_is_heard_and_may_ask() {
    let bridge = bridge(Mode::PerSession, vec![]).await;
    let session = bridge.open().await;
    let (_, heard) = bridge.ask(Some(&session), request(1, "log")).await;
    assert_eq!(heard.len(), 2, "{heard:?}");
    assert_eq!(heard[0]["params"]["data"], "heard by one");

    let mut asked = bridge.post(Some(&session), request(2, "ask")).await;
    let first = asked.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("roots/list"), "{first:?}");
    let answer = json!({"jsonrpc": "2.0", "id": "s1", "result": {"roots": []}});
    let taken = bridge.post(Some(&session), answer.clone()).await;
    assert_eq!(taken.status(), StatusCode::ACCEPTED);
    let rest = messages(asked).await;
    assert_eq!(rest, [json!({"jsonrpc": "2.0", "id": 2, "result": {"heard": answer}})]);
    bridge.end().await;
}

#[tokio::test]
async fn what_belongs_to_no_request_waits_for_the_sessions_stream() {
    let bridge = bridge(Mode::PerSession, vec![]).await;
    let session = bridge.open().await;
    let mut stream = bridge.send(Method::GET, Some(&session), "").await;
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let (_, answer) = bridge.ask(Some(&session), request(1, "log")).await;
    assert_eq!(answer.len(), 1, "{answer:?}");
    let event = stream.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(String::from_utf8_lossy(&event).contains("heard by one"), "{event:?}");
    bridge.end().await;
}

#[tokio::test]
async fn requests_that_stand_alone_share_a_process_and_are_cancelled_by_leaving() {
    let bridge = bridge(Mode::PerSession, vec![]).await;
    let first = pid(&bridge, None).await;
    assert_eq!(pid(&bridge, None).await, first);
    let mut listening = bridge.post(None, request(9, "listen")).await;
    let event = listening.frame().await.unwrap().unwrap().into_data().unwrap();
    let event = String::from_utf8_lossy(&event).into_owned();
    assert!(
        event.contains(r#""io.modelcontextprotocol/subscriptionId":9"#),
        "{event}"
    );
    assert_eq!(bridge.result(None, "cancelled").await["seen"], Value::Null);
    drop(listening);
    for attempt in 0.. {
        let seen = bridge.result(None, "cancelled").await["seen"].clone();
        if seen["method"] == "notifications/cancelled" {
            break;
        }
        assert!(attempt < 100, "the server was not told");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (status, _) = bridge.ask(None, request(1, "unknown")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    bridge.end().await;
}

#[tokio::test]
async fn a_message_reaches_the_server_as_it_was_written_but_for_its_id() {
    let bridge = bridge(Mode::PerSession, vec![]).await;
    let session = bridge.open().await;
    let body = "{\"jsonrpc\":\"2.0\",\n\"id\":\"x\",\"method\":\"echo\",\"params\":{\"big\": 1.0e2, \"dup\":\"\u{e9}\\u0041\"}}";
    let response = bridge.send(Method::POST, Some(&session), body).await;
    let text = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(
        String::from_utf8_lossy(&text),
        "{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"result\":{\"big\": 1.0e2, \"dup\":\"\u{e9}\\u0041\"}}"
    );
    bridge.end().await;
}

#[tokio::test]
async fn a_server_that_ends_or_floods_is_reported_and_its_session_is_over() {
    let bridge = bridge(Mode::PerSession, vec![]).await;
    for method in ["exit", "flood"] {
        let session = bridge.open().await;
        let (_, answer) = bridge.ask(Some(&session), request(1, method)).await;
        assert_eq!(answer[0]["id"], 1);
        assert_eq!(answer[0]["error"]["code"], -32603, "{answer:?}");
        for attempt in 0.. {
            let (status, _) = bridge.ask(Some(&session), request(2, "pid")).await;
            if status == StatusCode::NOT_FOUND {
                break;
            }
            assert!(attempt < 100, "the session goes on");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    bridge.end().await;
}

#[tokio::test]
async fn a_shared_server_is_started_again_but_not_for_ever() {
    let bridge = bridge(Mode::Shared, vec![]).await;
    let mut statuses = vec![];
    for _ in 0..7 {
        let (status, answer) = bridge.ask(None, request(1, "exit")).await;
        statuses.push(status);
        if status == StatusCode::BAD_GATEWAY {
            let message = answer[0]["error"]["message"].as_str().unwrap().to_owned();
            assert!(message.contains("ended 5 times"), "{message}");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(
        statuses.iter().filter(|status| **status == StatusCode::OK).count(),
        5,
        "{statuses:?}"
    );
    assert_eq!(statuses.last(), Some(&StatusCode::BAD_GATEWAY));
    bridge.end().await;
}

#[tokio::test]
async fn a_credential_file_is_a_variable_of_the_server_alone() {
    let file = std::env::temp_dir().join(format!("token-{}", uuid::Uuid::new_v4()));
    std::fs::write(&file, "s3cret\n").unwrap();
    let variable = format!("TOKEN={}", file.display()).parse().unwrap();
    let bridge = bridge(Mode::PerSession, vec![variable]).await;
    let session = bridge.open().await;
    assert_eq!(bridge.result(Some(&session), "variable").await["value"], "s3cret");
    assert_eq!(std::env::var_os("TOKEN"), None, "the bridge itself has it");
    std::fs::remove_file(file).unwrap();
    bridge.end().await;
}

#[tokio::test]
async fn another_user_is_refused_and_the_named_one_is_served() {
    let me = std::fs::metadata("/proc/self")
        .map(|metadata| std::os::unix::fs::MetadataExt::uid(&metadata))
        .unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/server.sh");
    let mine = bridge_of(vec!["sh", script], Mode::PerSession, vec![], Some(me)).await;
    mine.open().await;
    mine.end().await;

    let others = bridge_of(vec!["sh", script], Mode::PerSession, vec![], Some(me + 1)).await;
    let stream = tokio::net::UnixStream::connect(&others.socket).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let body = http_body_util::Full::new(bytes::Bytes::from(request(0, "initialize").to_string()));
    let refused = sender
        .send_request(http::Request::post("/mcp").header("host", "b").body(body).unwrap())
        .await;
    assert!(refused.is_err(), "{refused:?}");
    others.end().await;
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let bridge = bridge_of(vec!["/nowhere/server"], Mode::PerSession, vec![], None).await;
    let (status, answer) = bridge.ask(None, request(1, "pid")).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    let message = answer[0]["error"]["message"].as_str().unwrap();
    assert!(message.contains("/nowhere/server"), "{message}");
    bridge.end().await;
}

#[test]
fn the_corpus_passes_the_checks() {
    let corpus = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/frame")).unwrap();
    let mut count = 0;
    for file in corpus {
        checks::frame(&std::fs::read(file.unwrap().path()).unwrap());
        count += 1;
    }
    assert_ne!(count, 0);
}
