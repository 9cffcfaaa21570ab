//! Schemas that make a validator work for ever, and those that do not.

use crate::arguments::Arguments;
use crate::tools::cost::{check_references, estimate};
use crate::tools::{ArgumentSchema, SchemaError, SchemaViolation};
use pretty_assertions::assert_eq;
use proptest::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn arguments(value: &Value) -> Arguments {
    let raw: Box<RawValue> = serde_json::from_str(&value.to_string()).unwrap();
    Arguments::parse(Some(&raw)).unwrap()
}

fn compiled(schema: &Value) -> ArgumentSchema {
    ArgumentSchema::compile(schema).unwrap()
}

fn check(schema: &Value, value: &Value) -> Result<(), SchemaViolation> {
    compiled(schema).check(&arguments(value))
}

/// The result of `work`, which must not take longer than a bound that is generous for a loaded machine.
fn soon<T>(work: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let result = work();
    assert!(begin.elapsed() < Duration::from_secs(20), "took {:?}", begin.elapsed());
    result
}

#[test]
fn arguments_fit_the_schema_or_are_told_where_not() {
    let schema = json!({
        "type": "object",
        "properties": {
            "query": {"type": "string", "maxLength": 3, "pattern": "^[a-z]+$"},
            "mode": {"enum": ["a", "b"]},
            "items": {"type": "array", "maxItems": 2, "items": {"$ref": "#/$defs/item"}},
        },
        "required": ["query"],
        "additionalProperties": false,
        "$defs": {"item": {"type": "object", "properties": {"n": {"type": "integer", "minimum": 0}}}},
    });
    for good in [
        json!({"query": "abc"}),
        json!({"query": "a", "mode": "b", "items": [{"n": 1}, {}]}),
    ] {
        assert_eq!(check(&schema, &good), Ok(()), "{good}");
    }
    for (bad, at, keyword) in [
        (json!({}), "", "required"),
        (json!({"query": "abcd"}), "/query", "maxLength"),
        (json!({"query": "A"}), "/query", "pattern"),
        (json!({"query": 1}), "/query", "type"),
        (json!({"query": "a", "mode": "c"}), "/mode", "enum"),
        (json!({"query": "a", "extra": "secret"}), "", "additionalProperties"),
        (json!({"query": "a", "items": [{}, {}, {}]}), "/items", "maxItems"),
        (json!({"query": "a", "items": [{"n": -1}]}), "/items/0/n", "minimum"),
    ] {
        let violation = check(&schema, &bad).unwrap_err();
        let expected = SchemaViolation::Mismatch {
            at: at.into(),
            keyword: keyword.into(),
        };
        assert_eq!(violation, expected, "{bad}");
        assert!(!violation.to_string().contains("secret"));
    }
}

#[test]
fn a_schema_names_its_draft_or_is_of_2020_12() {
    let tuple = |draft: Option<&str>| {
        let mut schema = json!({"properties": {"a": {"items": [{"type": "string"}]}}});
        if let Some(draft) = draft {
            schema["$schema"] = json!(draft);
        }
        ArgumentSchema::compile(&schema)
    };
    let old = tuple(Some("http://json-schema.org/draft-07/schema#")).unwrap();
    assert!(old.check(&arguments(&json!({"a": [1]}))).is_err());
    assert!(tuple(None).is_err(), "2020-12 has no array form of items");
    assert!(tuple(Some("https://evil.example/schema")).is_err());
}

#[test]
fn references_to_elsewhere_are_refused() {
    for schema in [
        json!({"$ref": "https://evil.example/schema.json"}),
        json!({"$ref": "file:///etc/passwd"}),
        json!({"$ref": "other.json#/a"}),
        json!({"properties": {"a": {"$ref": "//evil.example/a"}}}),
        json!({"allOf": [{"$ref": "https://evil.example/x"}]}),
        json!({"$ref": "#anchor", "$defs": {"a": {"$anchor": "anchor"}}}),
        json!({"$ref": "#/$defs/missing"}),
        json!({"$ref": "#/%24defs/a", "$defs": {"a": {}}}),
        json!({"$ref": 1}),
        json!({"$dynamicRef": "#a"}),
        json!({"$recursiveRef": "#"}),
        json!({"properties": {"a": {"$id": "https://evil.example/", "$ref": "#/x"}}}),
        json!({"properties": {"a": {"$schema": "http://json-schema.org/draft-04/schema#"}}}),
        // Behind a reference to a place that is no schema by itself.
        json!({"$ref": "#/x/y", "x": {"y": {"$ref": "https://evil.example/x"}}}),
        json!({"$ref": "#/x/y", "x": {"y": {"$dynamicRef": "#"}}}),
        json!({"$ref": "#/const/y", "const": {"y": {"$id": "https://evil.example/", "$ref": "#/z"}}}),
    ] {
        assert!(
            matches!(ArgumentSchema::compile(&schema), Err(SchemaError::Reference(_))),
            "{schema}"
        );
    }
    // What only looks like a reference is none.
    for schema in [
        json!({"properties": {"$ref": {"type": "string"}, "id": {"type": "string"}, "$id": {"type": "string"}}}),
        json!({"const": {"$ref": "https://example.com"}}),
        json!({"$id": "https://example.com/tool", "$ref": "#/$defs/a", "$defs": {"a": {}}}),
    ] {
        assert!(ArgumentSchema::compile(&schema).is_ok(), "{schema}");
    }
}

#[test]
fn a_reference_that_leads_back_to_itself_ends() {
    for schema in [
        json!({"$ref": "#"}),
        json!({"allOf": [{"$ref": "#"}]}),
        json!({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}]}, "b": {"not": {"$ref": "#/$defs/a"}}}}),
    ] {
        let result = soon(|| ArgumentSchema::compile(&schema).map(|schema| schema.check(&arguments(&json!({"a": 1})))));
        assert!(!matches!(result, Ok(Ok(()))), "{schema}");
    }
    // A schema that calls itself for parts of the value is fine.
    let tree = json!({"type": "object", "properties": {"kids": {"type": "array", "items": {"$ref": "#"}}}, "additionalProperties": false});
    assert_eq!(check(&tree, &json!({"kids": [{"kids": []}, {}]})), Ok(()));
    assert!(check(&tree, &json!({"kids": [{"kids": [{"other": 1}]}]})).is_err());
}

#[test]
fn a_short_schema_cannot_make_the_check_long() {
    let doubling = |list: &str| {
        let mut defs = serde_json::Map::new();
        defs.insert("a0".into(), json!({"type": "string"}));
        for level in 1..60 {
            let below = json!({"$ref": format!("#/$defs/a{}", level - 1)});
            defs.insert(format!("a{level}"), json!({list: [below, below]}));
        }
        json!({"$ref": "#/$defs/a59", "$defs": defs})
    };
    let branching = json!({"$defs": {"n": {"anyOf": [
        {"properties": {"a": {"$ref": "#/$defs/n"}}, "required": ["x"]},
        {"properties": {"a": {"$ref": "#/$defs/n"}}, "required": ["y"]},
    ]}}, "$ref": "#/$defs/n"});
    let mut deep = json!({});
    for _ in 0..60 {
        deep = json!({"a": deep});
    }
    for (schema, value) in [
        (doubling("anyOf"), json!({"a": 1})),
        (doubling("allOf"), json!({"a": 1})),
        (doubling("oneOf"), json!({"a": 1})),
        (branching, deep),
    ] {
        let result = soon(|| ArgumentSchema::compile(&schema).map(|schema| schema.check(&arguments(&value))));
        assert_eq!(
            result,
            Ok(Err(SchemaViolation::TooCostly)).map_err(|error: SchemaError| error),
            "{schema}"
        );
    }
}

#[test]
fn a_pattern_that_goes_back_for_ever_counts_as_not_fitting() {
    let text = format!("{}!", "a".repeat(5_000));
    for pattern in ["^(a+)+$", "^(a|a)*\\1b$", "^(?=(a+))\\1*(a*)*b$", "(x+x+)+y"] {
        let schema = json!({"properties": {"q": {"pattern": pattern}}});
        let inverted = json!({"properties": {"q": {"not": {"pattern": pattern}}}});
        assert!(soon(|| check(&schema, &json!({"q": text}))).is_err(), "{pattern}");
        // Undecided never means that it fits, not even under a negation. The others are decided.
        let is_undecided = pattern.starts_with("^(a|a)");
        if is_undecided {
            assert!(soon(|| check(&inverted, &json!({"q": text}))).is_err(), "{pattern}");
        }
    }
    assert_eq!(
        check(
            &json!({"properties": {"q": {"pattern": "^(?!\\.)[a-z.]+$"}}}),
            &json!({"q": "a.b"})
        ),
        Ok(())
    );
}

#[test]
fn large_patterns_and_texts_are_bounded() {
    let huge = json!({"properties": {"q": {"pattern": "^((a{1,100}){1,100}){1,100}$"}}});
    let result = soon(|| ArgumentSchema::compile(&huge).map(|schema| schema.check(&arguments(&json!({"q": "aaa"})))));
    assert!(!matches!(result, Ok(Ok(()))));
    let schema = json!({"properties": {"q": {"pattern": "^[a-z]*$"}}});
    assert_eq!(
        check(&schema, &json!({"q": "a".repeat(1 << 21)})),
        Err(SchemaViolation::TooCostly)
    );
    assert_eq!(check(&schema, &json!({"q": "a".repeat(1 << 16)})), Ok(()));
    let large = json!({"enum": (0..20_000).collect::<Vec<_>>()});
    assert_eq!(ArgumentSchema::compile(&large).map(|_| ()), Err(SchemaError::TooLarge));
    let items = json!({"a": (0..300_000).collect::<Vec<_>>()});
    let unique = json!({"properties": {"a": {"uniqueItems": true}}});
    assert_eq!(soon(|| check(&unique, &items)), Err(SchemaViolation::TooCostly));
}

#[test]
fn many_patterns_are_refused() {
    let patterns = |count: usize| {
        let named: serde_json::Map<String, Value> = (1..=count)
            .map(|index| (format!("p{index}"), json!({"pattern": format!("^a{{1,{index}}}")})))
            .collect();
        ArgumentSchema::compile(&json!({ "properties": named }))
    };
    assert!(patterns(60).is_ok());
    assert!(matches!(patterns(65), Err(SchemaError::Reference(_))));
    assert!(ArgumentSchema::compile(&json!({"patternProperties": {"^a": {"type": "string"}}})).is_ok());
}

#[test]
fn numbers_of_any_size_are_checked_soon() {
    for (keyword, value) in [
        (json!({"multipleOf": 1e-300}), json!(1e300)),
        (json!({"multipleOf": 1e300}), json!(1e-300)),
        (json!({"multipleOf": 3}), json!(1.797_693_134_862_315_7e308)),
        (json!({"maximum": 1e308}), json!(u64::MAX)),
    ] {
        let schema = json!({"properties": {"n": keyword}});
        let _ = soon(|| check(&schema, &json!({"n": value})));
    }
}

#[test]
fn the_deepest_value_that_may_be_checked_is_checked() {
    let schema = json!({"properties": {"a": {"$ref": "#"}}, "additionalProperties": false});
    let nested = |levels: usize| (0..levels).fold(json!({}), |inner, _| json!({ "a": inner }));
    assert_eq!(check(&schema, &nested(60)), Ok(()));
    let mut wrong = nested(60);
    *wrong.pointer_mut(&"/a".repeat(60)).unwrap() = json!({"b": 1});
    assert!(matches!(check(&schema, &wrong), Err(SchemaViolation::Mismatch { .. })));
}

/// Schemas of a few keywords that refer to one another at random.
fn any_schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(true)),
        Just(json!({"type": "object"})),
        Just(json!({"type": "string", "pattern": "^(a|aa)+$"})),
        Just(json!({"$ref": "#"})),
        Just(json!({"$ref": "#/$defs/d"})),
        Just(json!({"uniqueItems": true})),
        Just(json!({"unevaluatedProperties": false})),
    ];
    let schema = leaf.prop_recursive(4, 24, 3, |inner| {
        let key = prop_oneof![Just("allOf"), Just("anyOf"), Just("oneOf")];
        let one = prop_oneof![
            Just("not"),
            Just("items"),
            Just("additionalProperties"),
            Just("contains"),
            Just("if")
        ];
        prop_oneof![
            (key, proptest::collection::vec(inner.clone(), 1..3)).prop_map(|(key, list)| json!({ key: list })),
            (one, inner.clone()).prop_map(|(key, schema)| json!({ key: schema })),
            inner.prop_map(|schema| json!({"properties": {"a": schema}, "unevaluatedProperties": false})),
        ]
    });
    (schema.clone(), schema).prop_map(|(root, definition)| json!({"allOf": [root], "$defs": {"d": definition}}))
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(json!(1)), Just(json!("aaaaaaaaaaaaaaaab")), Just(json!(null))];
    leaf.prop_recursive(8, 32, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            ("[ab]", inner).prop_map(|(key, value)| json!({ key: value })),
        ]
    })
    .prop_map(|value| json!({ "a": value }))
}

proptest! {
    #[test]
    fn every_check_ends_soon_with_one_answer(schema in any_schema(), value in any_value()) {
        let check = || ArgumentSchema::compile(&schema).map(|schema| schema.check(&arguments(&value)));
        prop_assert_eq!(soon(check), check());
    }
}

#[test]
fn deep_schemas_are_refused() {
    let mut schema = json!({"type": "object"});
    for _ in 0..300 {
        schema = json!({"not": schema});
    }
    assert!(ArgumentSchema::compile(&schema).is_err());
    assert!(check_references(&schema).is_err());
}

#[test]
fn ordinary_schemas_cost_little() {
    let schema = json!({"type": "object", "properties": {"rows": {"type": "array", "items": {
        "anyOf": [{"type": "string"}, {"type": "object", "properties": {"id": {"type": "integer"}}, "unevaluatedProperties": false}],
    }}}});
    let rows: Vec<Value> = (0..2_000).map(|id| json!({"id": id})).collect();
    assert_eq!(estimate(&schema, &json!({"rows": rows})), Ok(()));
    assert_eq!(check(&schema, &json!({"rows": [{"id": 1}, "x"]})), Ok(()));
    assert!(check(&schema, &json!({"rows": [{"id": 1, "other": 2}]})).is_err());
}

#[test]
fn no_schema_makes_the_compiler_panic() {
    for schema in [
        json!({"type": "nonsense"}),
        json!({"minimum": "1"}),
        json!({"properties": []}),
        json!({"pattern": "("}),
        json!({"required": "a"}),
        json!({"multipleOf": 0}),
        json!({"items": 3}),
    ] {
        assert!(
            matches!(ArgumentSchema::compile(&schema), Err(SchemaError::Invalid(_))),
            "{schema}"
        );
    }
}
