use super::*;
use pretty_assertions::assert_eq;
use proptest::prelude::*;
use serde_json::json;
use serde_json::value::RawValue;

fn parse(text: &str) -> Result<Arguments, Violation> {
    let raw: Box<RawValue> = serde_json::from_str(text).map_err(|_| Violation::Malformed)?;
    Arguments::parse(Some(&raw))
}

fn bounds(json: serde_json::Value) -> ArgumentBounds {
    serde_json::from_value(json).unwrap()
}

/// Whether a call with `arguments` keeps to the bound `json` of one value.
fn keeps(json: &serde_json::Value, arguments: &str) -> bool {
    bounds(json!({ "values": [json] }))
        .check(&parse(arguments).unwrap())
        .is_ok()
}

#[test]
fn arguments_have_one_reading_or_none() {
    for text in [
        r#"{"path":"/ok","path":"/etc"}"#,
        r#"{"a":{"b":[{"c":1,"c":2}]}}"#,
        r#"{"a":1,"\u0061":2}"#,
        "[]",
        "\"a\"",
        "1",
    ] {
        assert_eq!(parse(text), Err(Violation::Malformed), "{text}");
    }
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(64), "]".repeat(64));
    assert_eq!(parse(&deep), Err(Violation::Malformed));
    assert_eq!(parse("null"), Ok(Arguments::default()));
    assert_eq!(Arguments::parse(None), Ok(Arguments::default()));
    assert!(parse(r#"{"a":[{"a":1},{"a":2}]}"#).is_ok());
}

#[test]
fn sizes_hold_wherever_in_the_arguments() {
    let bounds = bounds(json!({"maxBytes": 60, "maxStringLength": 3, "maxItems": 2}));
    for (text, expected) in [
        ("{}", Ok(())),
        (r#"{"a":"é€😀","b":[1,2]}"#, Ok(())),
        (r#"{"a":"abcd"}"#, Err(Violation::AnyString(3))),
        (r#"{"abcd":1}"#, Err(Violation::AnyString(3))),
        (r#"{"a":[{"b":["abcd"]}]}"#, Err(Violation::AnyString(3))),
        (r#"{"a":[{"abcd":1}]}"#, Err(Violation::AnyString(3))),
        (r#"{"a":[1,2,3]}"#, Err(Violation::AnyArray(2))),
        (r#"{"a":{"b":[[1,2,3]]}}"#, Err(Violation::AnyArray(2))),
        (
            r#"{"a":                                                        1}"#,
            Err(Violation::Bytes(60)),
        ),
    ] {
        assert_eq!(bounds.check(&parse(text).unwrap()), expected, "{text}");
    }
}

#[test]
fn a_bound_says_what_type_an_argument_has() {
    for (bound, good, bad) in [
        (
            json!({"at": "/q", "string": {"maxLength": 3}}),
            vec![r#"{"q":"abc"}"#, r#"{"q":""}"#, "{}", r#"{"other":1}"#],
            vec![
                r#"{"q":"abcd"}"#,
                r#"{"q":1}"#,
                r#"{"q":["a"]}"#,
                r#"{"q":null}"#,
                r#"{"q":{"a":1}}"#,
            ],
        ),
        (
            json!({"at": "/q", "string": {"minLength": 2}}),
            vec![r#"{"q":"ab"}"#],
            vec![r#"{"q":"a"}"#, r#"{"q":""}"#],
        ),
        (
            json!({"at": "/q", "string": {"patterns": ["https://api.example.com/*", "x"]}}),
            vec![r#"{"q":"https://api.example.com/v1"}"#, r#"{"q":"x"}"#],
            vec![
                r#"{"q":"https://api.example.com.evil/"}"#,
                r#"{"q":" x"}"#,
                r#"{"q":"X"}"#,
            ],
        ),
        (
            json!({"at": "/n", "number": {"minimum": 1, "maximum": 10}}),
            vec![r#"{"n":1}"#, r#"{"n":10.0}"#, r#"{"n":2.5}"#, r#"{"n":1e1}"#],
            vec![
                r#"{"n":0}"#,
                r#"{"n":11}"#,
                r#"{"n":10.000001}"#,
                r#"{"n":-1}"#,
                r#"{"n":"5"}"#,
                r#"{"n":1e300}"#,
                r#"{"n":18446744073709551615}"#,
                r#"{"n":99999999999999999999999}"#,
                r#"{"n":true}"#,
            ],
        ),
        (
            json!({"at": "/n", "number": {"integer": true}}),
            vec![r#"{"n":1}"#, r#"{"n":1.0}"#, r#"{"n":-0.0}"#],
            vec![r#"{"n":1.5}"#, r#"{"n":1e-1}"#, r#"{"n":1e300}"#],
        ),
        (
            json!({"at": "/n", "number": {"maximum": 9_007_199_254_740_992_i64}}),
            vec![r#"{"n":9007199254740992}"#],
            vec![r#"{"n":9007199254740993}"#],
        ),
        (
            json!({"at": "/ids", "array": {"minItems": 1, "maxItems": 3}}),
            vec![r#"{"ids":[1]}"#, r#"{"ids":[1,2,3]}"#],
            vec![
                r#"{"ids":[]}"#,
                r#"{"ids":[1,2,3,4]}"#,
                r#"{"ids":"1,2,3,4"}"#,
                r#"{"ids":{"0":1}}"#,
            ],
        ),
        (
            json!({"at": "/m", "oneOf": ["a", 1, true]}),
            vec![r#"{"m":"a"}"#, r#"{"m":1.0}"#, r#"{"m":true}"#],
            vec![
                r#"{"m":"A"}"#,
                r#"{"m":"1"}"#,
                r#"{"m":"true"}"#,
                r#"{"m":["a"]}"#,
                r#"{"m":null}"#,
            ],
        ),
        (
            json!({"at": "/p", "path": {"roots": ["/data", "."]}}),
            vec![r#"{"p":"/data/a"}"#, r#"{"p":"a/b"}"#],
            vec![
                r#"{"p":"/data/../etc"}"#,
                r#"{"p":"/etc"}"#,
                r#"{"p":"../a"}"#,
                r#"{"p":["/data/a"]}"#,
                r#"{"p":"a\u0000"}"#,
            ],
        ),
    ] {
        for text in good {
            assert!(keeps(&bound, text), "{bound} {text}");
        }
        for text in bad {
            assert!(!keeps(&bound, text), "{bound} {text}");
            // The control: without the bound it passes.
            assert_eq!(ArgumentBounds::default().check(&parse(text).unwrap()), Ok(()), "{text}");
        }
    }
}

#[test]
fn a_bound_reaches_every_item() {
    let bound = json!({"at": "/files/*/path", "path": {"roots": ["/data"]}});
    for (text, fits) in [
        (r#"{"files":[{"path":"/data/a"},{"path":"/data/b"}]}"#, true),
        (r#"{"files":[]}"#, true),
        (r#"{"files":[{}]}"#, true),
        (r#"{"files":[{"path":"/data/a"},{"path":"/etc"}]}"#, false),
        // What cannot hold the argument is refused, since a server may still make something of it.
        (r#"{"files":["/etc"]}"#, false),
        (r#"{"files":"/etc"}"#, false),
        (r#"{"files":{"path":"/etc"}}"#, false),
        (r#"{"files":[[{"path":"/etc"}]]}"#, false),
        (r#"{"files":null}"#, false),
    ] {
        assert_eq!(keeps(&bound, text), fits, "{text}");
    }
    let one = json!({"at": "/files/1", "path": {"roots": ["/data"]}});
    assert!(keeps(&one, r#"{"files":["/etc","/data"]}"#));
    assert!(!keeps(&one, r#"{"files":["/data","/etc"]}"#));
    assert!(keeps(&one, r#"{"files":["/etc"]}"#));
}

#[test]
fn a_name_that_differs_in_case_alone_is_refused() {
    let bound = json!({"at": "/options/kind", "oneOf": ["safe"]});
    for text in [
        r#"{"options":{"Kind":"bad"}}"#,
        r#"{"options":{"kind":"safe","KIND":"bad"}}"#,
        r#"{"Options":{"kind":"bad"}}"#,
        r#"{"option\u017f":{"kind":"bad"}}"#,
        r#"{"options":{"\u212aind":"bad"}}"#,
    ] {
        assert!(!keeps(&bound, text), "{text}");
    }
    assert!(keeps(&bound, r#"{"options":{"kind":"safe","kinds":"bad"},"KIND":1}"#));
}

#[test]
fn what_is_required_is_there() {
    let bound = json!({"at": "/a/*/b", "required": true});
    for (text, fits) in [
        (r#"{"a":[{"b":1},{"b":null}]}"#, true),
        (r#"{"a":[]}"#, true),
        (r#"{"a":[{"b":1},{}]}"#, false),
        ("{}", false),
    ] {
        assert_eq!(keeps(&bound, text), fits, "{text}");
    }
}

#[test]
fn arguments_that_are_not_listed_are_refused_on_request() {
    let listed = |only: bool| {
        bounds(json!({"onlyListed": only, "values": [{"at": "/q", "string": {}}, {"at": "/o/x", "string": {}}]}))
    };
    let call = parse(r#"{"q":"a","o":{"y":1},"extra":1}"#).unwrap();
    assert_eq!(listed(true).check(&call), Err(Violation::Unlisted));
    assert_eq!(listed(false).check(&call), Ok(()));
    assert_eq!(listed(true).check(&parse(r#"{"q":"a","o":{"y":1}}"#).unwrap()), Ok(()));
}

#[test]
fn a_violation_says_where_and_not_what() {
    let bounds = bounds(json!({"values": [{"at": "/files/*/path", "path": {"roots": ["/data"]}}]}));
    let arguments = parse(r#"{"files":[{"path":"/data"},{"path":"/secret-name"}]}"#).unwrap();
    let violation = bounds.check(&arguments).unwrap_err();
    assert_eq!(violation, Violation::Path("/files/1/path".into()));
    assert!(!violation.to_string().contains("secret"));
}

#[test]
fn bounds_that_bound_nothing_are_refused() {
    for bound in [
        json!({"at": "/a"}),
        json!({"at": "/a", "oneOf": []}),
        json!({"at": "/a", "path": {"roots": []}}),
        json!({"at": "a", "required": true}),
        json!({"at": "", "required": true}),
        json!({"at": "/a~2", "required": true}),
        json!({"at": "/a", "path": {"roots": ["data"]}}),
        json!({"at": "/a", "string": {"pattern": "x"}}),
        json!({"at": "/a", "required": true, "strings": {}}),
    ] {
        let bounds = json!({"values": [bound]});
        assert!(serde_json::from_value::<ArgumentBounds>(bounds).is_err(), "{bound}");
    }
}

proptest! {
    #[test]
    fn another_bound_never_lets_more_through(
        text in proptest::collection::vec("[a-c/.]{0,6}", 0..4),
        most in 0u32..6,
        items in 0u32..4,
    ) {
        let arguments = parse(&json!({"a": text}).to_string()).unwrap();
        let one = bounds(json!({"values": [{"at": "/a/*", "string": {"maxLength": most}}]}));
        let two = bounds(json!({
            "maxItems": items,
            "values": [{"at": "/a/*", "string": {"maxLength": most}}, {"at": "/a/*", "path": {"roots": ["."]}}],
        }));
        prop_assert!(one.check(&arguments).is_ok() || two.check(&arguments).is_err());
    }

    #[test]
    fn a_pointer_is_written_as_it_was_read(text in "(/([a-z*]|~0|~1){0,3}){1,4}") {
        prop_assert_eq!(text.parse::<Pointer>().unwrap().to_string(), text);
    }
}
