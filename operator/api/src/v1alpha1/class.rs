//! `McpEndpointClass` v1alpha1: what the platform decides for all endpoints that name it.

#![allow(
    clippy::duplicated_attributes,
    reason = "two columns of one type are not one attribute twice"
)]

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the platform decides for the endpoints of this class.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[kube(
    group = "sallyport.dev",
    version = "v1alpha1",
    kind = "McpEndpointClass",
    plural = "mcpendpointclasses",
    singular = "mcpendpointclass",
    derive = "PartialEq",
    shortname = "mcpec",
    category = "mcp",
    doc = "What the platform decides for the endpoints that name this class. The class with the annotation sallyport.dev/is-default-class: \"true\" holds for endpoints that name none; without one, every field has the default that is documented here.",
    printcolumn(name = "Enforcement", type_ = "string", json_path = ".spec.networkEnforcement"),
    printcolumn(
        name = "Default",
        type_ = "string",
        json_path = ".metadata.annotations.sallyport\\.dev/is-default-class"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct McpEndpointClassSpec {
    /// What happens to pods whose forbidden destinations are not refused, as on a cluster whose network plugin does not
    /// enforce NetworkPolicy.
    #[serde(default)]
    pub network_enforcement: NetworkEnforcement,
    /// What endpoints may ask for under egress.
    #[serde(default)]
    pub egress: EgressCeiling,
    /// Whether callers without a credential may be let in: by authentication: {anonymous: true}, or because an endpoint leaves
    /// authentication out. With false, every endpoint has to name a method.
    #[serde(default = "yes")]
    pub allow_anonymous: bool,
    /// Whether an endpoint may say confirmation: {legacy: Token}, which lets a call be confirmed without a person.
    #[serde(default)]
    pub allow_token_confirmation: bool,
    /// The most that endpoints may ask for under limits.
    #[serde(default)]
    pub limits: LimitCeilings,
    /// The most pods that an endpoint may ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 20))]
    pub max_replicas: Option<i32>,
}

impl Default for McpEndpointClassSpec {
    fn default() -> Self {
        Self {
            network_enforcement: NetworkEnforcement::default(),
            egress: EgressCeiling::default(),
            allow_anonymous: yes(),
            allow_token_confirmation: false,
            limits: LimitCeilings::default(),
            max_replicas: None,
        }
    }
}

/// The most that endpoints may ask for under limits. What is left out is bounded by the McpEndpoint's schema alone.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LimitCeilings {
    /// Largest request body in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1024, max = 16_777_216))]
    pub body_bytes: Option<i64>,
    /// Largest answer in bytes that is not an event stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1024, max = 268_435_456))]
    pub response_bytes: Option<i64>,
    /// Seconds that an answer may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub request_seconds: Option<i32>,
    /// Seconds after which an event stream is ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86400))]
    pub stream_seconds: Option<i32>,
    /// Requests of all callers that each pod works on at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16384))]
    pub concurrent_requests: Option<i32>,
    /// Requests of one caller in 60 seconds, in each pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests_per_minute: Option<i32>,
}

const fn yes() -> bool {
    true
}

/// What happens to pods whose forbidden destinations are not refused.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NetworkEnforcement {
    /// The server does not start, and a running one gets no more calls, until they are refused.
    #[default]
    Required,
    /// The server starts all the same; the endpoint reports NetworkEnforced=False.
    Warn,
}

/// What endpoints may ask for under egress.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct EgressCeiling {
    /// Whether an endpoint may say dns: ClusterDNS, which lets data leave inside the questions.
    #[serde(default)]
    pub allow_cluster_dns: bool,
    /// Whether an endpoint may open the Kubernetes API to its server, by a cidr rule for its very address: for servers that
    /// manage the cluster. Such pods are not measured against the API any more, and carry a deviation in their posture.
    #[serde(default)]
    pub allow_kubernetes_api: bool,
}
