//! Pins: the one number that stands for a tool's whole definition.

use super::tool::{Fault, Tool};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::str::FromStr;

/// SHA-256 over the canonical form (RFC 8785) of a tool's definition, all its members included. Written as 64 lower-case
/// hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Digest([u8; 32]);

/// Why a text is no digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no SHA-256: write 64 lower-case hexadecimal digits, as kubectl mcpe pin prints them")]
pub struct ParseDigestError(String);

/// The approved definitions of tools. A tool may have several, so that a server can be replaced without a gap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Vec<Pin>", from = "Vec<Pin>")]
pub struct Pins(BTreeMap<String, BTreeSet<Digest>>);

/// One approved definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Pin {
    name: String,
    sha256: Digest,
}

/// The digest of a tool's definition, which is `raw` as the server sent it.
///
/// Equal for texts that differ in white space, the order of members and the spelling of strings and numbers alone;
/// different for all others.
///
/// # Errors
///
/// The definition is none that could be let through, or holds an integer that no double holds exactly.
pub fn canonical_digest(raw: &str) -> Result<Digest, Fault> {
    Tool::read(raw)?.digest.ok_or(Fault::Number)
}

impl Digest {
    /// Over the canonical form of `value`, which must be I-JSON.
    pub(super) fn of(value: &serde_json::Value) -> Result<Self, serde_json::Error> {
        serde_json_canonicalizer::to_vec(value).map(|form| Self(Sha256::digest(form).into()))
    }
}

impl Pins {
    /// The approved definitions of the tool called `name`; none if it has no pin.
    pub fn of(&self, name: &str) -> impl Iterator<Item = Digest> {
        self.0.get(name).into_iter().flatten().copied()
    }

    /// Whether the tool called `name` has a pin.
    pub fn name(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The pinned names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(String, Digest)> for Pins {
    fn from_iter<I: IntoIterator<Item = (String, Digest)>>(pins: I) -> Self {
        let mut by_name: BTreeMap<String, BTreeSet<Digest>> = BTreeMap::new();
        for (name, digest) in pins {
            by_name.entry(name).or_default().insert(digest);
        }
        Self(by_name)
    }
}

impl From<Vec<Pin>> for Pins {
    fn from(pins: Vec<Pin>) -> Self {
        pins.into_iter().map(|pin| (pin.name, pin.sha256)).collect()
    }
}

impl From<Pins> for Vec<Pin> {
    fn from(pins: Pins) -> Self {
        let of = |(name, digests): (String, BTreeSet<Digest>)| {
            let pin = move |sha256| Pin {
                name: name.clone(),
                sha256,
            };
            digests.into_iter().map(pin)
        };
        pins.0.into_iter().flat_map(of).collect()
    }
}

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || ParseDigestError(text.chars().take(80).collect());
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() != 64 || !text.bytes().all(is_digit) {
            return Err(malformed());
        }
        let mut bytes = [0; 32];
        for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| malformed())?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Digest {
    type Error = ParseDigestError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        write!(text, "{self}")?;
        formatter.write_str(&text)
    }
}
