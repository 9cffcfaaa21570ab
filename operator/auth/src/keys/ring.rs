//! The keys of an endpoint, and who calls with one.

use super::{KeyEntry, KeyFile, KeyFileError, KeyHash, split};
use crate::attempts::{Attempts, Work};
use crate::clock::Now;
use crate::{Reason, Secret};
use ring::hmac;
use ring::rand::SystemRandom;
use sallyport_core::follow::Followed;
use sallyport_policy::{Principal, PrincipalKind};
use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use subtle::ConstantTimeEq as _;
use tokio::sync::Semaphore;

/// Slow hashes that may wait to be verified, and how long. One is verified at a time: each takes a core and up to 64 MiB.
const SLOW_QUEUE: usize = 16;
const SLOW_WAIT: Duration = Duration::from_secs(5);

/// The API keys of an endpoint. Follows the key file.
pub struct KeyRing {
    keys: Followed<Keys>,
    /// Of this process alone: what it makes means nothing elsewhere.
    mac: Arc<hmac::Key>,
    slow_queue: Arc<Semaphore>,
    slow: Arc<Semaphore>,
}

/// The system gives no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct NoRandomness;

#[derive(Default)]
struct Keys {
    keys: Vec<Arc<Key>>,
    by_id: HashMap<String, usize>,
}

struct Key {
    entry: KeyEntry,
    /// MAC of the one secret that a slow hash was found to be of, so that it is computed once.
    verified: OnceLock<hmac::Tag>,
}

impl KeyRing {
    /// Reads the key file and follows it. While it was never usable there are no keys.
    ///
    /// # Errors
    ///
    /// When the system gives no random numbers.
    pub fn start(file: PathBuf) -> Result<Self, NoRandomness> {
        let mac = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).map_err(|_| NoRandomness)?;
        let last: Mutex<HashMap<String, Arc<Key>>> = Mutex::default();
        let keys = Followed::start_or(Keys::default(), vec![file], move |contents| {
            let file = KeyFile::parse(contents.first().map_or(&[][..], Vec::as_slice))?;
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            let keys = Keys::new(file, &last);
            *last = keys
                .keys
                .iter()
                .map(|key| (key.entry.id.clone(), key.clone()))
                .collect();
            Ok::<_, KeyFileError>(keys)
        });
        Ok(Self {
            keys,
            mac: Arc::new(mac),
            slow_queue: Arc::new(Semaphore::new(SLOW_QUEUE)),
            slow: Arc::new(Semaphore::new(1)),
        })
    }

    /// Why the key file as it is now is not used; `None` when it is.
    pub fn problem(&self) -> Option<String> {
        self.keys.problem()
    }

    /// Who calls with `presented`.
    ///
    /// An unknown id costs what a known one with a wrong secret costs: it is tried against the hash of another key, always the
    /// same one.
    ///
    /// # Errors
    ///
    /// [`Reason::UnknownKey`] whether id or secret is wrong; [`Reason::NotYetValid`] and [`Reason::Expired`] only to
    /// who has the secret; [`Reason::Unavailable`] when too many slow hashes wait; [`Reason::TooManyFailures`] instead of a
    /// slow hash.
    pub async fn authenticate(
        &self,
        presented: &Secret,
        now: Now,
        attempts: &dyn Attempts,
    ) -> Result<Principal, Reason> {
        let (id, secret) = split(presented.expose()).ok_or(Reason::UnknownKey)?;
        let keys = self.keys.get();
        let known = keys.by_id.get(id).and_then(|index| keys.keys.get(*index));
        let Some(tried) = known.or_else(|| keys.decoy(&self.mac, id)) else {
            return Err(Reason::UnknownKey);
        };
        let fits = self.fits(tried, id, &Secret::new(secret), attempts).await?;
        let Some(key) = known.filter(|_| fits) else {
            return Err(Reason::UnknownKey);
        };
        key.principal(now)
    }

    /// Whether the key that let `principal` in is still there, as it was, and in its time.
    ///
    /// # Errors
    ///
    /// Why it would not let it in any more.
    pub fn recheck(&self, principal: &Principal, now: Now) -> Result<(), Reason> {
        let keys = self.keys.get();
        let index = principal.credential.as_ref().and_then(|id| keys.by_id.get(id));
        let key = index
            .and_then(|index| keys.keys.get(*index))
            .ok_or(Reason::UnknownKey)?;
        if key.principal(now)? == *principal {
            Ok(())
        } else {
            Err(Reason::UnknownKey)
        }
    }

    async fn fits(&self, key: &Arc<Key>, id: &str, secret: &Secret, attempts: &dyn Attempts) -> Result<bool, Reason> {
        if !key.entry.hash.is_slow() {
            return Ok(key.entry.hash.verify(secret));
        }
        let tag = hmac::sign(&self.mac, format!("{id}_{}", secret.expose()).as_bytes());
        if key
            .verified
            .get()
            .is_some_and(|verified| verified.as_ref().ct_eq(tag.as_ref()).into())
        {
            return Ok(true);
        }
        attempts.begin(Work::SlowHash)?;
        let fits = self.compute(&key.entry.hash, secret).await;
        match fits {
            Ok(true) if key.entry.id == id => {
                attempts.take_back(Work::SlowHash);
                // Lost only to another request with the same secret.
                let _ = key.verified.set(tag);
            }
            Err(_) => attempts.take_back(Work::SlowHash),
            Ok(_) => {}
        }
        fits
    }

    /// Whether this slow hash is that of `secret`.
    async fn compute(&self, hash: &KeyHash, secret: &Secret) -> Result<bool, Reason> {
        let place = self
            .slow_queue
            .clone()
            .try_acquire_owned()
            .map_err(|_| Reason::Unavailable)?;
        let turn = tokio::time::timeout(SLOW_WAIT, self.slow.clone().acquire_owned())
            .await
            .map_err(|_| Reason::Unavailable)?
            .map_err(|_| Reason::Unavailable)?;
        let (hash, secret) = (hash.clone(), secret.clone());
        // The turn ends with the computation, not with the request: a caller who leaves does not make room for another.
        tokio::task::spawn_blocking(move || {
            let fits = hash.verify(&secret);
            drop((turn, place));
            fits
        })
        .await
        .map_err(|_| Reason::Unavailable)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("KeyRing")
            .field("problem", &self.problem())
            .finish_non_exhaustive()
    }
}

impl Keys {
    /// The keys of `file`; those of `last` whose entry did not change keep what is known of their secret.
    fn new(file: KeyFile, last: &HashMap<String, Arc<Key>>) -> Self {
        let key = |entry: KeyEntry| {
            let verified = OnceLock::new();
            let before = last.get(&entry.id).filter(|before| before.entry.hash == entry.hash);
            if let Some(tag) = before.and_then(|before| before.verified.get()) {
                let _ = verified.set(*tag);
            }
            Arc::new(Key { entry, verified })
        };
        let keys: Vec<_> = file.keys.into_iter().map(key).collect();
        let by_id = keys
            .iter()
            .enumerate()
            .map(|(index, key)| (key.entry.id.clone(), index))
            .collect();
        Self { keys, by_id }
    }

    /// The key whose hash stands in for that of the unknown `id`.
    fn decoy(&self, mac: &hmac::Key, id: &str) -> Option<&Arc<Key>> {
        let tag = hmac::sign(mac, format!("decoy {id}").as_bytes());
        let number = tag
            .as_ref()
            .iter()
            .take(4)
            .fold(0_usize, |number, byte| number << 8 | usize::from(*byte));
        self.keys.get(number % self.keys.len().max(1))
    }
}

impl Key {
    fn principal(&self, now: Now) -> Result<Principal, Reason> {
        let KeyEntry {
            id,
            subject,
            client,
            roles,
            scopes,
            not_before,
            expires,
            hash: KeyHash::Sha256(_) | KeyHash::Bcrypt(_) | KeyHash::Argon2id(_),
        } = &self.entry;
        if not_before.is_some_and(|from| now.0 < from.as_second()) {
            return Err(Reason::NotYetValid);
        }
        if expires.is_some_and(|until| now.0 >= until.as_second()) {
            return Err(Reason::Expired);
        }
        Ok(Principal {
            kind: PrincipalKind::ApiKey,
            subject: subject.clone(),
            client: client.clone(),
            roles: roles.clone(),
            scopes: scopes.clone(),
            expires: expires.map(jiff::Timestamp::as_second),
            credential: Some(id.clone()),
            ..Principal::anonymous()
        })
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
