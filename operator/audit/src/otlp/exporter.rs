//! The thread that sends.

use super::client::{Client, SendError};
use super::{Item, encode};
use crate::journal::{JournalMetrics, SinkHealth};
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
    pub on_failure: OnSinkFailure,
    pub health: Arc<SinkHealth>,
    pub metrics: JournalMetrics,
}

impl Exporter {
    /// Sends until no more lines can come. Returns how many are lost.
    pub async fn run(mut self) -> usize {
        let mut batch = Vec::with_capacity(BATCH);
        while self.receiver.recv_many(&mut batch, BATCH).await > 0 {
            if !self.send(&batch).await {
                let mut lost = batch.len();
                while self.receiver.try_recv().is_ok() {
                    lost += 1;
                }
                return lost;
            }
            self.metrics.exported.inc_by(batch.len() as u64);
            self.send_spans(&batch).await;
            batch.clear();
        }
        0
    }

    /// Sends the lines of `batch`, however often that fails; `false` only when nobody is left to wait.
    async fn send(&mut self, batch: &[Item]) -> bool {
        let logs = encode::logs(&self.resource, batch).to_string();
        let mut pause = FIRST_PAUSE;
        let mut give_up: Option<Instant> = None;
        loop {
            let Err(error) = self.client.send("v1/logs", logs.clone().into()).await else {
                self.health.collector_fails(false);
                return true;
            };
            self.failed(&error);
            if self.receiver.is_closed() && Instant::now() > *give_up.get_or_insert(Instant::now() + LAST_TRIES) {
                return false;
            }
            tokio::time::sleep(pause).await;
            let bound = if self.receiver.is_closed() {
                FIRST_PAUSE
            } else {
                LAST_PAUSE
            };
            pause = (pause * 2).min(bound);
        }
    }

    fn failed(&self, error: &SendError) {
        if self.health.collector_fails(true) {
            self.metrics.sink_fails();
            let meanwhile = match self.on_failure {
                OnSinkFailure::Block => "calls are refused until it does",
                OnSinkFailure::Drop => "calls go unrecorded there until it does",
            };
            tracing::error!(%error, "the collector takes no records; {meanwhile}");
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
            self.metrics.unexported_spans.inc_by(spans as u64);
            tracing::debug!(%error, "the collector takes no spans");
        }
    }
}
