//! The bounded way from requests to the sink, and the thread that writes.
//!
//! A request first takes a [`Slot`]; without one it is refused. One thread of its own writes the records.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use serde::Serialize;
use std::io::{ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// How long a request waits for room in the journal before it is refused.
const ADMISSION_WAIT: Duration = Duration::from_secs(1);

/// A single write that takes longer than this means that the sink cannot take records.
const STALL: Duration = Duration::from_secs(1);

/// Pause before the rest of a failed write is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// How long a failing sink is still tried once no more records can come.
const LAST_TRIES: Duration = Duration::from_secs(3);

/// Records that are written with one system call at most, in bytes.
const BATCH: usize = 64 * 1024;

/// The sink cannot take records, so no call is let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audit sink takes no records")]
pub struct SinkUnavailable;

/// Records are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnwrittenRecords {
    /// The sink failed until the end.
    #[error("the audit sink failed and {count} records are lost: check what reads the program's standard output")]
    Failed {
        /// How many.
        count: usize,
    },
    /// The sink neither takes the last records nor fails.
    #[error("the audit sink does not take the last records: check what reads the program's standard output")]
    Stuck,
}

/// What Prometheus sees of a journal. Clones count together.
#[derive(Clone, Default)]
pub struct JournalMetrics {
    queue_depth: Gauge,
    records: Counter,
    sink_failures: Counter,
}

/// Where requests take slots for records of type `R`. Clones share one queue.
pub struct Journal<R> {
    sender: mpsc::Sender<R>,
    health: Arc<SinkHealth>,
    metrics: JournalMetrics,
}

/// Room for one record, held by a request from before it is forwarded until it ends.
pub struct Slot<R> {
    permit: mpsc::OwnedPermit<R>,
    metrics: JournalMetrics,
}

/// The writing thread. Ends when every [`Journal`] and every [`Slot`] is gone and all is written.
pub struct JournalThread {
    done: oneshot::Receiver<Result<(), UnwrittenRecords>>,
    thread: JoinHandle<()>,
}

/// What the writing thread last met.
struct SinkHealth {
    started: Instant,
    failing: AtomicBool,
    /// Milliseconds since `started` at which the write under way began, plus one; 0 when none is.
    writing_since: AtomicU64,
}

impl JournalMetrics {
    /// Makes `registry` show them.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "audit_queue_depth",
            "Audit records that wait for the sink",
            self.queue_depth.clone(),
        );
        registry.register("audit_records", "Audit records written", self.records.clone());
        registry.register(
            "audit_sink_failures",
            "Times that the audit sink began to fail",
            self.sink_failures.clone(),
        );
    }

    fn written(&self, count: usize) {
        self.records.inc_by(count as u64);
        self.queue_depth.dec_by(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

impl<R> Clone for Journal<R> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            health: self.health.clone(),
            metrics: self.metrics.clone(),
        }
    }
}

impl<R: Serialize + Send + 'static> Journal<R> {
    /// Starts the writing thread. `capacity` bounds the records that are reserved or queued at a time.
    ///
    /// # Errors
    ///
    /// When the thread cannot be started.
    pub fn start(
        sink: impl Write + Send + 'static,
        capacity: usize,
        metrics: JournalMetrics,
    ) -> std::io::Result<(Self, JournalThread)> {
        let (sender, receiver) = mpsc::channel(capacity);
        let health = Arc::new(SinkHealth::new());
        let (report, done) = oneshot::channel();
        let writer = Writer {
            sink,
            receiver,
            health: health.clone(),
            metrics: metrics.clone(),
        };
        let thread = std::thread::Builder::new().name("audit".into()).spawn(move || {
            // The receiver is gone only when nobody waits for the end.
            let _ = report.send(writer.run());
        })?;
        let journal = Self {
            sender,
            health,
            metrics,
        };
        Ok((journal, JournalThread { done, thread }))
    }

    /// Reserves room for one record.
    ///
    /// # Errors
    ///
    /// When there is none within a second.
    pub async fn admit(&self) -> Result<Slot<R>, SinkUnavailable> {
        let reserve = self.sender.clone().reserve_owned();
        match tokio::time::timeout(ADMISSION_WAIT, reserve).await {
            Ok(Ok(permit)) => Ok(Slot {
                permit,
                metrics: self.metrics.clone(),
            }),
            Ok(Err(_)) | Err(_) => Err(SinkUnavailable),
        }
    }

    /// Whether the sink took the last record, in time.
    ///
    /// # Errors
    ///
    /// When it did not.
    pub fn check_sink(&self) -> Result<(), SinkUnavailable> {
        if self.health.is_writable() {
            Ok(())
        } else {
            Err(SinkUnavailable)
        }
    }
}

impl<R> Slot<R> {
    /// Hands the record over; never waits.
    pub fn send(self, record: R) {
        self.metrics.queue_depth.inc();
        self.permit.send(record);
    }
}

impl JournalThread {
    /// Waits until every record is written, for `bound` at most.
    ///
    /// # Errors
    ///
    /// When records are lost.
    pub async fn finish(self, bound: Duration) -> Result<(), UnwrittenRecords> {
        let Ok(Ok(result)) = tokio::time::timeout(bound, self.done).await else {
            return Err(UnwrittenRecords::Stuck);
        };
        // It has sent its last word, so this does not wait.
        let _ = self.thread.join();
        result
    }
}

impl SinkHealth {
    fn new() -> Self {
        Self {
            started: Instant::now(),
            failing: AtomicBool::new(false),
            writing_since: AtomicU64::new(0),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).map_or(u64::MAX, |millis| millis.saturating_add(1))
    }

    fn is_writable(&self) -> bool {
        let since = self.writing_since.load(Ordering::Relaxed);
        let stalled = since != 0 && u128::from(self.now().saturating_sub(since)) > STALL.as_millis();
        !stalled && !self.failing.load(Ordering::Relaxed)
    }
}

struct Writer<W, R> {
    sink: W,
    receiver: mpsc::Receiver<R>,
    health: Arc<SinkHealth>,
    metrics: JournalMetrics,
}

impl<W: Write, R: Serialize> Writer<W, R> {
    fn run(mut self) -> Result<(), UnwrittenRecords> {
        let mut lines = Vec::with_capacity(BATCH);
        while let Some(record) = self.receiver.blocking_recv() {
            let mut count = 1;
            push_line(&mut lines, &record);
            while lines.len() < BATCH {
                let Ok(record) = self.receiver.try_recv() else { break };
                push_line(&mut lines, &record);
                count += 1;
            }
            if !self.write(&lines) {
                while self.receiver.try_recv().is_ok() {
                    count += 1;
                }
                return Err(UnwrittenRecords::Failed { count });
            }
            lines.clear();
            self.metrics.written(count);
        }
        Ok(())
    }

    /// Writes all of `lines`, however often the sink fails; `false` only when no caller is left to protect.
    fn write(&mut self, lines: &[u8]) -> bool {
        let mut rest = lines;
        let mut give_up: Option<Instant> = None;
        while !rest.is_empty() {
            self.health.writing_since.store(self.health.now(), Ordering::Relaxed);
            let written = self.sink.write(rest).and_then(|count| match count {
                0 => Err(ErrorKind::WriteZero.into()),
                count => Ok(count),
            });
            self.health.writing_since.store(0, Ordering::Relaxed);
            match written {
                Ok(count) => {
                    rest = rest.get(count..).unwrap_or_default();
                    self.health.failing.store(false, Ordering::Relaxed);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    if !self.health.failing.swap(true, Ordering::Relaxed) {
                        self.metrics.sink_failures.inc();
                        tracing::error!(%error, "the audit sink takes no records; calls are refused until it does");
                    }
                    if self.receiver.is_closed() && Instant::now() > *give_up.get_or_insert(Instant::now() + LAST_TRIES)
                    {
                        return false;
                    }
                    std::thread::sleep(RETRY_PAUSE);
                }
            }
        }
        true
    }
}

fn push_line(lines: &mut Vec<u8>, record: &impl Serialize) {
    let start = lines.len();
    if let Err(error) = serde_json::to_writer(&mut *lines, record) {
        // Cannot happen: every field of a record serializes and a Vec takes every byte.
        lines.truncate(start);
        tracing::error!(%error, "an audit record could not be written as JSON");
        return;
    }
    lines.push(b'\n');
}
