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
    /// The server's tools as the audit sidecar saw them, beside what was pinned. Unverified but for the digests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<ToolsStatus>,
    /// How far the records of the pods' audit sidecars had come: what is missing before an anchor was taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<AuditStatus>,
    /// The credentials and keys as far as the operator may see them.
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

/// The server's tools as the audit sidecar saw them.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ToolsStatus {
    /// Tools that were seen or pinned.
    pub total: i32,
    /// Those that may not be called because their definition is not as pinned, faulty, there twice or gone.
    pub drifted: i32,
    /// Each of them by name, the first 256.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub list: Vec<ToolStatus>,
}

/// One tool.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ToolStatus {
    /// Name.
    pub name: String,
    /// Pinned, Unpinned, Drifted, Missing, Duplicate or Faulty.
    pub state: String,
    /// SHA-256 over the canonical form of the definition that was seen: what a pin of it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// How far the records of the pods' audit sidecars and egress gateways had come.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditStatus {
    /// The end of each chain of records, as its program told the operator last; the newest 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["chain"]))]
    pub anchors: Vec<AuditAnchor>,
}

/// The end of a chain of records.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AuditAnchor {
    /// Which chain: each run of a program writes one of its own.
    pub chain: String,
    /// Whose records these are.
    #[serde(default)]
    pub writer: AuditWriter,
    /// Pod that they were written in.
    pub pod: String,
    /// UID of that pod: no other pod can move the anchor, not even one of the same name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pod_uid: String,
    /// Number of the last record; the first is 0.
    pub seq: i64,
    /// The last record's hash.
    pub hash: String,
    /// When it was written.
    pub time: String,
}

/// Which program of an endpoint writes a chain of records.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuditWriter {
    /// The audit sidecar, in each of the server's pods: requests.
    #[default]
    Sidecar,
    /// The egress gateway, in pods of its own: connections to hosts.
    EgressGateway,
}

/// One credential or key as far as the operator may see it.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CredentialStatus {
    /// Name, as in the spec; of a key that the audit sidecar reads, its field, as in authentication.apiKeys.
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
