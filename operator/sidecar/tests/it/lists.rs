//! What of the server's answers reaches whom.

use crate::support::{
    Received, Running, Server, events, json_answer, json_of, json_text, modern, policy, post, send, until,
};
use http_body_util::BodyExt;
use pretty_assertions::assert_eq;
use sallyport_policy::authorization::Authorization;
use sallyport_policy::tools::canonical_digest;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

const READ: &str = r#"{"name":"read_file","inputSchema":{"type":"object"}, "x": 1}"#;
const WIPE: &str = r#"{"name":"wipe","description":"gone","inputSchema":{"type":"object"}}"#;

fn list(id: u32, tools: &[&str]) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"result":{{"tools":[{}],"resultType":"complete","ttlMs":9999999,"cacheScope":"public"}}}}"#,
        tools.join(" , ")
    )
}

fn readers_only() -> Authorization {
    let rule = serde_json::from_value(json!({"name": "readers", "tools": ["read_*"]})).unwrap();
    Authorization::by_rules(vec![rule], BTreeMap::new()).unwrap()
}

/// A sidecar that lets everybody read and nobody wipe.
async fn guarded(server: &Server) -> Running {
    let mut policy = policy(server.port);
    policy.authorization = readers_only();
    Running::start(policy, std::io::sink()).await
}

fn names(result: &Value) -> Vec<&str> {
    let tools = result["tools"].as_array().unwrap();
    tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect()
}

const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;

fn call(name: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{name}"}}}}"#)
}

#[tokio::test]
async fn a_list_shows_what_the_caller_may_use_and_is_kept_for_the_caller_alone() {
    let server = Server::start(async |_| json_text(list(7, &[READ, WIPE]))).await;
    let sidecar = guarded(&server).await;
    let request = modern(sidecar.traffic, "tools/list", None, "");
    let text = send(request).await.into_body().collect().await.unwrap().to_bytes();
    let text = std::str::from_utf8(&text).unwrap();
    assert!(text.contains(READ), "what stays has the server's bytes: {text}");
    let answer: Value = serde_json::from_str(text).unwrap();
    assert_eq!(names(&answer["result"]), ["read_file"]);
    assert_eq!(
        (&answer["result"]["cacheScope"], &answer["result"]["ttlMs"]),
        (&json!("private"), &json!(60_000))
    );
    // Without rules everybody sees all.
    let open = Running::start(policy(server.port), std::io::sink()).await;
    let (_, answer) = json_of(send(modern(open.traffic, "tools/list", None, "")).await).await;
    assert_eq!(names(&answer["result"]), ["read_file", "wipe"]);
}

#[tokio::test]
async fn a_tool_that_is_not_shown_is_as_unknown_as_one_that_is_not_there() {
    let server = Server::start(async |_| json_answer(r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#)).await;
    let sidecar = guarded(&server).await;
    for name in ["wipe", "no_such_tool"] {
        let (status, answer) = json_of(send(post(sidecar.traffic, call(name))).await).await;
        assert_eq!(status, 200);
        let error = json!({"code": -32602, "message": format!("Unknown tool: {name}")});
        assert_eq!(answer, json!({"jsonrpc": "2.0", "id": 1, "error": error}));
    }
    assert!(server.received().is_empty());
    assert_eq!(send(post(sidecar.traffic, call("read_file"))).await.status(), 200);
}

#[tokio::test]
async fn a_list_in_an_event_stream_is_filtered_and_the_events_around_it_are_not_touched() {
    let event = format!("id: 1\nevent: message\ndata: {}\n\n", list(1, &[READ, WIPE]));
    let event: &'static str = Box::leak(event.into_boxed_str());
    let server = Server::start(move |_| {
        let (sender, answer) = events("text/event-stream");
        for event in [": hello\n\n", "id: 0\ndata: \n\n", event, ": bye\r\n\r\n"] {
            sender.unbounded_send(Ok(event)).unwrap();
        }
        async { answer }
    })
    .await;
    let sidecar = guarded(&server).await;
    let body = send(post(sidecar.traffic, LIST))
        .await
        .into_body()
        .collect()
        .await
        .unwrap();
    let body = String::from_utf8(body.to_bytes().to_vec()).unwrap();
    let rest = body
        .strip_prefix(": hello\n\nid: 0\ndata: \n\nid: 1\nevent: message\ndata: ")
        .unwrap();
    let data = rest.strip_suffix("\n\n: bye\r\n\r\n").unwrap();
    let answer: Value = serde_json::from_str(data).unwrap();
    assert_eq!(names(&answer["result"]), ["read_file"]);
    assert!(data.contains(READ));
}

#[tokio::test]
async fn a_hostile_server_smuggles_no_tool_past_the_list() {
    let smuggled = list(99, &[WIPE]);
    let answers = [
        // As the answer to another request, whose id the client waits for.
        format!("data: {smuggled}\n\n"),
        // In a form that not every parser reads alike.
        format!(
            "data: {}\n\n",
            smuggled.replace("\"tools\":[", "\"tools\":[],\"tools\":[")
        ),
        format!("data: {}\n\n", smuggled.replace("\"tools\"", "\"Tools\"")),
        format!("data: {}\n\n", smuggled.replace("\"tools\"", "\"\\u0074ools\"")),
        format!("data: [{smuggled}]\n\n"),
        // Without the blank line at the end, over several lines, by other line ends.
        format!("data: {smuggled}\n"),
        format!("data: {}\n\n", smuggled.replace(",\"result\"", ",\ndata: \"result\"")),
        format!("data: {smuggled}\r\r"),
        // For clients that end lines at other characters.
        format!(": x\u{2028}data: {smuggled}\n\n"),
        format!(
            "id: 1\u{85}data: {smuggled}\u{85}\u{85}x: y\ndata: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}}\n\n"
        ),
    ];
    for answer in answers {
        let text: &'static str = Box::leak(answer.into_boxed_str());
        let server = Server::start(move |_| {
            let (sender, answer) = events("text/event-stream");
            sender.unbounded_send(Ok(text)).unwrap();
            async { answer }
        })
        .await;
        let through = async |sidecar: Running| {
            let body = send(post(sidecar.traffic, call("read_file"))).await.into_body();
            let body = body.collect().await.unwrap().to_bytes();
            read_carelessly(std::str::from_utf8(&body).unwrap())
        };
        assert!(read_carelessly(text), "no attack: {text}");
        assert!(!through(guarded(&server).await).await, "{text}");
    }
}

/// Whether a client that ends lines wherever Unicode does, takes batches and the last event without its end, and compares keys
/// without regard to case, finds the tool.
fn read_carelessly(stream: &str) -> bool {
    let lines = stream.replace("\r\n", "\n").replace(['\r', '\u{2028}', '\u{85}'], "\n");
    lines.split("\n\n").any(|event| {
        let data: Vec<&str> = event
            .lines()
            .filter_map(|line| line.strip_prefix("data:"))
            .map(|data| data.strip_prefix(' ').unwrap_or(data))
            .collect();
        let message: Value = serde_json::from_str(&data.join("\n")).unwrap_or_default();
        let message = message.get(0).unwrap_or(&message);
        let result = message["result"].as_object();
        result.is_some_and(|result| {
            let tools = result.iter().find(|(key, _)| key.eq_ignore_ascii_case("tools"));
            tools.is_some_and(|(_, tools)| tools.to_string().contains("wipe"))
        })
    })
}

#[tokio::test]
async fn an_answer_in_json_that_cannot_be_read_safely_is_an_error_and_not_passed_on() {
    for answer in [
        list(1, &[WIPE]).replace("\"tools\":[", "\"tools\":[],\"tools\":["),
        format!("[{}]", list(1, &[WIPE])),
        "not json".to_owned(),
    ] {
        let server = Server::start(move |_| {
            let answer = answer.clone();
            async move { json_text(answer) }
        })
        .await;
        let sidecar = guarded(&server).await;
        let (status, answer) = json_of(send(post(sidecar.traffic, LIST)).await).await;
        assert_eq!(
            (status.as_u16(), &answer["error"]["code"], &answer["id"]),
            (502, &json!(-31502), &json!(1))
        );
    }
}

#[tokio::test]
async fn a_server_that_sends_the_client_elsewhere_is_not_followed() {
    let server = Server::start(async |_| {
        let mut answer = crate::support::reply(307, "");
        let elsewhere = "https://evil.example/mcp".parse().unwrap();
        answer.headers_mut().insert("location", elsewhere);
        answer
    })
    .await;
    let sidecar = Running::start(policy(server.port), std::io::sink()).await;
    let response = send(post(sidecar.traffic, LIST)).await;
    assert_eq!(response.status(), 502);
    assert!(!response.headers().contains_key("location"));
}

#[tokio::test]
async fn a_pinned_tool_that_changes_is_called_by_nobody_until_it_is_as_before() {
    let offered: Arc<Mutex<String>> = Arc::default();
    let seen = offered.clone();
    let server = Server::start(move |received: Received| {
        let listed = received.body.windows(10).any(|bytes| bytes == b"tools/list");
        let tools = seen.lock().unwrap().clone();
        async move {
            json_text(if listed {
                format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"tools":{tools}}}}}"#)
            } else {
                r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#.to_owned()
            })
        }
    })
    .await;
    let offer = |tools: String| {
        *server.tools.lock().unwrap() = Some(tools.clone());
        *offered.lock().unwrap() = tools;
    };
    offer(format!("[{READ},{WIPE}]"));
    let mut pinned = policy(server.port);
    let digest = canonical_digest(READ).unwrap();
    let pins = json!({"pins": [{"name": "read_file", "sha256": digest}], "unpinned": "Deny"});
    pinned.tools = serde_json::from_value(pins).unwrap();
    let sidecar = Running::start(pinned, std::io::sink()).await;
    sidecar.until_ready().await;
    let verdict = async |name: &str| {
        let (_, answer) = json_of(send(post(sidecar.traffic, call(name))).await).await;
        answer["error"]["code"].as_i64()
    };
    let state = async || {
        let report: Value = serde_json::from_str(&sidecar.admin("/tools").await.1).unwrap();
        report["tools"][0]["state"].as_str().unwrap().to_owned()
    };
    let shown = async || {
        let (_, answer) = json_of(send(post(sidecar.traffic, LIST)).await).await;
        names(&answer["result"]).len()
    };
    assert_eq!(
        (verdict("read_file").await, verdict("wipe").await),
        (None, Some(-32602))
    );
    assert_eq!((state().await.as_str(), shown().await), ("Pinned", 1));

    // The list that passes by says otherwise, so that the tool is not called before it was looked at again.
    offer(format!("[{}]", READ.replace("\"x\": 1", "\"x\": 2")));
    assert_eq!(shown().await, 0);
    assert_eq!(verdict("read_file").await, Some(-31002));
    until("the tools were looked at again", async || state().await == "Drifted").await;
    assert_eq!(verdict("read_file").await, Some(-31002));
    let (_, metrics) = sidecar.admin("/metrics").await;
    assert!(
        metrics.contains("sallyport_sidecar_tools{state=\"drifted\"} 1"),
        "{metrics}"
    );

    offer(format!("[{READ}]"));
    assert_eq!(shown().await, 1);
    until("the tools were looked at again", async || state().await == "Pinned").await;
    assert_eq!(verdict("read_file").await, None);
}

#[tokio::test]
async fn news_of_a_resource_goes_to_those_alone_who_may_have_it() {
    let server =
        Server::start(async |_| json_answer(r#"{"jsonrpc":"2.0","id":7,"result":{"resultType":"complete"}}"#)).await;
    let rule = serde_json::from_value(json!({"name": "public", "resources": ["file:///public/*"]})).unwrap();
    let mut ruled = policy(server.port);
    ruled.authorization = Authorization::by_rules(vec![rule], BTreeMap::new()).unwrap();
    let ruled = Running::start(ruled, std::io::sink()).await;
    let listen = async |sidecar: &Running, uris: &str| {
        let params = format!(r#""notifications":{{"resourceSubscriptions":[{uris}]}}"#);
        let request = modern(sidecar.traffic, "subscriptions/listen", None, &params);
        json_of(send(request).await).await.1
    };
    for uris in [r#""file:///secret/a""#, r#""file:///public/a","file:///secret/a""#] {
        let answer = listen(&ruled, uris).await;
        assert!(answer["error"].is_object(), "{answer}");
    }
    assert!(server.received().is_empty());
    let answer = listen(&ruled, r#""file:///public/a""#).await;
    assert!(answer["result"].is_object(), "{answer}");
    // Without rules everybody hears of everything.
    let open = Running::start(policy(server.port), std::io::sink()).await;
    let answer = listen(&open, r#""file:///secret/a""#).await;
    assert!(answer["result"].is_object(), "negative control: {answer}");
}

#[tokio::test]
async fn an_empty_answer_to_a_notification_passes_in_chunks_too() {
    let server = Server::start(async |_| {
        let (sender, answer) = events("application/json");
        drop(sender);
        answer
    })
    .await;
    let sidecar = guarded(&server).await;
    let notification = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    let answer = send(post(sidecar.traffic, notification)).await;
    assert!(answer.status().is_success(), "{answer:?}");
    assert!(answer.into_body().collect().await.unwrap().to_bytes().is_empty());
}
