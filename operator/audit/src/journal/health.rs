//! Whether the sinks take records.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A single write that takes longer than this means that the sink cannot take records.
const STALL: Duration = Duration::from_secs(1);

/// What the writing threads last met.
pub struct SinkHealth {
    started: Instant,
    stdout_fails: AtomicBool,
    collector_fails: AtomicBool,
    /// Milliseconds since `started` at which the write under way began, plus one; 0 when none is.
    writing_since: AtomicU64,
}

impl SinkHealth {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            stdout_fails: AtomicBool::new(false),
            collector_fails: AtomicBool::new(false),
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

    /// Notes whether the collector fails. Returns whether it began to.
    pub(crate) fn collector_fails(&self, fails: bool) -> bool {
        !self.collector_fails.swap(fails, Ordering::Relaxed) && fails
    }

    pub(super) fn is_writable(&self) -> bool {
        let since = self.writing_since.load(Ordering::Relaxed);
        let stalled = since != 0 && u128::from(self.now().saturating_sub(since)) > STALL.as_millis();
        !stalled && !self.stdout_fails.load(Ordering::Relaxed) && !self.collector_fails.load(Ordering::Relaxed)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).map_or(u64::MAX, |millis| millis.saturating_add(1))
    }
}
