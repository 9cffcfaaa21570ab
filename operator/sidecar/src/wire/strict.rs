//! JSON that every parser reads alike.
//!
//! A key that comes twice is the first for one parser and the last for another; a key in another case is the same key for
//! a parser that folds cases. Such texts are refused, so that what was decided on is what the other side reads.

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;

/// The deepest nesting that can be asked for; serde_json itself ends at 128.
pub const MAX_DEPTH: usize = 120;

/// Most members of an object whose members are looked at one by one.
const MAX_MEMBERS: usize = 1024;

/// Most bytes that the keys take which are remembered at a time to find one that comes twice. Part of
/// [`Limits::BASE_BYTES`](sallyport_policy::Limits::BASE_BYTES). A text of a mebibyte has no keys that take so much.
const KEYS_BYTES: usize = 16 << 20;

/// What a key takes beside its text where that is a copy: its share of a node with room for eleven, of which it has five, and
/// what an allocation takes beside what was asked for.
const KEY_BYTES: usize = 64;
const ALLOCATION: usize = 16;

/// What the visitor says of a key that comes twice; serde's errors carry nothing but text.
const DUPLICATE: &str = "a key comes twice in one object";

/// Why a text is not read.
#[derive(Debug, thiserror::Error)]
pub enum StrictError {
    /// Not JSON.
    #[error("not JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    /// Not UTF-8, which RFC 8259 asks for.
    #[error("not UTF-8")]
    NotUtf8(#[from] std::str::Utf8Error),
    /// Too deep.
    #[error("nested deeper than {0} levels")]
    TooDeep(usize),
    /// The same key twice, anywhere.
    #[error("a key comes twice in one object")]
    DuplicateKey,
    /// So many keys that to compare them would take too much memory.
    #[error("there are too many members in one object")]
    TooManyKeys,
    /// `Method` beside or instead of `method`.
    #[error("a key differs from one of the protocol's only in case")]
    CaseVariantKey,
}

/// The text of `bytes` if it is one JSON value, no deeper than `depth`, without a key twice in any of its objects.
///
/// # Errors
///
/// See [`StrictError`].
pub fn read(bytes: &[u8], depth: usize) -> Result<&str, StrictError> {
    let text = std::str::from_utf8(bytes)?;
    check_depth(text, depth.min(MAX_DEPTH))?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let left = Cell::new(Some(KEYS_BYTES));
    let unique = Unique { left: &left };
    let unique = unique.deserialize(&mut deserializer).and_then(|()| deserializer.end());
    match unique {
        Ok(()) => Ok(text),
        Err(_) if left.get().is_none() => Err(StrictError::TooManyKeys),
        Err(error) if error.to_string().starts_with(DUPLICATE) => Err(StrictError::DuplicateKey),
        Err(error) => Err(error.into()),
    }
}

/// Counts brackets outside of strings. Runs before any parser that recurses.
fn check_depth(text: &str, limit: usize) -> Result<(), StrictError> {
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    for byte in text.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                if depth > limit {
                    return Err(StrictError::TooDeep(limit));
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// Reads any value to its end and keeps nothing.
#[derive(Clone, Copy)]
struct Unique<'a> {
    /// How much memory is left for keys; `None` once it was not enough.
    left: &'a Cell<Option<usize>>,
}

impl<'de> DeserializeSeed<'de> for Unique<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = BTreeSet::new();
        let mut taken = 0;
        while let Some(Text(key)) = map.next_key::<Text<'de>>()? {
            let bytes = match &key {
                Cow::Borrowed(_) => KEY_BYTES,
                Cow::Owned(text) => KEY_BYTES + ALLOCATION + text.len(),
            };
            taken += bytes;
            self.left.set(self.left.get().and_then(|left| left.checked_sub(bytes)));
            if self.left.get().is_none() {
                return Err(A::Error::custom("too many keys"));
            }
            if !seen.insert(key) {
                return Err(A::Error::custom(DUPLICATE));
            }
            map.next_value_seed(self)?;
        }
        self.left.set(self.left.get().map(|left| left + taken));
        Ok(())
    }
}

/// The members of one object, each value as it was sent.
pub struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    /// The members of `object`, a part of a text that [`read`] let pass. None of their keys may differ from one of
    /// `decisive` only in case.
    ///
    /// # Errors
    ///
    /// When one does, when it is no object, or when there are too many.
    pub fn of(object: &'a str, decisive: &[&str]) -> Result<Self, StrictError> {
        let mut deserializer = serde_json::Deserializer::from_str(object);
        let members = deserializer.deserialize_map(MembersVisitor)?;
        deserializer.end()?;
        if members.iter().any(|(key, _)| is_case_variant(key, decisive)) {
            return Err(StrictError::CaseVariantKey);
        }
        Ok(Self(members))
    }

    /// The value of `key`, exactly as sent.
    pub fn get(&self, key: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| *value)
    }

    /// The value of `key` if it is a string.
    pub fn string(&self, key: &str) -> Option<Cow<'a, str>> {
        string(self.get(key)?)
    }
}

/// The text of a JSON string; `None` for any other value.
pub fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str(value.get()).ok().map(|Text(text)| text)
}

/// Upper case first: it is what folds U+017F and U+212A, which Go's `encoding/json` takes for `s` and `k`.
fn is_case_variant(key: &str, decisive: &[&str]) -> bool {
    if decisive.contains(&key) {
        return false;
    }
    let folded: String = key
        .chars()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .collect();
    decisive.iter().any(|decisive| decisive.eq_ignore_ascii_case(&folded))
}

/// A JSON string, borrowed where it has no escapes.
#[derive(PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((Text(key), value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
            if members.len() == MAX_MEMBERS {
                return Err(A::Error::custom("an object has more than 1024 members"));
            }
            members.push((key, value));
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_comes_twice_is_found_at_any_depth() {
        for text in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":{"b":[{"c":1,"\u0063":2}]}}"#,
            r#"[[{"x":{},"x":{}}]]"#,
        ] {
            assert!(
                matches!(read(text.as_bytes(), 64), Err(StrictError::DuplicateKey)),
                "{text}"
            );
        }
        assert!(read(br#"{"a":{"a":{"a":[{"a":1},{"a":1}]}}}"#, 64).is_ok());
    }

    #[test]
    fn keys_that_take_too_much_to_compare_are_refused_and_a_mebibyte_of_them_is_not() {
        let object = |keys: usize, rest: &str| {
            let keys = (0..keys).map(|number| format!("\"{number:x}\":0,"));
            format!("{{{}\"rest\":{rest}}}", keys.collect::<String>())
        };
        let mebibyte = object(120_000, "0");
        assert!(mebibyte.len() > 1 << 20);
        assert!(read(mebibyte.as_bytes(), 64).is_ok());
        let many = object(KEYS_BYTES / KEY_BYTES, "0");
        assert!(matches!(read(many.as_bytes(), 64), Err(StrictError::TooManyKeys)));
        // Those of the objects around count too, those before do not.
        let half = KEYS_BYTES / KEY_BYTES * 2 / 3;
        let nested = object(half, &object(half, "0"));
        assert!(matches!(read(nested.as_bytes(), 64), Err(StrictError::TooManyKeys)));
        let both = format!("[{},{}]", object(half, "0"), object(half, "0"));
        assert!(read(both.as_bytes(), 64).is_ok());
    }

    #[test]
    fn what_some_parsers_take_and_others_do_not_is_not_json_here() {
        for text in [
            r#"{"a":1e400}"#,
            r#"{"a":"\ud800"}"#,
            r#"{"\udc00":1}"#,
            "{\"a\":\"\u{1}\"}",
            "{\"a\":01}",
            "{\"a\":+1}",
            "{'a':1}",
            "{\"a\":1}//",
            "\u{feff}{}",
        ] {
            assert!(
                matches!(read(text.as_bytes(), 64), Err(StrictError::NotJson(_))),
                "{text}"
            );
        }
        assert!(matches!(read(b"\"\xff\"", 64), Err(StrictError::NotUtf8(_))));
    }

    #[test]
    fn depth_ends_where_it_is_told_and_never_above_120() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(read(nested(7).as_bytes(), 7).is_ok());
        assert!(matches!(read(nested(8).as_bytes(), 7), Err(StrictError::TooDeep(7))));
        assert!(read(nested(120).as_bytes(), 1000).is_ok());
        assert!(matches!(
            read(nested(121).as_bytes(), 1000),
            Err(StrictError::TooDeep(120))
        ));
    }
}
