//! One text for all ways in which a client may write the same arguments.
//!
//! The order of keys, whitespace and escapes are those of RFC 8785. Numbers are not: it would round them to a double, and
//! two amounts that differ beyond 2^53 would be confirmed as one. Here a number stands for its exact decimal value.

use super::json::{Document, JsonError, MAX_DEPTH, Value};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// SHA-256 over what a call does: its method, what it is called on, and its arguments in their canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallDigest([u8; 32]);

impl CallDigest {
    /// The digest of one call. `arguments` is a JSON text; none is another call than an empty object.
    ///
    /// # Errors
    ///
    /// When the arguments have a key twice, are too deep, or hold a number or string that no program can.
    pub fn of(method: &str, name: &str, arguments: Option<&str>) -> Result<Self, JsonError> {
        let canonical = arguments.map(canonical).transpose()?;
        let mut digest = Sha256::new();
        for part in [Some(method), Some(name), canonical.as_deref()].into_iter().flatten() {
            // With its length before it, no part can pass for the end of another.
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        Ok(Self(digest.finalize().into()))
    }

    /// As bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for CallDigest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// The canonical form of a JSON text.
///
/// # Errors
///
/// See [`CallDigest::of`].
pub fn canonical(text: &str) -> Result<String, JsonError> {
    let mut written = String::with_capacity(text.len());
    write(
        &Document::read(text.as_bytes())?.root(),
        Form::Canonical,
        0,
        &mut written,
    )?;
    Ok(written)
}

/// The same value for a person to read: without whitespace and needless escapes, in the order and with the numbers that
/// it was sent with.
///
/// # Errors
///
/// See [`CallDigest::of`].
pub fn readable(text: &str) -> Result<String, JsonError> {
    let mut written = String::with_capacity(text.len());
    write(
        &Document::read(text.as_bytes())?.root(),
        Form::Readable,
        0,
        &mut written,
    )?;
    Ok(written)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Canonical,
    Readable,
}

fn write(value: &Value<'_>, form: Form, depth: usize, written: &mut String) -> Result<(), JsonError> {
    if depth > MAX_DEPTH {
        return Err(JsonError::TooDeep);
    }
    let raw = value.raw();
    match raw.as_bytes().first() {
        Some(b'{') => {
            let mut members = value.members()?;
            if form == Form::Canonical {
                members.sort_by(|a, b| a.key.encode_utf16().cmp(b.key.encode_utf16()));
            }
            written.push('{');
            for (index, member) in members.iter().enumerate() {
                written.push_str(if index == 0 { "" } else { "," });
                written.push_str(&serde_json::to_string(&member.key)?);
                written.push(':');
                write(&member.value, form, depth + 1, written)?;
            }
            written.push('}');
        }
        Some(b'[') => {
            written.push('[');
            for (index, element) in value.elements().enumerate() {
                written.push_str(if index == 0 { "" } else { "," });
                write(&element, form, depth + 1, written)?;
            }
            written.push(']');
        }
        Some(b'"') => {
            let text = value.string()?.ok_or(JsonError::Unexpected("a string"))?;
            written.push_str(&serde_json::to_string(&text)?);
        }
        Some(b't' | b'f' | b'n') => written.push_str(raw),
        _ if form == Form::Readable => written.push_str(raw),
        _ => write_number(raw, written)?,
    }
    Ok(())
}

/// Writes a number as its digits without zeros at either end, times a power of ten: `-120.50` is `-1205e-1`.
fn write_number(raw: &str, written: &mut String) -> Result<(), JsonError> {
    let out_of_range = || JsonError::NumberOutOfRange(raw.chars().take(40).collect());
    let (sign, magnitude) = raw.strip_prefix('-').map_or(("", raw), |rest| ("-", rest));
    let (mantissa, exponent) = magnitude.split_once(['e', 'E']).unwrap_or((magnitude, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent: i64 = exponent.parse::<i32>().map_err(|_| out_of_range())?.into();
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0');
    let trimmed = significant.trim_end_matches('0');
    if trimmed.is_empty() {
        written.push('0');
        return Ok(());
    }
    let zeros = i64::try_from(significant.len() - trimmed.len()).map_err(|_| out_of_range())?;
    let places = i64::try_from(fraction.len()).map_err(|_| out_of_range())?;
    // Writing to a String cannot fail.
    let _ = write!(written, "{sign}{trimmed}e{}", exponent - places + zeros);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::{assert_eq, assert_ne};
    use proptest::prelude::*;

    fn same(a: &str, b: &str) -> bool {
        canonical(a).unwrap() == canonical(b).unwrap()
    }

    #[test]
    fn order_whitespace_escapes_and_ways_of_writing_a_number_do_not_matter() {
        for (a, b) in [
            (r#"{"a":1,"b":[true,null]}"#, "{ \"b\" : [ true,\tnull ],\r\n\"a\":1 }"),
            (r#"{"a":"\u00e9\/"}"#, r#"{"a":"é/"}"#),
            (r#"{"\u0061":1}"#, r#"{"a":1}"#),
            ("1", "1.0"),
            ("100", "1e2"),
            ("100", "1E+2"),
            ("0.5", "5e-1"),
            ("0", "0.000e7"),
            ("0", "-0"),
        ] {
            assert!(same(a, b), "{a} {b}");
        }
    }

    #[test]
    fn everything_else_matters() {
        for (a, b) in [
            (r#"{"a":1}"#, r#"{"a":2}"#),
            (r#"{"a":1}"#, r#"{"a":"1"}"#),
            (r#"{"a":1}"#, r#"{"A":1}"#),
            (r#"{"a":1}"#, r#"{"a":1,"b":null}"#),
            ("[1,2]", "[2,1]"),
            ("[[1],2]", "[1,[2]]"),
            (r#"{"a":"é"}"#, r#"{"a":"e\u0301"}"#),
            ("1", "-1"),
            ("10", "1"),
            ("9007199254740992", "9007199254740993"),
            ("0.1", "0.1000000000000000055511151231257827"),
            ("true", "\"true\""),
        ] {
            assert!(!same(a, b), "{a} {b}");
        }
    }

    #[test]
    fn a_person_reads_it_in_its_order_with_its_numbers_and_without_escapes() {
        assert_eq!(
            readable("{ \"b\" : 1.0,\n\"\\u0061\":[\"\\u0072m\" ,\"\\n\"]}").unwrap(),
            r#"{"b":1.0,"a":["rm","\n"]}"#
        );
    }

    #[test]
    fn keys_are_sorted_by_utf16_code_units() {
        // RFC 8785 section 3.2.3: U+1F600 (D83D DE00) comes before U+FB33.
        assert_eq!(
            canonical("{\"\u{fb33}\":1,\"\u{1f600}\":2}").unwrap(),
            "{\"\u{1f600}\":2e0,\"\u{fb33}\":1e0}"
        );
    }

    #[test]
    fn what_two_readers_could_read_differently_has_no_form() {
        assert!(matches!(canonical(r#"{"a":1,"a":1}"#), Err(JsonError::DuplicateKey(_))));
        assert!(matches!(
            canonical(r#"{"a":{"b":1,"\u0062":1}}"#),
            Err(JsonError::DuplicateKey(_))
        ));
        assert!(matches!(canonical(r#""\ud800""#), Err(JsonError::NotJson(_))));
        assert!(matches!(
            canonical("1e99999999999"),
            Err(JsonError::NumberOutOfRange(_))
        ));
        let deep = format!("{}{}", "[".repeat(2000), "]".repeat(2000));
        canonical(&deep).unwrap_err();
    }

    #[test]
    fn method_name_and_arguments_cannot_pass_for_one_another() {
        let digest = |method, name, arguments| CallDigest::of(method, name, arguments).unwrap();
        assert_eq!(digest("m", "n", Some("{}")), digest("m", "n", Some("{ }")));
        assert_ne!(digest("m", "n", Some("{}")), digest("m", "n", None));
        assert_ne!(digest("m", "n", None), digest("mn", "", None));
        assert_ne!(digest("m", "n", None), digest("m", "n2", None));
        assert_ne!(digest("m", "n", None), digest("m2", "n", None));
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
                proptest::collection::btree_map(any::<String>(), inner, 0..5)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn equal_values_and_only_those_have_one_form(a in any_json(), b in any_json()) {
            let pretty = serde_json::to_string_pretty(&a).unwrap();
            prop_assert_eq!(canonical(&pretty).unwrap(), canonical(&a.to_string()).unwrap());
            prop_assert_eq!(canonical(&a.to_string()).unwrap() == canonical(&b.to_string()).unwrap(), a == b);
        }
    }
}
