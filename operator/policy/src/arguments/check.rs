//! Whether arguments keep to their bounds.

use super::bounds::{ArgumentBounds, ArrayBound, Bound, NumberBound, StringBound};
use super::pointer::Token;
use super::strict::{self, StrictError};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};
use std::cmp::Ordering;
use std::fmt::Write as _;
use std::sync::LazyLock;

/// Deepest nesting of arguments.
const DEPTH: u8 = 64;

/// The arguments of a call, read so that there is no other reading of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Arguments {
    /// An object, always.
    value: Value,
    bytes: usize,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            value: Value::Object(Map::new()),
            bytes: 0,
        }
    }
}

/// What is wrong with arguments. Says where and what was to be, never what was found there: it may be told to the caller
/// and written into records.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Not one JSON object with one reading.
    #[error("the arguments are not one JSON object without repeated keys, nested at most {DEPTH} deep")]
    Malformed,
    /// So many values that reading them would take too much memory.
    #[error("the arguments have too many values: send fewer members and items at a time")]
    TooMany,
    /// All together too large.
    #[error("the arguments have more than {0} bytes")]
    Bytes(u32),
    /// A text too long.
    #[error("a text in the arguments is longer than {0} characters")]
    AnyString(u32),
    /// An array too long.
    #[error("an array in the arguments has more than {0} items")]
    AnyArray(u32),
    /// An argument that is not listed.
    #[error("there is an argument that the policy does not list")]
    Unlisted,
    /// A member whose name differs in case alone from that of a bounded one.
    #[error("there is an argument whose name differs from {0} in case alone")]
    CaseVariant(String),
    /// The way to a bounded argument leads through something else than it should.
    #[error("the argument {0} cannot be there: what should hold it is no object or array")]
    Unreachable(String),
    /// An argument is not there.
    #[error("the argument {0} is missing")]
    Missing(String),
    /// An argument of another type.
    #[error("the argument {at} must be {expected}")]
    Type {
        /// Where.
        at: String,
        /// What it must be.
        expected: &'static str,
    },
    /// An argument is out of its range, length or number of items.
    #[error("the argument {at} must have {expected}")]
    Range {
        /// Where.
        at: String,
        /// What it must have.
        expected: String,
    },
    /// An argument that fits no pattern, or is none of the allowed values.
    #[error("the argument {0} has a value that the policy does not allow")]
    Value(String),
    /// A path that leads elsewhere, or cannot be told.
    #[error("the argument {0} must be a plain path in an allowed directory, without . and .. segments")]
    Path(String),
}

impl Arguments {
    /// Reads the arguments of a call; none, or `null`, are as an empty object.
    ///
    /// # Errors
    ///
    /// [`Violation::Malformed`] and [`Violation::TooMany`].
    pub fn parse(raw: Option<&RawValue>) -> Result<Self, Violation> {
        let Some(raw) = raw else {
            return Ok(Self::default());
        };
        match strict::parse(raw.get(), DEPTH) {
            Ok(value @ Value::Object(_)) => Ok(Self {
                value,
                bytes: raw.get().len(),
            }),
            Ok(Value::Null) => Ok(Self::default()),
            Err(StrictError::TooMany) => Err(Violation::TooMany),
            _ => Err(Violation::Malformed),
        }
    }

    /// The arguments by name.
    pub fn members(&self) -> &Map<String, Value> {
        static NONE: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
        self.value.as_object().unwrap_or(&NONE)
    }

    /// The arguments as one value: an object.
    pub const fn value(&self) -> &Value {
        &self.value
    }
}

impl Violation {
    /// As in audit records and metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooMany => "too_many_values",
            Self::Bytes(_) => "bytes",
            Self::AnyString(_) => "string_length",
            Self::AnyArray(_) => "array_length",
            Self::Unlisted => "unlisted",
            Self::CaseVariant(_) => "case_variant",
            Self::Unreachable(_) => "unreachable",
            Self::Missing(_) => "missing",
            Self::Type { .. } => "type",
            Self::Range { .. } => "range",
            Self::Value(_) => "value",
            Self::Path(_) => "path",
        }
    }
}

impl ArgumentBounds {
    /// Whether `arguments` keep to all bounds.
    ///
    /// # Errors
    ///
    /// The first violation.
    pub fn check(&self, arguments: &Arguments) -> Result<(), Violation> {
        if let Some(limit) = self.max_bytes.filter(|limit| exceeds(arguments.bytes, *limit)) {
            return Err(Violation::Bytes(limit));
        }
        let members = arguments.members();
        self.check_lengths(members)?;
        let listed = |name: &String| {
            let first = |bound: &Bound| matches!(bound.at.tokens(), [Token::Name(first), ..] if first == name);
            self.values.iter().any(first)
        };
        if self.only_listed && !members.keys().all(listed) {
            return Err(Violation::Unlisted);
        }
        self.values.iter().try_for_each(|bound| {
            let mut at = String::new();
            bound.check_object(members, bound.at.tokens(), &mut at)
        })
    }

    fn check_lengths(&self, members: &Map<String, Value>) -> Result<(), Violation> {
        members.iter().try_for_each(|(name, value)| {
            self.check_text(name)?;
            self.check_length(value)
        })
    }

    fn check_length(&self, value: &Value) -> Result<(), Violation> {
        match value {
            Value::String(text) => self.check_text(text),
            Value::Object(members) => self.check_lengths(members),
            Value::Array(items) => match self.max_items.filter(|limit| exceeds(items.len(), *limit)) {
                Some(limit) => Err(Violation::AnyArray(limit)),
                None => items.iter().try_for_each(|item| self.check_length(item)),
            },
            _ => Ok(()),
        }
    }

    fn check_text(&self, text: &str) -> Result<(), Violation> {
        match self
            .max_string_length
            .filter(|limit| exceeds(text.chars().count(), *limit))
        {
            Some(limit) => Err(Violation::AnyString(limit)),
            None => Ok(()),
        }
    }
}

impl Bound {
    /// Goes on from `members`, which are at `at`.
    fn check_object(&self, members: &Map<String, Value>, way: &[Token], at: &mut String) -> Result<(), Violation> {
        let Some((Token::Name(name), rest)) = way.split_first() else {
            return Err(Violation::Unreachable(self.at.to_string()));
        };
        // Writing to a String cannot fail.
        let _ = write!(at, "/{}", name.replace('~', "~0").replace('/', "~1"));
        if members.keys().any(|key| key != name && is_same_but_for_case(key, name)) {
            return Err(Violation::CaseVariant(std::mem::take(at)));
        }
        match members.get(name) {
            Some(value) => self.check_value(value, rest, at),
            None if self.required => Err(Violation::Missing(std::mem::take(at))),
            None => Ok(()),
        }
    }

    fn check_value(&self, value: &Value, way: &[Token], at: &mut String) -> Result<(), Violation> {
        let length = at.len();
        match (way.split_first(), value) {
            (None, _) => self.check_here(value, at),
            (Some((Token::Items, rest)), Value::Array(items)) => {
                items.iter().enumerate().try_for_each(|(index, item)| {
                    at.truncate(length);
                    let _ = write!(at, "/{index}");
                    self.check_value(item, rest, at)
                })
            }
            (Some((Token::Name(index), rest)), Value::Array(items)) => {
                let _ = write!(at, "/{index}");
                match index.parse::<usize>() {
                    Ok(number) if number.to_string() == *index => match items.get(number) {
                        Some(item) => self.check_value(item, rest, at),
                        None if self.required => Err(Violation::Missing(std::mem::take(at))),
                        None => Ok(()),
                    },
                    _ => Err(Violation::Unreachable(std::mem::take(at))),
                }
            }
            (Some((Token::Name(_), _)), Value::Object(members)) => self.check_object(members, way, at),
            _ => Err(Violation::Unreachable(self.at.to_string())),
        }
    }

    fn check_here(&self, value: &Value, at: &str) -> Result<(), Violation> {
        let wrong = |expected| Violation::Type {
            at: at.to_owned(),
            expected,
        };
        if let Some(bound) = &self.string {
            bound.check(value.as_str().ok_or_else(|| wrong("a text"))?, at)?;
        }
        if let Some(bound) = &self.number {
            match value {
                Value::Number(number) => bound.check(number, at)?,
                _ => return Err(wrong("a number")),
            }
        }
        if let Some(bound) = &self.array {
            bound.check(value.as_array().ok_or_else(|| wrong("an array"))?.len(), at)?;
        }
        if let Some(bound) = &self.path {
            let path = value.as_str().ok_or_else(|| wrong("a path"))?;
            if !bound.roots.iter().any(|root| root.holds(path)) {
                return Err(Violation::Path(at.to_owned()));
            }
        }
        match &self.one_of {
            Some(values) if !values.iter().any(|allowed| is_same(allowed, value)) => {
                Err(Violation::Value(at.to_owned()))
            }
            _ => Ok(()),
        }
    }
}

impl StringBound {
    fn check(&self, text: &str, at: &str) -> Result<(), Violation> {
        check_count(text.chars().count(), self.min_length, self.max_length, "characters", at)?;
        if self.patterns.is_empty() || self.patterns.iter().any(|pattern| pattern.fits(text)) {
            Ok(())
        } else {
            Err(Violation::Value(at.to_owned()))
        }
    }
}

impl ArrayBound {
    fn check(&self, items: usize, at: &str) -> Result<(), Violation> {
        check_count(items, self.min_items, self.max_items, "items", at)
    }
}

impl NumberBound {
    fn check(&self, number: &Number, at: &str) -> Result<(), Violation> {
        let range = |expected: String| Violation::Range {
            at: at.to_owned(),
            expected,
        };
        if let Some(minimum) = self.minimum.as_ref().filter(|minimum| compare(number, minimum).is_lt()) {
            return Err(range(format!("a value of at least {minimum}")));
        }
        if let Some(maximum) = self.maximum.as_ref().filter(|maximum| compare(number, maximum).is_gt()) {
            return Err(range(format!("a value of at most {maximum}")));
        }
        if self.integer && whole(number).is_none() {
            return Err(range("a value without a fraction, within 30 digits".to_owned()));
        }
        Ok(())
    }
}

fn check_count(
    count: usize,
    least: Option<u32>,
    most: Option<u32>,
    of: &'static str,
    at: &str,
) -> Result<(), Violation> {
    let expected = match (least, most) {
        (_, Some(most)) if exceeds(count, most) => format!("at most {most} {of}"),
        (Some(least), _) if u32::try_from(count).is_ok_and(|count| count < least) => format!("at least {least} {of}"),
        _ => return Ok(()),
    };
    let at = at.to_owned();
    Err(Violation::Range { at, expected })
}

fn exceeds(count: usize, limit: u32) -> bool {
    u32::try_from(count).map_or(true, |count| count > limit)
}

/// The value of a number without a fraction, if it has at most 30 digits.
fn whole(number: &Number) -> Option<i128> {
    let integer = number
        .as_i64()
        .map(i128::from)
        .or_else(|| number.as_u64().map(i128::from));
    integer.or_else(|| {
        let float = number
            .as_f64()
            .filter(|float| float.fract() == 0.0 && float.abs() < 1e30)?;
        // Whole and in range: the conversion is exact.
        #[expect(clippy::cast_possible_truncation)]
        Some(float as i128)
    })
}

fn compare(one: &Number, other: &Number) -> Ordering {
    if let (Some(one), Some(other)) = (whole(one), whole(other)) {
        return one.cmp(&other);
    }
    let float = |number: &Number| number.as_f64().unwrap_or(f64::NAN);
    float(one).total_cmp(&float(other))
}

/// Equality of JSON values, numbers by their value.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => compare(one, other).is_eq(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(key, one)| other.get(key).is_some_and(|other| is_same(one, other)))
        }
        _ => one == other,
    }
}

/// Whether two names are equal once case is folded, the odd ones out (U+017F, U+212A) included.
pub(crate) fn is_same_but_for_case(one: &str, other: &str) -> bool {
    folded(one).eq(folded(other))
}

fn folded(text: &str) -> impl Iterator<Item = char> {
    text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase)
}
