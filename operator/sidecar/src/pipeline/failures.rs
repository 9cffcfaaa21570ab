//! How often credentials from one address may fail, where to find out takes work.
//!
//! Not a bucket like those of callers: who has the right credential takes nothing out of it, however often it has to be verified.

use super::limit::LimitKey;
use sallyport_auth::{Attempts, TooManyFailures, Work};
use sallyport_policy::Rate;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Attempts after which addresses that nothing is held against any more are thrown away.
const LOOK_EVERY: usize = 1024;

/// What slow hashes count: so many more questions are answered at a time than hashes may wait.
const SLOW_HASH: u32 = 3;

/// The failures of all addresses.
pub struct Failures {
    /// Until one is forgotten.
    period: Duration,
    burst: Duration,
    held_against: Mutex<HeldAgainst>,
}

#[derive(Default)]
struct HeldAgainst {
    /// When all failures of an address will be forgotten.
    until: HashMap<LimitKey, Instant>,
    attempts: usize,
}

/// The failures of one address.
pub struct FailuresOf<'a> {
    all: &'a Failures,
    address: LimitKey,
}

impl Failures {
    /// None yet.
    pub fn new(rate: Rate) -> Self {
        let period = Duration::from_secs(rate.seconds.get().into()) / rate.requests.get();
        Self {
            period,
            burst: period * rate.burst.get(),
            held_against: Mutex::default(),
        }
    }

    /// Those of `address`.
    pub fn of(&self, address: IpAddr) -> FailuresOf<'_> {
        FailuresOf {
            all: self,
            address: LimitKey::of_address(address),
        }
    }

    fn held_against(&self) -> MutexGuard<'_, HeldAgainst> {
        self.held_against.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long it takes until an attempt is forgotten.
    fn cost(&self, work: Work) -> Duration {
        match work {
            Work::Question => self.period,
            // Never more than there is at all.
            Work::SlowHash => (self.period * SLOW_HASH).min(self.burst),
        }
    }
}

impl Attempts for FailuresOf<'_> {
    fn begin(&self, work: Work) -> Result<(), TooManyFailures> {
        let now = Instant::now();
        let mut held = self.all.held_against();
        held.attempts += 1;
        if held.attempts.is_multiple_of(LOOK_EVERY) {
            held.until.retain(|_, until| now < *until);
        }
        let before = held.until.get(&self.address).map_or(now, |until| now.max(*until));
        let after = before + self.all.cost(work);
        let excess = (after - now).saturating_sub(self.all.burst);
        if !excess.is_zero() {
            let seconds = excess.as_secs() + 1;
            return Err(TooManyFailures(u32::try_from(seconds).unwrap_or(u32::MAX)));
        }
        held.until.insert(self.address, after);
        Ok(())
    }

    fn take_back(&self, work: Work) {
        if let Some(until) = self.all.held_against().until.get_mut(&self.address) {
            *until = until.checked_sub(self.all.cost(work)).unwrap_or(*until);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    fn address(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[tokio::test(start_paused = true)]
    async fn failures_of_one_address_end_at_the_burst_and_are_forgotten_one_by_one() {
        let failures = Failures::new(Rate::per_minute(60, 3));
        for _ in 0..3 {
            assert_eq!(failures.of(address(1)).begin(Work::Question), Ok(()));
        }
        assert_eq!(failures.of(address(1)).begin(Work::Question), Err(TooManyFailures(2)));
        assert_eq!(failures.of(address(2)).begin(Work::Question), Ok(()));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(failures.of(address(1)).begin(Work::Question), Ok(()));
        assert!(failures.of(address(1)).begin(Work::Question).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_no_failure_counts_only_while_it_is_found_out() {
        let failures = Failures::new(Rate::per_minute(60, 3));
        let of = failures.of(address(1));
        for _ in 0..100 {
            assert_eq!(of.begin(Work::Question), Ok(()));
            of.take_back(Work::Question);
        }
        for _ in 0..3 {
            assert_eq!(of.begin(Work::Question), Ok(()));
        }
        assert!(of.begin(Work::Question).is_err());
        of.take_back(Work::Question);
        assert_eq!(of.begin(Work::Question), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_hash_counts_for_three_and_can_be_tried_whatever_the_burst() {
        let failures = Failures::new(Rate::per_minute(60, 6));
        let of = failures.of(address(1));
        assert_eq!([of.begin(Work::SlowHash), of.begin(Work::SlowHash)], [Ok(()), Ok(())]);
        assert!(of.begin(Work::SlowHash).is_err());
        let least = Failures::new(Rate::per_minute(1, 1));
        assert_eq!(least.of(address(1)).begin(Work::SlowHash), Ok(()));
        assert_eq!(least.of(address(1)).begin(Work::Question), Err(TooManyFailures(61)));
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_that_nothing_is_held_against_are_forgotten() {
        let failures = Failures::new(Rate::per_minute(60, 3));
        for number in 0..20_000_u32 {
            let address = IpAddr::from(number.to_be_bytes());
            assert_eq!(failures.of(address).begin(Work::Question), Ok(()));
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        let addresses = failures.held_against().until.len();
        assert!(addresses < 3000, "{addresses}");
    }
}
