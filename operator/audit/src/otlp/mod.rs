//! Records on their way to a collector of OpenTelemetry: OTLP over HTTP with JSON (OTLP 1.5, "OTLP/HTTP").
//!
//! A thread of its own sends, so that a slow collector holds up only what must wait for it.

mod client;
mod encode;
mod exporter;
mod telemetry;
#[cfg(test)]
mod tests;

pub use telemetry::{Attribute, Attributes, Span, SpanContext, SpanKind, Telemetry};

use crate::journal::{JournalMetrics, SinkHealth, Untold};
use client::Client;
use exporter::Exporter;
use sallyport_policy::{OnSinkFailure, OtlpSink};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::mpsc;

/// Records that may wait for the collector.
const QUEUE: usize = 1024;

/// Why a collector cannot be spoken to.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    /// Not a URL.
    #[error("the collector's endpoint {endpoint:?} cannot be used: write http://host:port or https://host:port")]
    Endpoint {
        /// What the policy says.
        endpoint: String,
    },
    /// Its certificate authority is not there.
    #[error("cannot read the collector's certificate authority at {}: mount it there", path.display())]
    ReadAuthority {
        /// Where it should be.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// Not certificates.
    #[error("the collector's certificate authority at {} cannot be used: it must hold certificates in PEM", path.display())]
    Authority {
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it; without it, there is no certificate.
        #[source]
        source: Option<rustls::Error>,
    },
    /// No thread or no runtime for it.
    #[error("cannot start the thread that sends records to the collector")]
    Thread(#[source] std::io::Error),
}

/// A line on its way to the collector.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its number in the chain.
    pub seq: u64,
    /// As on standard output.
    pub line: String,
    /// What the collector is told beside it.
    pub telemetry: Telemetry,
}

/// Where lines for the collector go.
pub struct Collector {
    /// Bounded.
    pub sender: mpsc::Sender<Item>,
    thread: JoinHandle<usize>,
}

impl Collector {
    /// Whether the next line need not wait.
    pub fn has_room(&self) -> bool {
        self.sender.capacity() > 0
    }

    /// Waits until everything is sent, or given up. Returns how many lines are lost.
    pub fn finish(self) -> usize {
        drop(self.sender);
        // A thread that panicked has lost what nobody can count.
        self.thread.join().unwrap_or(1)
    }
}

/// What the journal expects of the thread that sends, and where it is told.
pub(crate) struct Duty {
    /// Whether calls wait for the collector.
    pub on_failure: OnSinkFailure,
    /// Whether no other sink has the records.
    pub only_sink: bool,
    /// Whether the collector takes records.
    pub health: Arc<SinkHealth>,
    /// Records that it will never get.
    pub untold: Arc<Untold>,
    /// What Prometheus sees.
    pub metrics: JournalMetrics,
}

/// Starts the thread that sends. `resource` says of every line where it is from.
///
/// # Errors
///
/// See [`OtlpError`].
pub(crate) fn start(
    sink: &OtlpSink,
    resource: Vec<(&'static str, String)>,
    duty: Duty,
) -> Result<Collector, OtlpError> {
    let client = Client::new(sink)?;
    let (sender, receiver) = mpsc::channel(QUEUE);
    let exporter = Exporter {
        client,
        receiver,
        resource,
        traces: sink.traces,
        duty,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(OtlpError::Thread)?;
    let thread = std::thread::Builder::new()
        .name("otlp".into())
        .spawn(move || runtime.block_on(exporter.run()))
        .map_err(OtlpError::Thread)?;
    Ok(Collector { sender, thread })
}
