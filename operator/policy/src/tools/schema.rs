//! The input schema of a tool, and whether arguments fit it.

use super::cost::{self, Refused};
use crate::arguments::Arguments;
use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

/// Largest schema in bytes, written without white space.
const LARGEST: usize = 64 << 10;
/// How often a pattern with look-around or back-references may go back before it counts as not fitting.
const BACKTRACKS: usize = 10_000;
/// Largest compiled pattern in bytes.
const PATTERN_BYTES: usize = 512 << 10;

/// A compiled input schema that refers to nothing outside itself.
#[derive(Clone, Debug)]
pub struct ArgumentSchema {
    schema: Value,
    validator: Validator,
}

/// Why a schema cannot be checked against.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// Too large.
    #[error("it has more than {LARGEST} bytes")]
    TooLarge,
    /// It refers elsewhere, or in a way that cannot be followed with bounds.
    #[error("{0}")]
    Reference(String),
    /// It is no schema.
    #[error("it is no JSON Schema: {0}")]
    Invalid(String),
}

/// Why arguments do not fit. Says where and by which keyword, not what was found there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaViolation {
    /// They do not fit.
    #[error("the arguments do not fit the tool's inputSchema: {keyword} at {at:?}")]
    Mismatch {
        /// Where in the arguments, as a JSON pointer.
        at: String,
        /// The keyword of the schema.
        keyword: String,
    },
    /// To find out would take too long.
    #[error("the arguments are too large or too deep to be checked against the tool's inputSchema")]
    TooCostly,
}

impl ArgumentSchema {
    /// Compiles `schema`, in 2020-12 unless it names another draft.
    ///
    /// # Errors
    ///
    /// See [`SchemaError`].
    pub fn compile(schema: &Value) -> Result<Self, SchemaError> {
        if schema.to_string().len() > LARGEST {
            return Err(SchemaError::TooLarge);
        }
        cost::check_references(schema).map_err(SchemaError::Reference)?;
        let patterns = PatternOptions::fancy_regex()
            .backtrack_limit(BACKTRACKS)
            .size_limit(PATTERN_BYTES)
            .dfa_size_limit(PATTERN_BYTES);
        let validator = jsonschema::options()
            .offline()
            .should_validate_formats(false)
            .with_pattern_options(patterns)
            .build(schema)
            .map_err(|error| SchemaError::Invalid(error.to_string().chars().take(200).collect()))?;
        Ok(Self {
            schema: schema.clone(),
            validator,
        })
    }

    /// Whether `arguments` fit. The work is bounded beforehand.
    ///
    /// # Errors
    ///
    /// See [`SchemaViolation`].
    pub fn check(&self, arguments: &Arguments) -> Result<(), SchemaViolation> {
        let value = arguments.value();
        cost::estimate(&self.schema, value).map_err(|Refused| SchemaViolation::TooCostly)?;
        if self.validator.is_valid(value) {
            return Ok(());
        }
        let error = self.validator.validate(value).err();
        let short = |text: &str| text.chars().take(128).collect();
        let at = error.as_ref().map(|error| error.instance_path().to_string());
        let keyword = error.as_ref().map(|error| error.schema_path().to_string());
        let keyword = keyword.as_deref().and_then(|path| path.rsplit('/').next());
        Err(SchemaViolation::Mismatch {
            at: short(at.as_deref().unwrap_or_default()),
            keyword: short(keyword.unwrap_or("schema")),
        })
    }
}
