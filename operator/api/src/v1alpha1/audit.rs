//! What the audit sidecar records, and where records go.

use super::credentials::CaBundle;
use super::egress::ServiceDestination;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the audit sidecar records of each call, and where records go. It always records who, when, which method and tool, the
/// outcome and the latency, and never a token.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Audit {
    /// What is recorded of the arguments. Digest: their SHA-256 and size, never their text. Redacted: beside them the text up to
    /// a bound, without what looks like a secret. Full: the text up to a bound, as it was sent.
    #[serde(default)]
    pub arguments: AuditArguments,
    /// The form of a record. Json: the sidecar's own. Ocsf: OCSF, class 6003 (API Activity).
    #[serde(default)]
    pub format: AuditFormat,
    /// Collector of OpenTelemetry that records go to, besides the sidecar's standard output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otlp: Option<Otlp>,
    /// What happens to calls while records cannot be written. Block: they are refused. Drop: they pass; what is lost is counted,
    /// and the chain of records says so.
    #[serde(default)]
    pub on_sink_failure: OnSinkFailure,
}

/// What is recorded of a call's arguments.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuditArguments {
    /// Their SHA-256 and size.
    #[default]
    Digest,
    /// Their text without what looks like a secret.
    Redacted,
    /// Their text.
    Full,
}

/// The form of a record.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuditFormat {
    /// The sidecar's own.
    #[default]
    Json,
    /// OCSF, class 6003 (API Activity).
    Ocsf,
}

/// What happens to calls while records cannot be written.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnSinkFailure {
    /// They are refused.
    #[default]
    Block,
    /// They pass.
    Drop,
}

/// A collector of OpenTelemetry that speaks OTLP over HTTP. The audit sidecar connects to it directly, and has no resolver.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!self.endpoint.startsWith('https://') || has(self.caBundle)").message("audit.otlp.caBundle is needed with an https endpoint: the certificate authority that the collector's certificate leads to, as in caBundle: {configMap: {name: collector-ca}}"))]
pub struct Otlp {
    /// Base URL; /v1/logs and /v1/traces are appended. The host is an address, of a Service whose address is fixed for example:
    /// the pod has no resolver.
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new("self.matches('^https?://([0-9]{1,3}([.][0-9]{1,3}){3}|[[][0-9a-f:.]+[]]):[0-9]{1,5}(/[-A-Za-z0-9._~/]*)?$')").message("audit.otlp.endpoint is http or https with an address and a port, as in http://10.96.12.34:4318: the pod has no resolver, so write the address of the collector's Service"))]
    pub endpoint: String,
    /// The collector's pods, if they are of this cluster. Without it, the endpoint's address is outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceDestination>,
    /// Certificate authorities of an https collector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<CaBundle>,
    /// Whether calls are sent as spans too.
    #[serde(default)]
    pub traces: bool,
}
