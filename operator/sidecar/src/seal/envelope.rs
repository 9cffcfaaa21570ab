//! Envelopes: what the sidecar hands to a client and wants back unchanged, unread, from the same caller.
//!
//! `base64url(version 1 | key id 4 | salt 24 | AES-256-GCM(payload) | tag 16)`, without padding. Every envelope is sealed
//! with a key and a nonce of its own, derived from the sealing key by its salt (HKDF-SHA-256), so that no number of
//! envelopes wears a sealing key out. Purpose, endpoint and owner are authenticated with it and not contained in it:
//! whoever presents it must name the same ones.

use super::keys::{Key, KeyId, Keys, KeysError};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use sallyport_policy::Principal;
use sha2::{Digest, Sha256};
use std::path::PathBuf;
use std::time::Duration;

const VERSION: u8 = 1;
const SALT_BYTES: usize = 24;
const HEAD_BYTES: usize = 1 + 4 + SALT_BYTES;
const TAG_BYTES: usize = 16;

/// How often the key file is read again. The kubelet itself takes about a minute to bring a changed Secret to the pod.
const RELOAD_INTERVAL: Duration = Duration::from_secs(10);

/// What an envelope is for. One that is presented for anything else does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The session of a legacy client.
    Session,
    /// The id of a task.
    Task,
    /// The server's own request state.
    RequestState,
    /// Our own request state: a question that a person has yet to answer.
    Confirmation,
    /// The id of our own request to a legacy client.
    Elicitation,
    /// A token that a legacy client repeats in the arguments.
    Token,
    /// What one replica asks another.
    PeerRequest,
    /// What that one answers.
    PeerAnswer,
}

/// Whom an envelope is for: [`Principal::binding`], or the replicas themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner([u8; 32]);

/// Seals and opens the envelopes of one endpoint.
pub struct Seal {
    keys: Keys,
    endpoint: String,
    random: SystemRandom,
}

/// Why something cannot be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// An envelope of it would not fit where it has to go.
    #[error("the {purpose:?} of {bytes} bytes is too large to seal")]
    TooLarge {
        /// What for.
        purpose: Purpose,
        /// Of the payload.
        bytes: usize,
    },
    /// No random bytes, or no room for the tag.
    #[error("the system's cryptography failed")]
    Crypto,
}

/// An envelope that this endpoint did not seal for this owner and purpose with a key that it still has. It is not said
/// which of these it is: only somebody who tries would want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value was not issued to this caller by this endpoint, or is no longer valid")]
pub struct Foreign;

impl Purpose {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Session => b"session",
            Self::Task => b"task",
            Self::RequestState => b"request state",
            Self::Confirmation => b"confirmation",
            Self::Elicitation => b"elicitation",
            Self::Token => b"token",
            Self::PeerRequest => b"peer request",
            Self::PeerAnswer => b"peer answer",
        }
    }

    /// Largest envelope in characters. Sessions and tasks travel in headers, which most HTTP software bounds at 8 KiB in all.
    pub const fn max_chars(self) -> usize {
        match self {
            Self::Session | Self::Task => 2048,
            Self::RequestState => 16 << 10,
            Self::Confirmation | Self::Elicitation | Self::Token | Self::PeerRequest | Self::PeerAnswer => 1024,
        }
    }
}

impl Owner {
    /// The replicas of the endpoint, among themselves.
    pub const REPLICAS: Self = Self([0; 32]);

    /// As bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<&Principal> for Owner {
    fn from(principal: &Principal) -> Self {
        Self(principal.binding())
    }
}

impl From<[u8; 32]> for Owner {
    fn from(binding: [u8; 32]) -> Self {
        Self(binding)
    }
}

impl Seal {
    /// Seals for the endpoint with the UID `endpoint`, with the keys of `file` or a random one of this process.
    ///
    /// # Errors
    ///
    /// When the keys cannot be had.
    pub fn new(endpoint: &str, file: Option<PathBuf>) -> Result<Self, KeysError> {
        Ok(Self {
            keys: Keys::load(file)?,
            endpoint: endpoint.to_owned(),
            random: SystemRandom::new(),
        })
    }

    /// Whether other replicas may have the same keys.
    pub const fn is_shared(&self) -> bool {
        self.keys.are_shared()
    }

    /// Reads the key file again and says whether the keys changed.
    ///
    /// # Errors
    ///
    /// When the file cannot be used; the keys stay as they are.
    pub fn reload(&self) -> Result<bool, KeysError> {
        self.keys.reload()
    }

    /// Follows the key file until dropped.
    pub async fn follow_keys(&self) {
        let mut broken = false;
        loop {
            tokio::time::sleep(RELOAD_INTERVAL).await;
            match self.reload() {
                Ok(changed) => {
                    if changed || broken {
                        tracing::info!("the sealing keys were read again");
                    }
                    broken = false;
                }
                Err(error) => {
                    if !broken {
                        tracing::warn!(%error, "the sealing keys stay as they were");
                    }
                    broken = true;
                }
            }
        }
    }

    /// Seals `payload` for `owner`. Two envelopes of the same payload differ.
    ///
    /// # Errors
    ///
    /// When it is too large for its purpose.
    pub fn seal(&self, purpose: Purpose, owner: Owner, payload: &[u8]) -> Result<String, SealError> {
        let mut salt = [0; SALT_BYTES];
        self.random(&mut salt)?;
        self.seal_with(self.keys.current().sealing(), salt, purpose, owner, payload)
    }

    /// Seals `payload` for `owner` into the same envelope every time, as long as the same key seals: a name that a client
    /// compares with one that it has. The salt is derived from all that is sealed, so that equal salts mean equal envelopes.
    ///
    /// # Errors
    ///
    /// When it is too large for its purpose.
    pub fn seal_repeatably(&self, purpose: Purpose, owner: Owner, payload: &[u8]) -> Result<String, SealError> {
        let keys = self.keys.current();
        let mut salt = [0; SALT_BYTES];
        let digest: [u8; 32] = Sha256::digest(payload).into();
        let parts: [&[u8]; 6] = [
            b"salt ",
            purpose.label(),
            b" ",
            &owner.0,
            &digest,
            self.endpoint.as_bytes(),
        ];
        keys.sealing().derive(&parts, &mut salt).ok_or(SealError::Crypto)?;
        self.seal_with(keys.sealing(), salt, purpose, owner, payload)
    }

    fn seal_with(
        &self,
        key: &Key,
        salt: [u8; SALT_BYTES],
        purpose: Purpose,
        owner: Owner,
        payload: &[u8],
    ) -> Result<String, SealError> {
        let length = HEAD_BYTES + payload.len() + TAG_BYTES;
        if encoded_chars(length) > purpose.max_chars() {
            return Err(SealError::TooLarge {
                purpose,
                bytes: payload.len(),
            });
        }
        let mut envelope = Vec::with_capacity(length);
        envelope.push(VERSION);
        envelope.extend_from_slice(&key.id().0);
        envelope.extend_from_slice(&salt);
        let context = self.context(&envelope, purpose, owner);
        let (aead, nonce) = derive(key, purpose, &salt).ok_or(SealError::Crypto)?;
        let mut sealed = payload.to_vec();
        aead.seal_in_place_append_tag(nonce, Aad::from(context), &mut sealed)
            .map_err(|_| SealError::Crypto)?;
        envelope.append(&mut sealed);
        Ok(URL_SAFE_NO_PAD.encode(envelope))
    }

    /// Opens what was sealed for the same owner and purpose.
    ///
    /// # Errors
    ///
    /// When it was not.
    pub fn open(&self, purpose: Purpose, owner: Owner, text: &str) -> Result<Vec<u8>, Foreign> {
        if text.len() > purpose.max_chars() {
            return Err(Foreign);
        }
        let mut envelope = URL_SAFE_NO_PAD.decode(text).map_err(|_| Foreign)?;
        let (head, sealed) = envelope.split_at_mut_checked(HEAD_BYTES).ok_or(Foreign)?;
        let [VERSION, a, b, c, d, salt @ ..] = &*head else {
            return Err(Foreign);
        };
        let keys = self.keys.current();
        let key = keys.opening(KeyId([*a, *b, *c, *d])).ok_or(Foreign)?;
        let (aead, nonce) = derive(key, purpose, salt).ok_or(Foreign)?;
        let context = self.context(head, purpose, owner);
        let payload = aead
            .open_in_place(nonce, Aad::from(context), sealed)
            .map_err(|_| Foreign)?;
        Ok(payload.to_vec())
    }

    /// Fills `bytes` with random ones.
    ///
    /// # Errors
    ///
    /// When the system has none.
    pub fn random(&self, bytes: &mut [u8]) -> Result<(), SealError> {
        self.random.fill(bytes).map_err(|_| SealError::Crypto)
    }

    /// What is authenticated beside the payload. Only the endpoint has no fixed length, and it is the last.
    fn context(&self, head: &[u8], purpose: Purpose, owner: Owner) -> Vec<u8> {
        let label = purpose.label();
        let length = u8::try_from(label.len()).unwrap_or(u8::MAX);
        [head, &[length], label, &owner.0, self.endpoint.as_bytes()].concat()
    }
}

fn derive(key: &Key, purpose: Purpose, salt: &[u8]) -> Option<(LessSafeKey, Nonce)> {
    let mut bytes = [0; 32 + 12];
    key.derive(&[b"envelope ", purpose.label(), b" ", salt], &mut bytes)?;
    let (key, nonce) = bytes.split_at(32);
    let key = UnboundKey::new(&AES_256_GCM, key).ok()?;
    Some((LessSafeKey::new(key), Nonce::try_assume_unique_for_key(nonce).ok()?))
}

/// Characters of `bytes` bytes in base64 without padding.
const fn encoded_chars(bytes: usize) -> usize {
    (bytes * 4).div_ceil(3)
}

#[cfg(test)]
#[path = "envelope_tests.rs"]
mod tests;
