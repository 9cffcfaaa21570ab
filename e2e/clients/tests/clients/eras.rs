//! No denial makes a client of the modern era fall back to the legacy one: it would do so in silence, and lose what only the
//! modern era protects.

use crate::stage::{Stage, all, everyone, name};
use sallyport_clients::{Client, Era};
use sallyport_fixture::own;
use sallyport_loopback::ApiKeys;
use serde_json::{Value, json};

fn modern() -> impl Iterator<Item = (Client, Era)> {
    everyone().filter(|(_, era)| *era == Era::Modern)
}

fn arguments() -> Value {
    json!({"text": "x"})
}

#[tokio::test]
async fn a_server_at_its_limit_is_still_of_the_modern_era() {
    let names: Vec<String> = modern().map(|(client, era)| name(client, era)).collect();
    let callers: Vec<(&str, &[&str])> = names.iter().map(|name| (name.as_str(), &[][..])).collect();
    let keys = ApiKeys::new(&callers).unwrap();
    let rate = json!({"requests": 1, "seconds": 3600, "burst": 1});
    let stage = Stage::with(&json!({
        "authentication": keys.authentication(),
        "limits": {"rates": {"perPrincipal": rate}},
    }))
    .await;
    let key = |name: &str| Some(keys.key(name).to_owned());
    // The one request that each may make is spent on the list; the call is the one too many.
    let seen = stage.those(modern(), own::ECHO, &arguments(), key, None).await;
    all(&seen, |seen| seen.report.error.is_some());
    // What is left for the second time is nothing but the question of the era.
    let seen = stage.those(modern(), own::ECHO, &arguments(), key, None).await;
    all(&seen, |seen| seen.report.error.is_some());
    assert!(nobody_begins_a_session(&stage), "{}", stage.sidecar.output());
    assert!(stage.server.calls().all().is_empty());
}

/// Python's client asks for the legacy era whatever a refusal says; it is refused again, so nothing is lost by it.
#[tokio::test]
async fn who_is_not_let_in_asks_for_the_era_once() {
    let keys = ApiKeys::new(&[("somebody", &[])]).unwrap();
    let stage = Stage::with(&json!({"authentication": keys.authentication()})).await;
    let strict = || modern().filter(|(client, _)| *client != Client::Python2);
    let seen = stage.those(strict(), own::ECHO, &arguments(), |_| None, None).await;
    all(&seen, |seen| seen.report.error.is_some());
    // Who is refused is not asked what it wants, so the record does not say; a client that falls back calls twice.
    let expected = strict().count();
    let refused = stage
        .sidecar
        .count(expected, |record| record["outcome"] == "unauthenticated")
        .await;
    assert_eq!(refused, expected, "{}", stage.sidecar.output());
}

fn nobody_begins_a_session(stage: &Stage) -> bool {
    !stage
        .sidecar
        .records()
        .iter()
        .any(|record| record.to_string().contains("\"initialize\""))
}
