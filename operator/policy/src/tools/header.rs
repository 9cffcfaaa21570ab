//! The `x-mcp-header` annotations of an input schema (MCP 2026-07-28, tools, x-mcp-header), and whether a header says what
//! the argument says that it mirrors.

use crate::arguments::{Arguments, is_same_but_for_case};
use serde_json::{Map, Number, Value};
use std::collections::HashSet;

/// The annotation.
const KEY: &str = "x-mcp-header";

/// Largest integer that a mirrored argument may be, and the negative of the smallest: 2^53 - 1.
const SAFE: f64 = 9_007_199_254_740_991.0;

/// A header in which clients of the modern era repeat an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirroredArgument {
    /// What follows `Mcp-Param-`, in lower case.
    pub header: String,
    /// Names of the properties that lead to the argument.
    path: Vec<String>,
}

/// What a header that mirrors an argument is to say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Expected<'a> {
    /// There is no such argument, or it is null: the header is left out.
    Nothing,
    /// This text, number or truth value.
    Value(&'a Value),
    /// It is no value that a header can say, or there is one beside it whose name differs in case alone: whatever the
    /// header says is not what the argument says.
    Unsayable,
}

impl MirroredArgument {
    /// What the header is to say in a call with `arguments`.
    pub fn expected<'a>(&self, arguments: &'a Arguments) -> Expected<'a> {
        let Some((last, way)) = self.path.split_last() else {
            return Expected::Nothing;
        };
        let mut members: &Map<String, Value> = arguments.members();
        for step in way {
            members = match member(members, step) {
                Ok(Some(Value::Object(inner))) => inner,
                Ok(_) => return Expected::Nothing,
                Err(CaseVariant) => return Expected::Unsayable,
            };
        }
        match member(members, last) {
            Ok(None | Some(Value::Null)) => Expected::Nothing,
            Ok(Some(Value::Object(_) | Value::Array(_))) | Err(CaseVariant) => Expected::Unsayable,
            Ok(Some(value)) => Expected::Value(value),
        }
    }
}

/// Whether `text`, decoded, is how a header says `value`. Integers are compared as numbers.
pub fn says(text: &str, value: &Value) -> bool {
    match value {
        Value::String(value) => text == value,
        Value::Bool(value) => text == if *value { "true" } else { "false" },
        Value::Number(value) => {
            // No white space: JSON allows it around a number, a header's value has none.
            let is_number = text
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'));
            is_number && serde_json::from_str::<Number>(text).is_ok_and(|said| is_same_integer(&said, value))
        }
        _ => false,
    }
}

fn is_same_integer(one: &Number, other: &Number) -> bool {
    match (one.as_i64(), other.as_i64()) {
        (Some(one), Some(other)) => one == other,
        // As 42.0 or 4.2e1: to be compared only where every double is one integer.
        #[expect(clippy::float_cmp)]
        _ => match (one.as_f64(), other.as_f64()) {
            (Some(one), Some(other)) => one == other && one.abs() <= SAFE && one.fract() == 0.0,
            _ => false,
        },
    }
}

/// A member beside one that a careless parser would take for it.
struct CaseVariant;

fn member<'a>(members: &'a Map<String, Value>, name: &str) -> Result<Option<&'a Value>, CaseVariant> {
    if members.keys().any(|key| key != name && is_same_but_for_case(key, name)) {
        return Err(CaseVariant);
    }
    Ok(members.get(name))
}

/// The annotations of `schema`, if all are such as clients must take. A tool with others is to be left out of lists.
///
/// # Errors
///
/// What is wrong.
pub(super) fn read(schema: &Value) -> Result<Vec<MirroredArgument>, &'static str> {
    let mut found = Found::default();
    walk(schema, &mut vec![], &mut found)?;
    if count(schema) == found.mirrored.len() {
        Ok(found.mirrored)
    } else {
        Err("it stands where the arguments of a call do not tell it: only chains of properties lead to it")
    }
}

#[derive(Default)]
struct Found {
    names: HashSet<String>,
    mirrored: Vec<MirroredArgument>,
}

/// Along chains of `properties` alone. The path of the root is empty.
fn walk(schema: &Value, path: &mut Vec<String>, found: &mut Found) -> Result<(), &'static str> {
    if let Some(name) = schema.get(KEY) {
        let name = name.as_str().ok_or("its value is no text")?;
        if path.is_empty() {
            return Err("it stands at the root");
        }
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err("its value is no HTTP token (RFC 9110 section 5.6.2)");
        }
        if !matches!(
            schema.get("type").and_then(Value::as_str),
            Some("string" | "integer" | "boolean")
        ) {
            return Err("its property is no string, integer or boolean");
        }
        let header = name.to_ascii_lowercase();
        if !found.names.insert(header.clone()) {
            return Err("its value is there twice, case aside");
        }
        found.mirrored.push(MirroredArgument {
            header,
            path: path.clone(),
        });
    }
    for (name, property) in schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        path.push(name.clone());
        walk(property, path, found)?;
        path.pop();
    }
    Ok(())
}

/// How often a schema anywhere in `value` has the annotation. Names of properties, and what only looks like a schema,
/// do not count.
fn count(value: &Value) -> usize {
    match value {
        Value::Object(members) => {
            let own = usize::from(members.contains_key(KEY));
            let below = members.iter().map(|(key, value)| match (key.as_str(), value) {
                ("const" | "enum" | "default" | "examples" | KEY, _) => 0,
                (
                    "properties" | "patternProperties" | "dependentSchemas" | "$defs" | "definitions" | "dependencies",
                    Value::Object(named),
                ) => named.values().map(count).sum(),
                _ => count(value),
            });
            own + below.sum::<usize>()
        }
        Value::Array(items) => items.iter().map(count).sum(),
        _ => 0,
    }
}

/// `tchar` of RFC 9110 section 5.6.2.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(schema: &Value) -> Result<(), &'static str> {
        read(schema).map(drop)
    }

    fn expected<'a>(mirrored: &[MirroredArgument], arguments: &'a Arguments) -> Vec<(String, Expected<'a>)> {
        let each = mirrored.iter();
        each.map(|one| (one.header.clone(), one.expected(arguments))).collect()
    }

    #[test]
    fn a_header_is_to_say_what_stands_at_the_end_of_its_chain_of_properties() {
        let schema = json!({"type": "object", "properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "o": {"type": "object", "properties": {"n": {"type": "integer", "x-mcp-header": "N"}}},
        }});
        let mirrored = read(&schema).unwrap();
        for (arguments, n, region) in [
            (
                r#"{"region": "eu", "o": {"n": 1}}"#,
                Expected::Value(&json!(1)),
                Expected::Value(&json!("eu")),
            ),
            ("{}", Expected::Nothing, Expected::Nothing),
            (r#"{"region": null, "o": null}"#, Expected::Nothing, Expected::Nothing),
            (
                r#"{"region": ["eu"], "o": [1]}"#,
                Expected::Nothing,
                Expected::Unsayable,
            ),
            (
                r#"{"Region": "eu", "o": {"n": 1, "N": 2}}"#,
                Expected::Unsayable,
                Expected::Unsayable,
            ),
            (r#"{"O": {"n": 1}}"#, Expected::Unsayable, Expected::Nothing),
            // The chain is the whole way.
            (
                r#"{"n": 1, "o": {"region": "eu"}}"#,
                Expected::Nothing,
                Expected::Nothing,
            ),
        ] {
            let raw: Box<serde_json::value::RawValue> = serde_json::from_str(arguments).unwrap();
            let arguments = Arguments::parse(Some(&raw)).unwrap();
            let mut expected = expected(&mirrored, &arguments);
            expected.sort_by(|(one, _), (other, _)| one.cmp(other));
            assert_eq!(expected, [("n".to_owned(), n), ("region".to_owned(), region)], "{raw}");
        }
    }

    #[test]
    fn a_text_says_one_value_and_integers_are_compared_as_numbers() {
        for (text, value) in [
            ("eu", json!("eu")),
            ("", json!("")),
            ("42", json!(42)),
            ("42.0", json!(42)),
            ("42", json!(42.0)),
            ("4.2e1", json!(42)),
            ("-7", json!(-7)),
            ("true", json!(true)),
            ("false", json!(false)),
            ("9007199254740993", json!(9_007_199_254_740_993_i64)),
        ] {
            assert!(says(text, &value), "{text} {value}");
        }
        for (text, value) in [
            ("EU", json!("eu")),
            ("42", json!("42 ")),
            ("43", json!(42)),
            ("042", json!(42)),
            ("+42", json!(42)),
            (" 42", json!(42)),
            ("42\n", json!(42)),
            ("0x2a", json!(42)),
            ("", json!(0)),
            ("True", json!(true)),
            ("1", json!(true)),
            ("true", json!("True")),
            // One double for two integers.
            ("9007199254740993.0", json!(9_007_199_254_740_992_i64)),
            ("9007199254740992.0", json!(9_007_199_254_740_993_i64)),
            ("1.5", json!(1.5)),
            ("null", Value::Null),
            ("[]", json!([])),
        ] {
            assert!(!says(text, &value), "{text} {value}");
        }
    }

    #[test]
    fn annotations_that_clients_must_take_are_taken() {
        for properties in [
            json!({}),
            json!({"region": {"type": "string", "x-mcp-header": "Region"}}),
            json!({"o": {"type": "object", "properties": {"n": {"type": "integer", "x-mcp-header": "N"}}},
                   "b": {"type": "boolean", "x-mcp-header": "B"}}),
            // A property of that name is no annotation.
            json!({"x-mcp-header": {"type": "string"}}),
            json!({"c": {"const": {"x-mcp-header": "C"}}}),
        ] {
            assert_eq!(
                check(&json!({"type": "object", "properties": properties})),
                Ok(()),
                "{properties}"
            );
        }
    }

    #[test]
    fn annotations_that_clients_must_refuse_are_refused() {
        for properties in [
            json!({"a": {"type": "string", "x-mcp-header": ""}}),
            json!({"a": {"type": "string", "x-mcp-header": "A B"}}),
            json!({"a": {"type": "string", "x-mcp-header": "A\r\nX: 1"}}),
            json!({"a": {"type": "string", "x-mcp-header": "é"}}),
            json!({"a": {"type": "string", "x-mcp-header": 1}}),
            json!({"a": {"type": "number", "x-mcp-header": "A"}}),
            json!({"a": {"type": "array", "x-mcp-header": "A"}}),
            json!({"a": {"type": ["string", "null"], "x-mcp-header": "A"}}),
            json!({"a": {"x-mcp-header": "A"}}),
            json!({"a": {"type": "string", "x-mcp-header": "A"}, "b": {"type": "string", "x-mcp-header": "a"}}),
            json!({"a": {"type": "array", "items": {"type": "string", "x-mcp-header": "A"}}}),
            json!({"a": {"anyOf": [{"type": "string", "x-mcp-header": "A"}]}}),
            json!({"a": {"additionalProperties": {"type": "string", "x-mcp-header": "A"}}}),
        ] {
            assert!(
                check(&json!({"type": "object", "properties": properties})).is_err(),
                "{properties}"
            );
        }
        assert!(check(&json!({"type": "string", "x-mcp-header": "A"})).is_err());
        assert!(check(&json!({"$defs": {"x": {"type": "string", "x-mcp-header": "A"}}})).is_err());
    }
}
