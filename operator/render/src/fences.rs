//! NetworkPolicies. Kubernetes adds policies up and has no deny, so each one opens exactly what it names.

use crate::{
    ValidatedEndpoint,
    endpoint::{Destination, Peer},
    metadata,
};
use k8s_openapi::{
    api::networking::v1::{
        IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
        NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
        util::intstr::IntOrString,
    },
};
use sallyport_api::{
    labels,
    v1alpha1::{SIDECAR_ADMIN_PORT, SIDECAR_PORT},
};
use std::collections::BTreeMap;

/// Label that every namespace carries with its own name, and that nobody can change.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// Closes the pods of `endpoint` both ways and opens what it allows.
pub(crate) fn network_policy(endpoint: &ValidatedEndpoint) -> NetworkPolicy {
    let ingress: Vec<_> = callers(endpoint).into_iter().chain(operator(endpoint)).collect();
    let egress: Vec<_> = endpoint.egress.iter().map(destination).collect();
    NetworkPolicy {
        metadata: metadata::of_child(endpoint),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(metadata::selector(endpoint)),
            policy_types: Some(both_directions()),
            ingress: some_if_any(ingress),
            egress: some_if_any(egress),
        }),
    }
}

/// Closes every endpoint pod of `namespace` both ways and opens nothing.
pub(crate) fn fence(namespace: &str) -> NetworkPolicy {
    NetworkPolicy {
        metadata: metadata::of_namespace(labels::FENCE, namespace),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector {
                match_expressions: Some(vec![LabelSelectorRequirement {
                    key: labels::ENDPOINT.to_owned(),
                    operator: "Exists".to_owned(),
                    values: None,
                }]),
                ..LabelSelector::default()
            }),
            policy_types: Some(both_directions()),
            ..NetworkPolicySpec::default()
        }),
    }
}

/// Callers reach the sidecar's port alone. Nobody, if nobody is allowed: an empty `from` would mean everybody.
fn callers(endpoint: &ValidatedEndpoint) -> Option<NetworkPolicyIngressRule> {
    let from: Vec<_> = endpoint.access.iter().map(peer).collect();
    (!from.is_empty()).then(|| NetworkPolicyIngressRule {
        from: Some(from),
        ports: Some(vec![tcp(SIDECAR_PORT)]),
    })
}

/// The operator reads readiness and server info from the admin port. An empty selector would mean every pod.
fn operator(endpoint: &ValidatedEndpoint) -> Option<NetworkPolicyIngressRule> {
    let labels = &endpoint.settings.operator_pod_labels;
    (!labels.is_empty()).then(|| NetworkPolicyIngressRule {
        from: Some(vec![pods_in(&endpoint.settings.operator_namespace, labels)]),
        ports: Some(vec![tcp(SIDECAR_ADMIN_PORT)]),
    })
}

fn destination(destination: &Destination) -> NetworkPolicyEgressRule {
    let (peer, ports) = match destination {
        Destination::Network { network, except, ports } => {
            let block = IPBlock {
                cidr: network.to_string(),
                except: some_if_any(except.iter().map(ToString::to_string).collect()),
            };
            let peer = NetworkPolicyPeer {
                ip_block: Some(block),
                ..NetworkPolicyPeer::default()
            };
            (peer, ports)
        }
        Destination::Service {
            namespace,
            selector,
            ports,
        } => (pods_in(namespace, selector), ports),
    };
    NetworkPolicyEgressRule {
        to: Some(vec![peer]),
        ports: Some(ports.iter().map(|&port| tcp(port)).collect()),
    }
}

fn peer(peer: &Peer) -> NetworkPolicyPeer {
    let (namespaces, pods) = match peer {
        Peer::Pods(pods) => (None, Some(pods)),
        Peer::Namespaces(namespaces) => (Some(namespaces), None),
        Peer::PodsInNamespaces { namespaces, pods } => (Some(namespaces), Some(pods)),
    };
    NetworkPolicyPeer {
        namespace_selector: namespaces.cloned().map(metadata::matching),
        pod_selector: pods.cloned().map(metadata::matching),
        ip_block: None,
    }
}

fn pods_in(namespace: &str, labels: &BTreeMap<String, String>) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: Some(metadata::matching(metadata::owned([(NAMESPACE_NAME, namespace)]))),
        pod_selector: Some(metadata::matching(labels.clone())),
        ip_block: None,
    }
}

fn tcp(port: u16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        port: Some(IntOrString::Int(i32::from(port))),
        protocol: Some("TCP".to_owned()),
        end_port: None,
    }
}

fn both_directions() -> Vec<String> {
    vec!["Ingress".to_owned(), "Egress".to_owned()]
}

/// An absent list and an empty one close alike; absent is what the API server stores.
fn some_if_any<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}
