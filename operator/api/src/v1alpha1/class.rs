//! `McpEndpointClass` v1alpha1: what the platform decides for all endpoints that name it.

#![allow(
    clippy::duplicated_attributes,
    reason = "two columns of one type are not one attribute twice"
)]

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the platform decides for the endpoints of this class.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
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
}
