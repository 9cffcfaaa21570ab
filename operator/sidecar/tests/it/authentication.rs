//! Callers without a credential that holds, by the rates that policies have.

use crate::support::{CALL, Lines, Running, Server, json_answer, json_of, policy, post, send};
use http::StatusCode;
use pretty_assertions::assert_eq;
use sallyport_policy::authentication::ApiKeys;
use sallyport_policy::{Authentication, Rate, Rates};
use serde_json::{Value, json};
use std::path::PathBuf;

/// `hunter2`, at the lowest cost.
const BCRYPT: &str = "$2b$04$KV.EdTywMkDiqzfPMQ1Ncu1hhLpNxGkLKE8V7YyKH2PpHIvTwyn82";
/// `quick`.
const SHA256: &str = "sha256:22c72aa82ce77c82e2ca65a711c79eaa4b51c57f85f91489ceeacc7b385943ba";

struct Guarded {
    sidecar: Running,
    lines: Lines,
    directory: PathBuf,
}

impl Guarded {
    async fn start(failed_authentication: Rate) -> Self {
        let server = Server::start(async |_| json_answer(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#)).await;
        let directory = std::env::temp_dir().join(format!("sallyport-authentication-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir(&directory).unwrap();
        let keys = json!({"keys": [
            {"id": "slow", "hash": BCRYPT, "subject": "bob"},
            {"id": "quick", "hash": SHA256, "subject": "sue"},
        ]});
        let file = directory.join("keys.json");
        std::fs::write(&file, keys.to_string()).unwrap();
        let mut policy = policy(server.port);
        policy.authentication = Authentication {
            api_keys: Some(ApiKeys {
                file: file.to_str().unwrap().to_owned(),
            }),
            ..Authentication::default()
        };
        policy.limits.rates.failed_authentication = failed_authentication;
        let lines = Lines::default();
        let sidecar = Running::start(policy, lines.clone()).await;
        Self {
            sidecar,
            lines,
            directory,
        }
    }

    /// Status, whether there is a challenge, after how many seconds to come back, and the code of the error.
    async fn call(&self, key: Option<&str>) -> (u16, bool, Option<u64>, Option<i64>) {
        let mut request = post(self.sidecar.traffic, CALL);
        if let Some(key) = key {
            let credential = format!("Bearer mcpe_{key}").parse().unwrap();
            request.headers_mut().insert("authorization", credential);
        }
        let response = send(request).await;
        let challenged = response.headers().contains_key("www-authenticate");
        let after = response.headers().get("retry-after");
        let after = after.map(|after| after.to_str().unwrap().parse().unwrap());
        let (status, answer): (StatusCode, Value) = json_of(response).await;
        (status.as_u16(), challenged, after, answer["error"]["code"].as_i64())
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

const CHALLENGED: (u16, bool, Option<u64>, Option<i64>) = (401, true, None, Some(-31401));
const LET_IN: (u16, bool, Option<u64>, Option<i64>) = (200, false, None, None);

#[tokio::test]
async fn strangers_behind_one_address_are_challenged_however_many_they_are() {
    let guarded = Guarded::start(Rates::default().failed_authentication).await;
    for _ in 0..100 {
        assert_eq!(guarded.call(None).await, CHALLENGED);
    }
    for _ in 0..100 {
        assert_eq!(guarded.call(Some("quick_wrong")).await, CHALLENGED);
    }
    assert_eq!(guarded.call(Some("quick_quick")).await, LET_IN);
    let records = guarded.lines.wait(201).await;
    assert!(
        records[..200]
            .iter()
            .all(|record| record["outcome"] == "unauthenticated")
    );
}

#[tokio::test]
async fn an_address_whose_slow_secrets_were_wrong_is_told_to_wait_before_another_is_hashed() {
    let guarded = Guarded::start(Rate::per_minute(1, 6)).await;
    // The right one takes nothing.
    assert_eq!(guarded.call(Some("slow_hunter2")).await, LET_IN);
    for _ in 0..2 {
        assert_eq!(guarded.call(Some("slow_wrong")).await, CHALLENGED);
    }
    let (status, challenged, after, code) = guarded.call(Some("slow_wrong")).await;
    assert_eq!((status, challenged, code), (429, false, Some(-31029)));
    assert!(after.is_some_and(|after| (100..=182).contains(&after)), "{after:?}");
    let record = guarded.lines.wait(4).await.remove(3);
    assert_eq!(
        (&record["outcome"], &record["reason"]),
        (&json!("limited"), &json!("rate_of_failed_authentication"))
    );
    // What needs no hash goes on.
    assert_eq!(guarded.call(None).await, CHALLENGED);
    assert_eq!(guarded.call(Some("quick_wrong")).await, CHALLENGED);
    assert_eq!(guarded.call(Some("quick_quick")).await, LET_IN);
    assert_eq!(guarded.call(Some("slow_hunter2")).await, LET_IN);
}
