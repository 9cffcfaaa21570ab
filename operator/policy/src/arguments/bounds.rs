//! The bounds, as they are written.

use super::{PathRoot, Pointer};
use crate::authorization::Glob;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};
use std::collections::BTreeSet;

/// Bounds of the arguments of a call. All that are given must hold. Empty: none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ArgumentBounds {
    /// Largest size of all arguments in bytes, as they are sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u32>,
    /// Largest length of any text anywhere in the arguments, names of members included, in Unicode characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_string_length: Option<u32>,
    /// Largest number of items of any array anywhere in the arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_items: Option<u32>,
    /// Whether arguments that `values` does not name are refused.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub only_listed: bool,
    /// Bounds of single arguments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<Bound>,
}

/// The bound of one argument, or of every item of an array. All that is given must hold, and says what type the argument
/// has: one of another type is refused, and so is `null`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "Fields")]
pub struct Bound {
    /// Where the argument is. Where the way there leads through something other than objects and arrays, or past a
    /// member whose name differs in case alone, the call is refused.
    pub at: Pointer,
    /// Whether a call without it is refused. With `*` in `at`: without it in any of the items.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// It is a text with these bounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub string: Option<StringBound>,
    /// It is a number with these bounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<NumberBound>,
    /// It is an array with these bounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub array: Option<ArrayBound>,
    /// It is a path in these directories.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBound>,
    /// It is one of these values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub one_of: Option<Vec<Value>>,
}

/// What [`Bound`] is read from.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Fields {
    at: Pointer,
    #[serde(default)]
    required: bool,
    string: Option<StringBound>,
    number: Option<NumberBound>,
    array: Option<ArrayBound>,
    path: Option<PathBound>,
    one_of: Option<Vec<Value>>,
}

/// Bounds of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct StringBound {
    /// Smallest length in Unicode characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_length: Option<u32>,
    /// Largest length in Unicode characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u32>,
    /// Patterns, one of which fits the whole text. Empty: any text. For paths use `path`, which knows `..`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub patterns: Vec<Glob>,
}

/// Bounds of a number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct NumberBound {
    /// Smallest value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum: Option<Number>,
    /// Largest value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum: Option<Number>,
    /// Whether it has no fraction.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub integer: bool,
}

/// Bounds of an array.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ArrayBound {
    /// Smallest number of items.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_items: Option<u32>,
    /// Largest number of items.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_items: Option<u32>,
}

/// Directories that a path lies in, by its text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PathBound {
    /// The path lies in one of these.
    pub roots: BTreeSet<PathRoot>,
}

/// Why a bound bounds nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BoundError {
    /// Neither required nor bounded.
    #[error("the bound of {0} bounds nothing: give it string, number, array, path, oneOf or required")]
    Empty(Pointer),
    /// No value is allowed.
    #[error("the bound of {0} allows no value: list the allowed ones")]
    NothingAllowed(Pointer),
}

impl ArgumentBounds {
    /// Whether nothing is bounded.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl TryFrom<Fields> for Bound {
    type Error = BoundError;

    fn try_from(fields: Fields) -> Result<Self, Self::Error> {
        let bound = Self {
            at: fields.at,
            required: fields.required,
            string: fields.string,
            number: fields.number,
            array: fields.array,
            path: fields.path,
            one_of: fields.one_of,
        };
        let typed = bound.string.is_some() || bound.number.is_some() || bound.array.is_some() || bound.path.is_some();
        if !(typed || bound.required || bound.one_of.is_some()) {
            return Err(BoundError::Empty(bound.at));
        }
        let nothing = bound.one_of.as_ref().is_some_and(Vec::is_empty);
        if nothing || bound.path.as_ref().is_some_and(|path| path.roots.is_empty()) {
            return Err(BoundError::NothingAllowed(bound.at));
        }
        Ok(bound)
    }
}
