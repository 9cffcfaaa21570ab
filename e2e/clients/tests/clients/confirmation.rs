//! A destructive call, and the person who is asked.

use crate::stage::{Seen, Stage, all, everyone};
use sallyport_clients::{Client, Question};
use sallyport_fixture::own;
use serde_json::{Value, json};

async fn stage() -> Stage {
    Stage::with(&json!({
        "confirmation": {"tools": "Destructive", "legacy": "Deny"},
        "tools": {"sideEffects": [
            {"tools": [own::DELETE], "sideEffect": "Destructive"},
            {"tools": ["*"], "sideEffect": "ReadOnly"},
        ]},
    }))
    .await
}

fn arguments() -> Value {
    json!({"path": "a.txt"})
}

/// The inspector's command line has nobody to ask.
fn can_ask(seen: &Seen) -> bool {
    seen.client != Client::Inspector
}

#[tokio::test]
async fn who_accepts_is_asked_once_and_served() {
    let stage = stage().await;
    let seen = stage
        .everyone(own::DELETE, &arguments(), |_| None, Some(Question::Accept))
        .await;
    all(&seen, |seen| !can_ask(seen) || seen.report.said("deleted a.txt"));
    all(&seen, |seen| {
        !can_ask(seen) || (seen.report.asked.len() == 1 && seen.report.asked[0].contains(own::DELETE))
    });
    let able = seen.iter().filter(|seen| can_ask(seen)).count();
    assert_eq!(stage.server.calls().of(own::DELETE).len(), able);
}

#[tokio::test]
async fn who_declines_is_told_and_not_served() {
    let stage = stage().await;
    let seen = stage
        .everyone(own::DELETE, &arguments(), |_| None, Some(Question::Decline))
        .await;
    all(&seen, |seen| !seen.report.said("deleted a.txt"));
    all(&seen, |seen| {
        !can_ask(seen) || (seen.report.asked.len() == 1 && seen.report.mentions("confirm"))
    });
    assert!(stage.server.calls().of(own::DELETE).is_empty());
}

#[tokio::test]
async fn who_cannot_ask_anybody_is_told_so_and_not_served() {
    let stage = stage().await;
    let seen = stage.everyone(own::DELETE, &arguments(), |_| None, None).await;
    all(&seen, |seen| {
        seen.report.asked.is_empty() && !seen.report.said("deleted a.txt")
    });
    all(&seen, |seen| {
        seen.report.error.is_some() && seen.report.mentions("must be confirmed by a person")
    });
    assert!(stage.server.calls().of(own::DELETE).is_empty());
    // Where nothing is confirmed, nobody is asked.
    let open = Stage::with(&json!({})).await;
    let seen = open.everyone(own::DELETE, &arguments(), |_| None, None).await;
    all(&seen, |seen| seen.report.said("deleted a.txt"));
    assert_eq!(open.server.calls().of(own::DELETE).len(), everyone().count());
}
