//! What is recorded of each call, and where records go.

use serde::{Deserialize, Serialize};

/// What is recorded of each call, and where records go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AuditPolicy {
    /// What is recorded of the arguments.
    pub arguments: ArgumentsMode,
    /// The form of a record.
    pub format: AuditFormat,
    /// Where records go.
    pub sinks: AuditSinks,
    /// What happens to calls while a sink takes no records.
    pub on_sink_failure: OnSinkFailure,
}

/// What is recorded of the arguments, besides their SHA-256 and size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ArgumentsMode {
    /// Nothing more.
    #[default]
    Digest,
    /// The arguments up to a bound, without what looks like a secret.
    Redacted,
    /// The arguments up to a bound, as they were sent.
    Full,
}

/// The form of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AuditFormat {
    /// The sidecar's own.
    #[default]
    Json,
    /// OCSF 1.8.0, class 6003 (API Activity).
    Ocsf,
}

/// Where records go; to every sink that is named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AuditSinks {
    /// Lines of JSON on standard output.
    pub stdout: bool,
    /// A collector of OpenTelemetry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp: Option<OtlpSink>,
}

/// A collector of OpenTelemetry that speaks OTLP over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OtlpSink {
    /// Base URL, as in `http://collector.observability.svc:4318`; `/v1/logs` and `/v1/traces` are appended.
    pub endpoint: String,
    /// File with the certificates, in PEM, that an `https` collector's must lead to. There are no others: `https` needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// Whether calls are sent as spans too.
    #[serde(default)]
    pub traces: bool,
}

/// What happens to calls while a sink takes no records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnSinkFailure {
    /// They are refused.
    #[default]
    Block,
    /// They pass; the records that are lost are counted, and the chain says how many.
    Drop,
}

/// Why records cannot go where the policy says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuditPolicyError {
    /// Calls would be unrecorded.
    #[error("audit.sinks names no sink: set stdout to true or name an otlp collector")]
    NoSink,
    /// Not a base URL.
    #[error("audit.sinks.otlp.endpoint {endpoint:?} is no base URL: write http://host:port or https://host:port")]
    Endpoint {
        /// What the policy says.
        endpoint: String,
    },
    /// Nothing to check the collector's certificate against.
    #[error("audit.sinks.otlp.endpoint {endpoint:?} is https: name the file of its certificate authority in caFile")]
    NoAuthority {
        /// What the policy says.
        endpoint: String,
    },
}

impl Default for AuditSinks {
    fn default() -> Self {
        Self {
            stdout: true,
            otlp: None,
        }
    }
}

impl AuditPolicy {
    /// Whether records can go where this says.
    ///
    /// # Errors
    ///
    /// See [`AuditPolicyError`].
    pub fn check(&self) -> Result<(), AuditPolicyError> {
        match &self.sinks.otlp {
            Some(otlp) => otlp.check(),
            None if self.sinks.stdout => Ok(()),
            None => Err(AuditPolicyError::NoSink),
        }
    }
}

impl OtlpSink {
    fn check(&self) -> Result<(), AuditPolicyError> {
        let endpoint = || self.endpoint.clone();
        let (tls, rest) = if let Some(rest) = self.endpoint.strip_prefix("https://") {
            (true, rest)
        } else if let Some(rest) = self.endpoint.strip_prefix("http://") {
            (false, rest)
        } else {
            return Err(AuditPolicyError::Endpoint { endpoint: endpoint() });
        };
        let host = rest.split('/').next().unwrap_or_default();
        let is_url_text = |byte: u8| byte.is_ascii_graphic() && !b"?#@\\\"<>".contains(&byte);
        if host.is_empty() || !rest.bytes().all(is_url_text) {
            return Err(AuditPolicyError::Endpoint { endpoint: endpoint() });
        }
        if tls && self.ca_file.is_none() {
            return Err(AuditPolicyError::NoAuthority { endpoint: endpoint() });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    fn otlp(endpoint: &str, ca_file: Option<&str>) -> AuditPolicy {
        AuditPolicy {
            sinks: AuditSinks {
                stdout: false,
                otlp: Some(OtlpSink {
                    endpoint: endpoint.to_owned(),
                    ca_file: ca_file.map(str::to_owned),
                    traces: true,
                }),
            },
            ..AuditPolicy::default()
        }
    }

    #[test]
    fn what_is_left_out_is_closed() {
        let policy: AuditPolicy = serde_json::from_str("{}").unwrap();
        assert_eq!(policy, AuditPolicy::default());
        assert_eq!(policy.arguments, ArgumentsMode::Digest);
        assert_eq!(policy.on_sink_failure, OnSinkFailure::Block);
        assert!(policy.sinks.stdout);
        assert_eq!(policy.check(), Ok(()));
    }

    #[test]
    fn a_policy_without_a_sink_is_refused() {
        let mut policy = AuditPolicy::default();
        policy.sinks.stdout = false;
        assert_eq!(policy.check(), Err(AuditPolicyError::NoSink));
    }

    #[test]
    fn a_collector_is_named_by_a_base_url() {
        for good in [
            "http://otel:4318",
            "http://otel.observability.svc:4318/tenant/a",
            "http://[2001:db8::1]:4318",
        ] {
            assert_eq!(otlp(good, None).check(), Ok(()), "{good}");
        }
        for bad in [
            "otel:4318",
            "grpc://otel:4317",
            "http://",
            "http://user:word@otel",
            "http://otel/?a=b",
            "http://o tel",
        ] {
            assert!(
                matches!(otlp(bad, None).check(), Err(AuditPolicyError::Endpoint { .. })),
                "{bad}"
            );
        }
    }

    #[test]
    fn an_https_collector_needs_its_authority() {
        let url = "https://otel:4318";
        assert!(matches!(
            otlp(url, None).check(),
            Err(AuditPolicyError::NoAuthority { .. })
        ));
        assert_eq!(otlp(url, Some("/etc/otel/ca.crt")).check(), Ok(()));
    }

    #[test]
    fn an_unknown_field_is_refused() {
        assert!(serde_json::from_str::<AuditPolicy>(r#"{"argument":"Full"}"#).is_err());
    }
}
