//! From an `McpEndpoint` to a [`ValidatedEndpoint`].
//!
//! The API server refuses all of this already by the CRD's schema and rules. It is checked again because the CRD in a
//! cluster may be older than the operator, because the command line has no API server to ask, and because only values
//! that were parsed here can be rendered.

mod callers;
mod calls;
mod egress;
mod error;
mod inject;
mod server;

pub(crate) use egress::is_never_open;
pub use egress::never_open;
pub use error::ValidateError;

use crate::{
    ClassFact, CredentialFact, Facts, Settings, ValidatedEndpoint,
    endpoint::{Calls, MountedCredential, Peer},
    syntax,
};
use sallyport_api::{
    McpEndpoint, McpEndpointClassSpec, labels,
    v1alpha1::{AccessPeer, Credential, CredentialSource, EgressDns, MatchLabels},
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
    if let Some(most) = class.max_replicas.filter(|most| spec.replicas > *most) {
        return Err(ValidateError::Ceiling {
            field: "replicas",
            value: i64::from(spec.replicas),
            most: i64::from(most),
        });
    }
    if spec.egress.dns == EgressDns::ClusterDns && !class.egress.allow_cluster_dns {
        return Err(ValidateError::ClassDns);
    }
    let closed = egress::Closed::new(&facts.api_servers, &class.egress);
    let confirmation = calls::confirmation(spec, &class)?;
    let callers = callers::callers(spec, &class, facts, &confirmation)?;
    let recording = calls::recording(&spec.audit, &closed.forbidden)?;
    let (origins, external_host) = calls::outside(&spec.access)?;
    let targets = callers.targets.into_iter().chain(recording.target);
    let credentials = credentials(&spec.credentials, &facts.credentials)?;
    let (injected, credentials) = inject::split(&spec.egress, credentials)?;
    let egress: Vec<_> = egress::rules(&spec.egress, &closed)?
        .into_iter()
        .chain(targets)
        .collect();
    inject::apart_from_the_sidecars(&egress)?;
    let is_own = |name: &str| credentials.iter().any(|own| own.name == name);
    let own: Vec<_> = spec
        .credentials
        .iter()
        .filter(|known| is_own(&known.name))
        .cloned()
        .collect();
    Ok(ValidatedEndpoint {
        name: name(present(&endpoint.metadata.name, "metadata.name")?)?,
        namespace: present(&endpoint.metadata.namespace, "metadata.namespace")?,
        uid: present(&endpoint.metadata.uid, "metadata.uid")?,
        generation: endpoint.metadata.generation.unwrap_or_default(),
        server: server::server(&spec.server, &own)?,
        credentials,
        access: peers("access.from", &spec.access.from)?,
        scrapers: peers("access.scrapers", &spec.access.scrapers)?,
        origins,
        external_host,
        calls: Calls {
            declared: spec.authentication.is_some(),
            authentication: callers.authentication,
            tls: callers.tls,
            authorization: calls::authorization(spec.authorization.as_ref())?,
            tools: calls::tools(spec.tools.as_ref())?,
            extensions: spec
                .tools
                .iter()
                .flat_map(|tools| tools.extensions.iter().cloned())
                .collect(),
            confirmation,
            sealing: callers.sealing,
            limits: calls::limits(spec.limits.as_ref(), &class.limits)?,
            audit: recording.policy,
        },
        keys: callers.keys,
        gateway: egress::gateway(spec, facts, injected, recording.bundle.clone()),
        bundles: callers.bundles.into_iter().chain(recording.bundle).collect(),
        egress,
        cluster_dns: spec.egress.dns == EgressDns::ClusterDns,
        network_enforcement: class.network_enforcement,
        canaries: facts.canaries.clone(),
        quota: spec.isolation.quota,
        replicas: replicas.ok_or(ValidateError::Replicas {
            replicas: spec.replicas,
        })?,
        nodes: facts.node_features,
        cilium: facts.cilium,
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
            Ok(MountedCredential {
                name: name.clone(),
                secret_name: secret_of(name, &credential.from)?,
                revision: match facts.get(name) {
                    Some(CredentialFact::Synced { revision }) => Some(revision.clone()),
                    _ => None,
                },
            })
        })
        .collect()
}

/// Name of the one Secret that `from` names; `name` is whose.
fn secret_of(name: &str, from: &CredentialSource) -> Result<String, ValidateError> {
    match (&from.sealed_secret, &from.secret) {
        (Some(secret), None) | (None, Some(secret)) => secret_name(&secret.name),
        _ => Err(ValidateError::CredentialSource { name: name.to_owned() }),
    }
}

fn peers(list: &'static str, peers: &[AccessPeer]) -> Result<Vec<Peer>, ValidateError> {
    peers
        .iter()
        .enumerate()
        .map(|(index, peer)| {
            let labels = |part: &Option<MatchLabels>, field: &str| {
                part.as_ref()
                    .map(|part| label_map(&part.match_labels, || format!("{list}[{index}].{field}.matchLabels")))
                    .transpose()
            };
            match (labels(&peer.namespace, "namespace")?, labels(&peer.pods, "pods")?) {
                (None, None) => Err(ValidateError::AccessPeer { field: list, index }),
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
