//! The policy file: one JSON document per endpoint.

use crate::enforcement::Enforcement;
use crate::signer::SignerPolicy;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt::{self, Write as _};

/// Name of the file in the ConfigMap.
pub const FILE_NAME: &str = "policy.json";

/// Directory at which the ConfigMap is mounted into the sidecar.
pub const MOUNT_PATH: &str = "/etc/sallyport";

/// The schema that this build writes and reads. A sidecar refuses any other.
pub const SCHEMA: &str = "sallyport.dev/policy/v1alpha1";

/// Everything that the audit sidecar is told.
///
/// Unknown fields are refused: a rule that the sidecar does not understand would be a rule that is not enforced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PolicyFile {
    /// [`SCHEMA`].
    pub schema: String,
    /// Which endpoint this is; copied into every audit record.
    pub endpoint: EndpointIdentity,
    /// What the sidecar listens on.
    pub listen: Listen,
    /// Where the server is.
    pub upstream: Upstream,
    /// Authorities that a request's `Host` may name, without or with a port. A name without a port fits any port.
    pub hosts: Vec<String>,
    /// Origins that a browser may call from, as `scheme://host[:port]`. A request with any other `Origin` is refused;
    /// one without passes.
    pub origins: Vec<String>,
    /// Bounds on every request.
    pub limits: Limits,
    /// What is recorded.
    pub audit: AuditPolicy,
    /// What the pod must be refused.
    pub enforcement: Enforcement,
    /// What the signer is told. Absent when no credential is injected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<SignerPolicy>,
}

/// Which endpoint a sidecar stands in front of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EndpointIdentity {
    /// Namespace of the `McpEndpoint`.
    pub namespace: String,
    /// Name of the `McpEndpoint`.
    pub name: String,
    /// UID of the `McpEndpoint`.
    pub uid: String,
}

/// What the sidecar listens on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Listen {
    /// Port of the MCP traffic.
    pub port: u16,
    /// Port of health, readiness, server info and metrics.
    pub admin_port: u16,
}

/// Where the server is. Always in the same pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Upstream {
    /// Port on 127.0.0.1.
    pub port: u16,
    /// Path of the MCP endpoint; the only path that is forwarded.
    pub path: String,
}

/// Bounds on every request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// Largest request body in bytes; more is answered with 413.
    pub body_bytes: u64,
    /// Seconds until the server must have sent the head of its answer.
    pub response_header_seconds: u64,
    /// Seconds after which a response stream is ended.
    pub stream_seconds: u64,
    /// Connections at a time.
    pub connections: u32,
    /// Seconds that requests under way get to finish after SIGTERM.
    pub drain_seconds: u64,
}

/// What is recorded of each call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuditPolicy {
    /// What is recorded of the arguments.
    pub arguments: ArgumentsMode,
}

/// What is recorded of the arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ArgumentsMode {
    /// Their SHA-256.
    Digest,
}

/// Why a policy file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// Not JSON of the expected form.
    #[error("the policy file is not valid: the operator and the sidecar must be of the same release")]
    Json(#[source] serde_json::Error),
    /// Written for another release.
    #[error(
        "the policy file has schema {found:?}, this sidecar reads {SCHEMA:?}: install operator and sidecar of one release"
    )]
    Schema {
        /// What the file says.
        found: String,
    },
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 1 << 20,
            response_header_seconds: 30,
            stream_seconds: 3600,
            connections: 1024,
            drain_seconds: 25,
        }
    }
}

impl PolicyFile {
    /// Reads a policy file.
    ///
    /// # Errors
    ///
    /// See [`ParseError`].
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let file: Self = serde_json::from_str(text).map_err(ParseError::Json)?;
        if file.schema == SCHEMA {
            Ok(file)
        } else {
            Err(ParseError::Schema { found: file.schema })
        }
    }

    /// The file's text, byte-equal for equal policies.
    ///
    /// # Errors
    ///
    /// Never in practice: every field serializes.
    pub fn to_text(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }
}

/// The file's text, as [`PolicyFile::to_text`].
impl fmt::Display for PolicyFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.to_text().map_err(|_| fmt::Error)?)
    }
}

/// First 16 hex digits of the SHA-256 of `text`.
pub fn short_hash(text: &[u8]) -> String {
    let mut hex = String::with_capacity(16);
    for byte in Sha256::digest(text).iter().take(8) {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enforcement::EnforcementMode;
    use pretty_assertions::assert_eq;

    fn file() -> PolicyFile {
        PolicyFile {
            schema: SCHEMA.to_owned(),
            endpoint: EndpointIdentity {
                namespace: "team-a".into(),
                name: "demo".into(),
                uid: "u".into(),
            },
            listen: Listen {
                port: 15080,
                admin_port: 15090,
            },
            upstream: Upstream {
                port: 3001,
                path: "/mcp".into(),
            },
            hosts: vec!["demo.team-a.svc".into()],
            origins: vec![],
            limits: Limits::default(),
            audit: AuditPolicy {
                arguments: ArgumentsMode::Digest,
            },
            enforcement: Enforcement {
                mode: EnforcementMode::Required,
                wait_seconds: 30,
                canaries: vec![([10, 96, 0, 7], 15070).into()],
            },
            signer: None,
        }
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        assert_eq!(PolicyFile::parse(&file().to_text().unwrap()).unwrap(), file());
    }

    #[test]
    fn another_release_is_refused() {
        let text = file().to_text().unwrap().replace("v1alpha1", "v9");
        assert!(matches!(PolicyFile::parse(&text), Err(ParseError::Schema { .. })));
    }

    #[test]
    fn an_unknown_rule_is_refused() {
        let text = file().to_text().unwrap().replacen('{', "{\"denyEverything\": true,", 1);
        assert!(matches!(PolicyFile::parse(&text), Err(ParseError::Json(_))));
    }
}
