//! Hashes of secrets.

use crate::Secret;
use argon2::{Argon2, PasswordHash, PasswordVerifier as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;
use subtle::ConstantTimeEq as _;

/// Largest bcrypt cost: a second or two on a tenth of a core.
const MAX_BCRYPT_COST: u32 = 12;

/// Largest Argon2 memory in KiB, passes and lanes. One hash is computed at a time, and this much fits the sidecar.
const MAX_ARGON2: [u32; 3] = [64 * 1024, 4, 8];

/// The hash of a secret, as key files write it.
///
/// SHA-256 is for secrets that are random, as `mint` makes them. bcrypt and Argon2id are for secrets that come from elsewhere.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum KeyHash {
    /// `sha256:` and 64 hexadecimal digits.
    Sha256([u8; 32]),
    /// `$2b$…`, and `$2a$` or `$2y$`.
    Bcrypt(String),
    /// `$argon2id$v=19$m=…,t=…,p=…$…`.
    Argon2id(String),
}

/// A hash that is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// Unknown form. What it is instead may be a secret and is not shown.
    #[error(
        "a hash must be sha256:<64 hexadecimal digits>, a bcrypt hash ($2b$…) or an Argon2id hash ($argon2id$v=19$…)"
    )]
    Form,
    /// Too expensive.
    #[error(
        "the hash costs too much to verify in the sidecar: at most bcrypt cost 12, or Argon2id m=65536, t=4, p=8; \
         give the caller a new key instead"
    )]
    Cost,
}

impl KeyHash {
    /// The SHA-256 of `secret`.
    pub fn sha256(secret: &str) -> Self {
        Self::Sha256(Sha256::digest(secret.as_bytes()).into())
    }

    /// Whether verifying takes so long that it must not be done where requests are served.
    pub const fn is_slow(&self) -> bool {
        !matches!(self, Self::Sha256(_))
    }

    /// Whether this is the hash of `secret`. Takes the same time whatever they have in common.
    pub fn verify(&self, secret: &Secret) -> bool {
        let secret = secret.expose();
        match self {
            Self::Sha256(expected) => Sha256::digest(secret.as_bytes()).as_slice().ct_eq(expected).into(),
            // Secrets of more than 71 bytes, of which bcrypt would look at a part only, are refused.
            Self::Bcrypt(hash) => bcrypt::non_truncating_verify(secret, hash).unwrap_or(false),
            Self::Argon2id(hash) => {
                let verify = |hash: PasswordHash| Argon2::default().verify_password(secret.as_bytes(), &hash);
                PasswordHash::new(hash).is_ok_and(|hash| verify(hash).is_ok())
            }
        }
    }

    fn parse(text: &str) -> Result<Self, HashError> {
        if let Some(digits) = text.strip_prefix("sha256:") {
            return from_hex(digits).map(Self::Sha256).ok_or(HashError::Form);
        }
        if ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| text.starts_with(prefix)) {
            let parts: bcrypt::HashParts = text.parse().map_err(|_| HashError::Form)?;
            return (parts.get_cost() <= MAX_BCRYPT_COST)
                .then(|| Self::Bcrypt(text.to_owned()))
                .ok_or(HashError::Cost);
        }
        let hash = PasswordHash::new(text).map_err(|_| HashError::Form)?;
        let fits = hash.algorithm.as_str() == "argon2id" && hash.version == Some(19) && hash.hash.is_some();
        if !fits {
            return Err(HashError::Form);
        }
        for (name, most) in ["m", "t", "p"].into_iter().zip(MAX_ARGON2) {
            let value = hash.params.get_decimal(name).ok_or(HashError::Form)?;
            if value > most {
                return Err(HashError::Cost);
            }
        }
        argon2::Params::try_from(&hash).map_err(|_| HashError::Form)?;
        Ok(Self::Argon2id(text.to_owned()))
    }
}

fn from_hex(digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

impl TryFrom<String> for KeyHash {
    type Error = HashError;

    fn try_from(text: String) -> Result<Self, HashError> {
        Self::parse(&text)
    }
}

impl From<KeyHash> for String {
    fn from(hash: KeyHash) -> Self {
        match hash {
            KeyHash::Sha256(bytes) => bytes.iter().fold("sha256:".to_owned(), |mut text, byte| {
                use fmt::Write as _;
                // Writing to a String cannot fail.
                let _ = write!(text, "{byte:02x}");
                text
            }),
            KeyHash::Bcrypt(text) | KeyHash::Argon2id(text) => text,
        }
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Sha256(_) => "KeyHash(sha256)",
            Self::Bcrypt(_) => "KeyHash(bcrypt)",
            Self::Argon2id(_) => "KeyHash(argon2id)",
        })
    }
}
