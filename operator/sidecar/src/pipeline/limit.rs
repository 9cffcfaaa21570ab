//! How often and how much at a time: token buckets and places.

use super::failures::Failures;
use governor::clock::{Clock, DefaultClock};
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use sallyport_policy::{Limits, Principal, PrincipalKind, Rate, Rates};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Buckets after which those that are full again are thrown away, and how many requests go by between two such looks.
const MANY_BUCKETS: usize = 4096;
const LOOK_EVERY: usize = 1024;

/// How long a `server/discover` waits for its turn, and how long for a place. A client that is refused one falls back to the
/// legacy era.
const DISCOVER_WAIT: Duration = Duration::from_secs(10);

/// Pause between two looks for a place. To wake all who wait whenever a place is given back would be more work.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What a bucket belongs to: a caller, or an address where callers are not told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LimitKey([u8; 32]);

/// A bound was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    /// One word for the record.
    pub reason: &'static str,
    /// After which time a new try makes sense.
    pub retry_after: Duration,
}

type Buckets<K> = RateLimiter<K, DashMapStateStore<K>, DefaultClock>;
type ToolBuckets = Buckets<(LimitKey, String)>;

/// All buckets of one set of rates.
pub struct RateLimits {
    rates: Rates,
    requests: Buckets<LimitKey>,
    discover: Buckets<LimitKey>,
    /// What credentials that do not hold may cost.
    pub failures: Failures,
    /// The rates of named tools in the policy's order, then that of all others.
    tools: Vec<(Option<usize>, ToolBuckets)>,
    seen: AtomicUsize,
}

/// Counts requests under way.
#[derive(Clone, Default)]
pub struct Places(Arc<Mutex<Taken>>);

#[derive(Default)]
struct Taken {
    all: u32,
    by_caller: HashMap<LimitKey, ByCaller>,
}

#[derive(Clone, Copy, Default)]
struct ByCaller {
    requests: u32,
    streams: u32,
}

/// A place that is taken until this is dropped.
pub struct Place {
    places: Places,
    key: LimitKey,
    endless: bool,
}

impl LimitKey {
    /// Of an authenticated caller its binding, of an anonymous one its address; IPv6 addresses of one network are one.
    pub fn of(principal: &Principal, address: IpAddr) -> Self {
        match principal.kind {
            PrincipalKind::Anonymous => Self::of_address(address),
            _ => Self(principal.binding()),
        }
    }

    /// A digest that names the caller and tells nothing of it.
    pub fn digest(self) -> String {
        sallyport_audit::text::hex_digest(&self.0)
    }

    /// Of an address, before anything else is known.
    pub fn of_address(address: IpAddr) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"sallyport address 1\0");
        match address.to_canonical() {
            IpAddr::V4(address) => hash.update(address.octets()),
            IpAddr::V6(address) => hash.update(&address.octets()[..8]),
        }
        Self(hash.finalize().into())
    }
}

impl RateLimits {
    /// Full buckets.
    pub fn new(rates: &Rates) -> Self {
        let named = rates
            .tools
            .iter()
            .enumerate()
            .map(|(index, tool)| (Some(index), buckets(tool.rate)));
        Self {
            requests: buckets(rates.per_principal),
            discover: buckets(rates.discover),
            failures: Failures::new(rates.failed_authentication),
            tools: named.chain([(None, buckets(rates.per_tool))]).collect(),
            rates: rates.clone(),
            seen: AtomicUsize::new(0),
        }
    }

    /// Whether these are the buckets of `rates`.
    pub fn are_of(&self, rates: &Rates) -> bool {
        self.rates == *rates
    }

    /// Takes a token of the caller.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn request(&self, key: LimitKey) -> Result<(), Limited> {
        self.tidy();
        check(&self.requests, &key, "rate_of_caller")
    }

    /// Takes a token of the caller for the tool called `name`.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn tool(&self, key: LimitKey, name: &str) -> Result<(), Limited> {
        let fits = |index: &Option<usize>| index.is_none_or(|index| self.rates.tools[index].tool.fits(name));
        match self.tools.iter().find(|(index, _)| fits(index)) {
            Some((_, buckets)) => check(buckets, &(key, name.to_owned()), "rate_of_tool"),
            None => Ok(()),
        }
    }

    /// Waits for a token for `server/discover`.
    ///
    /// # Errors
    ///
    /// When there is none in time.
    pub async fn discover(&self, key: LimitKey) -> Result<(), Limited> {
        let turn = async { self.discover.until_key_ready(&key).await };
        tokio::time::timeout(DISCOVER_WAIT, turn).await.map_err(|_| Limited {
            reason: "rate_of_discover",
            retry_after: DISCOVER_WAIT,
        })
    }

    /// Throws away the buckets that nobody takes from any more.
    fn tidy(&self) {
        if !self.seen.fetch_add(1, Ordering::Relaxed).is_multiple_of(LOOK_EVERY) {
            return;
        }
        for buckets in [&self.requests, &self.discover] {
            if buckets.len() > MANY_BUCKETS {
                buckets.retain_recent();
            }
        }
        for (_, buckets) in &self.tools {
            if buckets.len() > MANY_BUCKETS {
                buckets.retain_recent();
            }
        }
    }
}

fn buckets<K: Clone + Hash + Eq>(rate: Rate) -> Buckets<K> {
    let period = Duration::from_secs(rate.seconds.get().into()) / rate.requests.get();
    // A period of nothing is a rate that no server reaches.
    let quota = Quota::with_period(period.max(Duration::from_nanos(1)))
        .unwrap_or(Quota::per_second(rate.requests))
        .allow_burst(rate.burst);
    RateLimiter::dashmap(quota)
}

fn check<K: Clone + Hash + Eq>(buckets: &Buckets<K>, key: &K, reason: &'static str) -> Result<(), Limited> {
    buckets.check_key(key).map_err(|not_until| Limited {
        reason,
        retry_after: not_until.wait_time_from(DefaultClock::default().now()),
    })
}

impl Places {
    /// Takes a place for a request of the caller; `endless` ones are streams without an end of their own.
    ///
    /// # Errors
    ///
    /// When all are taken.
    pub fn take(&self, key: LimitKey, endless: bool, limits: &Limits) -> Result<Place, Limited> {
        let full = |reason| Limited {
            reason,
            retry_after: Duration::from_secs(1),
        };
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.all >= limits.concurrent_requests {
            return Err(full("concurrency"));
        }
        let of_caller = taken.by_caller.entry(key).or_default();
        let (count, limit, reason) = if endless {
            let limit = limits.concurrent_streams_per_principal;
            (&mut of_caller.streams, limit, "streams_of_caller")
        } else {
            let limit = limits.concurrent_requests_per_principal;
            (&mut of_caller.requests, limit, "concurrency_of_caller")
        };
        if *count >= limit {
            return Err(full(reason));
        }
        *count += 1;
        taken.all += 1;
        Ok(Place {
            places: self.clone(),
            key,
            endless,
        })
    }

    /// Waits for a place for a `server/discover` of the caller.
    ///
    /// # Errors
    ///
    /// When there is none in time.
    pub async fn discover(&self, key: LimitKey, limits: &Limits) -> Result<Place, Limited> {
        let end = Instant::now() + DISCOVER_WAIT;
        loop {
            match self.take(key, false, limits) {
                Err(_) if Instant::now() < end => tokio::time::sleep(LOOK_AGAIN).await,
                taken => return taken,
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        if let Some(of_caller) = taken.by_caller.get_mut(&self.key) {
            if self.endless {
                of_caller.streams -= 1;
            } else {
                of_caller.requests -= 1;
            }
            if of_caller.streams == 0 && of_caller.requests == 0 {
                taken.by_caller.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;
    use sallyport_policy::ToolRate;

    fn key(byte: u8) -> LimitKey {
        LimitKey([byte; 32])
    }

    fn rates() -> Rates {
        Rates {
            per_principal: Rate::per_minute(60, 3),
            per_tool: Rate::per_minute(60, 2),
            tools: vec![ToolRate {
                tool: "delete_*".parse().unwrap(),
                rate: Rate::per_minute(1, 1),
            }],
            ..Rates::default()
        }
    }

    #[test]
    fn a_caller_s_burst_ends_and_another_caller_s_does_not() {
        let limits = RateLimits::new(&rates());
        for _ in 0..3 {
            assert_eq!(limits.request(key(1)), Ok(()));
        }
        let limited = limits.request(key(1)).unwrap_err();
        assert_eq!(limited.reason, "rate_of_caller");
        assert!(limited.retry_after <= Duration::from_secs(1) && limited.retry_after > Duration::from_millis(500));
        assert_eq!(limits.request(key(2)), Ok(()));
    }

    #[test]
    fn each_tool_has_a_bucket_of_its_own_and_a_named_one_its_own_rate() {
        let limits = RateLimits::new(&rates());
        for tool in ["a", "b", "a", "b", "delete_a", "delete_b"] {
            assert_eq!(limits.tool(key(1), tool), Ok(()), "{tool}");
        }
        for tool in ["a", "b", "delete_a", "delete_b"] {
            assert_eq!(limits.tool(key(1), tool).unwrap_err().reason, "rate_of_tool", "{tool}");
        }
        assert!(limits.tool(key(1), "delete_a").unwrap_err().retry_after > Duration::from_secs(50));
        assert_eq!(limits.tool(key(2), "a"), Ok(()));
    }

    #[test]
    fn buckets_that_nobody_uses_are_thrown_away() {
        let mut fast = rates();
        fast.per_principal = Rate {
            requests: 1_000_000.try_into().unwrap(),
            seconds: 1.try_into().unwrap(),
            burst: 1.try_into().unwrap(),
        };
        let limits = RateLimits::new(&fast);
        for number in 0..40_000_u32 {
            let address = IpAddr::from(number.to_be_bytes());
            let _ = limits.request(LimitKey::of_address(address));
        }
        assert!(limits.requests.len() < 10_000, "{}", limits.requests.len());
    }

    #[test]
    fn places_are_counted_by_caller_and_in_all_and_given_back() {
        let places = Places::default();
        let limits = Limits {
            concurrent_requests: 3,
            concurrent_requests_per_principal: 2,
            concurrent_streams_per_principal: 1,
            ..Limits::default()
        };
        let reason = |key, endless| {
            places
                .take(key, endless, &limits)
                .map(|_| ())
                .map_err(|limited| limited.reason)
        };
        let first = places.take(key(1), false, &limits).unwrap_or_else(|_| panic!());
        let second = places.take(key(1), false, &limits).unwrap_or_else(|_| panic!());
        assert_eq!(reason(key(1), false), Err("concurrency_of_caller"));
        let stream = places.take(key(1), true, &limits).unwrap_or_else(|_| panic!());
        assert_eq!(reason(key(2), false), Err("concurrency"));
        drop(first);
        assert_eq!(reason(key(1), true), Err("streams_of_caller"));
        assert_eq!(reason(key(2), false), Ok(()));
        drop((second, stream));
        assert!(places.0.lock().unwrap().by_caller.is_empty());
        assert_eq!(places.0.lock().unwrap().all, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn discovery_waits_for_a_place_and_not_for_ever() {
        let places = Places::default();
        let limits = Limits {
            concurrent_requests_per_principal: 1,
            ..Limits::default()
        };
        let taken = places.take(key(1), false, &limits).unwrap_or_else(|_| panic!());
        let waited = Instant::now();
        let refused = places.discover(key(1), &limits).await.err().unwrap();
        assert_eq!(refused.reason, "concurrency_of_caller");
        assert!(waited.elapsed() >= DISCOVER_WAIT);
        let giving_back = async {
            tokio::time::sleep(Duration::from_secs(9)).await;
            drop(taken);
        };
        let (found, ()) = tokio::join!(places.discover(key(1), &limits), giving_back);
        assert!(found.is_ok());
    }

    #[test]
    fn anonymous_callers_are_told_apart_by_network() {
        let of = |text: &str| LimitKey::of(&Principal::anonymous(), text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    }
}
