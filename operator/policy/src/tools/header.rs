//! The `x-mcp-header` annotations of an input schema (MCP 2026-07-28, tools, x-mcp-header).

use serde_json::Value;
use std::collections::HashSet;

/// The annotation.
const KEY: &str = "x-mcp-header";

/// Whether all annotations are such as clients must take. A tool with others is to be left out of lists.
///
/// # Errors
///
/// What is wrong.
pub(super) fn check(schema: &Value) -> Result<(), &'static str> {
    let mut names = HashSet::new();
    walk(schema, false, &mut names)?;
    if count(schema) == names.len() {
        Ok(())
    } else {
        Err("it stands where the arguments of a call do not tell it: only chains of properties lead to it")
    }
}

/// Along chains of `properties` alone. `is_property` is false for the root.
fn walk(schema: &Value, is_property: bool, names: &mut HashSet<String>) -> Result<(), &'static str> {
    if let Some(name) = schema.get(KEY) {
        let name = name.as_str().ok_or("its value is no text")?;
        if !is_property {
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
        if !names.insert(name.to_ascii_lowercase()) {
            return Err("its value is there twice, case aside");
        }
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    properties
        .into_iter()
        .flat_map(|properties| properties.values())
        .try_for_each(|property| walk(property, true, names))
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
