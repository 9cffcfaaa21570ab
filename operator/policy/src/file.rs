//! The policy file: one JSON document per endpoint.

use crate::authorization::Authorization;
use crate::enforcement::{Enforcement, EnforcementMode, KubernetesApi};
use crate::signer::SignerPolicy;
use crate::tools::ToolPolicy;
use crate::{AuditPolicy, Authentication, Confirmation, ConfirmedTools, Limits, Sealing, Tls, Upstream};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
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
    /// `metadata.generation` of the spec that this was written from; copied into every audit record.
    #[serde(default)]
    pub generation: i64,
    /// What the sidecar listens on.
    pub listen: Listen,
    /// Where the server is.
    pub upstream: Upstream,
    /// Authorities that a request's `Host` may name, without or with a port. A name without a port fits any port.
    pub hosts: Vec<String>,
    /// Origins that a browser may call from, as `scheme://host[:port]`. A request with any other `Origin` is refused;
    /// one without passes.
    pub origins: Vec<String>,
    /// Who may call at all.
    #[serde(default)]
    pub authentication: Authentication,
    /// Extensions of MCP that are let through, as `io.modelcontextprotocol/tasks`. The methods of others are unknown here,
    /// and servers are not heard when they offer them.
    #[serde(default)]
    pub extensions: BTreeSet<String>,
    /// Who may do what.
    #[serde(default)]
    pub authorization: Authorization,
    /// Which tools there are, and what their arguments may be.
    #[serde(default)]
    pub tools: ToolPolicy,
    /// Which calls a person confirms first.
    #[serde(default)]
    pub confirmation: Confirmation,
    /// With which keys is sealed what clients bring back.
    #[serde(default)]
    pub sealing: Sealing,
    /// Bounds on every request.
    #[serde(default)]
    pub limits: Limits,
    /// What is recorded.
    #[serde(default)]
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
    /// TLS on the port of the MCP traffic; plain HTTP without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

impl Listen {
    /// Plain HTTP on `port`.
    pub const fn new(port: u16, admin_port: u16) -> Self {
        Self {
            port,
            admin_port,
            tls: None,
        }
    }
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

impl PolicyFile {
    /// The policy that allows least in front of the server at `upstream`: each field has its closed value. Whoever builds a
    /// policy names what it opens and takes the rest from here.
    pub fn closed(endpoint: EndpointIdentity, listen: Listen, upstream: Upstream) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            endpoint,
            generation: 0,
            listen,
            upstream,
            hosts: vec![],
            origins: vec![],
            authentication: Authentication::default(),
            extensions: BTreeSet::new(),
            authorization: Authorization::default(),
            tools: ToolPolicy::default(),
            confirmation: Confirmation::default(),
            sealing: Sealing::default(),
            limits: Limits::default(),
            audit: AuditPolicy::default(),
            enforcement: Enforcement {
                mode: EnforcementMode::Required,
                wait_seconds: 30,
                canaries: vec![],
                kubernetes_api: KubernetesApi::Forbidden,
            },
            signer: None,
        }
    }

    /// The policy under which only the network decides who calls: no authentication, no rules, no pins, no confirmation.
    pub fn open(endpoint: EndpointIdentity, listen: Listen, upstream: Upstream) -> Self {
        Self {
            authentication: Authentication::anonymous(),
            authorization: Authorization::of_everybody(),
            tools: ToolPolicy::of_any_tool(),
            confirmation: Confirmation {
                tools: ConfirmedTools::Nothing,
                ..Confirmation::default()
            },
            ..Self::closed(endpoint, listen, upstream)
        }
    }

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
    use pretty_assertions::assert_eq;

    fn file() -> PolicyFile {
        let endpoint = EndpointIdentity {
            namespace: "team-a".into(),
            name: "demo".into(),
            uid: "u".into(),
        };
        let listen = Listen::new(15080, 15090);
        PolicyFile {
            hosts: vec!["demo.team-a.svc".into()],
            ..PolicyFile::closed(endpoint, listen, Upstream::port(3001, "/mcp"))
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
