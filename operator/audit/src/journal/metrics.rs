//! What Prometheus sees of a journal.

use http::StatusCode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What Prometheus sees of a journal. Clones count together.
#[derive(Clone, Default)]
pub struct JournalMetrics {
    queue_depth: Gauge,
    records: Counter,
    sink_failures: Counter,
    lost: Counter,
    refused: Family<Vec<(&'static str, String)>, Counter>,
    pub(crate) exported: Counter,
    pub(crate) unexported_spans: Counter,
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
            "Times that an audit sink began to fail",
            self.sink_failures.clone(),
        );
        registry.register(
            "audit_records_lost",
            "Audit records that a sink was not given, because the endpoint says Drop, or that the collector refused for good",
            self.lost.clone(),
        );
        registry.register(
            "audit_records_refused",
            "Audit records that the collector refused for good, by the HTTP status of its answer",
            self.refused.clone(),
        );
        registry.register(
            "audit_records_exported",
            "Audit records that the collector took",
            self.exported.clone(),
        );
        registry.register(
            "audit_spans_unexported",
            "Spans that the collector did not take",
            self.unexported_spans.clone(),
        );
    }

    pub(super) fn queued(&self) {
        self.queue_depth.inc();
    }

    pub(super) fn written(&self, count: usize) {
        self.records.inc_by(count as u64);
        self.queue_depth.dec_by(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(super) fn lost(&self, count: u64) {
        self.lost.inc_by(count);
    }

    /// The collector refused `count` records for good by an answer with `status`.
    pub(crate) fn refused(&self, count: u64, status: Option<StatusCode>) {
        self.lost(count);
        let status = status.map_or_else(|| "none".to_owned(), |status| status.as_str().to_owned());
        let label = vec![("status", status)];
        self.refused.get_or_create(&label).inc_by(count);
    }

    pub(crate) fn sink_fails(&self) {
        self.sink_failures.inc();
    }
}
