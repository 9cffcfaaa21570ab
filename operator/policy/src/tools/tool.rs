//! One tool, as the server defines it.

use super::{Digest, MirroredArgument, SideEffect, header};
use crate::arguments::parse_strictly;
use serde_json::{Map, Number, Value};

/// Deepest nesting of a definition.
const DEPTH: u8 = 100;

/// Longest definition in bytes, of a tool or of another item of a list. In memory a hostile one is many times as large.
pub(super) const LONGEST: usize = 256 << 10;

/// Longest name in characters (MCP, tool names).
const LONGEST_NAME: usize = 128;

/// A tool's definition of which there is one reading.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// Over the whole definition. `None`: it holds an integer that no double holds exactly, so that it has no canonical
    /// form of its own (RFC 8785 section 3.2.2.3) and cannot be pinned.
    pub digest: Option<Digest>,
    /// What the server says of the tool's harm.
    pub hints: Hints,
    /// The schema of its arguments.
    pub input_schema: Value,
    /// Which of them clients repeat in headers.
    pub mirrored: Vec<MirroredArgument>,
}

/// What a server says of a tool's harm. `None`: it does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// `annotations.readOnlyHint`.
    pub read_only: Option<bool>,
    /// `annotations.destructiveHint`.
    pub destructive: Option<bool>,
}

/// Why a definition cannot be let through.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not an object, or one that can be read in more than one way.
    #[error("is no JSON object with one reading: {0}")]
    Json(String),
    /// An integer that no double holds.
    #[error(
        "holds an integer that JSON parsers round differently, so that it cannot be pinned: the server must use one below 2^53"
    )]
    Number,
    /// More than anybody reads.
    #[error("has more than {LONGEST} bytes")]
    TooLong,
    /// No name, or one that nobody should have to look at.
    #[error("has no name of 1 to {LONGEST_NAME} printable ASCII characters")]
    Name,
    /// Text that a model reads and a human does not see.
    #[error("holds the character U+{:04X}, which cannot be seen, in {at}", u32::from(*character))]
    Hidden {
        /// The first such character.
        character: char,
        /// The member of the definition that holds it.
        at: String,
    },
    /// An `x-mcp-header` that clients must refuse.
    #[error("has an x-mcp-header that is not allowed: {0}")]
    Header(&'static str),
    /// No object as input schema.
    #[error("has no JSON object as inputSchema")]
    InputSchema,
    /// Members that differ in case alone from those of the specification.
    #[error("has a member that differs from {0} in case alone")]
    CaseVariant(&'static str),
}

impl Hints {
    /// The least harm that the server itself owns to. What is left out says nothing here.
    pub const fn at_least(self) -> SideEffect {
        match self {
            Self {
                destructive: Some(true),
                ..
            } => SideEffect::Destructive,
            Self {
                read_only: Some(false), ..
            } => SideEffect::Write,
            _ => SideEffect::ReadOnly,
        }
    }
}

impl Fault {
    /// As in reports and metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Json(_) => "malformed",
            Self::Number => "number",
            Self::TooLong => "too_long",
            Self::Name => "name",
            Self::Hidden { .. } => "hidden_text",
            Self::Header(_) => "x_mcp_header",
            Self::InputSchema => "input_schema",
            Self::CaseVariant(_) => "case_variant",
        }
    }
}

impl Tool {
    /// Reads a definition, which is `raw` as the server sent it.
    ///
    /// # Errors
    ///
    /// See [`Fault`].
    pub fn read(raw: &str) -> Result<Self, Fault> {
        if raw.len() > LONGEST {
            return Err(Fault::TooLong);
        }
        let value = parse_strictly(raw, DEPTH).map_err(|error| Fault::Json(error.to_string()))?;
        let Value::Object(members) = &value else {
            return Err(Fault::Json("it is no object".to_owned()));
        };
        check_case(members)?;
        let name = match members.get("name") {
            Some(Value::String(name)) if is_name(name) => name.clone(),
            _ => return Err(Fault::Name),
        };
        if let Some(fault) = super::list::hidden_in(members) {
            return Err(fault);
        }
        let Some(input_schema @ Value::Object(_)) = members.get("inputSchema") else {
            return Err(Fault::InputSchema);
        };
        let mirrored = header::read(input_schema).map_err(Fault::Header)?;
        let hint = |name| {
            members
                .get("annotations")
                .and_then(|hints| hints.get(name))
                .and_then(Value::as_bool)
        };
        Ok(Self {
            name,
            digest: inexact_number(&value)
                .is_none()
                .then(|| Digest::of(&value).ok())
                .flatten(),
            hints: Hints {
                read_only: hint("readOnlyHint"),
                destructive: hint("destructiveHint"),
            },
            input_schema: input_schema.clone(),
            mirrored,
        })
    }

    /// The name in `raw`, if it has one, however faulty the rest is, unless it is too long to be read.
    pub(super) fn name_of(raw: &str) -> Option<String> {
        if raw.len() > LONGEST {
            return None;
        }
        match parse_strictly(raw, DEPTH).ok()?.get("name") {
            Some(Value::String(name)) => Some(name.clone()),
            _ => None,
        }
    }
}

fn is_name(name: &str) -> bool {
    let printable = |byte: u8| matches!(byte, b' '..=b'~');
    !name.is_empty() && name.len() <= LONGEST_NAME && name.bytes().all(printable) && name.trim() == name
}

/// The members that mean something, beside variants of them that a careless parser would take for them.
fn check_case(members: &Map<String, Value>) -> Result<(), Fault> {
    const MEMBERS: [&str; 8] = [
        "name",
        "title",
        "description",
        "inputSchema",
        "outputSchema",
        "annotations",
        "icons",
        "_meta",
    ];
    let variant = |member: &&str| {
        members
            .keys()
            .any(|key| key != member && crate::arguments::is_same_but_for_case(key, member))
    };
    match MEMBERS.into_iter().find(variant) {
        Some(member) => Err(Fault::CaseVariant(member)),
        None => Ok(()),
    }
}

/// The first integer in `value` that no double holds exactly. Its canonical form would be that of another.
pub(super) fn inexact_number(value: &Value) -> Option<&Number> {
    match value {
        Value::Number(number) => (!is_exact(number)).then_some(number),
        Value::Array(items) => items.iter().find_map(inexact_number),
        Value::Object(members) => members.values().find_map(inexact_number),
        _ => None,
    }
}

/// Whether an integer survives the way to a double and back.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
fn is_exact(number: &Number) -> bool {
    let integer = number
        .as_i64()
        .map(i128::from)
        .or_else(|| number.as_u64().map(i128::from));
    integer.is_none_or(|integer| (integer as f64) as i128 == integer)
}
