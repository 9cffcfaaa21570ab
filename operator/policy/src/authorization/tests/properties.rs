//! What holds of all rules, callers and names.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn any_rule() -> impl Strategy<Value = serde_json::Value> {
    let names = || proptest::collection::vec("[ab*]{1,2}", 0..3);
    let from = proptest::collection::vec(
        prop_oneof![
            "[ab*]".prop_map(|text| json!({"subjects": [text]})),
            "[ab]".prop_map(|text| json!({"roles": [text]})),
            "[st]".prop_map(|text| json!({"scopes": [text]})),
        ],
        0..2,
    );
    let requires = prop_oneof![
        Just(json!({})),
        "[st]".prop_map(|text| json!({"scopes": [text]})),
        Just(json!({"stepUp": {"maxAgeSeconds": 10}})),
    ];
    (any::<bool>(), names(), names(), from, requires).prop_map(|(allow, tools, prompts, from, requires)| {
        let tools = if tools.is_empty() && prompts.is_empty() {
            vec!["a".to_owned()]
        } else {
            tools
        };
        if allow {
            json!({"effect": "Allow", "tools": tools, "prompts": prompts, "from": from, "requires": requires})
        } else {
            json!({"effect": "Deny", "tools": tools, "prompts": prompts, "from": from})
        }
    })
}

fn named(rules: &[serde_json::Value]) -> Authorization {
    let rules = rules.iter().enumerate().map(|(index, rule)| {
        let mut rule = rule.clone();
        rule["name"] = json!(index.to_string());
        rule
    });
    authorization(&rules.collect())
}

fn any_caller() -> impl Strategy<Value = Principal> {
    let texts = |pattern: &'static str| proptest::collection::btree_set(pattern, 0..2);
    (
        "[ab]",
        texts("[ab]"),
        texts("[st]"),
        proptest::option::of(NOW - 20..NOW),
    )
        .prop_map(|(subject, roles, scopes, auth_time)| Principal {
            scopes,
            roles,
            auth_time,
            ..user(&subject)
        })
}

fn is_allowed(decision: &Decision<'_>) -> bool {
    matches!(decision, Decision::Allow { .. })
}

proptest! {
    #[test]
    fn adding_a_denial_never_allows_more(
        rules in proptest::collection::vec(any_rule(), 1..4),
        denial in any_rule(),
        caller in any_caller(),
        name in "[ab]{1,2}",
    ) {
        let mut denial = denial;
        denial["effect"] = json!("Deny");
        denial.as_object_mut().unwrap().remove("requires");
        let (before, mut more) = (named(&rules), rules.clone());
        more.push(denial);
        let after = named(&more);
        for (method, target) in [("tools/call", tool(&name)), ("prompts/get", Target::Prompt(&name))] {
            let was = is_allowed(&on(&before, &caller, method, target));
            let is = is_allowed(&on(&after, &caller, method, target));
            prop_assert!(was || !is);
            prop_assert!(before.may_see(&caller, &target) || !after.may_see(&caller, &target));
        }
    }

    #[test]
    fn the_order_of_rules_never_changes_whether_a_call_is_allowed(
        rules in proptest::collection::vec(any_rule(), 1..5),
        caller in any_caller(),
        name in "[ab]{1,2}",
    ) {
        let reversed: Vec<_> = rules.iter().rev().cloned().collect();
        let (one, other) = (named(&rules), named(&reversed));
        let (one, other) = (calling(&one, &caller, &name), calling(&other, &caller, &name));
        prop_assert_eq!(std::mem::discriminant(&one), std::mem::discriminant(&other));
    }

    #[test]
    fn equal_calls_have_equal_answers_and_what_is_allowed_is_seen(
        rules in proptest::collection::vec(any_rule(), 1..5),
        caller in any_caller(),
        name in "[ab]{1,2}",
    ) {
        let rules = named(&rules);
        let decision = calling(&rules, &caller, &name);
        prop_assert_eq!(&decision, &calling(&rules, &caller, &name));
        let seen = rules.may_see(&caller, &tool(&name));
        prop_assert_eq!(matches!(decision, Decision::Deny(Denial::Hidden { .. })), !seen);
    }

    #[test]
    fn more_scopes_never_take_away_what_no_denial_asks_for(
        rules in proptest::collection::vec(any_rule(), 1..4),
        caller in any_caller(),
        name in "[ab]{1,2}",
    ) {
        let denies = |rule: &serde_json::Value| rule["effect"] == "Deny" && rule["from"].to_string().contains("scopes");
        prop_assume!(!rules.iter().any(denies));
        let rules = named(&rules);
        let more = Principal { scopes: ["s".to_owned(), "t".to_owned()].into(), ..caller.clone() };
        prop_assert!(!is_allowed(&calling(&rules, &caller, &name)) || is_allowed(&calling(&rules, &more, &name)));
    }
}
