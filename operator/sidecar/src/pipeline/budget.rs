//! How many bytes of requests and answers are in memory at a time.
//!
//! Each request and each answer has a bound of its own; this one holds for all of them together, so that many large ones
//! cannot use up the container's memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Nothing more fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferFull;

/// The bytes that may be held. Clones share them.
#[derive(Clone, Default)]
pub struct Budget(Arc<AtomicU64>);

/// Bytes that are held until this is dropped.
pub struct Held {
    budget: Budget,
    limit: u64,
    bytes: u64,
}

impl Budget {
    /// A holder of nothing yet, that may go on while all holders have less than `limit` bytes.
    pub fn holder(&self, limit: u64) -> Held {
        Held {
            budget: self.clone(),
            limit,
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
        if bytes > self.bytes {
            let more = bytes - self.bytes;
            let fits = |held: u64| held.checked_add(more).filter(|held| *held <= self.limit);
            let taken = self.budget.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
            taken.map_err(|_| BufferFull)?;
        } else {
            self.budget.0.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    fn in_all(budget: &Budget) -> u64 {
        budget.0.load(Ordering::Relaxed)
    }

    #[test]
    fn what_all_hold_together_ends_at_the_limit_and_is_given_back() {
        let budget = Budget::default();
        let (mut one, mut other) = (budget.holder(10), budget.holder(10));
        assert_eq!(one.set(7), Ok(()));
        assert_eq!(other.set(4), Err(BufferFull));
        assert_eq!(other.set(3), Ok(()));
        assert_eq!(in_all(&budget), 10);
        assert_eq!(one.set(2), Ok(()));
        assert_eq!(other.set(8), Ok(()));
        drop(one);
        assert_eq!(in_all(&budget), 8);
        drop(other);
        assert_eq!(in_all(&budget), 0);
    }
}
