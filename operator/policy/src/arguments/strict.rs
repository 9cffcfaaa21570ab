//! JSON of which there is one reading only.

use super::room::Room;
use serde::Deserialize as _;
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// Why a text is not JSON with one reading.
#[derive(Debug, thiserror::Error)]
pub enum StrictError {
    /// No JSON, a key twice in an object, or nested too deep.
    #[error("the JSON is refused: {0}")]
    Json(#[from] serde_json::Error),
    /// Its values would take more memory than there is for them.
    #[error("the JSON has too many values")]
    TooMany,
}

/// Reads one JSON document of at most `depth` nested objects and arrays, whose values take no more memory than a [`Room`] has
/// for them.
///
/// Refused: a key twice in any object, lone surrogates, numbers beyond the range of a double, anything after the
/// document. All of them are read differently by different parsers (RFC 8259 sections 4, 6 and 8; RFC 7493 section 2).
///
/// # Errors
///
/// See [`StrictError`].
pub fn parse(text: &str, depth: u8) -> Result<Value, StrictError> {
    let room = Room::new();
    let mut json = serde_json::Deserializer::from_str(text);
    let value = Level { depth, room: &room }.deserialize(&mut json);
    if room.is_exceeded() {
        return Err(StrictError::TooMany);
    }
    let value = value?;
    json.end()?;
    Ok(value)
}

/// Where in the document a value is.
#[derive(Clone, Copy)]
struct Level<'a> {
    /// How many levels of nesting are left.
    depth: u8,
    /// How much memory is left.
    room: &'a Room,
}

impl Level<'_> {
    fn below<E: de::Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1);
        let depth = depth.ok_or_else(|| E::custom("objects and arrays are nested too deep"))?;
        Ok(Self { depth, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Level<'_> {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number is out of range"))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        self.room.string(value)?;
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut array = vec![];
        while let Some(item) = items.next_element_seed(below)? {
            self.room.item(&mut array)?;
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut object = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            self.room.member(object.len(), &key)?;
            let value = members.next_value_seed(below)?;
            if object.contains_key(&key) {
                return Err(de::Error::custom(format_args!("the key {key:?} is there twice")));
            }
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

/// The members of the object that `text` is, in their order, each value as its exact text.
///
/// # Errors
///
/// No object, or a key twice in it.
pub(crate) fn members(text: &str) -> Result<Vec<(String, &serde_json::value::RawValue)>, StrictError> {
    let mut json = serde_json::Deserializer::from_str(text);
    let Members(members) = Members::deserialize(&mut json)?;
    json.end()?;
    Ok(members)
}

struct Members<'a>(Vec<(String, &'a serde_json::value::RawValue)>);

impl<'de: 'a, 'a> de::Deserialize<'de> for Members<'a> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
                let mut members: Vec<(String, &serde_json::value::RawValue)> = vec![];
                let mut keys = std::collections::HashSet::new();
                while let Some((key, value)) = entries.next_entry::<String, _>()? {
                    if !keys.insert(key.clone()) {
                        return Err(de::Error::custom(format_args!("the key {key:?} is there twice")));
                    }
                    members.push((key, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;
    use proptest::prelude::*;

    #[test]
    fn what_parsers_read_differently_is_refused() {
        for text in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"x":[{"a":1,"a":1}]}"#,
            r#"["\ud800"]"#,
            "[1e400]",
            "[NaN]",
            "{} {}",
            "[1,]",
            "// a\n{}",
            "",
        ] {
            assert!(parse(text, 8).is_err(), "{text}");
        }
        // The lenient parser takes the first four.
        assert!(serde_json::from_str::<Value>(r#"{"a":1,"a":2}"#).is_ok());
    }

    #[test]
    fn nesting_beyond_the_depth_is_refused() {
        assert!(parse("[[]]", 2).is_ok());
        assert!(parse("[[[]]]", 2).is_err());
        assert!(parse(&"[".repeat(100_000), 255).is_err());
    }

    /// What an array of `count` times `item` is read as.
    fn many(item: &str, count: usize) -> Result<Value, StrictError> {
        parse(&format!("[{}]", vec![item; count].join(",")), 8)
    }

    #[test]
    fn a_short_text_that_would_become_many_values_is_refused_for_that() {
        const MEBIBYTE: usize = 1 << 20;
        for item in ["[0]", r#"{"a":0}"#, r#"{"a":{"a":{"a":{}}}}"#, r#"["a"]"#] {
            let refused = many(item, MEBIBYTE / (item.len() + 1));
            assert!(matches!(refused, Err(StrictError::TooMany)), "{item}");
        }
    }

    #[test]
    fn a_mebibyte_of_numbers_and_text_is_read() {
        const MEBIBYTE: usize = 1 << 20;
        for item in ["0", "0.25", "-1234567.5", r#""text""#, r#""""#, "null"] {
            let count = MEBIBYTE / (item.len() + 1);
            assert_eq!(many(item, count).unwrap().as_array().unwrap().len(), count, "{item}");
        }
        let record = r#"{"id":7,"name":"a name","tags":["a","b"],"note":"some more words that say something"}"#;
        assert!(many(record, 10_000).is_ok());
        let text = "x".repeat(16 * MEBIBYTE);
        assert!(many(&format!("\"{text}\""), 1).is_ok());
    }

    #[test]
    fn members_keep_order_and_text() {
        let text = r#" { "b" : 1.0 , "a":[ {"x" :1} ] } "#;
        let members: Vec<_> = members(text)
            .unwrap()
            .into_iter()
            .map(|(key, raw)| (key, raw.get()))
            .collect();
        assert_eq!(members, [("b".to_owned(), "1.0"), ("a".to_owned(), r#"[ {"x" :1} ]"#)]);
        assert!(super::members(r#"{"a":1,"\u0061":2}"#).is_err());
        assert!(super::members("[]").is_err());
    }

    proptest! {
        #[test]
        fn without_repeated_keys_the_strict_reading_is_the_lenient_one(text in "[\\[\\]{}\":,a1 ]{0,12}") {
            if let Ok(value) = parse(&text, 100) {
                prop_assert_eq!(value, serde_json::from_str::<Value>(&text).unwrap());
            }
        }
    }
}
