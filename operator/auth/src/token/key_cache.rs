//! An issuer's keys, fetched when they are needed and not more often than allowed.

use super::key_set::{KeySet, KeySetError};
use crate::Reason;
use crate::fetch::{FetchError, Fetcher, HttpsUrl};
use sallyport_policy::authentication::{Algorithm, Jwks};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The keys of one issuer.
///
/// Keys in use are fetched again when they are older than the policy's refresh age, and when a token names one that is
/// not there; never more often than the cool-down allows, and once for all who wait. While the issuer cannot be reached, keys
/// hold until the policy's stale age.
pub struct KeyCache(Arc<Inner>);

struct Inner {
    url: HttpsUrl,
    fetcher: Arc<Fetcher>,
    refresh_age: Duration,
    stale_age: Duration,
    cool_down: Duration,
    state: Mutex<State>,
    /// Held by who fetches.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    keys: Arc<KeySet>,
    fetched: Option<Instant>,
    tried: Option<Instant>,
    problem: Option<String>,
}

#[derive(Debug, thiserror::Error)]
enum RefreshError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Keys(#[from] KeySetError),
}

impl KeyCache {
    /// The keys at `url`, which is that of `policy`. The first fetch begins at once.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub fn start(url: HttpsUrl, policy: &Jwks, fetcher: Arc<Fetcher>) -> Self {
        let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds.max(1)));
        let cache = Self(Arc::new(Inner {
            url,
            fetcher,
            refresh_age: seconds(policy.refresh_seconds),
            stale_age: seconds(policy.stale_seconds),
            cool_down: seconds(policy.cool_down_seconds),
            state: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
        }));
        cache.begin_refresh();
        cache
    }

    /// Why keys could not be fetched the last time; `None` when they could.
    pub fn problem(&self) -> Option<String> {
        self.0.state().problem.clone()
    }

    /// Keys among which is the one with this id and algorithm.
    ///
    /// # Errors
    ///
    /// [`Reason::UnknownSigningKey`] when the issuer does not list it, [`Reason::Unavailable`] when nobody knows.
    pub async fn keys_with(&self, id: Option<&str>, algorithm: Algorithm) -> Result<Arc<KeySet>, Reason> {
        let listed = |keys: &Arc<KeySet>| !keys.candidates(id, algorithm).is_empty();
        if let Some((keys, age)) = self.0.usable().filter(|(keys, _)| listed(keys)) {
            if age > self.0.refresh_age {
                self.begin_refresh();
            }
            return Ok(keys);
        }
        // In a task of its own: a caller who leaves does not undo what others wait for.
        let inner = self.0.clone();
        tokio::spawn(async move { inner.refresh().await })
            .await
            .map_err(|_| Reason::Unavailable)?;
        let (keys, _) = self.0.usable().ok_or(Reason::Unavailable)?;
        if listed(&keys) {
            return Ok(keys);
        }
        Err(Reason::UnknownSigningKey)
    }

    fn begin_refresh(&self) {
        if self.0.is_cool() {
            let inner = self.0.clone();
            tokio::spawn(async move { inner.refresh().await });
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The keys and their age, if they hold.
    fn usable(&self) -> Option<(Arc<KeySet>, Duration)> {
        let state = self.state();
        let age = state.fetched?.elapsed();
        (age <= self.stale_age).then(|| (state.keys.clone(), age))
    }

    fn is_cool(&self) -> bool {
        self.state().tried.is_none_or(|tried| tried.elapsed() >= self.cool_down)
    }

    /// Fetches the keys unless that was tried a moment ago. Whoever comes while they are fetched waits for the outcome.
    async fn refresh(&self) {
        let _fetching = self.fetching.lock().await;
        if !self.is_cool() {
            return;
        }
        self.state().tried = Some(Instant::now());
        let outcome = self.fetch().await;
        let mut state = self.state();
        match outcome {
            Ok(keys) => {
                state.keys = Arc::new(keys);
                state.fetched = Some(Instant::now());
                state.problem = None;
            }
            Err(error) => {
                let problem = crate::problem::text(&error);
                tracing::warn!("keys of an issuer are not fetched: {problem}");
                state.problem = Some(problem);
            }
        }
    }

    async fn fetch(&self) -> Result<KeySet, RefreshError> {
        let document = self.fetcher.get(&self.url).await?;
        Ok(KeySet::parse(&document)?)
    }
}

impl fmt::Debug for KeyCache {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("KeyCache")
            .field("url", &self.0.url)
            .finish_non_exhaustive()
    }
}
