//! The key file (docs/contracts/key-file.md).

use super::{KeyHash, is_id};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashSet};

/// Keys of one file at most.
const MAX_KEYS: usize = 10_000;

/// All API keys of an endpoint, without their secrets.
///
/// Unknown fields are refused: a bound on a key that the sidecar does not understand would be a bound that does not hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyFile {
    /// The keys.
    pub keys: Vec<KeyEntry>,
}

/// One API key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyEntry {
    /// The key's public part: up to 64 letters, digits and hyphens.
    pub id: String,
    /// Hash of the secret part.
    pub hash: KeyHash,
    /// Who calls with the key. May be left out for a client that calls on nobody's behalf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The software that calls with the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Roles of the caller.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub roles: BTreeSet<String>,
    /// Scopes of the caller.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub scopes: BTreeSet<String>,
    /// From when the key holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// Until when the key holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// Not JSON of the expected form.
    #[error("the key file is no JSON of the form {{\"keys\": [{{\"id\": …, \"hash\": …, \"subject\": …}}]}}: {what}")]
    Json {
        /// What is wrong with it, without the value: who writes a secret in a wrong place does not find it in a log.
        what: String,
    },
    /// Too many keys.
    #[error("the key file has more than 10000 keys: use an authorization server")]
    TooMany,
    /// A bad id.
    #[error("the id of key {number} is not of 1 to 64 letters, digits and hyphens")]
    Id {
        /// Which key, from 1.
        number: usize,
    },
    /// An id that two keys have.
    #[error("two keys have the id {id:?}: each needs one of its own")]
    Duplicate {
        /// The id.
        id: String,
    },
    /// A key of nobody.
    #[error("key {id:?} has neither subject nor client: say who calls with it")]
    Nobody {
        /// The key's id.
        id: String,
    },
}

impl KeyFile {
    /// Reads a key file.
    ///
    /// # Errors
    ///
    /// See [`KeyFileError`].
    pub fn parse(text: &[u8]) -> Result<Self, KeyFileError> {
        let file: Self = serde_json::from_slice(text).map_err(|error| KeyFileError::Json {
            what: without_value(&error),
        })?;
        if file.keys.len() > MAX_KEYS {
            return Err(KeyFileError::TooMany);
        }
        let mut ids = HashSet::new();
        for (index, key) in file.keys.iter().enumerate() {
            if !is_id(&key.id) {
                return Err(KeyFileError::Id { number: index + 1 });
            }
            let id = || key.id.clone();
            if !ids.insert(&key.id) {
                return Err(KeyFileError::Duplicate { id: id() });
            }
            let named = |name: &Option<String>| name.as_ref().is_some_and(|name| !name.is_empty());
            if !named(&key.subject) && !named(&key.client) {
                return Err(KeyFileError::Nobody { id: id() });
            }
        }
        Ok(file)
    }
}

/// What serde says of a value, without the value.
fn without_value(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let shows_value = text.starts_with("invalid type") || text.starts_with("invalid value");
    match text.split_once(", expected ") {
        Some((_, expected)) if shows_value => format!("a value is not what it should be, {expected}"),
        _ => text,
    }
}
