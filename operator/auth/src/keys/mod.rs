//! API keys: `mcpe_<id>_<secret>`, of which the endpoint knows hashes only.

mod file;
mod hash;
mod mint;
mod ring;

pub use file::{KeyEntry, KeyFile, KeyFileError};
pub use hash::{HashError, KeyHash};
pub use mint::{MintError, Minted, mint};
pub use ring::{KeyRing, NoRandomness};

/// What every API key begins with.
pub const PREFIX: &str = "mcpe_";

/// Longest secret in bytes.
const MAX_SECRET: usize = 256;

/// The id and the secret of an API key; `None` for what is none.
fn split(key: &str) -> Option<(&str, &str)> {
    let (id, secret) = key.strip_prefix(PREFIX)?.split_once('_')?;
    let fits = is_id(id) && (1..=MAX_SECRET).contains(&secret.len());
    fits.then_some((id, secret))
}

/// Whether `id` can be the id of a key: up to 64 letters, digits and hyphens.
fn is_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}
