//! Allowed, denied, challenged, limited.

use crate::stage::{Stage, all, everyone, name};
use sallyport_clients::{Client, Era};
use sallyport_fixture::own;
use sallyport_loopback::{ApiKeys, Issuer};
use serde_json::{Value, json};

/// Keys for every client in every era.
fn keys(scopes: &[&str]) -> ApiKeys {
    let names: Vec<String> = everyone().map(|(client, era)| name(client, era)).collect();
    let callers: Vec<(&str, &[&str])> = names.iter().map(|name| (name.as_str(), scopes)).collect();
    ApiKeys::new(&callers).unwrap()
}

fn echo() -> Value {
    json!({"text": "hello"})
}

#[tokio::test]
async fn an_allowed_call_runs_and_a_denied_one_is_a_tool_that_is_not_there() {
    let keys = keys(&[]);
    let stage = Stage::with(&json!({
        "authentication": keys.authentication(),
        "authorization": {"withoutRules": null, "rules": [{"name": "read", "tools": [own::ECHO]}]},
    }))
    .await;
    let key = |name: &str| Some(keys.key(name).to_owned());
    let seen = stage.everyone(own::ECHO, &echo(), key, None).await;
    all(&seen, |seen| seen.report.said("hello"));
    // The inspector prints neither the version nor the list.
    all(&seen, |seen| {
        seen.client == Client::Inspector || seen.report.tools == [own::ECHO]
    });
    all(&seen, |seen| match (seen.client, seen.era) {
        (Client::Inspector, _) => true,
        (_, Era::Legacy) => seen.report.protocol.as_deref() == Some("2025-11-25"),
        (_, Era::Modern) => seen.report.protocol.as_deref() == Some("2026-07-28"),
    });

    let seen = stage
        .everyone(own::WRITE, &json!({"path": "a", "content": "b"}), key, None)
        .await;
    all(&seen, |seen| seen.report.error.is_some());
    all(&seen, |seen| match seen.client {
        Client::Inspector => seen.report.failure().class == "exit 5",
        _ => seen.report.failure().code == Some(json!(-32602)) && seen.report.mentions(own::WRITE),
    });
    assert!(stage.server.calls().of(own::WRITE).is_empty());
}

#[tokio::test]
async fn a_call_with_arguments_out_of_bounds_is_told_which() {
    let stage = Stage::with(&json!({
        "tools": {"arguments": [{"tools": [own::ECHO], "bounds": {"maxStringLength": 8}}]},
    }))
    .await;
    let seen = stage
        .everyone(own::ECHO, &json!({"text": "far too long"}), |_| None, None)
        .await;
    all(&seen, |seen| {
        !seen.report.said("far too long") && seen.report.error.is_some()
    });
    all(&seen, |seen| {
        seen.client == Client::Inspector || seen.report.mentions("text")
    });
    assert!(stage.server.calls().of(own::ECHO).is_empty());
}

#[tokio::test]
async fn who_shows_no_key_is_told_to_authenticate_and_falls_back_to_nothing() {
    let keys = keys(&[]);
    let stage = Stage::with(&json!({"authentication": keys.authentication()})).await;
    let seen = stage.everyone(own::ECHO, &echo(), |_| None, None).await;
    all(&seen, |seen| seen.report.error.is_some());
    all(&seen, |seen| match seen.client {
        Client::Rmcp => seen.report.failure().class == "AuthRequired",
        Client::Inspector => seen.report.failure().class == "exit 3",
        Client::Python2 => seen.report.mentions("no credential"),
        _ => seen.report.failure().status == Some(401),
    });
    assert!(stage.server.calls().all().is_empty());
}

#[tokio::test]
async fn a_missing_scope_is_named() {
    let keys = keys(&["notes:read"]);
    let rule = json!({"name": "write", "tools": ["*"], "requires": {"scopes": ["notes:read", "notes:write"]}});
    let stage = Stage::with(&json!({
        "authentication": keys.authentication(),
        "authorization": {"withoutRules": null, "rules": [rule]},
    }))
    .await;
    let key = |name: &str| Some(keys.key(name).to_owned());
    let seen = stage.everyone(own::ECHO, &echo(), key, None).await;
    all(&seen, |seen| seen.report.error.is_some());
    all(&seen, |seen| match seen.client {
        Client::TypeScript2 => {
            let failure = seen.report.failure();
            failure.class == "InsufficientScopeError" && failure.scope.as_deref() == Some("notes:read notes:write")
        }
        Client::Rmcp => {
            let failure = seen.report.failure();
            failure.class == "InsufficientScope" && failure.scope.as_deref() == Some("notes:read notes:write")
        }
        Client::Inspector => seen.report.mentions("notes:read notes:write"),
        Client::Python2 => seen.report.mentions("insufficient scope"),
        Client::TypeScript1 | Client::Python1 => seen.report.failure().status == Some(403),
    });
    assert!(stage.server.calls().all().is_empty());
}

#[tokio::test]
async fn a_stronger_authentication_is_asked_for_and_then_suffices() {
    let issuer = Issuer::start().await.unwrap();
    let rule =
        json!({"name": "strong", "tools": ["*"], "requires": {"stepUp": {"acr": ["gold"], "maxAgeSeconds": 300}}});
    let stage = Stage::with(&json!({
        "authentication": issuer.authentication(),
        "authorization": {"withoutRules": null, "rules": [rule]},
    }))
    .await;
    let weak = issuer.token(&json!({"acr": "bronze"}));
    let seen = stage.everyone(own::ECHO, &echo(), |_| Some(weak.clone()), None).await;
    all(&seen, |seen| seen.report.error.is_some());
    all(&seen, |seen| match seen.client {
        Client::Rmcp => {
            seen.report.failure().class == "AuthRequired" && seen.report.mentions("insufficient_user_authentication")
        }
        Client::Inspector => seen.report.failure().class == "exit 3",
        Client::Python2 => seen.report.mentions("insufficient user authentication"),
        _ => seen.report.failure().status == Some(401),
    });
    assert!(stage.server.calls().all().is_empty());

    let strong = issuer.token(&json!({"acr": "gold"}));
    let seen = stage.everyone(own::ECHO, &echo(), |_| Some(strong.clone()), None).await;
    all(&seen, |seen| seen.report.said("hello"));
}

#[tokio::test]
async fn a_call_too_many_is_told_to_wait() {
    let keys = keys(&[]);
    let rate = json!({"requests": 1, "seconds": 3600, "burst": 1});
    let stage = Stage::with(&json!({
        "authentication": keys.authentication(),
        "limits": {"rates": {"tools": [{"tool": own::ECHO, "rate": rate}]}},
    }))
    .await;
    let key = |name: &str| Some(keys.key(name).to_owned());
    let seen = stage.everyone(own::ECHO, &echo(), key, None).await;
    all(&seen, |seen| seen.report.said("hello"));
    let seen = stage.everyone(own::ECHO, &echo(), key, None).await;
    all(&seen, |seen| seen.report.error.is_some());
    all(&seen, |seen| match seen.client {
        Client::Python2 => seen.report.failure().code == Some(json!(-31029)),
        Client::Inspector => seen.report.mentions("retry after"),
        _ => seen.report.failure().status == Some(429),
    });
    let ran = stage.server.calls().of(own::ECHO).len();
    assert_eq!(
        ran,
        everyone().count(),
        "a client retried, or the limit let some through"
    );
}
