//! Prometheus metrics. No label names an endpoint: ten thousand of them must not make ten thousand series.

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use std::{fmt, sync::Arc, time::Duration};

/// The operator's metrics; clones share their values.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    /// 1 on the replica that holds the lease.
    pub leader: Gauge,
    /// Writes that were sent to the API server, leases not counted.
    pub writes: Counter,
    /// Reconciles that began.
    reconciles: Counter,
    /// Reconciles under way.
    in_flight: Gauge,
    /// Reconciles that failed, by category.
    errors: Family<Category, Counter>,
    /// How long reconciles took, in seconds.
    duration: Histogram,
    /// Children that others had changed or deleted and that were put right, by kind.
    drift: Family<Kind, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Category {
    category: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Kind {
    kind: String,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Arc::default(),
            leader: Gauge::default(),
            writes: Counter::default(),
            reconciles: Counter::default(),
            in_flight: Gauge::default(),
            errors: Family::default(),
            duration: Histogram::new(exponential_buckets(0.005, 2.0, 13)),
            drift: Family::default(),
        };
        let mut registry = Registry::with_prefix("sallyport");
        registry.register(
            "leader",
            "1 on the replica that holds the lease",
            metrics.leader.clone(),
        );
        registry.register(
            "api_writes",
            "Writes sent to the API server, leases not counted",
            metrics.writes.clone(),
        );
        registry.register("reconciles", "Reconciles that began", metrics.reconciles.clone());
        registry.register(
            "reconciles_in_flight",
            "Reconciles under way",
            metrics.in_flight.clone(),
        );
        registry.register("reconcile_errors", "Reconciles that failed", metrics.errors.clone());
        registry.register(
            "reconcile_duration_seconds",
            "How long reconciles took",
            metrics.duration.clone(),
        );
        registry.register(
            "drift_repairs",
            "Children put right after others changed them",
            metrics.drift.clone(),
        );
        metrics.registry = Arc::new(registry);
        metrics
    }
}

impl Metrics {
    /// Content type of [`Metrics::encode`].
    pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// Every metric in OpenMetrics text format.
    ///
    /// # Errors
    ///
    /// Never in practice: a String can always be written to.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// Counts a reconcile that begins; dropping the guard ends it, also when it was given up.
    #[must_use]
    pub fn reconciling(&self) -> Reconciling {
        self.reconciles.inc();
        self.in_flight.inc();
        Reconciling {
            begun: std::time::Instant::now(),
            duration: self.duration.clone(),
            in_flight: self.in_flight.clone(),
        }
    }

    /// Counts a reconcile that failed.
    pub fn failed(&self, category: &str) {
        self.errors
            .get_or_create(&Category {
                category: category.to_owned(),
            })
            .inc();
    }

    /// Counts a child that was put right.
    pub fn drift_repaired(&self, kind: &str) {
        self.drift.get_or_create(&Kind { kind: kind.to_owned() }).inc();
    }
}

/// A reconcile under way.
pub struct Reconciling {
    begun: std::time::Instant,
    duration: Histogram,
    in_flight: Gauge,
}

impl Drop for Reconciling {
    fn drop(&mut self) {
        let took: Duration = self.begun.elapsed();
        self.duration.observe(took.as_secs_f64());
        self.in_flight.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_in_the_text() {
        let metrics = Metrics::default();
        drop(metrics.reconciling());
        metrics.failed("ApplyFailed");
        metrics.drift_repaired("NetworkPolicy");
        metrics.leader.set(1);
        let text = metrics.encode().unwrap();
        for line in [
            "sallyport_leader 1",
            "sallyport_reconciles_total 1",
            "sallyport_reconciles_in_flight 0",
            "sallyport_reconcile_errors_total{category=\"ApplyFailed\"} 1",
            "sallyport_reconcile_duration_seconds_count 1",
            "sallyport_drift_repairs_total{kind=\"NetworkPolicy\"} 1",
            "sallyport_api_writes_total 0",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
