//! Bounds on how often, how many, how long and how much.

use crate::streams::streaming;
use crate::support::{
    CALL, Lines, Running, Server, events, fast, get, json_answer, json_of, json_text, modern, neighbour, policy, post,
    raw, send, stuck, until, with_limits,
};
use http_body_util::BodyExt;
use pretty_assertions::assert_eq;
use sallyport_policy::{Confirmation, Rate, Rates};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

const RESULT: &str = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;

async fn fixture() -> Server {
    Server::start(async |_| json_answer(RESULT)).await
}

#[tokio::test]
async fn a_caller_that_calls_too_often_is_told_when_to_come_back() {
    let server = fixture().await;
    let (sidecar, lines) = with_limits(&server, |limits| {
        limits.rates = Rates {
            per_principal: Rate::per_minute(6, 2),
            ..fast()
        };
    })
    .await;
    for _ in 0..2 {
        assert_eq!(send(post(sidecar.traffic, CALL)).await.status(), 200);
    }
    let response = send(post(sidecar.traffic, CALL)).await;
    let wait: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((9..=11).contains(&wait), "{wait}");
    let (status, answer) = json_of(response).await;
    assert_eq!(
        (status.as_u16(), &answer["error"]["code"], &answer["id"]),
        (429, &json!(-31029), &json!(1))
    );
    let record = lines.wait(3).await.remove(2);
    assert_eq!(
        (&record["outcome"], &record["reason"], &record["toolName"]),
        (&json!("limited"), &json!("rate_of_caller"), &json!("echo"))
    );
    assert_eq!(server.received().len(), 2);
    // A modern client asks this first; a refusal would make it fall back to the legacy era.
    for _ in 0..5 {
        let discover = modern(sidecar.traffic, "server/discover", None, "");
        assert_ne!(send(discover).await.status(), 429);
    }
}

#[tokio::test]
async fn a_tool_that_is_called_too_often_leaves_other_tools_alone() {
    let server = fixture().await;
    let (sidecar, _) = with_limits(&server, |limits| {
        limits.rates = Rates {
            per_tool: Rate::per_minute(1, 1),
            ..fast()
        };
    })
    .await;
    let call = |name: &str| send(post(sidecar.traffic, CALL.replace("echo", name)));
    assert_eq!(call("a").await.status(), 200);
    assert_eq!(call("a").await.status(), 429);
    assert_eq!(call("b").await.status(), 200);
}

#[tokio::test]
async fn streams_without_an_end_have_places_of_their_own_which_they_give_back() {
    let (server, _senders) = streaming("text/event-stream").await;
    let (sidecar, _) = with_limits(&server, |limits| {
        limits.concurrent_streams_per_principal = 1;
        limits.concurrent_requests_per_principal = 1;
    })
    .await;
    let stream = send(get(sidecar.traffic)).await;
    assert_eq!(stream.status(), 200);
    assert_eq!(send(get(sidecar.traffic)).await.status(), 429);
    let call = send(post(sidecar.traffic, CALL)).await;
    assert_eq!(call.status(), 200);
    assert_eq!(send(post(sidecar.traffic, CALL)).await.status(), 429);
    drop((stream, call));
    until("places are given back", async || {
        send(get(sidecar.traffic)).await.status() == 200
    })
    .await;
}

#[tokio::test]
async fn discovery_waits_for_a_place_where_other_requests_are_refused() {
    let (release, released) = tokio::sync::watch::channel(false);
    let server = Server::start(move |received| {
        let mut released = released.clone();
        async move {
            if received.headers.contains_key("x-wait") {
                released.wait_for(|released| *released).await.unwrap();
            }
            json_answer(RESULT)
        }
    })
    .await;
    let (sidecar, _) = with_limits(&server, |limits| limits.concurrent_requests_per_principal = 1).await;
    let mut waiting = post(sidecar.traffic, CALL);
    waiting.headers_mut().insert("x-wait", "1".parse().unwrap());
    let waiting = tokio::spawn(send(waiting));
    until("the call has the place", async || server.received().len() == 1).await;
    let discovering = tokio::spawn(send(modern(sidecar.traffic, "server/discover", None, "")));
    until("discovery is under way", async || {
        let (_, metrics) = sidecar.admin("/metrics").await;
        metrics
            .lines()
            .any(|line| line == "sallyport_sidecar_active_requests 2")
    })
    .await;
    assert_eq!(
        send(post(sidecar.traffic, CALL)).await.status(),
        429,
        "the place is taken"
    );
    assert!(!discovering.is_finished());
    release.send(true).unwrap();
    assert_eq!(discovering.await.unwrap().status(), 200);
    assert_eq!(waiting.await.unwrap().status(), 200);
}

#[tokio::test]
async fn arguments_that_would_take_many_times_their_length_are_refused_before_they_do() {
    let server = fixture().await;
    let (sidecar, lines) = with_limits(&server, |limits| limits.body_bytes = 1 << 20).await;
    let call = async |item: &str, count: usize| {
        let items = vec![item; count].join(",");
        let call = CALL.replace(r#"{"text":"secret"}"#, &format!(r#"{{"items":[{items}]}}"#));
        json_of(send(post(sidecar.traffic, call)).await).await
    };
    let (status, refused) = call(r#"{"a":0}"#, 120_000).await;
    assert_eq!(
        (status.as_u16(), &refused["error"]["code"]),
        (200, &json!(-32602)),
        "{refused}"
    );
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(message.contains("too many values"), "{message}");
    assert_eq!(lines.wait(1).await[0]["reason"], "too_many_values");
    assert!(server.received().is_empty());
    let (_, allowed) = call("0", 500_000).await;
    assert!(allowed["result"].is_object(), "{allowed}");
}

#[tokio::test]
async fn a_call_on_a_stream_ends_with_an_error_when_the_server_falls_silent() {
    let server = Server::start(async |_| {
        let (sender, answer) = events("text/event-stream");
        let progress = "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\n";
        sender.unbounded_send(Ok(progress)).unwrap();
        // Keep-alives are no sign of life of the call.
        tokio::spawn(async move {
            while sender.unbounded_send(Ok(": ping\n\n")).is_ok() {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
        answer
    })
    .await;
    let (sidecar, lines) = with_limits(&server, |limits| limits.request_seconds = 1).await;
    let body = send(post(sidecar.traffic, CALL))
        .await
        .into_body()
        .collect()
        .await
        .unwrap();
    let body = String::from_utf8(body.to_bytes().to_vec()).unwrap();
    let last = body.trim_end().rsplit("\n\n").next().unwrap();
    let last: Value = serde_json::from_str(last.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!((&last["id"], &last["error"]["code"]), (&json!(1), &json!(-31504)));
    let record = lines.wait(1).await.remove(0);
    assert_eq!(
        (&record["outcome"], &record["reason"]),
        (&json!("timed_out"), &json!("request_timed_out"))
    );
}

#[tokio::test]
async fn a_call_on_a_stream_is_not_late_while_the_client_is_asked_something() {
    let server = Server::start(async |_| {
        let (sender, answer) = events("text/event-stream");
        let question = "data: {\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"elicitation/create\",\"params\":{}}\n\n";
        sender.unbounded_send(Ok(question)).unwrap();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(2500)).await;
            let _ = sender.unbounded_send(Ok("data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\n"));
        });
        answer
    })
    .await;
    let (sidecar, lines) = with_limits(&server, |limits| limits.request_seconds = 1).await;
    let body = send(post(sidecar.traffic, CALL))
        .await
        .into_body()
        .collect()
        .await
        .unwrap();
    assert!(body.to_bytes().ends_with(b"\"result\":{}}\n\n"));
    assert_eq!(lines.wait(1).await[0]["outcome"], "allowed");
}

#[tokio::test]
async fn an_answer_and_an_event_end_at_their_limits() {
    let large: &'static str = Box::leak(format!("data: {{\"a\":\"{}\"}}\n\n", "x".repeat(5000)).into_boxed_str());
    let server = Server::start(move |received| async move {
        if received.headers.contains_key("x-stream") {
            let (sender, answer) = events("text/event-stream");
            sender.unbounded_send(Ok(large)).unwrap();
            return answer;
        }
        json_text(format!(
            r#"{{"jsonrpc":"2.0","id":1,"result":{{"tools":[],"a":"{}"}}}}"#,
            "x".repeat(5000)
        ))
    })
    .await;
    let (sidecar, lines) = with_limits(&server, |limits| {
        limits.response_bytes = 4096;
        limits.event_bytes = 4096;
    })
    .await;
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let (status, answer) = json_of(send(post(sidecar.traffic, list)).await).await;
    assert_eq!((status.as_u16(), &answer["error"]["code"]), (502, &json!(-31502)));
    let mut request = post(sidecar.traffic, CALL);
    request.headers_mut().insert("x-stream", "1".parse().unwrap());
    let body = send(request).await.into_body().collect().await.unwrap().to_bytes();
    let body = std::str::from_utf8(&body).unwrap();
    assert!(
        body.starts_with("data: {\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-31502"),
        "{body}"
    );
    let records = lines.wait(2).await;
    assert!(
        records.iter().all(|record| record["outcome"] == "limited"),
        "{records:?}"
    );
}

#[tokio::test]
async fn what_all_callers_send_at_a_time_is_bounded() {
    let server = fixture().await;
    let (sidecar, lines) = with_limits(&server, |limits| limits.buffer_bytes = 100).await;
    let response = send(post(sidecar.traffic, CALL)).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"]),
        (503, &"1".parse().unwrap())
    );
    assert_eq!(lines.wait(1).await[0]["reason"], "buffers_full");
    assert_eq!(
        send(post(sidecar.traffic, r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#))
            .await
            .status(),
        200
    );
}

#[tokio::test]
async fn one_caller_s_bytes_leave_half_of_the_room_to_others() {
    // Bodies are held until the server begins to answer, which it does not.
    let server = Server::start(async |_| std::future::pending().await).await;
    let (sidecar, lines) = with_limits(&server, |limits| {
        limits.buffer_bytes = 10_000;
        (limits.body_bytes, limits.response_bytes, limits.event_bytes) = (4096, 500, 500);
    })
    .await;
    let call = || post(sidecar.traffic, CALL.replace("secret", &"x".repeat(3000)));
    let waiting = tokio::spawn(send(call()));
    until("the server has the first call", async || server.received().len() == 1).await;
    let refused = send(call()).await;
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["retry-after"]),
        (503, &"1".parse().unwrap())
    );
    assert_eq!(lines.wait(1).await[0]["reason"], "buffers_of_caller");
    let of_another = tokio::spawn(neighbour().request(call()));
    until("the server has another caller's call", async || {
        server.received().len() == 2
    })
    .await;
    waiting.abort();
    of_another.abort();
}

#[tokio::test]
async fn a_request_that_answers_are_compared_with_is_counted_until_its_stream_ends() {
    let (server, _senders) = streaming("text/event-stream").await;
    let mut policy = policy(server.port);
    // Names are sealed where somebody may be asked.
    policy.confirmation = Confirmation::default();
    policy.limits.buffer_bytes = 10_000;
    (
        policy.limits.body_bytes,
        policy.limits.response_bytes,
        policy.limits.event_bytes,
    ) = (4096, 500, 500);
    let lines = Lines::default();
    let sidecar = Running::start(policy, lines.clone()).await;
    let text = "x".repeat(3000);
    let prompt = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{{"name":"p","arguments":{{"text":"{text}"}}}}}}"#
    );
    let stream = send(post(sidecar.traffic, prompt.clone())).await;
    assert_eq!(stream.status(), 200);
    assert_eq!(send(post(sidecar.traffic, prompt.clone())).await.status(), 503);
    let refused = async || {
        let records = lines.records();
        records.iter().any(|record| record["reason"] == "buffers_of_caller")
    };
    until("the refusal is on the record", refused).await;
    drop(stream);
    until("there is room again", async || {
        send(post(sidecar.traffic, prompt.clone())).await.status() == 200
    })
    .await;
}

/// A list of tools, which is read whole, and larger than all buffers on the way.
fn large_list() -> String {
    let padding = "x".repeat(2 << 20);
    format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"tools":[],"a":"{padding}"}}}}"#)
}

const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;

/// Answers lists with a large one and everything else at once.
async fn with_large_list() -> Server {
    Server::start(async |received| {
        if received.body.as_ref() == LIST.as_bytes() {
            json_text(large_list())
        } else {
            json_answer(RESULT)
        }
    })
    .await
}

#[tokio::test]
async fn an_answer_that_is_not_read_keeps_its_place_and_gives_it_back() {
    let server = with_large_list().await;
    let (sidecar, lines) = with_limits(&server, |limits| limits.concurrent_requests_per_principal = 1).await;
    let unread = stuck(sidecar.traffic, LIST).await;
    let refused = send(post(sidecar.traffic, PING)).await;
    assert_eq!(refused.status(), 429);
    assert_eq!(lines.wait(2).await[1]["reason"], "concurrency_of_caller");
    drop(unread);
    until("there is a place again", async || {
        send(post(sidecar.traffic, PING)).await.status() == 200
    })
    .await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_its_answer_loses_its_connection_and_its_place() {
    let server = with_large_list().await;
    let mut policy = policy(server.port);
    policy.limits.concurrent_requests_per_principal = 1;
    let sidecar = Running::start_with_patience(policy, Duration::from_secs(1)).await;
    let mut unread = stuck(sidecar.traffic, LIST).await;
    until("there is a place again", async || {
        send(post(sidecar.traffic, PING)).await.status() == 200
    })
    .await;
    let mut rest = Vec::new();
    let reading = tokio::time::timeout(Duration::from_secs(10), unread.read_to_end(&mut rest));
    let _ = reading.await.expect("the connection ends");
    assert!(rest.len() < 2 << 20, "{}", rest.len());
}

#[tokio::test]
async fn a_stream_on_which_nothing_is_said_outlives_the_patience_with_clients_that_take_nothing() {
    let (sender, answer) = events("text/event-stream");
    let answer = Arc::new(Mutex::new(Some(answer)));
    let server = Server::start(move |_| {
        let answer = answer.lock().unwrap().take().unwrap();
        async { answer }
    })
    .await;
    let sidecar = Running::start_with_patience(policy(server.port), Duration::from_millis(100)).await;
    let mut stream = send(get(sidecar.traffic)).await.into_body();
    for event in ["data: 1\n\n", "data: 2\n\n"] {
        tokio::time::sleep(Duration::from_secs(1)).await;
        sender.unbounded_send(Ok(event)).unwrap();
        let frame = stream.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), event.as_bytes());
    }
}

#[tokio::test]
async fn an_answer_s_time_begins_before_its_head() {
    let server = Server::start(async |_| {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (sender, answer) = events("application/json");
        tokio::spawn(async move {
            // Within the bound, but for the head.
            tokio::time::sleep(Duration::from_secs(2)).await;
            let _ = sender.unbounded_send(Ok(RESULT));
        });
        answer
    })
    .await;
    let (sidecar, lines) = with_limits(&server, |limits| limits.request_seconds = 3).await;
    let (status, answer) = json_of(send(post(sidecar.traffic, LIST)).await).await;
    assert_eq!((status.as_u16(), &answer["error"]["code"]), (504, &json!(-31504)));
    assert_eq!(lines.wait(1).await[0]["reason"], "upstream_timed_out");
}

#[tokio::test]
async fn nesting_is_refused_where_the_policy_says() {
    let server = fixture().await;
    let (sidecar, _) = with_limits(&server, |limits| limits.json_depth = 4).await;
    let nested = |levels: usize| {
        let (open, close) = ("[".repeat(levels), "]".repeat(levels));
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"x":{open}{close}}}}}"#)
    };
    assert_eq!(send(post(sidecar.traffic, nested(2))).await.status(), 200);
    assert_eq!(send(post(sidecar.traffic, nested(3))).await.status(), 400);
}

/// Whoever holds the port while the sidecar runs would be taken for it.
#[tokio::test]
async fn nobody_else_in_the_pod_can_listen_where_the_sidecar_does() {
    let server = fixture().await;
    let (sidecar, _) = with_limits(&server, |_| {}).await;
    for port in [sidecar.traffic.port(), sidecar.admin.port()] {
        for address in ["0.0.0.0", "127.0.0.1", "[::]", "[::1]", "127.0.0.2"] {
            let address: std::net::SocketAddr = format!("{address}:{port}").parse().unwrap();
            for reuse_port in [false, true] {
                let socket = if address.is_ipv4() {
                    tokio::net::TcpSocket::new_v4()
                } else {
                    tokio::net::TcpSocket::new_v6()
                };
                let Ok(socket) = socket else { continue };
                socket.set_reuseaddr(true).unwrap();
                socket.set_reuseport(reuse_port).unwrap();
                let listens = socket.bind(address).and_then(|()| socket.listen(8));
                assert!(listens.is_err(), "{address}, SO_REUSEPORT {reuse_port}");
            }
        }
    }
}

#[tokio::test]
async fn a_sidecar_whose_port_is_taken_does_not_start() {
    let taken = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let mut policy = policy(1);
    policy.listen.port = taken.local_addr().unwrap().port();
    let started = sallyport_sidecar::Sidecar::bind(policy, crate::support::place(), std::io::sink()).await;
    let error = started.err().unwrap().to_string();
    assert!(error.contains("another process in the pod"), "{error}");
}

#[tokio::test]
async fn a_token_in_the_query_is_refused_even_where_nobody_needs_one() {
    let server = fixture().await;
    let (sidecar, lines) = with_limits(&server, |_| {}).await;
    let length = CALL.len();
    let request = format!(
        "POST /mcp?access_token=query-secret HTTP/1.1\r\nHost: demo.team-a.svc\r\nContent-Type: application/json\r\n\
         Connection: close\r\nContent-Length: {length}\r\n\r\n{CALL}"
    );
    let answer = raw(sidecar.traffic, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(server.received().is_empty());
    assert!(!lines.wait(1).await[0].to_string().contains("query-secret"));
}
