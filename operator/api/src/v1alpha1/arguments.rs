//! What the arguments of a call may be.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};
use serde_json::Number;

/// Bounds of the arguments of a call. All that are given have to hold.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ArgumentBounds {
    /// Largest size of all arguments in bytes, as they are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2, max = 16_777_216))]
    pub max_bytes: Option<i32>,
    /// Largest length of any text anywhere in the arguments, in Unicode characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 16_777_216))]
    pub max_string_length: Option<i32>,
    /// Largest number of items of any array anywhere in the arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub max_items: Option<i32>,
    /// Whether arguments that values does not name are refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_listed: bool,
    /// Bounds of single arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["at"]))]
    pub values: Vec<Bound>,
}

/// The bound of one argument, or of every item of an array. All that is given has to hold, and says what type the argument has:
/// one of another type is refused, and so is null.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.string) || has(self.number) || has(self.array) || has(self.path) || has(self.oneOf) || (has(self.required) && self.required)").message("arguments.values[] bounds nothing: give it string, number, array, path, oneOf or required: true, as in {at: /limit, number: {maximum: 100}}"))]
pub struct Bound {
    /// Where the argument is: a JSON pointer (RFC 6901) in which * stands for every item of an array, as in /query or /paths/*.
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new("self.matches('^(/([^~/]|~[01])*)+$')").message("arguments.values[].at is a JSON pointer: each step begins with a slash, ~0 stands for ~ and ~1 for /, as in /query or /paths/*"))]
    pub at: String,
    /// Whether a call without it is refused. With * in at: without it in any of the items.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub required: bool,
    /// It is a text with these bounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub string: Option<StringBound>,
    /// It is a number with these bounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<NumberBound>,
    /// It is an array with these bounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub array: Option<ArrayBound>,
    /// It is a path in these directories, by its text: links are not followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBound>,
    /// It is one of these values, texts or integers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub one_of: Vec<IntOrString>,
}

/// Bounds of a text.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct StringBound {
    /// Smallest length in Unicode characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 16_777_216))]
    pub min_length: Option<i32>,
    /// Largest length in Unicode characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 16_777_216))]
    pub max_length: Option<i32>,
    /// Patterns, one of which fits the whole text; * for any text. Any text, if left out. For paths use path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 512)), extend("x-kubernetes-list-type" = "set"))]
    pub patterns: Vec<String>,
}

/// Bounds of a number.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct NumberBound {
    /// Smallest value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<Number>,
    /// Largest value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum: Option<Number>,
    /// Whether it has no fraction.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub integer: bool,
}

/// Bounds of an array.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ArrayBound {
    /// Smallest number of items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub min_items: Option<i32>,
    /// Largest number of items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub max_items: Option<i32>,
}

/// Directories that a path lies in.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct PathBound {
    /// The path lies in one of these: absolute directories, or . for the one that the server runs in.
    #[schemars(length(min = 1, max = 8), inner(length(min = 1, max = 128)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new("self.all(r, r == '.' || r == '/' || (r.matches('^(/[^/]+)+$') && !r.matches('/[.][.]?(/|$)')))").message("path.roots holds absolute directories in plain form, as in /data/in, or ."))]
    pub roots: Vec<String>,
}
