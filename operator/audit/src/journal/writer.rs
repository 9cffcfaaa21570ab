//! The thread that gives records their form, links them and writes them.

use super::last_word::LastWordFile;
use super::loss::Gap;
use super::mark::{Mark, Program};
use super::{Journaled, Settings, Shared, UnwrittenRecords};
use crate::chain::Chain;
use crate::otlp::{Collector, Item, Telemetry};
use jiff::Timestamp;
use sallyport_policy::{AuditFormat, OnSinkFailure};
use serde_json::{Map, Value};
use std::io::{ErrorKind, Write};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// Pause before the rest of a failed write is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// How long a failing sink is still tried once no more records can come.
const LAST_TRIES: Duration = Duration::from_secs(3);

/// Records that are written with one system call at most, in bytes.
const BATCH: usize = 64 * 1024;

/// What the thread works with.
pub(super) struct Writer<W, R> {
    stdout: Option<W>,
    collector: Option<Collector>,
    receiver: mpsc::Receiver<R>,
    format: AuditFormat,
    chain: Chain,
    last_word: Option<LastWordFile>,
    shared: Arc<Shared>,
}

/// Lines that are linked and not written yet.
#[derive(Default)]
struct Batch {
    lines: Vec<u8>,
    /// Bytes of the lines, for whichever sink.
    size: usize,
    items: Vec<Item>,
    /// Records of requests, marks not counted.
    records: usize,
}

impl<W: Write, R: Journaled> Writer<W, R> {
    pub fn new(
        stdout: Option<W>,
        collector: Option<Collector>,
        receiver: mpsc::Receiver<R>,
        settings: &Settings,
        shared: Arc<Shared>,
    ) -> Self {
        Self {
            stdout,
            collector,
            receiver,
            format: settings.policy.format,
            chain: Chain::begin(settings.chain.clone()),
            last_word: settings.last_word.as_deref().and_then(LastWordFile::open),
            shared,
        }
    }

    /// Writes until no more records can come.
    pub fn run(mut self, program: &Program) -> Result<(), UnwrittenRecords> {
        let mut batch = Batch::default();
        self.push_mark(&mut batch, &Mark::Start, program);
        self.flush(&mut batch)?;
        while let Some(record) = self.receiver.blocking_recv() {
            self.push_losses(&mut batch, program);
            self.push_record(&mut batch, &record);
            while batch.size < BATCH {
                let Ok(record) = self.receiver.try_recv() else { break };
                self.push_record(&mut batch, &record);
            }
            self.flush(&mut batch)?;
        }
        self.push_losses(&mut batch, program);
        self.push_mark(&mut batch, &Mark::End, program);
        self.flush(&mut batch)?;
        let unsent = self.collector.take().map_or(0, Collector::finish);
        // What was lost since the last mark is told here alone: the chain has ended.
        let untold = self.shared.untold.take().map_or(0, |gap| gap.count);
        match unsent.saturating_add(usize::try_from(untold).unwrap_or(usize::MAX)) {
            0 => Ok(()),
            count => Err(UnwrittenRecords::Failed { count }),
        }
    }

    /// Says in the chain what is lost.
    fn push_losses(&mut self, batch: &mut Batch, program: &Program) {
        let count = self.shared.unqueued.take();
        if count > 0 {
            self.push_mark(batch, &Mark::Lost { count }, program);
        }
        if self.collector.as_ref().is_some_and(Collector::has_room)
            && let Some(gap) = self.shared.untold.take()
        {
            self.push_mark(batch, &Mark::Gap(gap), program);
        }
    }

    fn push_mark(&mut self, batch: &mut Batch, mark: &Mark, program: &Program) {
        let rendered = mark.render(program, self.format);
        self.push(batch, rendered, || Some(mark.telemetry()));
    }

    fn push_record(&mut self, batch: &mut Batch, record: &R) {
        batch.records += 1;
        match record.render(self.format) {
            Ok(rendered) => self.push(batch, rendered, || record.telemetry()),
            // Cannot happen: every field of a record serializes.
            Err(error) => tracing::error!(%error, "an audit record could not be written as JSON"),
        }
    }

    fn push(&mut self, batch: &mut Batch, record: Map<String, Value>, telemetry: impl FnOnce() -> Option<Telemetry>) {
        let seq = self.chain.next();
        let line = self.chain.append(record);
        batch.size += line.len();
        if self.stdout.is_some() {
            batch.lines.extend_from_slice(line.as_bytes());
            batch.lines.push(b'\n');
        }
        if self.collector.is_some()
            && let Some(telemetry) = telemetry()
        {
            batch.items.push(Item { seq, line, telemetry });
        }
    }

    /// Gives `batch` to the sinks and empties it.
    fn flush(&mut self, batch: &mut Batch) -> Result<(), UnwrittenRecords> {
        if !self.write(&batch.lines) {
            let mut count = batch.records;
            while self.receiver.try_recv().is_ok() {
                count += 1;
            }
            return Err(UnwrittenRecords::Failed { count });
        }
        for item in batch.items.drain(..) {
            if let Some(collector) = &self.collector {
                let shared = &self.shared;
                shared.health.watch(|| deliver(collector, item, shared));
            }
        }
        let anchor = self.chain.anchor(Timestamp::now());
        if let (Some(file), Some(anchor)) = (&mut self.last_word, &anchor) {
            file.write(anchor);
        }
        *self.shared.anchor.lock().unwrap_or_else(PoisonError::into_inner) = anchor;
        self.shared.metrics.written(batch.records);
        batch.lines.clear();
        batch.size = 0;
        batch.records = 0;
        Ok(())
    }

    /// Writes all of `lines`, however often the sink fails; `false` only when no caller is left to protect.
    fn write(&mut self, lines: &[u8]) -> bool {
        let Some(stdout) = &mut self.stdout else { return true };
        let mut rest = lines;
        let mut give_up: Option<Instant> = None;
        while !rest.is_empty() {
            let written = self.shared.health.watch(|| stdout.write(rest));
            let written = written.and_then(|count| match count {
                0 => Err(ErrorKind::WriteZero.into()),
                count => Ok(count),
            });
            match written {
                Ok(count) => {
                    rest = rest.get(count..).unwrap_or_default();
                    self.shared.health.stdout_fails(false);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    if self.shared.health.stdout_fails(true) {
                        self.shared.metrics.sink_fails();
                        let drop = self.shared.on_failure == OnSinkFailure::Drop;
                        let meanwhile = if drop { "go unrecorded" } else { "are refused" };
                        tracing::error!(%error, "the audit sink takes no records; calls {meanwhile} until it does");
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

/// Hands `item` to the collector's thread, and waits for room unless the endpoint says `Drop`.
fn deliver(collector: &Collector, item: Item, shared: &Shared) {
    let seq = item.seq;
    let lost = match shared.on_failure {
        OnSinkFailure::Block => collector.sender.blocking_send(item).is_err(),
        OnSinkFailure::Drop => matches!(
            collector.sender.try_send(item),
            Err(TrySendError::Full(_) | TrySendError::Closed(_))
        ),
    };
    if lost {
        shared.untold.add(Gap::of(seq));
        shared.metrics.lost(1);
    }
}
