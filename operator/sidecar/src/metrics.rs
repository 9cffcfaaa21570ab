//! What Prometheus sees. Every label has a bounded set of values.

use crate::audit::Outcome;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use sallyport_audit::journal::JournalMetrics;
use sallyport_policy::enforcement::{Destination, Verdict};
use sallyport_policy::tools::{DriftReport, ToolState};
use std::fmt::Write as _;
use std::time::Duration;

/// Content type of [`Metrics::encode`]'s text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Bounds of the duration histogram in seconds: those of OpenTelemetry's `mcp.server.operation.duration`.
const DURATION_BOUNDS: [f64; 14] = [
    0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
];

/// JSON-RPC methods, brought down to a few classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MethodClass {
    /// No message: GET, DELETE, or refused before it was read.
    None,
    /// `initialize`, `server/discover`, `ping` and the other methods of the protocol itself.
    Protocol,
    /// `tools/call`.
    ToolsCall,
    /// `tools/list`.
    ToolsList,
    /// Resources.
    Resources,
    /// Prompts.
    Prompts,
    /// A notification.
    Notification,
    /// A response to a request of the server.
    Response,
    /// Anything else.
    Other,
}

impl MethodClass {
    /// The class of a message with `method`; a response has none.
    pub fn of(method: Option<&str>) -> Self {
        let Some(method) = method else {
            return Self::Response;
        };
        match method {
            "initialize"
            | "server/discover"
            | "ping"
            | "completion/complete"
            | "logging/setLevel"
            | "subscriptions/listen" => Self::Protocol,
            "tools/call" => Self::ToolsCall,
            "tools/list" => Self::ToolsList,
            _ if method.starts_with("notifications/") => Self::Notification,
            _ if method.starts_with("resources/") => Self::Resources,
            _ if method.starts_with("prompts/") => Self::Prompts,
            _ => Self::Other,
        }
    }
}

impl EncodeLabelValue for MethodClass {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), std::fmt::Error> {
        encoder.write_str(match self {
            Self::None => "none",
            Self::Protocol => "protocol",
            Self::ToolsCall => "tools_call",
            Self::ToolsList => "tools_list",
            Self::Resources => "resources",
            Self::Prompts => "prompts",
            Self::Notification => "notification",
            Self::Response => "response",
            Self::Other => "other",
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    outcome: Outcome,
    method: MethodClass,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProbeLabels {
    destination: &'static str,
    verdict: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProblemLabels {
    source: &'static str,
}

/// What keeps callers from being told apart, by where it comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuthenticationProblems {
    /// The file of API keys.
    pub api_keys: usize,
    /// Issuers of access tokens.
    pub issuers: usize,
    /// The certificate of this endpoint, and the authorities of clients' certificates.
    pub tls: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ToolLabels {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ToolCallLabels {
    /// A pinned tool, or [`OTHER_TOOL`]: callers cannot make labels.
    tool: String,
    outcome: Outcome,
}

/// Stands for every tool without a pin.
const OTHER_TOOL: &str = "_OTHER";

const TOOL_STATES: [(ToolState, &str); 6] = [
    (ToolState::Pinned, "pinned"),
    (ToolState::Unpinned, "unpinned"),
    (ToolState::Drifted, "drifted"),
    (ToolState::Missing, "missing"),
    (ToolState::Duplicate, "duplicate"),
    (ToolState::Faulty, "faulty"),
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DurationLabels {
    method: MethodClass,
}

/// All metrics of one sidecar.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    duration: Family<DurationLabels, Histogram, fn() -> Histogram>,
    /// Requests whose record is still open, streams included.
    pub active_requests: Gauge,
    /// Answers of the server that are being passed on as event streams.
    pub active_streams: Gauge,
    /// Connections of clients.
    pub connections: Gauge,
    /// What the journal counts.
    pub journal: JournalMetrics,
    /// Requests that were refused without a record because the journal had no room for one.
    pub audit_unrecorded_refusals: Counter,
    /// 1 while the pod was refused what it must be in the last round of probes.
    pub enforced: Gauge,
    probes: Family<ProbeLabels, Counter>,
    policy_generation: Gauge,
    policy_rejected: Gauge,
    authentication_problems: Family<ProblemLabels, Gauge>,
    tools: Family<ToolLabels, Gauge>,
    tool_calls: Family<ToolCallLabels, Counter>,
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
            registry: Registry::with_prefix("sallyport_sidecar"),
            requests: Family::default(),
            duration: Family::new_with_constructor(|| Histogram::new(DURATION_BOUNDS)),
            active_requests: Gauge::default(),
            active_streams: Gauge::default(),
            connections: Gauge::default(),
            journal: JournalMetrics::default(),
            audit_unrecorded_refusals: Counter::default(),
            enforced: Gauge::default(),
            probes: Family::default(),
            policy_generation: Gauge::default(),
            policy_rejected: Gauge::default(),
            authentication_problems: Family::default(),
            tools: Family::default(),
            tool_calls: Family::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("requests", "Requests by how they ended", metrics.requests.clone());
        registry.register_with_unit(
            "request_duration",
            "From a request's head to the end of its answer",
            Unit::Seconds,
            metrics.duration.clone(),
        );
        registry.register("active_requests", "Requests under way", metrics.active_requests.clone());
        registry.register(
            "active_streams",
            "Event streams under way",
            metrics.active_streams.clone(),
        );
        registry.register("connections", "Connections of clients", metrics.connections.clone());
        metrics.journal.register(registry);
        registry.register(
            "audit_unrecorded_refusals",
            "Requests refused without a record because the audit queue was full",
            metrics.audit_unrecorded_refusals.clone(),
        );
        registry.register(
            "network_enforced",
            "1 if the last round of connection attempts to forbidden destinations was refused",
            metrics.enforced.clone(),
        );
        registry.register(
            "forbidden_probes",
            "Connection attempts to destinations that no rule allows",
            metrics.probes.clone(),
        );
        registry.register(
            "policy_generation",
            "Generation of the spec that the policy in force was written from",
            metrics.policy_generation.clone(),
        );
        registry.register(
            "policy_rejected",
            "1 if the policy file as it is now cannot be used, so that the one of before decides",
            metrics.policy_rejected.clone(),
        );
        registry.register(
            "authentication_problems",
            "Key files, issuers and certificates that do not work as the policy wants them: 0 when all is well",
            metrics.authentication_problems.clone(),
        );
        registry.register(
            "tools",
            "Tools of the server by what holds of them",
            metrics.tools.clone(),
        );
        registry.register(
            "tool_calls",
            "Calls of tools by how they ended; tools without a pin are _OTHER",
            metrics.tool_calls.clone(),
        );
        metrics
    }

    /// Counts a call of a tool that has ended: by its name only if it is `pinned`.
    pub fn tool_called(&self, outcome: Outcome, pinned: Option<&str>) {
        let tool = pinned.unwrap_or(OTHER_TOOL).to_owned();
        self.tool_calls.get_or_create(&ToolCallLabels { tool, outcome }).inc();
    }

    /// Says which policy is in force.
    pub fn policy(&self, generation: i64, rejected: bool) {
        self.policy_generation.set(generation);
        self.policy_rejected.set(i64::from(rejected));
    }

    /// Says what keeps callers from being told apart. Each source is there at all times, so that an alert can tell none
    /// from unknown.
    pub fn authentication(&self, problems: AuthenticationProblems) {
        let AuthenticationProblems { api_keys, issuers, tls } = problems;
        for (source, count) in [("api_keys", api_keys), ("issuers", issuers), ("tls", tls)] {
            self.authentication_problems
                .get_or_create(&ProblemLabels { source })
                .set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Says what was seen of the server's tools.
    pub fn tools(&self, report: &DriftReport) {
        for (state, label) in TOOL_STATES {
            let count = report.tools.iter().filter(|tool| tool.state == state).count();
            self.tools
                .get_or_create(&ToolLabels { state: label })
                .set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Counts a connection attempt to a forbidden destination.
    pub fn probed(&self, destination: Destination, verdict: Verdict) {
        let destination = match destination {
            Destination::Canary => "canary",
            Destination::KubernetesApi => "kubernetes_api",
        };
        let verdict = match verdict {
            Verdict::Refused => "refused",
            Verdict::Inconclusive => "inconclusive",
            Verdict::Reached => "reached",
        };
        self.probes.get_or_create(&ProbeLabels { destination, verdict }).inc();
    }

    /// Counts a request that has ended.
    pub fn request_ended(&self, outcome: Outcome, method: MethodClass, elapsed: Duration) {
        self.active_requests.dec();
        self.requests.get_or_create(&RequestLabels { outcome, method }).inc();
        self.duration
            .get_or_create(&DurationLabels { method })
            .observe(elapsed.as_secs_f64());
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
