//! What is taken out, and what stays.

use super::*;
use pretty_assertions::assert_eq;
use serde_json::json;

/// One credential of each shape, made up.
const CREDENTIALS: [&str; 20] = [
    "mcpe_k1_q83vEjRWeJq83vEjRWeJq83vEjRWeJ",
    "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "gho_abcdefghijklmnopqrstuvwxyz0123456789",
    "github_pat_11ABCDEFG0abcdefghijkl_abcdefghijklmnop",
    "glpat-abcdefghij_ABCDEFGHIJ",
    "sk-abcdefghijklmnopqrstuvwx",
    "sk-proj-abcdefghijklmnopqrstuvwx",
    "sk_live_abcdefghijklmnopqrstuvwx",
    "AKIAABCDEFGHIJKLMNOP",
    "ASIAABCDEFGHIJKLMNOP",
    "AIzaSyA1234567890abcdefghijklmnopqrstuv",
    "xoxb-123456789012-abcdefghijkl",
    "xapp-1-A0123456789-abcdefghij",
    "hooks.slack.com/services/T00000000/B00000000/abcdefgh",
    "npm_abcdefghijklmnopqrstuvwxyz0123456789",
    "hf_abcdefghijklmnopqrstuvwx",
    "hvs.abcdefghijklmnopqrstuvwx",
    "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA\n-----END RSA PRIVATE KEY-----",
    "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA and no end",
];

fn redacted(value: &Value) -> (Value, u32) {
    let redaction = object(&value.to_string()).unwrap();
    (serde_json::from_str(&redaction.text).unwrap(), redaction.count)
}

#[test]
fn arguments_that_would_take_a_hundred_times_their_length_are_not_kept() {
    let few = format!(r#"{{"a":[{}]}}"#, vec![r#"{"a":0}"#; 100].join(","));
    assert!(object(&few).is_some());
    let many = format!(r#"{{"a":[{}]}}"#, vec![r#"{"a":0}"#; 1 << 17].join(","));
    assert!(object(&many).is_none());
}

#[test]
fn credentials_of_known_shapes_are_taken_out_wherever_they_stand() {
    for credential in CREDENTIALS {
        let (value, count) = redacted(&json!({"note": format!("use {credential}"), "deep": [{"a": credential}]}));
        assert_eq!(
            value,
            json!({"note": "use [redacted]", "deep": [{"a": "[redacted]"}]}),
            "{credential}"
        );
        assert_eq!(count, 2);
        assert_eq!(shapes(credential), "[redacted]");
        let (value, _) = redacted(&json!({credential: 1}));
        assert!(value.get("[redacted]").is_some(), "as a key");
    }
}

#[test]
fn what_stands_under_a_telling_name_is_taken_out() {
    for name in [
        "password",
        "dbPassword",
        "DB_PASSWD",
        "client-secret",
        "access_token",
        "api_key",
        "X-Api-Key",
        "apiKey",
        "privateKey",
        "Authorization",
        "Cookie",
        "aws_secret_access_key",
        "passphrase",
        "pin",
    ] {
        assert_eq!(
            redacted(&json!({name: "hunter2"})),
            (json!({name: "[redacted]"}), 1),
            "{name}"
        );
        let nested = json!({name: {"a": ["x", {"b": "y"}]}});
        assert_eq!(
            redacted(&nested).0,
            json!({name: {"a": ["[redacted]", {"b": "[redacted]"}]}}),
            "{name}"
        );
    }
}

#[test]
fn a_value_beside_its_name_is_taken_out() {
    let environment = json!({"env": [{"name": "DB_PASSWORD", "value": "hunter2"}, {"name": "LANG", "value": "C"}]});
    assert_eq!(
        redacted(&environment).0,
        json!({"env": [{"name": "DB_PASSWORD", "value": "[redacted]"}, {"name": "LANG", "value": "C"}]})
    );
    assert_eq!(
        redacted(&json!({"headers": [{"header": "Authorization", "value": "x"}]})).0["headers"][0]["value"],
        "[redacted]"
    );
}

#[test]
fn texts_lose_what_they_assign_to_telling_names() {
    for (text, left) in [
        ("mysql --password hunter2 -h db", "mysql --password [redacted] -h db"),
        ("mysql --password=hunter2 -h db", "mysql --password=[redacted] -h db"),
        ("export DB_PASSWORD=hunter2; run", "export DB_PASSWORD=[redacted]; run"),
        ("password: 'correct horse' next", "password: [redacted] next"),
        (
            r#"{"api_key": "abc def", "b": 1}"#,
            r#"{"api_key": [redacted], "b": 1}"#,
        ),
        (r#"{\"token\": \"abcdef\"}"#, r#"{\"token\": [redacted]}"#),
        (
            "https://h/p?access_token=abcdef&x=1",
            "https://h/p?access_token=[redacted]&x=1",
        ),
        ("postgres://bob:hunter2@db/app", "postgres://[redacted]@db/app"),
        (
            "Authorization: Bearer abcdefgh1234",
            "Authorization: [redacted] [redacted]",
        ),
        ("curl -H 'X: Bearer abcdefgh1234'", "curl -H 'X: Bearer [redacted]'"),
        ("Basic dXNlcjpwYXNz", "Basic [redacted]"),
    ] {
        assert_eq!(redacted(&json!({"text": text})).0["text"], left);
    }
}

#[test]
fn what_is_no_secret_stays() {
    let plain = json!({
        "message": "the token was rotated, ask the secretary",
        "max_tokens": 4096,
        "path": "/srv/data/report-2026.csv",
        "digest": "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "commit": "c7c34f2e1b7a4a55a0c3a8c5c2d9d9a1f5f9a9d1",
        "url": "https://example.com:8443/a/b?c=d",
        "nothing": null,
        "secret": true,
        "tasks": ["task-1", "risk-assessment-of-the-year-2026"],
        "empty": {"password": ""},
    });
    assert_eq!(redacted(&plain), (plain, 0));
}

#[test]
fn escapes_do_not_hide_a_secret() {
    let escaped = r#"{"note":"\u0067hp_abcdefghijklmnopqrstuvwxyz0123456789","\u0070assword":"hunter2"}"#;
    let redaction = object(escaped).unwrap();
    assert_eq!(redaction.text, r#"{"note":"[redacted]","password":"[redacted]"}"#);
}

#[test]
fn what_cannot_be_read_is_not_kept() {
    assert_eq!(object(r#"{"password":"hunter2""#), None);
}

#[test]
fn only_this_project_s_own_credentials_are_taken_out_of_full_arguments() {
    let raw = r#"{"a": "ghp_abcdefghijklmnopqrstuvwxyz0123456789", "k":"mcpe_k1_q83vEjRWeJq83vEj", "confirmationToken" : "abc"}"#;
    let redaction = own_credentials(raw);
    assert_eq!(
        redaction.text,
        r#"{"a": "ghp_abcdefghijklmnopqrstuvwxyz0123456789", "k":"[redacted]", "confirmationToken" : "[redacted]"}"#
    );
    assert_eq!(redaction.count, 2);
}
