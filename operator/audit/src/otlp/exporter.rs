//! The thread that sends.
//!
//! What the collector does not take now is tried again. What it refuses for good (OTLP/HTTP, "Failures") is sent in smaller
//! parts, down to the records that it refuses alone. Such a record is given up only once the collector has taken something
//! else, so that one which refuses everything costs none: that is a sink that fails.

use super::client::{Client, SendError};
use super::{Duty, Item, Telemetry, encode};
use crate::journal::Gap;
use crate::verify::Sequence;
use jiff::Timestamp;
use sallyport_policy::OnSinkFailure;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Lines in one request at most.
const BATCH: usize = 256;

/// Pauses after a failure: the first, doubled up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// How long a failing collector is still tried once no more lines can come.
const LAST_TRIES: Duration = Duration::from_secs(3);

/// What the thread works with.
pub(super) struct Exporter {
    pub client: Client,
    pub receiver: mpsc::Receiver<Item>,
    pub resource: Vec<(&'static str, String)>,
    pub traces: bool,
    pub duty: Duty,
}

/// What became of records that were sent.
enum Sent {
    /// They need not be sent again.
    Settled,
    /// The same records might be taken in smaller parts.
    Split,
    /// They might be taken later.
    Later,
    /// They might be taken later, or in smaller parts.
    LaterSplit,
}

impl Exporter {
    /// Sends until no more lines can come. Returns how many were not sent.
    pub async fn run(mut self) -> usize {
        let mut batch = Vec::with_capacity(BATCH);
        while self.receiver.recv_many(&mut batch, BATCH).await > 0 {
            if let Err(mut unsent) = self.send(&batch).await {
                while self.receiver.try_recv().is_ok() {
                    unsent += 1;
                }
                return unsent;
            }
            self.send_spans(&batch).await;
            batch.clear();
        }
        0
    }

    /// Sends the lines of `batch`, in order, however often that fails; only when nobody is left to wait, an error: how many
    /// were not sent.
    async fn send(&mut self, batch: &[Item]) -> Result<(), usize> {
        let mut parts = vec![batch];
        let mut pauses = Pauses::new();
        while let Some(part) = parts.pop() {
            let sent = self.send_part(part).await;
            match sent {
                Sent::Settled => {}
                Sent::Later => parts.push(part),
                Sent::Split | Sent::LaterSplit => {
                    let (first, rest) = part.split_at(part.len() / 2);
                    parts.extend([rest, first]);
                }
            }
            if matches!(sent, Sent::Settled) {
                pauses = Pauses::new();
            } else if matches!(sent, Sent::Later | Sent::LaterSplit) && !pauses.pause(&self.receiver).await {
                return Err(parts.iter().map(|part| part.len()).sum());
            }
        }
        Ok(())
    }

    async fn send_part(&mut self, part: &[Item]) -> Sent {
        let Err(error) = self.try_once(part).await else {
            return Sent::Settled;
        };
        match (&error, part) {
            // All of them, as it says itself.
            (SendError::Rejected { .. }, _) => self.refused(part, &error).await,
            (error, [_, _, ..]) if !error.is_temporary() => Sent::Split,
            (error, _) if !error.is_temporary() => self.refused(part, error).await,
            // Some collectors break off instead of saying that a request is too large for them.
            (SendError::Exchange(_) | SendError::TimedOut, [_, _, ..]) => {
                self.fails(&error);
                Sent::LaterSplit
            }
            _ => {
                self.fails(&error);
                Sent::Later
            }
        }
    }

    /// Sends `part`. An error means that none of it was taken.
    async fn try_once(&mut self, part: &[Item]) -> Result<(), SendError> {
        let all = part.len() as u64;
        let taken = match self.post(part).await {
            Ok(()) => all,
            // It is not said which. They must not be sent again (OTLP/HTTP, "Partial Success"): the others would come twice.
            Err(error @ SendError::Rejected { count, .. }) if count < all => {
                self.give_up(part, count, &error);
                all - count
            }
            Err(error) => return Err(error),
        };
        self.duty.metrics.exported.inc_by(taken);
        self.duty.health.collector(None);
        Ok(())
    }

    async fn post(&mut self, part: &[Item]) -> Result<(), SendError> {
        let logs = encode::logs(&self.resource, part).to_string();
        self.client.send("v1/logs", logs.into()).await
    }

    /// Decides on `part`, all of which was refused for good.
    async fn refused(&mut self, part: &[Item], error: &SendError) -> Sent {
        // What only the collector is to have is not given up.
        if self.duty.only_sink && self.duty.on_failure == OnSinkFailure::Block {
            self.fails(error);
            return Sent::Later;
        }
        if self.post(&notice(part)).await.is_err() {
            self.fails(error);
            return Sent::Later;
        }
        // Once more: what it was refused for may have been over before the notice was taken.
        match self.try_once(part).await {
            Ok(()) => {}
            Err(error) if error.is_temporary() => {
                self.fails(&error);
                return Sent::Later;
            }
            Err(error) => {
                self.give_up(part, part.len() as u64, &error);
                self.duty.health.collector(None);
            }
        }
        Sent::Settled
    }

    /// Counts `count` records of `part` as lost and has the chain say so.
    fn give_up(&self, part: &[Item], count: u64, error: &SendError) {
        let (Some(first), Some(last)) = (part.first(), part.last()) else {
            return;
        };
        let within = Sequence {
            first: first.seq,
            last: last.seq,
        };
        self.duty.untold.add(Gap { within, count });
        self.duty.metrics.refused(count, error.status());
        tracing::error!(%error, first = within.first, last = within.last, count, "the collector goes without records that it refuses");
    }

    fn fails(&self, error: &SendError) {
        let problem: Arc<str> = error.to_string().into();
        let before = self.duty.health.collector(Some(problem.clone()));
        if before.is_none() {
            self.duty.metrics.sink_fails();
        }
        if before.as_ref() != Some(&problem) {
            let meanwhile = match self.duty.on_failure {
                OnSinkFailure::Block => "calls are refused until it does",
                OnSinkFailure::Drop => "calls go unrecorded there until it does",
            };
            tracing::error!(error = %problem, "the collector takes no records; {meanwhile}");
        }
    }

    /// Sends the spans of `batch`, once: a span is no record, and its loss is only counted.
    async fn send_spans(&mut self, batch: &[Item]) {
        if !self.traces {
            return;
        }
        let Some(traces) = encode::traces(&self.resource, batch) else {
            return;
        };
        if let Err(error) = self.client.send("v1/traces", traces.to_string().into()).await {
            let spans: usize = batch.iter().map(|item| item.telemetry.spans.len()).sum();
            self.duty.metrics.unexported_spans.inc_by(spans as u64);
            tracing::debug!(%error, "the collector takes no spans");
        }
    }
}

/// What the collector is told of `part`, which it refused. It is no record: it has no place in the chain, and nothing of it
/// is a caller's. So a collector that does not take it either takes nothing.
fn notice(part: &[Item]) -> [Item; 1] {
    let seq = part.first().map_or(0, |item| item.seq);
    let last = part.last().map_or(seq, |item| item.seq);
    [Item {
        seq,
        line: format!("records {seq} to {last} of this chain are refused here: the log of the pod says why"),
        telemetry: Telemetry::plain(Timestamp::now(), "refused", true),
    }]
}

/// The pauses between tries.
struct Pauses {
    next: Duration,
    give_up: Option<Instant>,
}

impl Pauses {
    const fn new() -> Self {
        Self {
            next: FIRST_PAUSE,
            give_up: None,
        }
    }

    /// Waits before the next try; `false` if there is none, for nobody is left to wait.
    async fn pause(&mut self, receiver: &mpsc::Receiver<Item>) -> bool {
        let closed = receiver.is_closed();
        if closed && Instant::now() > *self.give_up.get_or_insert(Instant::now() + LAST_TRIES) {
            return false;
        }
        tokio::time::sleep(self.next).await;
        let bound = if closed { FIRST_PAUSE } else { LAST_PAUSE };
        self.next = (self.next * 2).min(bound);
        true
    }
}
