//! Whether the sinks take records.

use super::SinkUnavailable;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A single write that takes longer than this means that the sink cannot take records.
const STALL: Duration = Duration::from_secs(1);

/// What the writing threads last met.
pub struct SinkHealth {
    started: Instant,
    stdout_fails: AtomicBool,
    /// Why the collector takes no records.
    collector: Mutex<Option<Arc<str>>>,
    /// Milliseconds since `started` at which the write under way began, plus one; 0 when none is.
    writing_since: AtomicU64,
}

impl SinkHealth {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            stdout_fails: AtomicBool::new(false),
            collector: Mutex::default(),
            writing_since: AtomicU64::new(0),
        }
    }

    /// Runs `write`, which stands for a stall if it takes too long.
    pub(super) fn watch<T>(&self, write: impl FnOnce() -> T) -> T {
        self.writing_since.store(self.now(), Ordering::Relaxed);
        let result = write();
        self.writing_since.store(0, Ordering::Relaxed);
        result
    }

    /// Notes whether standard output fails. Returns whether it began to.
    pub(super) fn stdout_fails(&self, fails: bool) -> bool {
        !self.stdout_fails.swap(fails, Ordering::Relaxed) && fails
    }

    /// Notes why the collector takes no records, or that it does. Returns what was noted before.
    pub(crate) fn collector(&self, problem: Option<Arc<str>>) -> Option<Arc<str>> {
        let mut noted = self.collector.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut noted, problem)
    }

    pub(super) fn check(&self) -> Result<(), SinkUnavailable> {
        let collector = self.collector.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(problem) = &*collector {
            return Err(SinkUnavailable::Collector(problem.clone()));
        }
        let since = self.writing_since.load(Ordering::Relaxed);
        let stalled = since != 0 && u128::from(self.now().saturating_sub(since)) > STALL.as_millis();
        if stalled || self.stdout_fails.load(Ordering::Relaxed) {
            return Err(SinkUnavailable::Stuck);
        }
        Ok(())
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).map_or(u64::MAX, |millis| millis.saturating_add(1))
    }
}
