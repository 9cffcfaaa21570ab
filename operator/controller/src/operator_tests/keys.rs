//! Keys that the audit sidecar reads: waited for and rolled out as credentials are.

use super::{DEPLOYMENT, ENDPOINT, NS, Operator, POLICY, SEALED, endpoint, is, ready, roll_out, sealed, synced};
use crate::testing::{ApiServer, eventually};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

fn with_keys(endpoint: &mut Value) {
    endpoint["spec"]["authentication"] = json!({"apiKeys": {"from": {"sealedSecret": {"name": "upstream-token"}}}});
}

#[tokio::test]
async fn the_workload_waits_for_the_keys_of_its_callers_and_rolls_out_when_they_change() {
    let api = ApiServer::default();
    api.put(ENDPOINT, endpoint("demo", with_keys));
    let operator = Operator::start(&api).await;
    eventually("the missing keys", || {
        is(&api, "CredentialsReady", "False", "CredentialMissing")
    })
    .await;
    assert!(api.get(POLICY).is_some() && api.get(DEPLOYMENT).is_none());

    api.put(SEALED, sealed("AgC", 1, &synced(1)));
    eventually("the roll-out", || api.get(DEPLOYMENT).is_some()).await;
    roll_out(&api);
    eventually("readiness", || is(&api, "Ready", "True", "Ready")).await;
    operator.quiet().await;
    let status = api.get(ENDPOINT).unwrap()["status"].clone();
    assert_eq!(status["credentials"][0]["name"], "authentication.apiKeys");
    assert_eq!(status["credentials"][0]["source"], "SealedSecret upstream-token");
    let deviations = status["posture"]["deviations"].to_string();
    assert!(!deviations.contains("callers-known"), "{deviations}");

    let hash = || {
        let template = &api.get(DEPLOYMENT).unwrap()["spec"]["template"];
        template["metadata"]["annotations"]["sallyport.dev/credentials-hash"].clone()
    };
    let first = hash();
    api.put(SEALED, sealed("AgD", 2, &synced(2)));
    eventually("the rotation", || hash() != first).await;
    assert!(first.is_string());
    operator.stop().await;
}

#[tokio::test]
async fn another_generation_alone_starts_no_new_pods() {
    let api = ApiServer::default();
    let operator = ready(&api).await;
    operator.quiet().await;
    let annotations = || api.get(DEPLOYMENT).unwrap()["spec"]["template"]["metadata"]["annotations"].clone();
    let before = annotations();
    api.put(
        ENDPOINT,
        endpoint("demo", |endpoint| endpoint["metadata"]["generation"] = json!(2)),
    );
    let file = || api.get(&format!("{NS}/configmaps/demo")).unwrap()["data"]["policy.json"].to_string();
    eventually("the new policy", || file().contains("\\\"generation\\\": 2")).await;
    operator.quiet().await;
    assert_eq!(annotations(), before);
    operator.stop().await;
}
