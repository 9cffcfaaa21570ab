//! Waiting for what will be.

use crate::{Context, Result};
use std::time::{Duration, Instant};

/// Looks again and again until `look` succeeds, and gives what it found.
///
/// # Errors
///
/// When it does not succeed `within` the time; the cause is what it last said.
pub async fn eventually<T>(what: &str, within: Duration, look: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    eventually_every(Duration::from_millis(250), what, within, look).await
}

/// As [`eventually`], looking at another `interval`.
///
/// # Errors
///
/// As [`eventually`].
pub async fn eventually_every<T>(
    interval: Duration,
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        // On the heap: a request's future is large, and this one is nested in those of whole tests.
        match Box::pin(look()).await {
            Ok(found) => return Ok(found),
            Err(not_yet) if start.elapsed() > within => {
                return Err(not_yet).context(format!("{what}: not within {} s", within.as_secs()));
            }
            Err(_) => tokio::time::sleep(interval).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Failure;

    #[tokio::test]
    async fn what_was_last_seen_is_told() {
        let error = eventually("a miracle", Duration::ZERO, async || {
            Err::<(), _>(Failure::new("only water"))
        })
        .await
        .unwrap_err();
        assert_eq!(error.chain(), "a miracle: not within 0 s: only water");
    }
}
