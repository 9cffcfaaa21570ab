//! The bounded way from requests to the sinks, and the thread that writes.
//!
//! A request first takes a [`Slot`]; without one it is refused. One thread of its own gives records their form, links them
//! into the [chain](crate::chain) and writes them.

mod health;
mod last_word;
mod loss;
mod mark;
mod metrics;
#[cfg(test)]
mod tests;
mod writer;

pub use health::SinkHealth;
pub(crate) use loss::{Gap, Untold};
pub use mark::Program;
pub use metrics::JournalMetrics;

use crate::chain::{Anchor, ChainId};
use crate::otlp::{self, Duty, OtlpError, Telemetry};
use loss::Unqueued;
use sallyport_policy::{AuditFormat, AuditPolicy, AuditPolicyError, OnSinkFailure};
use serde_json::{Map, Value};
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use writer::Writer;

/// How long a request waits for room in the journal before it is refused.
const ADMISSION_WAIT: Duration = Duration::from_secs(1);

/// Records cannot be taken, so no call is let through.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SinkUnavailable {
    /// Standard output takes none, or as many wait as may.
    #[error("the audit sink takes no records")]
    Stuck,
    /// The collector takes none; why, and what to change.
    #[error("the audit sink takes no records: {0}")]
    Collector(Arc<str>),
}

/// Why a journal cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Records cannot go where the policy says.
    #[error(transparent)]
    Policy(#[from] AuditPolicyError),
    /// The collector cannot be spoken to.
    #[error(transparent)]
    Otlp(#[from] OtlpError),
    /// No thread.
    #[error("cannot start the audit thread")]
    Thread(#[source] std::io::Error),
}

/// Records are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnwrittenRecords {
    /// The sink failed until the end.
    #[error(
        "the audit sink failed and {count} records are lost: check what takes the records, standard output or the collector"
    )]
    Failed {
        /// How many.
        count: usize,
    },
    /// The sink neither takes the last records nor fails.
    #[error("the audit sink does not take the last records: check what reads the program's standard output")]
    Stuck,
}

/// What a journal takes.
pub trait Journaled: Send + 'static {
    /// The record in `format`. Holds no fraction, which has no one text; in OCSF it has a member `unmapped`.
    ///
    /// # Errors
    ///
    /// When a field has no JSON.
    fn render(&self, format: AuditFormat) -> Result<Map<String, Value>, serde_json::Error>;

    /// What a collector is told beside the line; `None` if the record is not for collectors.
    fn telemetry(&self) -> Option<Telemetry> {
        None
    }
}

/// What a journal is started with.
pub struct Settings {
    /// Which chain it begins.
    pub chain: ChainId,
    /// Who records.
    pub program: Program,
    /// Where records go and in which form.
    pub policy: AuditPolicy,
    /// Records that are reserved or queued at a time.
    pub capacity: usize,
    /// File in which the chain's end stands after every write, as a [`LastWord`](sallyport_policy::LastWord). Nowhere, if it does not
    /// exist.
    pub last_word: Option<PathBuf>,
}

impl Settings {
    /// A new chain for `program`, whose records go where `policy` says.
    pub fn new(program: Program, policy: AuditPolicy, capacity: usize) -> Self {
        Self {
            chain: ChainId::mint(&program.pod),
            program,
            policy,
            capacity,
            last_word: None,
        }
    }

    /// The same, with the chain's end in `file` after every write.
    #[must_use]
    pub fn ending_in(mut self, file: Option<PathBuf>) -> Self {
        self.last_word = file;
        self
    }
}

/// Where requests take slots for records of type `R`. Clones share one queue.
pub struct Journal<R> {
    sender: mpsc::Sender<R>,
    shared: Arc<Shared>,
}

/// Room for one record, held by a request from before it is forwarded until it ends.
pub struct Slot<R> {
    /// `None` where the record will be lost because the endpoint says so.
    permit: Option<mpsc::OwnedPermit<R>>,
    shared: Arc<Shared>,
}

/// The writing thread. Ends when every [`Journal`] and every [`Slot`] is gone and all is written.
pub struct JournalThread {
    done: oneshot::Receiver<Result<(), UnwrittenRecords>>,
    thread: JoinHandle<()>,
}

/// What requests and the writing thread share.
struct Shared {
    on_failure: OnSinkFailure,
    health: Arc<SinkHealth>,
    unqueued: Unqueued,
    untold: Arc<Untold>,
    anchor: Mutex<Option<Anchor>>,
    metrics: JournalMetrics,
}

impl<R> Clone for Journal<R> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            shared: self.shared.clone(),
        }
    }
}

impl<R: Journaled> Journal<R> {
    /// Starts the writing thread, and one for the collector if the policy names one. `stdout` is written to unless the
    /// policy says otherwise.
    ///
    /// # Errors
    ///
    /// See [`JournalError`].
    pub fn start(
        stdout: impl Write + Send + 'static,
        settings: Settings,
        metrics: JournalMetrics,
    ) -> Result<(Self, JournalThread), JournalError> {
        let policy = &settings.policy;
        policy.check()?;
        let shared = Arc::new(Shared {
            on_failure: policy.on_sink_failure,
            health: Arc::new(SinkHealth::new()),
            unqueued: Unqueued::default(),
            untold: Arc::default(),
            anchor: Mutex::new(None),
            metrics,
        });
        let collector = match &policy.sinks.otlp {
            None => None,
            Some(sink) => {
                let resource = settings.program.resource(&settings.chain);
                let duty = Duty {
                    on_failure: policy.on_sink_failure,
                    only_sink: !policy.sinks.stdout,
                    health: shared.health.clone(),
                    untold: shared.untold.clone(),
                    metrics: shared.metrics.clone(),
                };
                Some(otlp::start(sink, resource, duty)?)
            }
        };
        let (sender, receiver) = mpsc::channel(settings.capacity);
        let (report, done) = oneshot::channel();
        let stdout = policy.sinks.stdout.then_some(stdout);
        let writer = Writer::new(stdout, collector, receiver, &settings, shared.clone());
        let program = settings.program;
        let thread = std::thread::Builder::new().name("audit".into()).spawn(move || {
            // The receiver is gone only when nobody waits for the end.
            let _ = report.send(writer.run(&program));
        });
        let thread = thread.map_err(JournalError::Thread)?;
        Ok((Self { sender, shared }, JournalThread { done, thread }))
    }

    /// Reserves room for one record. Where the endpoint says `Drop` there always is some, for a record that may be lost.
    ///
    /// # Errors
    ///
    /// When there is none within a second.
    pub async fn admit(&self) -> Result<Slot<R>, SinkUnavailable> {
        let permit = match self.shared.on_failure {
            OnSinkFailure::Drop => self.sender.clone().try_reserve_owned().ok(),
            OnSinkFailure::Block => {
                let reserve = self.sender.clone().reserve_owned();
                let reserved = tokio::time::timeout(ADMISSION_WAIT, reserve).await;
                let Ok(Ok(permit)) = reserved else {
                    return Err(SinkUnavailable::Stuck);
                };
                Some(permit)
            }
        };
        Ok(Slot {
            permit,
            shared: self.shared.clone(),
        })
    }

    /// Whether the sinks took the last record, in time. Where the endpoint says `Drop` nobody needs to know.
    ///
    /// # Errors
    ///
    /// When they did not.
    pub fn check_sink(&self) -> Result<(), SinkUnavailable> {
        match self.shared.on_failure {
            OnSinkFailure::Drop => Ok(()),
            OnSinkFailure::Block => self.shared.health.check(),
        }
    }

    /// The last record that was written; none before the first one.
    pub fn anchor(&self) -> Option<Anchor> {
        self.shared
            .anchor
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl<R> Slot<R> {
    /// Hands the record over; never waits.
    pub fn send(self, record: R) {
        if let Some(permit) = self.permit {
            self.shared.metrics.queued();
            permit.send(record);
        } else {
            self.shared.unqueued.count();
            self.shared.metrics.lost(1);
        }
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
