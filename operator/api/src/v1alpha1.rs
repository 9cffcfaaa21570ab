//! `McpEndpoint` v1alpha1.
//!
//! The doc comments below are the user's documentation (`kubectl explain`, `docs/reference`). Every string and list is
//! bounded, both for its own sake and because the API server estimates the cost of the CEL rules from the bounds.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

mod access;
mod audit;
mod class;
mod credentials;
mod egress;
mod isolation;
mod server;
mod status;

pub use access::{Access, AccessPeer, MatchLabels};
pub use audit::{Audit, AuditArguments};
pub use class::{EgressCeiling, McpEndpointClass, McpEndpointClassSpec, NetworkEnforcement};
pub use credentials::{Credential, CredentialSource, SecretRef};
pub use egress::{Egress, EgressDns, EgressMode, EgressRule, ServiceDestination};
pub use isolation::{Isolation, QuotaMode};
pub use server::{
    EnvVar, HttpTransport, Resources, Server, StdioTransport, Transport, Writable, WritablePath, WritablePreset,
};
pub use status::{CredentialStatus, Footprint, McpEndpointStatus, Posture, ServerInfo};

/// Port on which the audit sidecar serves MCP in the pod.
pub const SIDECAR_PORT: u16 = 15080;
/// Port on which the audit sidecar serves health and metrics in the pod.
pub const SIDECAR_ADMIN_PORT: u16 = 15090;
/// Port of the operator's canary: a listener that every endpoint's pods must be refused, which proves that their egress is
/// closed. No endpoint may open it.
pub const CANARY_PORT: u16 = 15070;
/// Port of an endpoint's Service.
pub const SERVICE_PORT: u16 = 8080;
/// Port on which an egress gateway takes proxy requests, both in its pod and at its Service.
pub const GATEWAY_PORT: u16 = 3128;
/// Port on which an egress gateway serves health and metrics in its pod.
pub const GATEWAY_ADMIN_PORT: u16 = 15090;

/// What an endpoint runs and what it may do. Everything that is not allowed here is refused.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "sallyport.dev",
    version = "v1alpha1",
    kind = "McpEndpoint",
    plural = "mcpendpoints",
    singular = "mcpendpoint",
    namespaced,
    status = "McpEndpointStatus",
    derive = "PartialEq",
    shortname = "mcpe",
    category = "mcp",
    doc = "An MCP server that is locked down: nothing gets in, gets out or gets called that this object does not allow, and every call is on the record.",
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= 52").message("metadata.name becomes the name of a Service: write at most 52 characters of a-z, 0-9 and '-', starting with a letter"),
    validation = Rule::new("!self.metadata.name.endsWith('-egress')").message("metadata.name must not end with '-egress': objects of such names are egress gateways of other endpoints; choose another name"),
    validation = Rule::new("!self.metadata.name.startsWith('sallyport') && !(self.metadata.name in ['default', 'kubernetes'])").message("metadata.name must not be 'default' or 'kubernetes' or start with 'sallyport': objects of such names are Kubernetes' or the operator's own; choose another name"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Replicas", type_ = "string", json_path = ".status.readyReplicas"),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1),
    printcolumn(name = "Server", type_ = "string", json_path = ".status.server.name", priority = 1),
    printcolumn(name = "Image", type_ = "string", json_path = ".spec.server.image", priority = 1)
)]
#[serde(rename_all = "camelCase")]
pub struct McpEndpointSpec {
    /// Name of the McpEndpointClass that holds for this endpoint. The class that is marked as default, if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message("className is the name of an McpEndpointClass: a-z, 0-9, '-' and '.', as in standard"))]
    pub class_name: Option<String>,
    /// The MCP server: image, command, transport and what it may use.
    pub server: Server,
    /// Tokens that the server needs, mounted as read-only files under /var/run/secrets/sallyport/<name>/.
    /// Never as environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub credentials: Vec<Credential>,
    /// Who may call the endpoint. Nobody, if left out.
    #[serde(default, skip_serializing_if = "Access::is_default")]
    pub access: Access,
    /// What the server may reach. Nothing, not even DNS, if left out.
    #[serde(default, skip_serializing_if = "Egress::is_default")]
    pub egress: Egress,
    /// What the audit sidecar records of each call.
    #[serde(default)]
    pub audit: Audit,
    /// How the endpoint is bounded within its namespace.
    #[serde(default)]
    pub isolation: Isolation,
    /// How many pods run. Legacy MCP sessions live in one pod, so use 1 unless the server keeps no sessions.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 20))]
    pub replicas: i32,
}

fn one() -> i32 {
    1
}
