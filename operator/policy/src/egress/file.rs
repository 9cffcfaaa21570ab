//! The egress file: one JSON document per endpoint that may call hosts by name.

use super::{HostPattern, Injection};
use crate::{AuditFormat, AuditPolicy, AuditSinks, EndpointIdentity, Network, OnSinkFailure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::net::SocketAddr;

/// Name of the file in the ConfigMap.
pub const FILE_NAME: &str = "egress.json";

/// The schema that this build writes and reads. A gateway refuses any other.
pub const SCHEMA: &str = "sallyport.dev/egress/v1alpha1";

/// Everything that the egress gateway is told.
///
/// Unknown fields are refused: a rule that the gateway does not understand would be a rule that is not enforced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EgressFile {
    /// [`SCHEMA`].
    pub schema: String,
    /// Which endpoint this is; copied into every event.
    pub endpoint: EndpointIdentity,
    /// What the gateway listens on. Read once, at the start.
    pub listen: EgressListen,
    /// Whether what no rule allows is refused or only recorded.
    pub mode: EgressMode,
    /// Which hosts may be called. None: nothing leaves.
    pub rules: Vec<EgressHostRule>,
    /// Which addresses an allowed host may have beside public ones, and which it may not.
    pub addresses: EgressAddresses,
    /// How names are resolved. Read once, at the start.
    pub resolver: ResolverPolicy,
    /// Bounds on every connection.
    pub limits: EgressLimits,
    /// Where events go, and in which form. Read once, at the start.
    #[serde(default)]
    pub audit: EgressAudit,
    /// Port of the signer in each of the server's pods, which certifies that the gateway may end TLS. Absent when no rule
    /// injects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer_port: Option<u16>,
}

/// What the gateway listens on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EgressListen {
    /// Port of the HTTP proxy.
    pub port: u16,
    /// Port of health, readiness and metrics.
    pub admin_port: u16,
    /// Port on which TLS without a proxy request is taken and routed to port 443 of the host that its ClientHello
    /// names. Absent: no such port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transparent_port: Option<u16>,
}

/// What happens to a connection that no rule allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EgressMode {
    /// It is refused.
    Enforce,
    /// It passes, and its event says that it would have been refused. Addresses that nothing opens, and malformed
    /// requests, are refused all the same.
    Audit,
}

/// One rule: these ports of these hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EgressHostRule {
    /// Which hosts.
    pub host: HostPattern,
    /// Which of their TCP ports.
    pub ports: BTreeSet<u16>,
    /// The credential that is added to every request. TLS is then ended in the gateway, and nothing but TLS is spoken.
    /// Absent: TLS passes through untouched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inject: Option<Injection>,
}

/// Which addresses an allowed host may have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EgressAddresses {
    /// Networks, private ones and the cluster's, in which an allowed host may lie. Metadata services, forbidden ranges and
    /// the API server stay closed.
    pub permitted: Vec<PermittedNetwork>,
    /// The cluster's own networks, in which no host may lie unless it is `permitted`; the API server, whatever that says.
    pub denied: Vec<DeniedNetwork>,
}

/// A network that a CIDR rule opens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PermittedNetwork {
    /// The network.
    pub network: Network,
    /// What of it stays closed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<Network>,
}

/// A network of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeniedNetwork {
    /// The network.
    pub network: Network,
    /// What lies in it.
    pub kind: DeniedNetworkKind,
}

/// What lies in a network of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeniedNetworkKind {
    /// Pods.
    Pods,
    /// Services.
    Services,
    /// Nodes.
    Nodes,
    /// The API server.
    ApiServer,
}

/// Where events go, and in which form: as the endpoint says for the records of its calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EgressAudit {
    /// The form of an event.
    pub format: AuditFormat,
    /// Where events go.
    pub sinks: AuditSinks,
    /// What happens to connections while a sink takes no events.
    pub on_sink_failure: OnSinkFailure,
}

/// How names are resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResolverPolicy {
    /// Name servers, as in `10.96.0.10:53`. None: those of the pod's /etc/resolv.conf, without its search domains.
    pub name_servers: Vec<SocketAddr>,
    /// Seconds until an answer must have come.
    pub timeout_seconds: u64,
    /// Seconds for which an answer is kept at least, whatever its TTL.
    pub min_ttl_seconds: u64,
    /// Seconds for which an answer is kept at most, whatever its TTL.
    pub max_ttl_seconds: u64,
    /// Names that are kept at most.
    pub cached_names: u64,
}

/// Bounds on every connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EgressLimits {
    /// Connections of clients at a time, over all ports. Read once, at the start.
    pub connections: u32,
    /// New connections a second in the long run; twice as many may come at once.
    pub connections_per_second: u32,
    /// Seconds until a client must have sent its request's head, and then its ClientHello.
    pub head_seconds: u64,
    /// Seconds until one address of the host must have taken the connection.
    pub connect_seconds: u64,
    /// Seconds without a byte in either direction after which a connection ends.
    pub idle_seconds: u64,
    /// Seconds after which a connection ends in any case.
    pub total_seconds: u64,
    /// Bytes in both directions together after which a connection ends.
    pub bytes: u64,
    /// Seconds that connections under way get to finish after SIGTERM. Read once, at the start.
    pub drain_seconds: u64,
}

impl EgressAudit {
    /// In the words of the journal, which knows of calls too.
    pub fn policy(&self) -> AuditPolicy {
        AuditPolicy {
            format: self.format,
            sinks: self.sinks.clone(),
            on_sink_failure: self.on_sink_failure,
            ..AuditPolicy::default()
        }
    }
}

impl Default for ResolverPolicy {
    fn default() -> Self {
        Self {
            name_servers: Vec::new(),
            timeout_seconds: 5,
            min_ttl_seconds: 1,
            max_ttl_seconds: 60,
            cached_names: 1024,
        }
    }
}

impl Default for EgressLimits {
    fn default() -> Self {
        Self {
            connections: 1024,
            connections_per_second: 200,
            head_seconds: 10,
            connect_seconds: 10,
            idle_seconds: 300,
            total_seconds: 3600,
            bytes: 1 << 30,
            drain_seconds: 25,
        }
    }
}

/// Why an egress file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// Not JSON of the expected form, or a rule that is none.
    #[error("the egress file is not valid: the operator and the gateway must be of the same release")]
    Json(#[source] serde_json::Error),
    /// Written for another release.
    #[error(
        "the egress file has schema {found:?}, this gateway reads {SCHEMA:?}: install operator and gateway of one release"
    )]
    Schema {
        /// What the file says.
        found: String,
    },
    /// Credentials would go elsewhere than the pod was started for.
    #[error("the egress file injects credentials otherwise than this gateway was started for: start another")]
    Injections,
}

impl EgressFile {
    /// Reads an egress file.
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

    /// Which credentials go where: SHA-256, in hexadecimal, over the rules that inject; `None` if none does.
    ///
    /// Whoever may edit the file may not thereby send a credential elsewhere: the gateway is started with what this must
    /// be, in a pod template, and whoever may edit those may mount the Secret anyway.
    pub fn injections(&self) -> Option<String> {
        let rules: Vec<_> = self.rules.iter().filter(|rule| rule.inject.is_some()).collect();
        if rules.is_empty() {
            return None;
        }
        // Every field serializes.
        let text = serde_json::to_vec(&rules).unwrap_or_default();
        Some(Sha256::digest(text).iter().fold(String::new(), |mut hex, byte| {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        }))
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

/// The file's text, as [`EgressFile::to_text`].
impl fmt::Display for EgressFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.to_text().map_err(|_| fmt::Error)?)
    }
}

/// The rule, as in `*.example.com:443,8443`.
impl fmt::Display for EgressHostRule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ports: Vec<String> = self.ports.iter().map(u16::to_string).collect();
        write!(formatter, "{}:{}", self.host, ports.join(","))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    pub fn file() -> EgressFile {
        EgressFile {
            schema: SCHEMA.to_owned(),
            endpoint: EndpointIdentity {
                namespace: "team-a".into(),
                name: "demo".into(),
                uid: "u".into(),
            },
            listen: EgressListen {
                port: 3128,
                admin_port: 15090,
                transparent_port: None,
            },
            mode: EgressMode::Enforce,
            rules: vec![EgressHostRule {
                host: "*.example.com".parse().unwrap(),
                ports: [443, 8443].into(),
                inject: None,
            }],
            addresses: EgressAddresses {
                permitted: vec![PermittedNetwork {
                    network: "10.0.0.0/8".parse().unwrap(),
                    except: vec!["10.9.0.0/16".parse().unwrap()],
                }],
                denied: vec![
                    DeniedNetwork {
                        network: "10.9.244.0/24".parse().unwrap(),
                        kind: DeniedNetworkKind::Pods,
                    },
                    DeniedNetwork {
                        network: "2600:1f00::/48".parse().unwrap(),
                        kind: DeniedNetworkKind::Nodes,
                    },
                ],
            },
            resolver: ResolverPolicy::default(),
            limits: EgressLimits::default(),
            audit: EgressAudit::default(),
            signer_port: None,
        }
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        assert_eq!(EgressFile::parse(&file().to_text().unwrap()).unwrap(), file());
    }

    #[test]
    fn another_release_is_refused() {
        let text = file().to_text().unwrap().replace("v1alpha1", "v9");
        assert!(matches!(EgressFile::parse(&text), Err(ParseError::Schema { .. })));
    }

    #[test]
    fn an_unknown_field_is_refused_at_every_level() {
        let text = file().to_text().unwrap();
        for anchor in [
            "{",
            "\"listen\": {",
            "\"addresses\": {",
            "\"resolver\": {",
            "\"limits\": {",
            "\"audit\": {",
        ] {
            let more = text.replacen(anchor, &format!("{anchor}\"denyEverything\": true,"), 1);
            assert!(matches!(EgressFile::parse(&more), Err(ParseError::Json(_))), "{anchor}");
        }
    }

    #[test]
    fn a_rule_that_is_no_host_is_refused_and_named() {
        for host in ["*", "*.com", "127.0.0.1", "a_b.example"] {
            let text = file().to_text().unwrap().replace("*.example.com", host);
            let Err(ParseError::Json(error)) = EgressFile::parse(&text) else {
                panic!("{host} is taken");
            };
            assert!(error.to_string().contains(host), "{error}");
        }
    }

    #[test]
    fn injections_are_known_by_host_ports_header_and_file_and_by_nothing_else() {
        let mut injecting = file();
        assert_eq!(injecting.injections(), None);
        injecting.rules[0].inject = Some(crate::egress::Injection {
            header: "Authorization".parse().unwrap(),
            prefix: "Bearer ".parse().unwrap(),
            file: "/a".into(),
            authorities: None,
        });
        let known = injecting.injections().unwrap();
        assert_eq!(known.len(), 64);
        let changed = |change: &dyn Fn(&mut EgressFile)| {
            let mut file = injecting.clone();
            change(&mut file);
            file.injections().unwrap()
        };
        assert_eq!(known, changed(&|file| file.mode = EgressMode::Audit));
        assert_eq!(known, changed(&|file| file.rules.extend(self::file().rules)));
        assert_ne!(
            known,
            changed(&|file| file.rules[0].host = "*.evil.test".parse().unwrap())
        );
        assert_ne!(known, changed(&|file| file.rules[0].ports = [8443].into()));
        assert_ne!(known, changed(&|file| file.rules.push(file.rules[0].clone())));
        let inject = |file: &mut EgressFile| file.rules[0].inject.as_mut().unwrap().file = "/b".into();
        assert_ne!(known, changed(&inject));
    }

    #[test]
    fn a_rule_is_named_by_its_host_and_ports() {
        assert_eq!(file().rules[0].to_string(), "*.example.com:443,8443");
    }
}
