//! What is lost while calls pass without a record.

use crate::verify::Sequence;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Counts records that never came to the writing thread.
#[derive(Default)]
pub(super) struct Unqueued(AtomicU64);

impl Unqueued {
    pub fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many since the last time.
    pub fn take(&self) -> u64 {
        self.0.swap(0, Ordering::Relaxed)
    }
}

/// Records of the chain that the collector has not got and will not get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    /// Where they are: none is outside.
    pub within: Sequence,
    /// How many they are.
    pub count: u64,
}

impl Gap {
    /// The record `seq` alone.
    pub const fn of(seq: u64) -> Self {
        let within = Sequence { first: seq, last: seq };
        Self { within, count: 1 }
    }

    fn and(self, other: Self) -> Self {
        Self {
            within: Sequence {
                first: self.within.first.min(other.within.first),
                last: self.within.last.max(other.within.last),
            },
            count: self.count + other.count,
        }
    }
}

/// What the collector lacks and the chain does not say yet.
#[derive(Default)]
pub(crate) struct Untold(Mutex<Option<Gap>>);

impl Untold {
    pub fn add(&self, gap: Gap) {
        let mut untold = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *untold = Some(untold.map_or(gap, |untold| untold.and(gap)));
    }

    pub fn take(&self) -> Option<Gap> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
