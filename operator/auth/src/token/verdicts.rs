//! What issuers said of tokens a moment ago.

use super::strict::StrictObject;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// Verdicts at most. The one that ends first makes room for another.
const MAX_VERDICTS: usize = 4096;

/// What an issuer said of a token.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It is active, and this is what the issuer says of it.
    Yes(StrictObject),
    /// It is not active.
    No,
}

/// Verdicts by the SHA-256 of their tokens, each for its time.
#[derive(Default)]
pub struct Verdicts(HashMap<[u8; 32], (Verdict, Instant)>);

impl Verdicts {
    /// The verdict on a token, if there is one that holds.
    pub fn get(&self, digest: &[u8; 32]) -> Option<Verdict> {
        let (verdict, until) = self.0.get(digest)?;
        (Instant::now() < *until).then(|| verdict.clone())
    }

    /// Keeps `verdict` for this long.
    pub fn put(&mut self, digest: [u8; 32], verdict: Verdict, holds: Duration) {
        let now = Instant::now();
        if self.0.len() >= MAX_VERDICTS {
            self.0.retain(|_, (_, until)| now < *until);
        }
        if self.0.len() >= MAX_VERDICTS {
            let first = self
                .0
                .iter()
                .min_by_key(|(_, (_, until))| *until)
                .map(|(digest, _)| *digest);
            first.and_then(|digest| self.0.remove(&digest));
        }
        if !holds.is_zero() {
            self.0.insert(digest, (verdict, now + holds));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: usize) -> [u8; 32] {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&number.to_be_bytes());
        digest
    }

    #[tokio::test(start_paused = true)]
    async fn a_verdict_holds_for_its_time() {
        let mut verdicts = Verdicts::default();
        verdicts.put(digest(1), Verdict::No, Duration::from_secs(2));
        assert_eq!(verdicts.get(&digest(1)), Some(Verdict::No));
        assert_eq!(verdicts.get(&digest(2)), None);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(verdicts.get(&digest(1)), None);
        verdicts.put(digest(1), Verdict::No, Duration::ZERO);
        assert_eq!(verdicts.get(&digest(1)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn memory_stays_bounded_however_many_tokens_there_are() {
        let mut verdicts = Verdicts::default();
        for number in 0..MAX_VERDICTS + 100 {
            verdicts.put(digest(number), Verdict::No, Duration::from_secs(10 + number as u64));
        }
        assert_eq!(verdicts.0.len(), MAX_VERDICTS);
        assert_eq!(verdicts.get(&digest(0)), None);
        assert!(verdicts.get(&digest(MAX_VERDICTS)).is_some());
    }
}
