//! Making a new API key.

use super::{KeyEntry, KeyHash, PREFIX, is_id};
use crate::Secret;
use ring::rand::{SecureRandom as _, SystemRandom};
use std::collections::BTreeSet;
use zeroize::Zeroizing;

/// Characters of a secret. 43 of them are 256 bits.
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const SECRET_CHARACTERS: usize = 43;

/// A new key.
#[derive(Clone, Debug)]
pub struct Minted {
    /// The key, for its caller; it cannot be had again.
    pub key: Secret,
    /// What the key file says of it; subject or client are still to be filled in.
    pub entry: KeyEntry,
}

/// Why there is no new key.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// A bad id.
    #[error("a key's id has 1 to 64 letters, digits and hyphens")]
    Id,
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

/// A new key with the id `id`, and a secret of 256 random bits.
///
/// # Errors
///
/// See [`MintError`].
pub fn mint(id: &str) -> Result<Minted, MintError> {
    if !is_id(id) {
        return Err(MintError::Id);
    }
    let secret = secret()?;
    Ok(Minted {
        key: Secret::new(format!("{PREFIX}{id}_{}", *secret)),
        entry: KeyEntry {
            id: id.to_owned(),
            hash: KeyHash::sha256(&secret),
            subject: None,
            client: None,
            roles: BTreeSet::new(),
            scopes: BTreeSet::new(),
            not_before: None,
            expires: None,
        },
    })
}

fn secret() -> Result<Zeroizing<String>, MintError> {
    let random = SystemRandom::new();
    let mut secret = Zeroizing::new(String::with_capacity(SECRET_CHARACTERS));
    let mut bytes = Zeroizing::new([0_u8; 64]);
    while secret.len() < SECRET_CHARACTERS {
        random.fill(&mut *bytes).map_err(|_| MintError::Random)?;
        // 248 is the largest multiple of 62 in a byte: what lies above would make some characters likelier.
        let even = bytes.iter().filter(|byte| **byte < 248);
        let left = SECRET_CHARACTERS - secret.len();
        secret.extend(
            even.map(|byte| char::from(ALPHABET[usize::from(*byte) % 62]))
                .take(left),
        );
    }
    Ok(secret)
}
