//! From an `McpEndpoint` to a [`ValidatedEndpoint`].
//!
//! The API server refuses all of this already by the CRD's schema and rules. It is checked again because the CRD in a
//! cluster may be older than the operator, because the command line has no API server to ask, and because only values
//! that were parsed here can be rendered.

mod egress;
mod error;
mod inject;
mod server;

pub(crate) use egress::is_never_open;
pub use error::ValidateError;

use crate::{
    ClassFact, CredentialFact, Facts, Settings, ValidatedEndpoint,
    endpoint::{MountedCredential, Peer},
    syntax,
};
use sallyport_api::{
    McpEndpoint, McpEndpointClassSpec, labels,
    v1alpha1::{Access, Credential, EgressDns, MatchLabels},
};
use std::collections::{BTreeMap, BTreeSet};

const MAX_NAME_LENGTH: usize = 52;
/// Every namespace has a ServiceAccount of the first name, one has a Service of the second.
const KUBERNETES_NAMES: &[&str] = &["default", "kubernetes"];
const MAX_REPLICAS: u8 = 20;

/// Reads `endpoint` into values that are safe to render.
///
/// A credential that is not there yet is not an error: the caller applies everything but the Deployment and reports.
///
/// # Errors
///
/// The first thing that must change in the spec.
pub fn validate(
    endpoint: &McpEndpoint,
    settings: &Settings,
    facts: &Facts,
) -> Result<ValidatedEndpoint, ValidateError> {
    let spec = &endpoint.spec;
    let present = |value: &Option<String>, field| {
        let value = value.clone().filter(|text| !text.is_empty());
        value.ok_or(ValidateError::Incomplete { field })
    };
    let replicas = u8::try_from(spec.replicas)
        .ok()
        .filter(|replicas| (1..=MAX_REPLICAS).contains(replicas));
    let class = class(spec.class_name.as_deref(), &facts.class)?;
    if spec.egress.dns == EgressDns::ClusterDns && !class.egress.allow_cluster_dns {
        return Err(ValidateError::ClassDns);
    }
    let credentials = credentials(&spec.credentials, &facts.credentials)?;
    let (injected, credentials) = inject::split(&spec.egress, credentials)?;
    Ok(ValidatedEndpoint {
        name: name(present(&endpoint.metadata.name, "metadata.name")?)?,
        namespace: present(&endpoint.metadata.namespace, "metadata.namespace")?,
        uid: present(&endpoint.metadata.uid, "metadata.uid")?,
        server: server::server(&spec.server)?,
        credentials,
        access: access(&spec.access)?,
        gateway: egress::gateway(&spec.egress, facts, injected),
        egress: egress::rules(&spec.egress, &facts.api_servers)?,
        cluster_dns: spec.egress.dns == EgressDns::ClusterDns,
        network_enforcement: class.network_enforcement,
        canaries: facts.canaries.clone(),
        audit_arguments: spec.audit.arguments,
        quota: spec.isolation.quota,
        replicas: replicas.ok_or(ValidateError::Replicas {
            replicas: spec.replicas,
        })?,
        nodes: facts.node_features,
        settings: settings.clone(),
    })
}

fn name(name: String) -> Result<String, ValidateError> {
    let starts_with_letter = name.starts_with(|first: char| first.is_ascii_lowercase());
    if !starts_with_letter || !syntax::is_dns_label(&name) || name.len() > MAX_NAME_LENGTH {
        return Err(ValidateError::Name { name });
    }
    if name.starts_with(labels::OPERATOR) || KUBERNETES_NAMES.contains(&name.as_str()) {
        return Err(ValidateError::ReservedName { name });
    }
    if name.ends_with(labels::GATEWAY_SUFFIX) {
        return Err(ValidateError::GatewayName { name });
    }
    Ok(name)
}

/// What the platform decided; its defaults, if it decided nothing.
fn class(name: Option<&str>, class: &ClassFact) -> Result<McpEndpointClassSpec, ValidateError> {
    match class {
        ClassFact::BuiltIn => Ok(McpEndpointClassSpec::default()),
        ClassFact::Found(spec) => Ok(spec.clone()),
        ClassFact::Missing => Err(ValidateError::ClassMissing {
            name: name.unwrap_or_default().to_owned(),
        }),
    }
}

fn credentials(
    credentials: &[Credential],
    facts: &BTreeMap<String, CredentialFact>,
) -> Result<Vec<MountedCredential>, ValidateError> {
    let mut seen = BTreeSet::new();
    credentials
        .iter()
        .map(|credential| {
            let name = &credential.name;
            if !syntax::is_dns_label(name) || name.len() > 40 {
                return Err(ValidateError::CredentialName { name: name.clone() });
            }
            unique("credentials[].name", name, &mut seen)?;
            let sources = (&credential.from.sealed_secret, &credential.from.secret);
            let ((Some(secret), None) | (None, Some(secret))) = sources else {
                return Err(ValidateError::CredentialSource { name: name.clone() });
            };
            Ok(MountedCredential {
                name: name.clone(),
                secret_name: secret_name(&secret.name)?,
                revision: match facts.get(name) {
                    Some(CredentialFact::Synced { revision }) => Some(revision.clone()),
                    _ => None,
                },
            })
        })
        .collect()
}

fn access(access: &Access) -> Result<Vec<Peer>, ValidateError> {
    access
        .from
        .iter()
        .enumerate()
        .map(|(index, peer)| {
            let labels = |part: &Option<MatchLabels>, field: &str| {
                part.as_ref()
                    .map(|part| {
                        label_map(&part.match_labels, || {
                            format!("access.from[{index}].{field}.matchLabels")
                        })
                    })
                    .transpose()
            };
            match (labels(&peer.namespace, "namespace")?, labels(&peer.pods, "pods")?) {
                (None, None) => Err(ValidateError::AccessPeer { index }),
                (None, Some(pods)) => Ok(Peer::Pods(pods)),
                (Some(namespaces), None) => Ok(Peer::Namespaces(namespaces)),
                (Some(namespaces), Some(pods)) => Ok(Peer::PodsInNamespaces { namespaces, pods }),
            }
        })
        .collect()
}

/// Labels to select by: at least one, because none selects everything.
fn label_map(
    labels: &BTreeMap<String, String>,
    field: impl Fn() -> String,
) -> Result<BTreeMap<String, String>, ValidateError> {
    let valid = |(key, value): (&String, &String)| syntax::is_label_key(key) && syntax::is_label_value(value);
    if labels.is_empty() || !labels.iter().all(valid) {
        return Err(ValidateError::Labels { field: field() });
    }
    Ok(labels.clone())
}

fn secret_name(name: &str) -> Result<String, ValidateError> {
    if syntax::is_dns_subdomain(name) {
        Ok(name.to_owned())
    } else {
        Err(ValidateError::SecretName { name: name.to_owned() })
    }
}

/// Refuses a name that was seen before.
fn unique<'a>(field: &'static str, name: &'a str, seen: &mut BTreeSet<&'a str>) -> Result<(), ValidateError> {
    if seen.insert(name) {
        Ok(())
    } else {
        Err(ValidateError::Duplicate {
            field,
            name: name.to_owned(),
        })
    }
}
