//! What is lost while calls pass without a record.

use crate::verify::Sequence;
use std::sync::atomic::{AtomicU64, Ordering};

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

/// A part of the chain that a sink was not given.
#[derive(Default)]
pub(super) struct Gap(Option<Sequence>);

impl Gap {
    /// Adds `seq`, which is after all that was added before.
    pub fn add(&mut self, seq: u64) {
        let first = self.0.map_or(seq, |gap| gap.first);
        self.0 = Some(Sequence { first, last: seq });
    }

    /// The part, if there is one.
    pub const fn get(&self) -> Option<Sequence> {
        self.0
    }

    pub fn clear(&mut self) {
        self.0 = None;
    }
}
