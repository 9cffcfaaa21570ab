//! One text for one JSON value: RFC 8785, as far as records need it.
//!
//! Records hold objects, arrays, strings, booleans and integers, never a fraction, so that the scheme's number form is
//! that of integers.

use serde_json::{Map, Value};
use std::fmt::Write as _;

/// `object` in its one text: no white space, keys in the order of their UTF-16 code units, the shortest escapes.
pub fn text(object: &Map<String, Value>) -> String {
    let mut text = String::with_capacity(1024);
    write_object(&mut text, object);
    text
}

fn write_object(text: &mut String, object: &Map<String, Value>) {
    let mut members: Vec<_> = object.iter().collect();
    members.sort_by(|(left, _), (right, _)| left.encode_utf16().cmp(right.encode_utf16()));
    text.push('{');
    for (index, (key, value)) in members.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        write_string(text, key);
        text.push(':');
        write_value(text, value);
    }
    text.push('}');
}

fn write_value(text: &mut String, value: &Value) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(true) => text.push_str("true"),
        Value::Bool(false) => text.push_str("false"),
        Value::Number(number) => text.push_str(&number.to_string()),
        Value::String(string) => write_string(text, string),
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_value(text, item);
            }
            text.push(']');
        }
        Value::Object(object) => write_object(text, object),
    }
}

/// As RFC 8785 section 3.2.2.2 says, which is how ECMAScript writes strings.
fn write_string(text: &mut String, string: &str) {
    text.push('"');
    for character in string.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\u{8}' => text.push_str("\\b"),
            '\t' => text.push_str("\\t"),
            '\n' => text.push_str("\\n"),
            '\u{c}' => text.push_str("\\f"),
            '\r' => text.push_str("\\r"),
            control if control < ' ' => {
                // Writing to a String cannot fail.
                let _ = write!(text, "\\u{:04x}", u32::from(control));
            }
            other => text.push(other),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;
    use proptest::prelude::*;

    fn canonical(json: &str) -> String {
        text(&serde_json::from_str(json).unwrap())
    }

    /// The example of RFC 8785 section 3.2.3, without its member that has two code points for one letter.
    #[test]
    fn keys_are_ordered_as_in_the_rfc_s_example() {
        let example = r#"{"\u20ac":"Euro Sign","\r":"Carriage Return","1":"One","\u0080":"Control","\ud83d\ude02":"Smiley","\u00f6":"o","\ufb33":"Hebrew"}"#;
        let order: Vec<_> = canonical(example)
            .split(',')
            .map(|member| member.rsplit(':').next().unwrap().trim_matches(['"', '}']).to_owned())
            .collect();
        assert_eq!(
            order,
            [
                "Carriage Return",
                "One",
                "Control",
                "o",
                "Euro Sign",
                "Smiley",
                "Hebrew"
            ]
        );
    }

    #[test]
    fn strings_are_escaped_as_little_as_possible() {
        assert_eq!(
            canonical(r#"{ "a" : "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/" }"#),
            r#"{"a":"€$\u000f\nA'B\"\\\\\"/"}"#
        );
    }

    proptest! {
        #[test]
        fn equal_objects_have_one_text(keys in proptest::collection::vec(".{0,6}", 0..6), seed in any::<i64>()) {
            let forward: Map<String, Value> = keys.iter().map(|key| (key.clone(), Value::from(seed))).collect();
            let backward: Map<String, Value> = keys.iter().rev().map(|key| (key.clone(), Value::from(seed))).collect();
            prop_assert_eq!(text(&forward), text(&backward));
            let back: Map<String, Value> = serde_json::from_str(&text(&forward)).unwrap();
            prop_assert_eq!(back, forward);
        }
    }
}
