//! Confirmation and sealed names through two real sidecars in front of one server: what any client can try.

use super::support::*;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use pretty_assertions::assert_eq;
use sallyport_policy::authentication::ApiKeys;
use sallyport_policy::{Authentication, Confirmation, LegacyConfirmation, PolicyFile};
use sallyport_sidecar::Place;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

const ALICE: &str = "alice";
const BOB: &str = "bob";

/// Two replicas of one endpoint, and what they need.
struct Replicas {
    server: Server,
    a: SocketAddr,
    b: SocketAddr,
    files: PathBuf,
    _running: [Running; 2],
}

impl Replicas {
    async fn start(change: impl Fn(&mut PolicyFile)) -> Self {
        let server = Server::start(serve).await;
        let files = std::env::temp_dir().join(format!("sallyport-confirmation-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir(&files).unwrap();
        std::fs::write(files.join("sealing"), "a3pXYz7Xyq0O9b3cGm2mQk0m2l8d1cJY8o3c1uQ5n2E=\n").unwrap();
        std::fs::write(files.join("callers"), key_file().to_string()).unwrap();
        let start = async || {
            let mut policy = policy(server.port);
            policy.confirmation = Confirmation::default();
            policy.authentication = Authentication {
                api_keys: Some(ApiKeys {
                    file: files.join("callers").to_str().unwrap().to_owned(),
                }),
                ..Authentication::default()
            };
            policy.sealing.keys_file = Some(files.join("sealing").to_str().unwrap().to_owned());
            policy.sealing.peer_port = Some(free_port());
            change(&mut policy);
            let pod = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
            let running = Running::start_at(policy, Place { pod, ..place() }, Lines::default()).await;
            running.until_ready().await;
            running
        };
        let running = [start().await, start().await];
        Self {
            a: running[0].traffic,
            b: running[1].traffic,
            server,
            files,
            _running: running,
        }
    }

    /// Arguments of the calls that reached the server.
    fn ran(&self) -> Vec<Value> {
        self.server
            .received()
            .iter()
            .filter_map(|received| serde_json::from_slice::<Value>(&received.body).ok())
            .filter(|message| message["method"] == "tools/call")
            .map(|message| message["params"].clone())
            .collect()
    }
}

impl Drop for Replicas {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.files);
    }
}

/// The server: sessions as it likes them, and a tool that runs whenever it is called.
pub async fn serve(received: Received) -> Answer {
    let message: Value = serde_json::from_slice(&received.body).unwrap_or_default();
    match message["method"].as_str() {
        Some("initialize") => {
            let mut answer = json_answer(
                r#"{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"s","version":"1"}}}"#,
            );
            answer
                .headers_mut()
                .insert("mcp-session-id", "server-session".parse().unwrap());
            answer
        }
        Some("tools/call") => {
            let result = json!({"jsonrpc": "2.0", "id": message["id"], "result": {"resultType": "complete", "content": [{"type": "text", "text": "ran"}]}});
            let mut answer = reply(200, result.to_string());
            answer
                .headers_mut()
                .insert("content-type", "application/json".parse().unwrap());
            answer
        }
        _ => reply(202, ""),
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}

pub fn secret(caller: &str) -> String {
    format!("{caller}-secret-of-the-test-0123456789abcdef")
}

/// In hexadecimal.
pub fn sha256(text: impl AsRef<[u8]>) -> String {
    Sha256::digest(text).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn key_file() -> Value {
    let keys = [ALICE, BOB].map(|caller| {
        let hash = sha256(secret(caller));
        json!({"id": caller, "hash": format!("sha256:{hash}"), "subject": caller})
    });
    json!({"keys": keys})
}

fn request(at: SocketAddr, caller: &str, message: &Value) -> Request<Full<Bytes>> {
    let mut request = post(at, message.to_string());
    let credential = format!("Bearer mcpe_{caller}_{}", secret(caller));
    request
        .headers_mut()
        .insert("authorization", credential.parse().unwrap());
    request
}

async fn modern(at: SocketAddr, caller: &str, message: &Value) -> (StatusCode, Value) {
    let mut request = request(at, caller, message);
    let headers = request.headers_mut();
    headers.insert("mcp-protocol-version", "2026-07-28".parse().unwrap());
    headers.insert("mcp-method", "tools/call".parse().unwrap());
    headers.insert("mcp-name", message["params"]["name"].as_str().unwrap().parse().unwrap());
    json_of(send(request).await).await
}

fn wipe() -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "wipe",
        "arguments": {"disk": "sda"},
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}},
        },
    }})
}

fn confirmed(question: &Value) -> Value {
    let mut retry = wipe();
    retry["id"] = json!(2);
    retry["params"]["requestState"] = question["result"]["requestState"].clone();
    retry["params"]["inputResponses"] =
        json!({"sallyport.dev/confirm": {"action": "accept", "content": {"confirm": true}}});
    retry
}

#[tokio::test]
async fn a_modern_call_runs_once_for_one_yes_whichever_replica_it_reaches() {
    let replicas = Replicas::start(|_| {}).await;
    let (status, question) = modern(replicas.a, ALICE, &wipe()).await;
    assert_eq!(
        (status.as_u16(), &question["result"]["resultType"]),
        (200, &json!("input_required"))
    );
    assert_eq!(replicas.ran().len(), 0);

    let retry = confirmed(&question);
    // Nobody else's.
    let (_, stolen) = modern(replicas.b, BOB, &retry).await;
    assert_eq!(stolen["error"]["code"], -32602, "{stolen}");
    // Nor for anything else.
    let mut other = retry.clone();
    other["params"]["arguments"]["disk"] = json!("sdb");
    let (_, refused) = modern(replicas.b, ALICE, &other).await;
    assert_eq!(refused["error"]["code"], -31003, "{refused}");
    assert_eq!(replicas.ran().len(), 0);

    let (_, ran) = modern(replicas.b, ALICE, &retry).await;
    assert_eq!(ran["result"]["content"][0]["text"], "ran", "{ran}");
    let mut seen = wipe()["params"].clone();
    assert_eq!(replicas.ran(), [seen.take()]);
    for at in [replicas.a, replicas.b, replicas.a] {
        let (_, again) = modern(at, ALICE, &retry).await;
        assert_eq!(again["result"]["resultType"], "input_required", "{again}");
    }
    assert_eq!(replicas.ran().len(), 1);
}

#[tokio::test]
async fn without_confirmation_the_same_call_runs_as_often_as_it_is_sent() {
    // The negative control.
    let replicas =
        Replicas::start(|policy| policy.confirmation.tools = sallyport_policy::ConfirmedTools::Nothing).await;
    for at in [replicas.a, replicas.b, replicas.a] {
        assert_eq!(
            modern(at, ALICE, &wipe()).await.1["result"]["content"][0]["text"],
            "ran"
        );
    }
    assert_eq!(replicas.ran().len(), 3);
}

pub async fn initialize(at: SocketAddr, caller: &str, capabilities: &Value) -> String {
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": {"name": "c", "version": "1"},
    }});
    let response = send(request(at, caller, &message)).await;
    assert_eq!(response.status(), 200);
    response.headers()["mcp-session-id"].to_str().unwrap().to_owned()
}

pub fn in_session(at: SocketAddr, caller: &str, session: &str, message: &Value) -> Request<Full<Bytes>> {
    let mut request = request(at, caller, message);
    let headers = request.headers_mut();
    headers.insert("mcp-session-id", session.parse().unwrap());
    headers.insert("mcp-protocol-version", "2025-11-25".parse().unwrap());
    request
}

pub fn legacy_wipe() -> Value {
    json!({"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {"name": "wipe", "arguments": {"disk": "sda"}}})
}

#[tokio::test]
async fn a_session_is_its_callers_on_every_replica_and_nobody_elses() {
    let replicas = Replicas::start(|_| {}).await;
    let session = initialize(replicas.a, ALICE, &json!({})).await;
    assert_ne!(session, "server-session");
    assert!(session.bytes().all(|byte| byte.is_ascii_graphic()));
    let ping = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    for at in [replicas.a, replicas.b] {
        assert_eq!(send(in_session(at, ALICE, &session, &ping)).await.status(), 202);
        assert_eq!(send(in_session(at, BOB, &session, &ping)).await.status(), 404);
        assert_eq!(send(in_session(at, BOB, "server-session", &ping)).await.status(), 404);
    }
    let seen = replicas.server.received();
    let sessions: Vec<_> = seen
        .iter()
        .filter_map(|seen| seen.headers.get("mcp-session-id"))
        .collect();
    assert_eq!(sessions, ["server-session", "server-session"]);
}

#[tokio::test]
async fn where_callers_are_not_told_apart_a_known_session_id_is_enough() {
    // The negative control: what the server alone makes of it.
    let replicas = Replicas::start(|policy| {
        policy.authentication = Authentication::anonymous();
        policy.confirmation.tools = sallyport_policy::ConfirmedTools::Nothing;
    })
    .await;
    let ping = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let mut stolen = in_session(replicas.a, BOB, "server-session", &ping);
    stolen.headers_mut().remove("authorization");
    assert_eq!(send(stolen).await.status(), 202);
}

pub async fn next_event(body: &mut Incoming) -> Value {
    let mut text = String::new();
    loop {
        let frame = body.frame().await.unwrap().unwrap();
        text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        let event = text.split("\n\n").find(|event| event.contains("data:"));
        if let Some(event) = event.filter(|_| text.ends_with("\n\n")) {
            let data: Vec<&str> = event.lines().filter_map(|line| line.strip_prefix("data:")).collect();
            return serde_json::from_str(&data.join("\n")).unwrap();
        }
    }
}

#[tokio::test]
async fn a_legacy_person_is_asked_on_the_stream_and_may_answer_through_another_replica() {
    let replicas = Replicas::start(|_| {}).await;
    let session = initialize(replicas.a, ALICE, &json!({"elicitation": {}})).await;
    let response = send(in_session(replicas.a, ALICE, &session, &legacy_wipe())).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut stream = response.into_body();
    let question = next_event(&mut stream).await;
    assert_eq!(question["method"], "elicitation/create");

    let answer =
        json!({"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept", "content": {"confirm": true}}});
    let bobs = initialize(replicas.b, BOB, &json!({"elicitation": {}})).await;
    assert_eq!(send(in_session(replicas.b, BOB, &bobs, &answer)).await.status(), 403);
    assert_eq!(replicas.ran().len(), 0);

    assert_eq!(
        send(in_session(replicas.b, ALICE, &session, &answer)).await.status(),
        202
    );
    let result = next_event(&mut stream).await;
    assert_eq!(
        (&result["id"], &result["result"]["content"][0]["text"]),
        (&json!(5), &json!("ran"))
    );
    assert_eq!(replicas.ran(), [legacy_wipe()["params"].clone()]);
    // No answer of ours reached the server.
    assert!(
        replicas
            .server
            .received()
            .iter()
            .all(|seen| !seen.body.windows(7).any(|bytes| bytes == b"confirm"))
    );
}

#[tokio::test]
async fn a_legacy_person_may_say_no() {
    let replicas = Replicas::start(|_| {}).await;
    let session = initialize(replicas.a, ALICE, &json!({"elicitation": {}})).await;
    let mut stream = send(in_session(replicas.a, ALICE, &session, &legacy_wipe()))
        .await
        .into_body();
    let question = next_event(&mut stream).await;
    let answer = json!({"jsonrpc": "2.0", "id": question["id"], "result": {"action": "decline"}});
    assert_eq!(
        send(in_session(replicas.a, ALICE, &session, &answer)).await.status(),
        202
    );
    let denied = next_event(&mut stream).await;
    assert_eq!((&denied["id"], &denied["error"]["code"]), (&json!(5), &json!(-31003)));
    assert_eq!(replicas.ran().len(), 0);
}

#[tokio::test]
async fn a_legacy_client_that_cannot_ask_is_denied_or_confirms_by_token_if_the_endpoint_says_so() {
    let denying = Replicas::start(|_| {}).await;
    let session = initialize(denying.a, ALICE, &json!({})).await;
    let (_, denied) = json_of(send(in_session(denying.a, ALICE, &session, &legacy_wipe())).await).await;
    assert_eq!(denied["error"]["code"], -31003, "{denied}");
    assert_eq!(denying.ran().len(), 0);

    let replicas = Replicas::start(|policy| policy.confirmation.legacy = LegacyConfirmation::Token).await;
    let session = initialize(replicas.a, ALICE, &json!({})).await;
    let (_, first) = json_of(send(in_session(replicas.a, ALICE, &session, &legacy_wipe())).await).await;
    let text: Value = serde_json::from_str(first["result"]["content"][0]["text"].as_str().unwrap()).unwrap();
    assert_eq!(text["confirmation_required"]["expiresInSeconds"], 300);
    assert_eq!(replicas.ran().len(), 0);
    let mut second = legacy_wipe();
    second["params"]["arguments"]["confirmationToken"] = text["confirmation_required"]["token"].clone();
    let (_, ran) = json_of(send(in_session(replicas.b, ALICE, &session, &second)).await).await;
    assert_eq!(ran["result"]["content"][0]["text"], "ran", "{ran}");
    assert_eq!(replicas.ran(), [legacy_wipe()["params"].clone()]);
    for at in [replicas.a, replicas.b] {
        let (_, again) = json_of(send(in_session(at, ALICE, &session, &second)).await).await;
        assert_eq!(again["result"]["isError"], true, "{again}");
    }
    assert_eq!(replicas.ran().len(), 1);
}
