//! What the operator observed.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator observed.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct McpEndpointStatus {
    /// Generation of the spec that this status speaks of; -1 before the operator saw the object.
    #[serde(default)]
    pub observed_generation: i64,
    /// Ready sums up the others. Reconciling and Stalled follow kstatus and are absent when false.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Where clients inside the cluster reach the endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Pods that are wanted.
    #[serde(default)]
    pub replicas: i32,
    /// Pods that are available.
    #[serde(default)]
    pub ready_replicas: i32,
    /// The most that the endpoint can use, one surge pod of a roll-out included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub footprint: Option<Footprint>,
    /// What the server said of itself in the MCP handshake through the sidecar. Unverified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerInfo>,
    /// The credentials as far as the operator may see them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub credentials: Vec<CredentialStatus>,
    /// Hardening checks that the rendered pods pass, and those that they deviate from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub posture: Option<Posture>,
}

/// The most that an endpoint can use.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Footprint {
    /// Pods, one surge pod of a roll-out included.
    pub pods: i32,
    /// CPU of all containers.
    pub cpu: String,
    /// Memory of all containers.
    pub memory: String,
    /// Disk of all containers, writable directories included.
    pub ephemeral_storage: String,
}

/// What a server said of itself.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ServerInfo {
    /// Name.
    pub name: String,
    /// Version.
    #[serde(default)]
    pub version: String,
    /// MCP protocol version that it answered with.
    pub protocol_version: String,
}

/// One credential as far as the operator may see it.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CredentialStatus {
    /// Name, as in the spec.
    pub name: String,
    /// Kind and name of the object that it comes from.
    pub source: String,
    /// Whether the object is there and unsealed. True for a plain Secret, which the operator may not look at.
    pub ready: bool,
    /// SHA-256 (first 16 hex digits) of the ciphertext that is mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// The hardening checks of the rendered pods.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
pub struct Posture {
    /// Checks that pass.
    pub passed: i32,
    /// Checks in all.
    pub total: i32,
    /// Checks that the pods deviate from, each with its reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deviations: Vec<String>,
}
