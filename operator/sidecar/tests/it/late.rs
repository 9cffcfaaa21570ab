//! Calls that a person confirms after something changed, and what the records say of confirmed calls.

use super::confirmation::{in_session, initialize, legacy_wipe, next_event, secret, serve, sha256};
use super::support::*;
use hyper::body::Incoming;
use pretty_assertions::assert_eq;
use sallyport_policy::authentication::ApiKeys;
use sallyport_policy::authorization::Authorization;
use sallyport_policy::tools::canonical_digest;
use sallyport_policy::{Authentication, Confirmation, LegacyConfirmation, PolicyFile};
use sallyport_sidecar::Sidecar;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// Two keys of one person: the question is asked with the first, and answered with the second.
const FIRST: &str = "first";
const SECOND: &str = "second";

const WIPE: &str = r#"{"name":"wipe","inputSchema":{"type":"object"}}"#;

struct Late {
    server: Server,
    offered: Arc<Mutex<String>>,
    sidecar: Running,
    lines: Lines,
    policy: PolicyFile,
    files: PathBuf,
}

impl Late {
    async fn start(change: impl FnOnce(&mut PolicyFile)) -> Self {
        let offered = Arc::new(Mutex::new(format!("[{WIPE}]")));
        let seen = offered.clone();
        let server = Server::start(move |received: Received| {
            let tools = seen.lock().unwrap().clone();
            async move {
                if received.body.windows(10).any(|bytes| bytes == b"tools/list") {
                    return json_text(format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"tools":{tools}}}}}"#));
                }
                serve(received).await
            }
        })
        .await;
        *server.tools.lock().unwrap() = Some(offered.lock().unwrap().clone());
        let files = std::env::temp_dir().join(format!("sallyport-late-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir(&files).unwrap();
        let mut policy = policy(server.port);
        policy.generation = 1;
        policy.confirmation = Confirmation::default();
        policy.authentication = Authentication {
            api_keys: Some(ApiKeys {
                file: files.join("keys").to_str().unwrap().to_owned(),
            }),
            ..Authentication::default()
        };
        change(&mut policy);
        let lines = Lines::default();
        write(&files, "keys", &keys(None).to_string());
        write(&files, "policy", &policy.to_text().unwrap());
        let sidecar = Sidecar::bind(policy.clone(), place(), lines.clone()).await.unwrap();
        let sidecar = Running::serve(sidecar.following(files.join("policy")));
        sidecar.until_ready().await;
        Self {
            server,
            offered,
            sidecar,
            lines,
            policy,
            files,
        }
    }

    /// The session, the stream of a call that is to be confirmed, and the id of the question on it.
    async fn ask(&self) -> (String, Incoming, Value) {
        let at = self.sidecar.traffic;
        let session = initialize(at, FIRST, &json!({"elicitation": {}})).await;
        let response = send(in_session(at, FIRST, &session, &legacy_wipe())).await;
        let mut stream = response.into_body();
        let question = next_event(&mut stream).await;
        assert_eq!(question["method"], "elicitation/create", "{question}");
        (session, stream, question["id"].clone())
    }

    /// The end of the call once the person agreed.
    async fn agree(&self, (session, mut stream, question): (String, Incoming, Value)) -> Value {
        let result = json!({"action": "accept", "content": {"confirm": true}});
        let answer = json!({"jsonrpc": "2.0", "id": question, "result": result});
        let taken = send(in_session(self.sidecar.traffic, SECOND, &session, &answer)).await;
        assert_eq!(taken.status(), 202);
        next_event(&mut stream).await
    }

    /// How often the tool ran.
    fn ran(&self) -> usize {
        let called = |received: &&Received| received.body.windows(10).any(|bytes| bytes == b"tools/call");
        self.server.received().iter().filter(called).count()
    }

    async fn follow(&self, policy: &PolicyFile) {
        write(&self.files, "policy", &policy.to_text().unwrap());
        let generation = format!("\"generation\":{}", policy.generation);
        until("the new policy is in force", async || {
            self.sidecar.admin("/policy").await.1.contains(&generation)
        })
        .await;
    }

    /// The record of the call that was asked about.
    async fn record(&self) -> Value {
        let of_call = |record: &Value| record["mcpMethod"] == "tools/call";
        until("the call is recorded", async || {
            self.lines.records().iter().any(of_call)
        })
        .await;
        self.lines.records().into_iter().find(of_call).unwrap()
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.files);
    }
}

fn write(files: &std::path::Path, name: &str, text: &str) {
    let next = files.join(".next");
    std::fs::write(&next, text).unwrap();
    std::fs::rename(next, files.join(name)).unwrap();
}

/// Both keys, the first until `expires`.
fn keys(expires: Option<&str>) -> Value {
    let key = |id: &str| {
        let hash = sha256(secret(id));
        json!({"id": id, "hash": format!("sha256:{hash}"), "subject": "alice"})
    };
    let mut first = key(FIRST);
    if let Some(expires) = expires {
        first["expires"] = json!(expires);
    }
    json!({"keys": [first, key(SECOND)]})
}

#[tokio::test]
async fn a_call_that_is_confirmed_while_all_is_as_it_was_runs() {
    // The negative control of those below.
    let late = Late::start(|_| {}).await;
    let asked = late.ask().await;
    let mut same = late.policy.clone();
    same.generation = 2;
    late.follow(&same).await;
    let end = late.agree(asked).await;
    assert_eq!(end["result"]["content"][0]["text"], "ran", "{end}");
    assert_eq!(late.ran(), 1);
    let record = late.record().await;
    assert_eq!(
        (&record["outcome"], &record["policyGeneration"]),
        (&json!("confirmed"), &json!(2))
    );
}

#[tokio::test]
async fn a_call_that_a_new_rule_denies_does_not_run_though_it_was_asked_about_before() {
    let late = Late::start(|_| {}).await;
    let asked = late.ask().await;
    let mut closed = late.policy.clone();
    closed.generation = 2;
    closed.authorization = Authorization::default();
    late.follow(&closed).await;
    let end = late.agree(asked).await;
    assert_eq!(
        (&end["id"], &end["error"]["code"]),
        (&json!(5), &json!(-32602)),
        "{end}"
    );
    assert_eq!(late.ran(), 0);
    let record = late.record().await;
    assert_eq!(
        (&record["outcome"], &record["policyGeneration"]),
        (&json!("denied"), &json!(2))
    );
}

#[tokio::test]
async fn new_bounds_hold_for_the_arguments_that_were_asked_about_before() {
    for (bytes, runs) in [(5, 0), (100, 1)] {
        let late = Late::start(|_| {}).await;
        let asked = late.ask().await;
        let mut bounded = late.policy.clone();
        bounded.generation = 2;
        let rule = json!({"name": "small", "tools": ["wipe"], "requires": {"arguments": {"maxBytes": bytes}}});
        bounded.authorization = serde_json::from_value(json!({"rules": [rule]})).unwrap();
        late.follow(&bounded).await;
        let end = late.agree(asked).await;
        assert_eq!(end.get("result").is_some(), runs == 1, "{end}");
        assert_eq!(late.ran(), runs);
    }
}

#[tokio::test]
async fn a_call_whose_credential_ended_does_not_run_though_the_person_has_another() {
    let late = Late::start(|_| {}).await;
    let asked = late.ask().await;
    write(&late.files, "keys", &keys(Some("2020-01-01T00:00:00Z")).to_string());
    let ping = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    until("the key has ended", async || {
        let ping = in_session(late.sidecar.traffic, FIRST, &asked.0, &ping);
        send(ping).await.status() == 401
    })
    .await;
    let end = late.agree(asked).await;
    assert_eq!(
        (&end["id"], &end["error"]["code"]),
        (&json!(5), &json!(-31401)),
        "{end}"
    );
    assert_eq!(late.ran(), 0);
    let record = late.record().await;
    assert_eq!(
        (&record["outcome"], &record["reason"]),
        (&json!("unauthenticated"), &json!("expired credential"))
    );
}

#[tokio::test]
async fn a_call_of_a_tool_that_drifted_meanwhile_does_not_run() {
    let late = Late::start(|policy| {
        let pins = json!({"pins": [{"name": "wipe", "sha256": canonical_digest(WIPE).unwrap()}]});
        policy.tools = serde_json::from_value(pins).unwrap();
    })
    .await;
    let state = async |wanted: &str| {
        let report: Value = serde_json::from_str(&late.sidecar.admin("/tools").await.1).unwrap();
        report["tools"][0]["state"] == wanted
    };
    until("the tool is pinned", async || state("Pinned").await).await;
    let asked = late.ask().await;
    let drifted = format!("[{}]", WIPE.replace("\"wipe\"", "\"wipe\",\"description\":\"more\""));
    *late.server.tools.lock().unwrap() = Some(drifted.clone());
    *late.offered.lock().unwrap() = drifted;
    let list = json!({"jsonrpc": "2.0", "id": 9, "method": "tools/list"});
    send(in_session(late.sidecar.traffic, SECOND, &asked.0, &list)).await;
    until("the tools were looked at again", async || state("Drifted").await).await;
    let end = late.agree(asked).await;
    assert_eq!(
        (&end["id"], &end["error"]["code"]),
        (&json!(5), &json!(-31002)),
        "{end}"
    );
    assert_eq!(late.ran(), 0);
}

#[tokio::test]
async fn a_call_that_is_confirmed_by_token_is_recorded_with_the_arguments_that_it_runs_with() {
    let late = Late::start(|policy| policy.confirmation.legacy = LegacyConfirmation::Token).await;
    let at = late.sidecar.traffic;
    let session = initialize(at, FIRST, &json!({})).await;
    let (_, first) = json_of(send(in_session(at, FIRST, &session, &legacy_wipe())).await).await;
    let text: Value = serde_json::from_str(first["result"]["content"][0]["text"].as_str().unwrap()).unwrap();
    let mut second = legacy_wipe();
    second["params"]["arguments"]["confirmationToken"] = text["confirmation_required"]["token"].clone();
    let (_, ran) = json_of(send(in_session(at, FIRST, &session, &second)).await).await;
    assert_eq!(ran["result"]["content"][0]["text"], "ran", "{ran}");
    let records = late.lines.wait(3).await;
    assert_eq!(
        (&records[1]["outcome"], &records[2]["outcome"]),
        (&json!("confirmation_required"), &json!("confirmed"))
    );
    let digest = sha256(r#"{"disk":"sda"}"#);
    for record in &records[1..] {
        assert_eq!(
            (&record["argumentsSha256"], &record["argumentsBytes"]),
            (&json!(digest), &json!(14))
        );
    }
}
