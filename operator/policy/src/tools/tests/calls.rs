//! Calls, as far as pins and side effects go.

use super::super::*;
use super::*;
use crate::arguments::Arguments;
use pretty_assertions::assert_eq;
use serde_json::json;
use serde_json::value::RawValue;

#[test]
fn a_pinned_tool_is_called_only_once_it_was_seen_as_pinned() {
    let policy = pinned(&[READ]);
    let drifted = READ.replace("Reads.", "Reads all.");
    let unseen = Catalog::default();
    assert_eq!(unseen.admit(&policy, "read").unwrap_err(), ToolDenial::NotObserved);
    assert_eq!(
        crawled(&[&list(&[WRITE])]).admit(&policy, "read").unwrap_err(),
        ToolDenial::NotObserved
    );
    let denial = crawled(&[&list(&[&drifted])]).admit(&policy, "read").unwrap_err();
    assert_eq!(
        denial,
        ToolDenial::Drifted {
            observed: Some(canonical_digest(&drifted).unwrap())
        }
    );
    assert!(!denial.is_hidden());
    let seen = crawled(&[&list(&[WRITE]), &list(&[READ])]);
    let admitted = seen.admit(&policy, "read").unwrap();
    assert!(admitted.is_pinned && admitted.schema.is_some());
    // The control: without a pin the drifted tool is called.
    assert!(
        crawled(&[&list(&[&drifted])])
            .admit(&ToolPolicy::of_any_tool(), "read")
            .is_ok()
    );
}

#[test]
fn a_tool_without_a_pin_is_as_if_it_were_not_there() {
    let catalog = crawled(&[&list(&[READ, WRITE])]);
    let policy = pinned(&[READ]);
    let denial = catalog.admit(&policy, "write").unwrap_err();
    assert_eq!(denial, ToolDenial::Unpinned);
    assert!(denial.is_hidden());
    for name in ["Read", "read ", "re\u{200b}ad", "READ", ""] {
        assert!(catalog.admit(&policy, name).is_err(), "{name:?}");
    }
    let open = ToolPolicy {
        unpinned: Unpinned::Allow,
        ..policy
    };
    assert!(catalog.admit(&open, "write").unwrap().schema.is_none());
}

#[test]
fn two_definitions_may_be_approved_at_a_time() {
    let next = READ.replace("Reads.", "Reads files.");
    let policy = pinned(&[READ, &next]);
    for raw in [READ, &next] {
        assert!(crawled(&[&list(&[raw])]).admit(&policy, "read").is_ok());
    }
}

#[test]
fn what_was_seen_in_passing_can_only_take_away() {
    let policy = pinned(&[READ]);
    let drifted = READ.replace("Reads.", "Reads all.");
    let mut catalog = crawled(&[&list(&[READ])]);
    assert!(!catalog.note(&inspect(&policy, &list(&[READ]))));
    assert!(catalog.admit(&policy, "read").is_ok());
    assert!(catalog.note(&inspect(&policy, &list(&[&drifted]))));
    assert!(matches!(
        catalog.admit(&policy, "read"),
        Err(ToolDenial::Drifted { .. })
    ));
    // Shown as pinned to the next caller, it is still not settled.
    assert!(catalog.note(&inspect(&policy, &list(&[READ]))));
    assert_eq!(catalog.admit(&policy, "read").unwrap_err(), ToolDenial::Unsettled);
    let mut unseen = Catalog::default();
    assert!(unseen.note(&inspect(&policy, &list(&[READ]))));
    assert_eq!(unseen.admit(&policy, "read").unwrap_err(), ToolDenial::Unsettled);
    let mut several = crawled(&[&list(&[READ])]);
    assert!(several.note(&inspect(&policy, &list(&[READ, READ]))));
    assert_eq!(several.admit(&policy, "read").unwrap_err(), ToolDenial::Duplicate);
}

#[test]
fn the_servers_word_only_makes_a_tool_look_worse() {
    use SideEffect::{Destructive, ReadOnly, Write};
    let policy: ToolPolicy = serde_json::from_value(json!({"sideEffects": [
        {"tools": ["read_secret"], "sideEffect": "Destructive"},
        {"tools": ["read_*", "list"], "sideEffect": "ReadOnly"},
        {"tools": ["add_*"], "sideEffect": "Write"},
    ]}))
    .unwrap();
    let hints = |read_only, destructive| Hints { read_only, destructive };
    for (name, hints, expected) in [
        ("read_file", hints(None, None), ReadOnly),
        ("read_file", hints(Some(true), Some(false)), ReadOnly),
        ("read_file", hints(Some(false), None), Write),
        ("read_file", hints(Some(false), Some(false)), Write),
        ("read_file", hints(None, Some(true)), Destructive),
        ("read_file", hints(Some(true), Some(true)), Destructive),
        ("read_secret", hints(Some(true), Some(false)), Destructive),
        ("add_row", hints(Some(true), Some(false)), Write),
        ("add_row", hints(None, Some(true)), Destructive),
        ("unheard_of", hints(Some(true), Some(false)), Destructive),
    ] {
        assert_eq!(policy.side_effect(name, &hints), expected, "{name} {hints:?}");
    }
}

#[test]
fn bounds_of_all_entries_that_fit_hold_for_everybody() {
    let policy: ToolPolicy = serde_json::from_value(json!({"arguments": [
        {"tools": ["*"], "bounds": {"maxStringLength": 5}},
        {"tools": ["read"], "bounds": {"values": [{"at": "/path", "path": {"roots": ["."]}}]}},
    ]}))
    .unwrap();
    let check = |name, text: &str| {
        let raw: Box<RawValue> = serde_json::from_str(text).unwrap();
        policy
            .check_arguments(name, &Arguments::parse(Some(&raw)).unwrap())
            .is_ok()
    };
    assert!(check("read", r#"{"path":"a/b"}"#));
    assert!(!check("read", r#"{"path":"../b"}"#));
    assert!(check("other", r#"{"path":"../b"}"#));
    assert!(!check("other", r#"{"path":"abcdef"}"#));
    assert!(!check("read", r#"{"path":"abcdef"}"#));
}

#[test]
fn the_operator_is_told_what_became_of_each_tool() {
    let faulty = r#"{"name":"bad","inputSchema":1}"#;
    let drifted = WRITE.replace("true", "false");
    let mut policy = pinned(&[READ, WRITE, r#"{"name":"gone","inputSchema":{}}"#]);
    policy.unpinned = Unpinned::Allow;
    let dup = r#"{"name":"dup","inputSchema":{}}"#;
    let free = r#"{"name":"free","inputSchema":{}}"#;
    let report = crawled(&[&list(&[READ, &drifted, faulty, dup, dup, free, "{}"])]).report(&policy);
    let states: Vec<_> = report
        .tools
        .iter()
        .map(|tool| (tool.name.as_str(), tool.state))
        .collect();
    assert_eq!(
        states,
        [
            ("bad", ToolState::Faulty),
            ("dup", ToolState::Duplicate),
            ("free", ToolState::Unpinned),
            ("gone", ToolState::Missing),
            ("read", ToolState::Pinned),
            ("write", ToolState::Drifted),
        ]
    );
    assert!(report.observed && report.nameless == 1 && !report.is_clean());
    let text = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<DriftReport>(&text).unwrap(), report);
    assert!(text.contains(&format!("\"observedSha256\":\"{}\"", canonical_digest(READ).unwrap())));
    assert!(crawled(&[&list(&[READ])]).report(&pinned(&[READ])).is_clean());
    assert!(!Catalog::default().report(&pinned(&[READ])).is_clean());
}

#[test]
fn policies_are_written_as_they_are_read_and_closed_by_default() {
    let digest = "ab".repeat(32);
    let text = json!({
        "sideEffects": [{"tools": ["a*"], "sideEffect": "ReadOnly"}],
        "pins": [{"name": "a", "sha256": digest}],
        "unpinned": "Allow",
        "arguments": [{"tools": ["*"], "bounds": {"maxItems": 3}}],
    });
    let policy: ToolPolicy = serde_json::from_value(text.clone()).unwrap();
    assert_eq!(serde_json::to_value(&policy).unwrap(), text);
    assert_eq!(
        serde_json::to_value(ToolPolicy::default()).unwrap(),
        json!({"unpinned": "Deny"})
    );
    for bad in [
        json!({"pins": [{"name": "a", "sha256": "AB"}]}),
        json!({"pins": [{"name": "a", "sha256": digest, "why": 1}]}),
        json!({"pin": []}),
        json!({"sideEffects": [{"tools": ["a"], "sideEffect": "None"}]}),
    ] {
        assert!(serde_json::from_value::<ToolPolicy>(bad).is_err());
    }
    let seen = inspect(&ToolPolicy::default(), &list(&[READ]));
    assert!(matches!(seen.dropped[0].reason, DropReason::Unpinned));
}
