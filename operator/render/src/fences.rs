//! NetworkPolicies. Kubernetes adds policies up and has no deny, so each one opens exactly what it names.

use crate::{
    Network, ValidatedEndpoint, cidr, cilium,
    endpoint::{Destination, Origin, Peer},
    injection,
    metadata::{self, Part},
    transparent,
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
    v1alpha1::{GATEWAY_ADMIN_PORT, GATEWAY_PORT, SIDECAR_ADMIN_PORT, SIDECAR_PEER_PORT, SIDECAR_PORT, SIGNER_PORT},
};
use sallyport_policy::egress::{self, EgressFile};
use std::collections::BTreeMap;

/// Label that every namespace carries with its own name, and that nobody can change.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// Namespace and labels of the cluster's name servers, as every distribution has them.
pub(crate) const DNS_NAMESPACE: &str = "kube-system";
pub(crate) const DNS_LABEL: (&str, &str) = ("k8s-app", "kube-dns");
pub(crate) const DNS_PORT: u16 = 53;

const ALL_IPV4: &str = "0.0.0.0/0";

/// Closes the server's pods of `endpoint` both ways and opens what it allows.
pub(crate) fn network_policy(endpoint: &ValidatedEndpoint) -> NetworkPolicy {
    let (from_peers, to_peers) = peers(endpoint).unzip();
    let ingress = opened(&endpoint.access, SIDECAR_PORT)
        .into_iter()
        .chain(operator(endpoint, SIDECAR_ADMIN_PORT))
        .chain(opened(&endpoint.scrapers, SIDECAR_ADMIN_PORT))
        .chain(from_peers)
        .chain(injection::is_used(endpoint).then(|| to_signer(endpoint)));
    let egress = gateway(endpoint)
        .into_iter()
        .chain(to_peers)
        .chain(endpoint.cluster_dns.then(name_servers))
        .chain(endpoint.egress.iter().filter_map(|rule| destination(&rule.destination)));
    policy_of(endpoint, Part::Server, ingress.collect(), egress.collect())
}

/// Closes the gateway's pods of `endpoint` both ways and opens the proxy to the server's pods, the admin port to the operator
/// and scrapers, and the way to name servers, to the collector of its events, and to public addresses on the ports that `file` names. Which
/// hosts those may be is for the gateway to say.
///
/// Name servers and public addresses stay closed where Cilium opens them: it adds policies up, and this would open them all.
pub(crate) fn gateway_policy(endpoint: &ValidatedEndpoint, file: &EgressFile) -> NetworkPolicy {
    let from_server = NetworkPolicyIngressRule {
        from: Some(vec![pods_of(endpoint, Part::Server)]),
        ports: Some(gateway_ports(endpoint).into_iter().map(tcp).collect()),
    };
    let signer = injection::is_used(endpoint).then(|| to(vec![pods_of(endpoint, Part::Server)], &[SIGNER_PORT]));
    let ports: Vec<_> = crate::gateway::dialled_ports(file).into_iter().collect();
    let private = crate::gateway::dialled_networks(endpoint, file);
    let private = private
        .into_iter()
        .map(|(network, except, ports)| to(vec![block(network, except)], &ports));
    let open = !cilium::knows_hosts(endpoint, file);
    let egress = open
        .then(name_servers)
        .into_iter()
        .chain((open && !ports.is_empty()).then(|| to(public(file), &ports)))
        .chain(private)
        .chain(signer)
        .chain(collector(endpoint));
    let ingress = std::iter::once(from_server)
        .chain(operator(endpoint, GATEWAY_ADMIN_PORT))
        .chain(opened(&endpoint.scrapers, GATEWAY_ADMIN_PORT));
    policy_of(endpoint, Part::Gateway, ingress.collect(), egress.collect())
}

fn policy_of(
    endpoint: &ValidatedEndpoint,
    part: Part,
    ingress: Vec<NetworkPolicyIngressRule>,
    egress: Vec<NetworkPolicyEgressRule>,
) -> NetworkPolicy {
    NetworkPolicy {
        metadata: metadata::of_child(endpoint, part),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(metadata::selector(endpoint, part)),
            policy_types: Some(both_directions()),
            ingress: some_if_any(ingress),
            egress: some_if_any(egress),
        }),
    }
}

/// Closes every pod of `namespace` that is this part of any endpoint both ways and opens nothing.
pub(crate) fn fence(namespace: &str, part: Part) -> NetworkPolicy {
    let name = match part {
        Part::Server => labels::FENCE,
        Part::Gateway => labels::GATEWAY_FENCE,
    };
    NetworkPolicy {
        metadata: metadata::of_namespace(name, namespace),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector {
                match_expressions: Some(vec![LabelSelectorRequirement {
                    key: part.pod_label().to_owned(),
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

/// These pods reach this one port. Nobody, if nobody is allowed: an empty `from` would mean everybody.
fn opened(peers: &[Peer], port: u16) -> Option<NetworkPolicyIngressRule> {
    let from: Vec<_> = peers.iter().map(peer).collect();
    (!from.is_empty()).then(|| NetworkPolicyIngressRule {
        from: Some(from),
        ports: Some(vec![tcp(port)]),
    })
}

/// The endpoint's own pods reach each other, where one asks the other to use up a confirmation.
fn peers(endpoint: &ValidatedEndpoint) -> Option<(NetworkPolicyIngressRule, NetworkPolicyEgressRule)> {
    let own = || vec![pods_of(endpoint, Part::Server)];
    let ingress = || NetworkPolicyIngressRule {
        from: Some(own()),
        ports: Some(vec![tcp(SIDECAR_PEER_PORT)]),
    };
    endpoint
        .has_peers()
        .then(|| (ingress(), to(own(), &[SIDECAR_PEER_PORT])))
}

/// The operator reads readiness, server info and anchors from the admin port. An empty selector would mean every pod.
fn operator(endpoint: &ValidatedEndpoint, port: u16) -> Option<NetworkPolicyIngressRule> {
    let labels = &endpoint.settings.operator_pod_labels;
    (!labels.is_empty()).then(|| NetworkPolicyIngressRule {
        from: Some(vec![pods_in(&endpoint.settings.operator_namespace, labels)]),
        ports: Some(vec![tcp(port)]),
    })
}

/// The endpoint's own gateway, and nobody else's.
fn gateway(endpoint: &ValidatedEndpoint) -> Option<NetworkPolicyEgressRule> {
    endpoint.gateway.as_ref()?;
    Some(to(vec![pods_of(endpoint, Part::Gateway)], &gateway_ports(endpoint)))
}

/// Ports on which the gateway takes what servers send.
fn gateway_ports(endpoint: &ValidatedEndpoint) -> Vec<u16> {
    std::iter::once(GATEWAY_PORT)
        .chain(transparent::port(endpoint))
        .collect()
}

/// The endpoint's own gateway, which asks for certificates.
fn to_signer(endpoint: &ValidatedEndpoint) -> NetworkPolicyIngressRule {
    NetworkPolicyIngressRule {
        from: Some(vec![pods_of(endpoint, Part::Gateway)]),
        ports: Some(vec![tcp(SIGNER_PORT)]),
    }
}

/// The cluster's name servers, by label and not by port alone: any host can listen on 53.
fn name_servers() -> NetworkPolicyEgressRule {
    let udp = NetworkPolicyPort {
        protocol: Some("UDP".to_owned()),
        ..tcp(DNS_PORT)
    };
    NetworkPolicyEgressRule {
        to: Some(vec![pods_in(DNS_NAMESPACE, &metadata::owned([DNS_LABEL]))]),
        ports: Some(vec![udp, tcp(DNS_PORT)]),
    }
}

/// The collector of the endpoint's records, which takes the gateway's events too.
fn collector(endpoint: &ValidatedEndpoint) -> Option<NetworkPolicyEgressRule> {
    let rule = endpoint.egress.iter().find(|rule| rule.origin == Origin::Collector)?;
    destination(&rule.destination)
}

/// `None` for hosts, which are reached through the gateway.
fn destination(destination: &Destination) -> Option<NetworkPolicyEgressRule> {
    match destination {
        Destination::Host(_) => None,
        Destination::Network { network, except, ports } => Some(to(vec![block(*network, except)], ports)),
        Destination::KubernetesApi { address, ports } => Some(to(vec![block(Network::host(*address), &[])], ports)),
        Destination::Service {
            namespace,
            selector,
            ports,
        } => Some(to(vec![pods_in(namespace, selector)], ports)),
    }
}

/// Every public address of both families, without those of the Kubernetes API and of the cluster.
fn public(file: &EgressFile) -> Vec<NetworkPolicyPeer> {
    let denied = file.addresses.denied.iter().map(|denied| denied.network);
    let closed: Vec<Network> = egress::not_public().chain(denied).collect();
    let families = [ALL_IPV4, egress::PUBLIC_IPV6].into_iter();
    let families = families.filter_map(|family| family.parse::<Network>().ok());
    families
        .map(|family| {
            let inside = closed.iter().filter(|network| family.contains(network)).copied();
            block(family, &cidr::outermost(inside.collect()))
        })
        .collect()
}

fn block(network: Network, except: &[Network]) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        ip_block: Some(IPBlock {
            cidr: network.to_string(),
            except: some_if_any(except.iter().map(ToString::to_string).collect()),
        }),
        ..NetworkPolicyPeer::default()
    }
}

fn to(peers: Vec<NetworkPolicyPeer>, ports: &[u16]) -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule {
        to: Some(peers),
        ports: Some(ports.iter().map(|&port| tcp(port)).collect()),
    }
}

/// Pods of one part of `endpoint`, in its own namespace.
fn pods_of(endpoint: &ValidatedEndpoint, part: Part) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        pod_selector: Some(metadata::selector(endpoint, part)),
        ..NetworkPolicyPeer::default()
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
