//! Texts that callers choose, made fit for a record.

use crate::redact;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::fmt::{self, Write as _};

/// A text that a caller chose: bounded, so that callers cannot make records large, and without credentials of a known
/// shape, which end up in the wrong place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct CallerText(String);

impl CallerText {
    /// `text` without credentials, or its digest when it is longer than `limit` bytes: equal texts still have equal records.
    pub fn new(text: &str, limit: usize) -> Self {
        if text.len() <= limit {
            Self(redact::shapes(text).into_owned())
        } else {
            Self(format!("sha256:{}", hex_digest(text.as_bytes())))
        }
    }

    /// The text that is recorded.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CallerText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// SHA-256 in hexadecimal.
pub fn hex_digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}
