//! How many connections may begin in a second.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// A bucket that refills steadily and holds two seconds' worth.
#[derive(Debug)]
pub struct Rate(Mutex<Bucket>);

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Rate {
    /// A full bucket.
    pub fn new(now: Instant) -> Self {
        Self(Mutex::new(Bucket {
            tokens: f64::INFINITY,
            filled: now,
        }))
    }

    /// Takes one token of a bucket that gets `per_second` of them; `false` when there is none.
    pub fn take(&self, per_second: u32, now: Instant) -> bool {
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let gained = now.saturating_duration_since(bucket.filled).as_secs_f64() * f64::from(per_second);
        bucket.tokens = (bucket.tokens + gained).min(2.0 * f64::from(per_second));
        bucket.filled = now;
        let taken = bucket.tokens >= 1.0;
        if taken {
            bucket.tokens -= 1.0;
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn two_seconds_worth_may_come_at_once_and_then_the_rate_holds() {
        let start = Instant::now();
        let rate = Rate::new(start);
        let burst = (0..100).filter(|_| rate.take(10, start)).count();
        assert_eq!(burst, 20);
        let later = start + Duration::from_secs(1);
        assert_eq!((0..100).filter(|_| rate.take(10, later)).count(), 10);
    }

    #[test]
    fn a_lower_rate_holds_at_once() {
        let start = Instant::now();
        let rate = Rate::new(start);
        assert!(rate.take(100, start));
        assert_eq!((0..100).filter(|_| rate.take(1, start)).count(), 2);
    }
}
