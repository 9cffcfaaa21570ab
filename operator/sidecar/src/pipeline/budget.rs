//! How many bytes of requests and answers are in memory at a time.
//!
//! Each request and each answer has a bound of its own; this one holds for all of them together, so that many large ones
//! cannot use up the container's memory. A part of it is all that one caller gets, so that nobody takes it from the others.

use super::limit::{LimitKey, Place};
use bytes::Bytes;
use sallyport_policy::Limits;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Nothing more fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BufferFull {
    /// Of all callers together.
    #[error("this endpoint handles too much data at the moment: try again later")]
    All,
    /// Of this caller.
    #[error(
        "this endpoint handles too much data of this caller at the moment: read its answers, or call less at a time"
    )]
    OfCaller,
}

/// The bytes that may be held. Clones share them.
#[derive(Clone, Default)]
pub struct Budget(Arc<Mutex<Taken>>);

#[derive(Default)]
struct Taken {
    all: u64,
    by_caller: HashMap<LimitKey, u64>,
}

/// Bytes of one caller that are held until this is dropped.
pub struct Held {
    budget: Budget,
    key: LimitKey,
    most: Most,
    bytes: u64,
}

/// How much may be held.
#[derive(Clone, Copy)]
struct Most {
    all: u64,
    of_caller: u64,
}

/// A message that is counted for as long as anybody has it: hyper takes it at once and writes it when the client reads.
struct Counted {
    message: Bytes,
    _held: Held,
    _place: Option<Place>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.message
    }
}

impl Budget {
    /// A holder of nothing yet for the caller called `key`, that may go on while all holders have less than `limits` allow,
    /// and those of this caller too.
    pub fn holder(&self, key: LimitKey, limits: &Limits) -> Held {
        Held {
            budget: self.clone(),
            key,
            most: Most {
                all: limits.buffer_bytes,
                of_caller: limits.buffer_bytes_per_principal(),
            },
            bytes: 0,
        }
    }
}

impl Held {
    /// Holds `bytes` from now on, instead of what it held.
    ///
    /// # Errors
    ///
    /// When that is more than fits; nothing changes then.
    pub fn set(&mut self, bytes: usize) -> Result<(), BufferFull> {
        let bytes = bytes as u64;
        let mut taken = self.budget.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_caller = taken.by_caller.get(&self.key).copied().unwrap_or_default();
        let all = taken.all - self.bytes + bytes;
        let of_caller = of_caller - self.bytes + bytes;
        if bytes > self.bytes {
            if all > self.most.all {
                return Err(BufferFull::All);
            }
            if of_caller > self.most.of_caller {
                return Err(BufferFull::OfCaller);
            }
        }
        taken.all = all;
        if of_caller == 0 {
            taken.by_caller.remove(&self.key);
        } else {
            taken.by_caller.insert(self.key, of_caller);
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Gives `bytes` of what it holds, or all if that is less, to a holder of their own.
    #[must_use]
    pub fn split(&mut self, bytes: usize) -> Self {
        let bytes = self.bytes.min(bytes as u64);
        self.bytes -= bytes;
        Self {
            budget: self.budget.clone(),
            key: self.key,
            most: self.most,
            bytes,
        }
    }

    /// `message`, for which this holds bytes as long as any part of it is left, and so long keeps `place`.
    pub fn count(self, message: Bytes, place: Option<Place>) -> Bytes {
        Bytes::from_owner(Counted {
            message,
            _held: self,
            _place: place,
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Less always fits.
        let _ = self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;
    use std::net::IpAddr;

    fn in_all(budget: &Budget) -> u64 {
        budget.0.lock().unwrap().all
    }

    fn key(address: [u8; 4]) -> LimitKey {
        LimitKey::of_address(IpAddr::from(address))
    }

    fn limits() -> Limits {
        Limits {
            buffer_bytes: 10,
            body_bytes: 1,
            response_bytes: 1,
            event_bytes: 1,
            ..Limits::default()
        }
    }

    #[test]
    fn what_all_hold_together_ends_at_the_limit_and_is_given_back() {
        let budget = Budget::default();
        let [mut one, mut other, mut third] = [1, 2, 3].map(|number| budget.holder(key([10, 0, 0, number]), &limits()));
        assert_eq!(one.set(5), Ok(()));
        assert_eq!(third.set(2), Ok(()));
        assert_eq!(other.set(4), Err(BufferFull::All));
        assert_eq!(other.set(3), Ok(()));
        assert_eq!(in_all(&budget), 10);
        assert_eq!(one.set(2), Ok(()));
        assert_eq!(other.set(5), Ok(()));
        drop(one);
        assert_eq!(in_all(&budget), 7);
        drop((other, third));
        assert_eq!(in_all(&budget), 0);
        assert!(budget.0.lock().unwrap().by_caller.is_empty());
    }

    #[test]
    fn one_caller_gets_half_and_leaves_the_other_half_to_others() {
        let budget = Budget::default();
        let (mut one, mut more) = (
            budget.holder(key([10, 0, 0, 1]), &limits()),
            budget.holder(key([10, 0, 0, 1]), &limits()),
        );
        assert_eq!(one.set(3), Ok(()));
        assert_eq!(more.set(3), Err(BufferFull::OfCaller));
        assert_eq!(more.set(2), Ok(()));
        assert_eq!(budget.holder(key([10, 0, 0, 2]), &limits()).set(5), Ok(()));
    }

    #[test]
    fn a_message_is_counted_until_its_last_part_is_gone() {
        let budget = Budget::default();
        let mut held = budget.holder(key([10, 0, 0, 1]), &limits());
        held.set(5).unwrap();
        let mut message = held.split(3).count(Bytes::from_static(b"abc"), None);
        held.set(0).unwrap();
        assert_eq!(in_all(&budget), 3);
        let last = message.split_off(2);
        drop(message);
        assert_eq!((&last[..], in_all(&budget)), (&b"c"[..], 3));
        drop(last);
        assert_eq!(in_all(&budget), 0);
    }
}
