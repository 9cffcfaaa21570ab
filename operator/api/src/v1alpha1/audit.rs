//! What the audit sidecar records.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the audit sidecar records of each call. It always records who, when, which method and tool, the outcome and the latency.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
pub struct Audit {
    /// What is recorded of the arguments. Digest: their SHA-256, never their text.
    #[serde(default)]
    pub arguments: AuditArguments,
}

/// What is recorded of a call's arguments.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuditArguments {
    /// Their SHA-256.
    #[default]
    Digest,
}
