//! What Prometheus sees. Every label has a bounded set of values: never a host, an address or a rule.

use crate::event::{Verdict, Via};
use crate::meter::End;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use sallyport_audit::journal::JournalMetrics;
use std::time::Duration;

/// Content type of [`Metrics::encode`]'s text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Bounds of the histograms of short waits, in seconds.
const WAITS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 10.0];

/// Bounds of the histogram of a connection's life, in seconds.
const LIVES: [f64; 8] = [0.1, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0, 3600.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DecisionLabels {
    via: &'static str,
    decision: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndLabels {
    end: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DirectionLabels {
    direction: &'static str,
}

/// All metrics of one gateway.
pub struct Metrics {
    registry: Registry,
    connections: Family<DecisionLabels, Counter>,
    closed: Family<EndLabels, Counter>,
    bytes: Family<DirectionLabels, Counter>,
    duration: Histogram,
    resolve: Histogram,
    dial: Histogram,
    open: Gauge,
    unrecorded: Counter,
    policy_loads: Counter,
    policy_failures: Counter,
    policy_broken: Gauge,
    /// Connections of clients, those that are refused included.
    pub clients: Gauge,
    /// What the journal counts.
    pub journal: JournalMetrics,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Metrics at zero.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("sallyport_egress"),
            connections: Family::default(),
            closed: Family::default(),
            bytes: Family::default(),
            duration: Histogram::new(LIVES),
            resolve: Histogram::new(WAITS),
            dial: Histogram::new(WAITS),
            open: Gauge::default(),
            unrecorded: Counter::default(),
            policy_loads: Counter::default(),
            policy_failures: Counter::default(),
            policy_broken: Gauge::default(),
            clients: Gauge::default(),
            journal: JournalMetrics::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        let decided = self.connections.clone();
        registry.register("connections", "Connections by what was decided and why", decided);
        registry.register(
            "connections_closed",
            "Connections by how they ended",
            self.closed.clone(),
        );
        registry.register_with_unit(
            "transferred",
            "Bytes between clients and hosts",
            Unit::Bytes,
            self.bytes.clone(),
        );
        let life = self.duration.clone();
        registry.register_with_unit("connection_duration", "From request to end", Unit::Seconds, life);
        registry.register_with_unit(
            "resolve_duration",
            "Resolving a name",
            Unit::Seconds,
            self.resolve.clone(),
        );
        registry.register_with_unit(
            "dial_duration",
            "Connecting to a host",
            Unit::Seconds,
            self.dial.clone(),
        );
        registry.register("open_connections", "Connections that are open", self.open.clone());
        registry.register("clients", "Connections of clients", self.clients.clone());
        let unrecorded = self.unrecorded.clone();
        registry.register(
            "unrecorded_refusals",
            "Clients refused because the sink takes no events",
            unrecorded,
        );
        registry.register(
            "policy_loads",
            "Changed policies that came into force",
            self.policy_loads.clone(),
        );
        let failures = self.policy_failures.clone();
        registry.register("policy_failures", "Changed policies that are broken", failures);
        let broken = self.policy_broken.clone();
        registry.register(
            "policy_broken",
            "Whether the newest policy is broken and an older in force",
            broken,
        );
        self.journal.register(registry);
    }

    /// Counts a connection that has opened.
    pub fn opened(&self, via: Via, decision: Verdict, reason: Option<&'static str>) {
        self.open.inc();
        self.decided(via, decision, reason.unwrap_or("none"));
    }

    /// Counts a connection that has ended.
    pub fn closed(&self, end: End, sent: u64, received: u64, life: Duration) {
        self.open.dec();
        self.closed.get_or_create(&EndLabels { end: end.as_str() }).inc();
        for (direction, count) in [("sent", sent), ("received", received)] {
            self.bytes.get_or_create(&DirectionLabels { direction }).inc_by(count);
        }
        self.duration.observe(life.as_secs_f64());
    }

    /// Counts a connection that does not come about.
    pub fn refused(&self, via: Via, decision: Verdict, reason: &'static str) {
        self.decided(via, decision, reason);
    }

    fn decided(&self, via: Via, decision: Verdict, reason: &'static str) {
        let labels = DecisionLabels {
            via: via.as_str(),
            decision: decision.as_str(),
            reason,
        };
        self.connections.get_or_create(&labels).inc();
    }

    /// Counts a client that was refused without an event.
    pub fn unrecorded(&self) {
        self.unrecorded.inc();
    }

    /// Notes how long resolving took.
    pub fn resolved(&self, elapsed: Duration) {
        self.resolve.observe(elapsed.as_secs_f64());
    }

    /// Notes how long connecting took.
    pub fn dialled(&self, elapsed: Duration) {
        self.dial.observe(elapsed.as_secs_f64());
    }

    /// Notes that a changed policy is in force.
    pub fn policy_loaded(&self) {
        self.policy_loads.inc();
        self.policy_broken.set(0);
    }

    /// Notes that a changed policy is broken.
    pub fn policy_broken(&self) {
        self.policy_failures.inc();
        self.policy_broken.set(1);
    }

    /// The OpenMetrics text.
    ///
    /// # Errors
    ///
    /// Never in practice: a String takes every byte.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
