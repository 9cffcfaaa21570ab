//! Decisions, by tables.

mod properties;

use super::*;
use crate::arguments::{Arguments, Violation};
use crate::tools::SideEffect;
use crate::{Principal, PrincipalKind};
use pretty_assertions::assert_eq;
use serde_json::json;
use std::collections::BTreeSet;

const NOW: i64 = 1_800_000_000;

fn authorization(rules: &serde_json::Value) -> Authorization {
    serde_json::from_value(json!({ "rules": rules })).unwrap()
}

fn user(subject: &str) -> Principal {
    Principal {
        kind: PrincipalKind::Jwt,
        issuer: Some("https://idp.example".into()),
        subject: Some(subject.into()),
        client: Some("editor".into()),
        ..Principal::anonymous()
    }
}

fn with_scopes(scopes: &[&str]) -> Principal {
    Principal {
        scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
        ..user("alice")
    }
}

fn tool(name: &str) -> Target<'_> {
    Target::Tool {
        name,
        side_effect: SideEffect::ReadOnly,
    }
}

fn on<'a>(authorization: &'a Authorization, principal: &Principal, method: &str, target: Target<'_>) -> Decision<'a> {
    let call = Call {
        principal,
        method,
        target: Some(target),
        arguments: &Arguments::default(),
    };
    authorization.decide(&call, NOW)
}

fn calling<'a>(authorization: &'a Authorization, principal: &Principal, name: &str) -> Decision<'a> {
    on(authorization, principal, "tools/call", tool(name))
}

fn unnamed<'a>(authorization: &'a Authorization, method: &str) -> Decision<'a> {
    let call = Call {
        principal: &user("alice"),
        method,
        target: None,
        arguments: &Arguments::default(),
    };
    authorization.decide(&call, NOW)
}

const fn allowed(rule: &str) -> Decision<'_> {
    Decision::Allow { rule: Some(rule) }
}

const HIDDEN: Decision<'static> = Decision::Deny(Denial::Hidden { rule: None });

#[test]
fn nobody_may_do_anything_by_default() {
    let closed = Authorization::default();
    assert_eq!(calling(&closed, &user("alice"), "read"), HIDDEN);
    assert!(!closed.may_see(&user("alice"), &tool("read")));
    // The control: the same call where everybody may do everything.
    let open = Authorization::of_everybody();
    assert_eq!(calling(&open, &user("alice"), "read"), Decision::Allow { rule: None });
    assert!(open.may_see(&user("alice"), &tool("read")));
}

#[test]
fn as_soon_as_there_is_a_rule_the_rest_is_denied() {
    let rules: Authorization = serde_json::from_value(json!({
        "withoutRules": "Allow",
        "rules": [{"name": "readers", "tools": ["read_*"]}],
    }))
    .unwrap();
    assert_eq!(calling(&rules, &user("alice"), "read_file"), allowed("readers"));
    assert_eq!(calling(&rules, &user("alice"), "write_file"), HIDDEN);
    assert_eq!(
        on(&rules, &user("alice"), "prompts/get", Target::Prompt("read_me")),
        HIDDEN
    );
    assert_eq!(
        on(&rules, &user("alice"), "resources/read", Target::Resource("a:read_me")),
        HIDDEN
    );
}

#[test]
fn a_denial_wins_wherever_it_stands() {
    let allow = json!({"name": "all", "tools": ["*"]});
    let deny = json!({"name": "no-deletes", "effect": "Deny", "tools": ["delete_*"]});
    for rules in [json!([allow, deny]), json!([deny, allow])] {
        let rules = authorization(&rules);
        let denied = Decision::Deny(Denial::Hidden {
            rule: Some("no-deletes"),
        });
        assert_eq!(calling(&rules, &user("alice"), "delete_all"), denied);
        assert_eq!(calling(&rules, &user("alice"), "read"), allowed("all"));
    }
    assert_eq!(
        calling(&authorization(&json!([allow])), &user("alice"), "delete_all"),
        allowed("all")
    );
}

#[test]
fn a_caller_is_who_fits_all_conditions_of_an_entry() {
    let alice = Principal {
        roles: ["reader".to_owned()].into(),
        claims: [
            ("groups".to_owned(), json!(["dev", "ops"])),
            ("email_verified".to_owned(), json!(true)),
            ("level".to_owned(), json!(3)),
            ("realm".to_owned(), json!({"roles": ["x"], "a/b": "y"})),
        ]
        .into(),
        scopes: ["admin".to_owned()].into(),
        ..user("alice")
    };
    for (from, fits) in [
        (json!({"subjects": ["alice"]}), true),
        (json!({"subjects": ["al*"]}), true),
        (json!({"subjects": ["Alice"]}), false),
        (json!({"subjects": ["bob", "alice"]}), true),
        (json!({"issuers": ["https://idp.example"]}), true),
        (json!({"issuers": ["https://idp.example/"]}), false),
        (json!({"issuers": ["*"]}), false),
        (json!({"clients": ["edit*"]}), true),
        (json!({"clients": ["other"]}), false),
        (json!({"roles": ["admin", "reader"]}), true),
        (json!({"roles": ["Reader"]}), false),
        (json!({"kinds": ["User"]}), true),
        (json!({"kinds": ["Client"]}), false),
        (json!({"kinds": ["Anonymous", "ApiKey", "Certificate"]}), false),
        (json!({"scopes": ["read"]}), true),
        (json!({"scopes": ["read", "other"]}), false),
        (json!({"claims": {"groups": ["ops"]}}), true),
        (json!({"claims": {"groups": ["op"]}}), false),
        (json!({"claims": {"email_verified": [true]}}), true),
        (json!({"claims": {"email_verified": ["true"]}}), false),
        (json!({"claims": {"level": [3]}}), true),
        (json!({"claims": {"level": ["3"]}}), false),
        (json!({"claims": {"/realm/roles": ["x"]}}), true),
        (json!({"claims": {"/realm/a~1b": ["y"]}}), true),
        (json!({"claims": {"/realm/none": ["y"]}}), false),
        (json!({"claims": {"missing": ["y"]}}), false),
        (json!({"subjects": ["alice"], "roles": ["admin"]}), false),
    ] {
        let rules: Authorization = serde_json::from_value(json!({
            "rules": [{"name": "r", "tools": ["*"], "from": [from]}],
            "scopeImplications": {"admin": ["read"]},
        }))
        .unwrap();
        let decision = calling(&rules, &alice, "t");
        assert_eq!(decision == allowed("r"), fits, "{from}");
        assert_eq!(rules.may_see(&alice, &tool("t")), fits, "{from}");
    }
}

#[test]
fn a_client_alone_is_never_taken_for_a_user() {
    let rules = authorization(
        &json!([{"name": "users", "tools": ["*"], "from": [{"subjects": ["*"]}]},
                                     {"name": "robots", "tools": ["sync"], "from": [{"kinds": ["Client"]}]}]),
    );
    let robot = Principal {
        subject: None,
        ..user("editor")
    };
    assert_eq!(calling(&rules, &robot, "sync"), allowed("robots"));
    assert_eq!(calling(&rules, &robot, "read"), HIDDEN);
    assert_eq!(calling(&rules, &user("editor"), "read"), allowed("users"));
    assert_eq!(calling(&rules, &Principal::anonymous(), "sync"), HIDDEN);
}

#[test]
fn side_effects_narrow_the_tools_of_a_rule() {
    let rules = authorization(&json!([{"name": "r", "tools": ["*"], "sideEffects": ["ReadOnly", "Write"]}]));
    for (side_effect, fits) in [
        (SideEffect::ReadOnly, true),
        (SideEffect::Write, true),
        (SideEffect::Destructive, false),
    ] {
        let target = Target::Tool { name: "t", side_effect };
        assert_eq!(on(&rules, &user("alice"), "tools/call", target) == allowed("r"), fits);
    }
}

#[test]
fn a_missing_scope_is_asked_for_with_all_that_the_operation_needs() {
    let rules: Authorization = serde_json::from_value(json!({
        "rules": [{"name": "r", "tools": ["write"], "requires": {"scopes": ["files:read", "files:write"]}}],
        "scopeImplications": {"admin": ["files:write"], "files:write": ["files:read"]},
    }))
    .unwrap();
    let needed: BTreeSet<String> = ["files:read".to_owned(), "files:write".to_owned()].into();
    let asked = Decision::NeedScopes {
        rule: "r",
        scopes: &needed,
    };
    assert_eq!(calling(&rules, &with_scopes(&[]), "write"), asked);
    assert_eq!(calling(&rules, &with_scopes(&["files:read"]), "write"), asked);
    assert_eq!(calling(&rules, &with_scopes(&["files:write"]), "write"), allowed("r"));
    assert_eq!(calling(&rules, &with_scopes(&["admin"]), "write"), allowed("r"));
    assert_eq!(
        calling(&rules, &with_scopes(&["files:writes", "FILES:WRITE"]), "write"),
        asked
    );
    // Who can get it may see it.
    assert!(rules.may_see(&with_scopes(&[]), &tool("write")));
}

#[test]
fn implications_may_go_in_circles() {
    let rules: Authorization = serde_json::from_value(json!({
        "rules": [{"name": "r", "tools": ["t"], "requires": {"scopes": ["c"]}}],
        "scopeImplications": {"a": ["b"], "b": ["c", "a"], "c": ["a"]},
    }))
    .unwrap();
    assert_eq!(calling(&rules, &with_scopes(&["a"]), "t"), allowed("r"));
}

#[test]
fn of_several_rules_the_least_is_asked_for() {
    let rules = authorization(&json!([
        {"name": "two", "tools": ["t"], "requires": {"scopes": ["a", "b"]}},
        {"name": "one", "tools": ["t"], "requires": {"scopes": ["c"]}},
        {"name": "lately", "tools": ["t"], "requires": {"scopes": ["d"], "stepUp": {"maxAgeSeconds": 60}}},
    ]));
    assert!(matches!(
        calling(&rules, &with_scopes(&[]), "t"),
        Decision::NeedScopes { rule: "one", .. }
    ));
    assert!(matches!(
        calling(&rules, &with_scopes(&["d"]), "t"),
        Decision::StepUp { rule: "lately", scopes, .. } if scopes.contains("d")
    ));
    assert_eq!(calling(&rules, &with_scopes(&["d", "c"]), "t"), allowed("one"));
}

#[test]
fn an_authentication_must_be_of_the_class_and_of_late() {
    let rules = authorization(&json!([
        {"name": "r", "tools": ["t"], "requires": {"stepUp": {"acr": ["gold", "silver"], "maxAgeSeconds": 300}}},
    ]));
    for (acr, auth_time, suffices) in [
        (Some("gold"), Some(NOW), true),
        (Some("silver"), Some(NOW - 300), true),
        (Some("gold"), Some(NOW - 301), false),
        (Some("gold"), Some(NOW + 60), true),
        (Some("gold"), Some(NOW + 61), false),
        (Some("gold"), Some(i64::MAX), false),
        (Some("gold"), Some(i64::MIN), false),
        (Some("gold"), None, false),
        (Some("bronze"), Some(NOW), false),
        (Some("Gold"), Some(NOW), false),
        (None, Some(NOW), false),
    ] {
        let principal = Principal {
            acr: acr.map(str::to_owned),
            auth_time,
            ..user("alice")
        };
        let decision = calling(&rules, &principal, "t");
        assert_eq!(decision == allowed("r"), suffices, "{acr:?} {auth_time:?}");
        assert_eq!(matches!(decision, Decision::StepUp { .. }), !suffices);
    }
}

#[test]
fn arguments_out_of_the_bounds_of_one_rule_may_be_within_those_of_another() {
    let rules = authorization(&json!([
        {"name": "some", "tools": ["t"], "requires": {"arguments": {"values": [{"at": "/n", "number": {"maximum": 3}}]}}},
        {"name": "many", "tools": ["t"], "from": [{"roles": ["admin"]}]},
    ]));
    let admin = Principal {
        roles: ["admin".to_owned()].into(),
        ..user("alice")
    };
    let raw: Box<serde_json::value::RawValue> = serde_json::from_str(r#"{"n": 4}"#).unwrap();
    let arguments = Arguments::parse(Some(&raw)).unwrap();
    let call = |principal| Call {
        principal,
        method: "tools/call",
        target: Some(tool("t")),
        arguments: &arguments,
    };
    assert_eq!(rules.decide(&call(&admin), NOW), allowed("many"));
    assert!(matches!(
        rules.decide(&call(&user("bob")), NOW),
        Decision::Deny(Denial::Arguments {
            rule: "some",
            violation: Violation::Range { .. }
        })
    ));
}

#[test]
fn unknown_methods_and_missing_names_are_denied_even_to_everybody() {
    let open = Authorization::of_everybody();
    for method in [
        "",
        "tools/Call",
        "TOOLS/CALL",
        "tools/call ",
        "tools/\u{441}all",
        "skills/list",
        "sampling/createMessage",
        "elicitation/create",
        "rpc.discover",
    ] {
        assert_eq!(
            unnamed(&open, method),
            Decision::Deny(Denial::UnknownMethod),
            "{method:?}"
        );
    }
    for method in [
        "tools/call",
        "prompts/get",
        "resources/read",
        "resources/subscribe",
        "completion/complete",
    ] {
        assert_eq!(unnamed(&open, method), Decision::Deny(Denial::MissingName), "{method}");
    }
    for (method, target) in [
        ("tools/call", Target::Prompt("t")),
        ("prompts/get", tool("t")),
        ("resources/read", tool("t")),
        ("completion/complete", tool("t")),
        ("tasks/get", Target::Prompt("t")),
    ] {
        assert_eq!(
            on(&open, &user("alice"), method, target),
            Decision::Deny(Denial::MissingName),
            "{method}"
        );
    }
}

#[test]
fn plumbing_is_never_denied_and_lists_only_by_name() {
    let rules = authorization(&json!([
        {"name": "none", "effect": "Deny", "tools": ["*"], "prompts": ["*"], "resources": ["*"], "methods": ["*"]},
        {"name": "quiet", "effect": "Deny", "methods": ["logging/*", "*"]},
    ]));
    for method in Method::all() {
        let decision = unnamed(&rules, method.name);
        match method.subject {
            Subject::Protocol => assert_eq!(decision, Decision::Allow { rule: None }, "{}", method.name),
            _ => assert!(matches!(decision, Decision::Deny(_)), "{}", method.name),
        }
    }
    let one = authorization(&json!([{"name": "quiet", "effect": "Deny", "methods": ["logging/setLevel"]}]));
    let denied = Decision::Deny(Denial::NotAllowed { rule: Some("quiet") });
    assert_eq!(unnamed(&one, "logging/setLevel"), denied);
    assert_eq!(unnamed(&one, "tools/list"), Decision::Allow { rule: None });
    // A rule about a tool does not reach methods without a name.
    let tool = authorization(&json!([{"name": "x", "effect": "Deny", "tools": ["*"], "methods": ["tools/*"]}]));
    assert_eq!(unnamed(&tool, "tools/list"), Decision::Allow { rule: None });
}

#[test]
fn a_denied_method_is_denied_on_every_name() {
    let rules = authorization(&json!([
        {"name": "all", "resources": ["*"]},
        {"name": "no-watching", "effect": "Deny", "methods": ["resources/subscribe"]},
    ]));
    let target = Target::Resource("file:///a");
    assert_eq!(on(&rules, &user("alice"), "resources/read", target), allowed("all"));
    // It may be seen, so nobody need be told that it is not there.
    assert_eq!(
        on(&rules, &user("alice"), "resources/subscribe", target),
        Decision::Deny(Denial::NotAllowed {
            rule: Some("no-watching")
        })
    );
}

#[test]
fn a_resource_that_can_be_read_in_two_ways_is_denied_where_there_are_rules() {
    let rules = authorization(&json!([
        {"name": "docs", "resources": ["file:///docs/*"]},
    ]));
    let read = |rules, uri| on(rules, &user("alice"), "resources/read", Target::Resource(uri)) == allowed("docs");
    assert!(read(&rules, "file:///docs/a.txt"));
    for uri in [
        "file:///docs/../etc/passwd",
        "file:///docs/%2e%2e/etc/passwd",
        "file:///docs/a/..\\..\\etc",
    ] {
        assert!(
            "file:///docs/*".parse::<Glob>().unwrap().fits(uri),
            "the pattern alone does not help"
        );
        assert!(!read(&rules, uri), "{uri}");
        assert!(!rules.may_see(&user("alice"), &Target::Resource(uri)), "{uri}");
    }
}

#[test]
fn a_tool_whose_name_nobody_can_read_is_denied_where_there_are_rules() {
    let rules = authorization(&json!([{"name": "all", "tools": ["*"]}]));
    for name in ["read\u{200b}", "\u{202e}daer", "", "a\0"] {
        assert_eq!(
            calling(&rules, &user("alice"), name),
            Decision::Deny(Denial::UnclearName)
        );
    }
}

#[test]
fn a_task_goes_on_while_its_tool_is_open_to_the_caller() {
    let rules = authorization(&json!([{"name": "r", "tools": ["slow"], "requires": {"scopes": ["x"]}}]));
    let alice = user("alice");
    assert_eq!(
        on(&rules, &alice, "tasks/get", tool("slow")),
        Decision::Allow { rule: None }
    );
    assert_eq!(on(&rules, &alice, "tasks/get", tool("other")), HIDDEN);
    assert_eq!(unnamed(&rules, "tasks/get"), Decision::Allow { rule: None });
}

#[test]
fn rules_that_cannot_be_relied_on_are_refused() {
    for (rule, says) in [
        (json!({"name": "r"}), "about nothing"),
        (json!({"name": "r", "methods": ["tools/call"]}), "about nothing"),
        (json!({"name": "", "tools": ["*"]}), "name of its own"),
        (
            json!({"name": "r", "tools": ["*"], "from": [{}]}),
            "without a condition",
        ),
        (
            json!({"name": "r", "tools": ["*"], "from": [{"claims": {"a": []}}]}),
            "lists no value",
        ),
        (
            json!({"name": "r", "effect": "Deny", "tools": ["*"], "requires": {"scopes": ["a"]}}),
            "no exceptions",
        ),
        (
            json!({"name": "r", "tools": ["*"], "requires": {"stepUp": {}}}),
            "empty stepUp",
        ),
        (
            json!({"name": "r", "tools": ["*"], "methods": ["tools/cal"]}),
            "fits no method",
        ),
        (
            json!({"name": "r", "tools": ["*"], "methods": ["server/discover"]}),
            "fits no method",
        ),
        (
            json!({"name": "r", "prompts": ["*"], "sideEffects": ["Write"]}),
            "side effects are of tools",
        ),
        (
            json!({"name": "r", "tools": ["*"], "requires": {"scopes": ["a b"]}}),
            "no scope",
        ),
        (
            json!({"name": "r", "tools": ["*"], "from": [{"scopes": ["a\""]}]}),
            "no scope",
        ),
        (json!({"name": "r", "tools": [""]}), "empty"),
        (json!({"name": "r", "tools": ["*"], "tool": ["*"]}), "unknown field"),
        (
            json!({"name": "r", "tools": ["*"], "from": [{"subject": ["a"]}]}),
            "unknown field",
        ),
        (
            json!({"name": "r", "tools": ["*"], "effect": "allow"}),
            "unknown variant",
        ),
        (
            json!({"name": "r", "tools": ["*"], "requires": {"arguments": {"values": [{"at": "/a"}]}}}),
            "bounds nothing",
        ),
    ] {
        let error = serde_json::from_value::<Authorization>(json!({"rules": [rule]})).unwrap_err();
        assert!(error.to_string().contains(says), "{rule}: {error}");
    }
    let twice = json!({"rules": [{"name": "r", "tools": ["*"]}, {"name": "r", "tools": ["*"]}]});
    assert!(serde_json::from_value::<Authorization>(twice).is_err());
}

#[test]
fn what_is_written_is_what_is_read() {
    let text = json!({
        "withoutRules": "Deny",
        "rules": [{
            "name": "r", "effect": "Allow",
            "from": [{"kinds": ["User"], "subjects": ["a*"], "claims": {"c": ["x", 1, true]}}],
            "methods": ["tools/call"], "tools": ["*"], "sideEffects": ["ReadOnly"],
            "requires": {
                "scopes": ["s"],
                "stepUp": {"acr": ["gold"], "maxAgeSeconds": 60},
                "arguments": {"maxBytes": 10, "values": [{"at": "/a/*/b~1c", "path": {"roots": ["/data"]}}]},
            },
        }],
        "scopeImplications": {"s": ["t"]},
    });
    let read: Authorization = serde_json::from_value(text.clone()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), text);
    assert_eq!(
        serde_json::to_value(Authorization::default()).unwrap(),
        json!({"withoutRules": "Deny"})
    );
    assert_eq!(
        serde_json::from_value::<Authorization>(json!({})).unwrap(),
        Authorization::default()
    );
}
