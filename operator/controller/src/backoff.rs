//! How long each object waits: exponential and jittered after errors, long and jittered when all is well.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Mutex, PoisonError},
    time::Duration,
};

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(5);

/// Consecutive failures of each object.
#[derive(Debug, Default)]
pub struct Backoff(Mutex<HashMap<String, u32>>);

impl Backoff {
    /// Counts a failure of `object` and tells how long it waits.
    pub fn failed(&self, object: &str) -> Duration {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(object.to_owned()).or_default();
        let wait = delay(*count, random());
        *count = count.saturating_add(1);
        wait
    }

    /// Forgets the failures of `object`, which succeeded or is gone.
    pub fn reset(&self, object: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(object);
    }
}

/// Doubles from one second to five minutes; `random` in 0..1 takes up to half of it away, so that objects which failed
/// together do not come back together.
fn delay(failures: u32, random: f64) -> Duration {
    let full = FIRST.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST);
    full.mul_f64(1.0 - random / 2.0)
}

/// Spreads `around` by a third to both sides.
pub fn jittered(around: Duration) -> Duration {
    around.mul_f64(2.0 / 3.0 + random() * 2.0 / 3.0)
}

/// A random number in 0..1, from the seed that every hash map gets.
fn random() -> f64 {
    let bits = RandomState::new().hash_one(0) >> 32;
    f64::from(u32::try_from(bits).unwrap_or_default()) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_five_minutes() {
        let seconds: Vec<_> = (0..11).map(|failures| delay(failures, 0.0).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(delay(u32::MAX, 0.0), LONGEST);
        assert_eq!(delay(1, 0.5), Duration::from_millis(1500));
    }

    #[test]
    fn each_object_counts_for_itself_and_success_resets() {
        let backoff = Backoff::default();
        for _ in 0..8 {
            backoff.failed("team-a/demo");
        }
        assert!(backoff.failed("team-a/demo") > Duration::from_mins(1));
        assert!(backoff.failed("team-a/other") <= FIRST);
        backoff.reset("team-a/demo");
        assert!(backoff.failed("team-a/demo") <= FIRST);
    }

    #[test]
    fn jitter_stays_within_a_third() {
        for _ in 0..1000 {
            let wait = jittered(Duration::from_secs(30));
            assert!(
                (Duration::from_secs(20)..=Duration::from_secs(40)).contains(&wait),
                "{wait:?}"
            );
        }
    }
}
