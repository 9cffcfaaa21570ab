//! CiliumNetworkPolicies: what Cilium can say and NetworkPolicy cannot (docs/adr/0011-native-policies.md).
//!
//! Cilium adds up the policies of all kinds that select a pod, and what one of them denies no other opens. So a server's
//! policy denies and nothing else: what its endpoint never allows stays closed whatever others open. A gateway's denies too,
//! and allows its hosts by name.

use crate::{
    Network, ValidatedEndpoint,
    endpoint::Destination,
    fences::{DNS_LABEL, DNS_NAMESPACE, DNS_PORT},
    metadata::{self, Part},
    never_open,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement, ObjectMeta};
use kube::{
    Resource,
    core::{NamespaceResourceScope, TypeMeta},
};
use sallyport_api::labels;
use sallyport_policy::egress::{DeniedNetworkKind, EgressFile, EgressMode, HostPattern};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

/// A CiliumNetworkPolicy (`cilium.io/v2`).
///
/// Whatever the API server stores is kept, fields that nothing here knows included: what others add to it must be seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CiliumNetworkPolicy {
    #[serde(flatten)]
    types: TypeMeta,
    /// Name, labels, owner.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// `spec`, and all else.
    #[serde(flatten)]
    pub fields: BTreeMap<String, Value>,
}

impl CiliumNetworkPolicy {
    /// API group.
    pub const GROUP: &str = "cilium.io";
    /// API version.
    pub const VERSION: &str = "v2";
    /// Name of the resource, as in URLs.
    pub const PLURAL: &str = "ciliumnetworkpolicies";
    const KIND: &str = "CiliumNetworkPolicy";
}

impl Resource for CiliumNetworkPolicy {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        Self::KIND.into()
    }

    fn group((): &()) -> Cow<'_, str> {
        Self::GROUP.into()
    }

    fn version((): &()) -> Cow<'_, str> {
        Self::VERSION.into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        Self::PLURAL.into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// The part of `spec` that is written.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    endpoint_selector: LabelSelector,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    egress: Vec<Egress>,
    egress_deny: Vec<EgressDeny>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ingress_deny: Vec<IngressDeny>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Egress {
    #[serde(flatten)]
    to: Destinations,
    to_ports: [PortRule; 1],
}

#[derive(Serialize)]
enum Destinations {
    #[serde(rename = "toEndpoints")]
    Endpoints([LabelSelector; 1]),
    #[serde(rename = "toFQDNs")]
    Names(Vec<Name>),
}

/// One name, or `**.` and the name below which all are.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
enum Name {
    MatchName(String),
    MatchPattern(String),
}

#[derive(Serialize)]
struct PortRule {
    ports: Vec<Port>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rules: Option<DnsRules>,
}

#[derive(Serialize)]
struct Port {
    port: String,
    protocol: &'static str,
}

#[derive(Serialize)]
struct DnsRules {
    dns: Vec<Name>,
}

#[derive(Serialize)]
enum EgressDeny {
    #[serde(rename = "toEntities")]
    Entities(Vec<Entity>),
    #[serde(rename = "toCIDR")]
    Networks(Vec<String>),
    #[serde(rename = "toEndpoints")]
    Endpoints([LabelSelector; 1]),
}

#[derive(Serialize)]
enum IngressDeny {
    #[serde(rename = "fromEntities")]
    Entities([Entity; 1]),
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum Entity {
    /// All that is neither a pod nor a node.
    World,
    /// The pod's own node.
    Host,
    RemoteNode,
    /// Wherever the API server is.
    KubeApiserver,
}

/// Denies the server's pods of `endpoint` what it never allows; `None` if the cluster has no such policies.
pub(crate) fn server_policy(endpoint: &ValidatedEndpoint) -> Option<CiliumNetworkPolicy> {
    let leads_outside = |destination: &Destination| {
        matches!(
            destination,
            Destination::Network { .. } | Destination::KubernetesApi { .. }
        )
    };
    // A network may hold nodes, if Cilium is told that networks do (`policyCIDRMatchMode`).
    let outside = endpoint.egress.iter().any(|rule| leads_outside(&rule.destination));
    let mut entities = if outside {
        vec![]
    } else {
        vec![Entity::World, Entity::Host, Entity::RemoteNode]
    };
    if endpoint.kubernetes_api().is_forbidden() {
        entities.push(Entity::KubeApiserver);
    }
    let entities = (!entities.is_empty()).then_some(EgressDeny::Entities(entities));
    let networks = outside.then(|| closed_networks(endpoint));
    let pods = EgressDeny::Endpoints([other_pods(endpoint)]);
    // Not from the pod's own node, where the kubelet's probes come from.
    let ingress = endpoint.external_host.is_none().then(from_outside);
    let rule = Rule {
        endpoint_selector: metadata::selector(endpoint, Part::Server),
        egress: vec![],
        egress_deny: entities.into_iter().chain(networks).chain([pods]).collect(),
        ingress_deny: ingress.into_iter().collect(),
    };
    endpoint.cilium.then(|| policy_of(endpoint, Part::Server, &rule))
}

/// Opens the hosts that `file` names to the gateway's pods of `endpoint`, by name, and denies what it never dials; `None` if
/// the cluster has no such policies.
pub(crate) fn gateway_policy(endpoint: &ValidatedEndpoint, file: &EgressFile) -> Option<CiliumNetworkPolicy> {
    // Nodes are denied only where the operator is told their networks: a public host may be one.
    let rule = Rule {
        endpoint_selector: metadata::selector(endpoint, Part::Gateway),
        egress: if knows_hosts(endpoint, file) {
            hosts(file)
        } else {
            vec![]
        },
        egress_deny: vec![
            EgressDeny::Entities(vec![Entity::KubeApiserver]),
            closed_networks(endpoint),
        ],
        ingress_deny: vec![from_outside()],
    };
    endpoint.cilium.then(|| policy_of(endpoint, Part::Gateway, &rule))
}

/// Whether Cilium opens the hosts that `file` names, so that nothing else may open public addresses and name servers.
///
/// Not in `Audit` mode, in which a gateway reaches hosts that no rule names.
pub(crate) fn knows_hosts(endpoint: &ValidatedEndpoint, file: &EgressFile) -> bool {
    endpoint.cilium && file.mode == EgressMode::Enforce && !file.rules.is_empty()
}

fn policy_of(endpoint: &ValidatedEndpoint, part: Part, rule: &Rule) -> CiliumNetworkPolicy {
    CiliumNetworkPolicy {
        types: TypeMeta {
            api_version: CiliumNetworkPolicy::api_version(&()).into_owned(),
            kind: CiliumNetworkPolicy::KIND.to_owned(),
        },
        metadata: metadata::of_child(endpoint, part),
        fields: [("spec".to_owned(), json!(rule))].into(),
    }
}

/// Questions for the hosts' names, to the cluster's name servers, and what they are answered, on the ports of each.
///
/// Cilium learns the addresses from the answers, so it has to see the questions.
fn hosts(file: &EgressFile) -> Vec<Egress> {
    let mut by_ports = BTreeMap::<_, Vec<_>>::new();
    for rule in &file.rules {
        by_ports.entry(&rule.ports).or_default().push(name(&rule.host));
    }
    let questions = Egress {
        to: Destinations::Endpoints([metadata::matching(
            [(namespace_key(), DNS_NAMESPACE), (pod_key(DNS_LABEL.0), DNS_LABEL.1)]
                .map(|(key, value)| (key, value.to_owned()))
                .into(),
        )]),
        to_ports: [PortRule {
            ports: vec![port(DNS_PORT, "UDP"), port(DNS_PORT, "TCP")],
            rules: Some(DnsRules {
                dns: by_ports.values().flatten().cloned().collect(),
            }),
        }],
    };
    let answers = by_ports.into_iter().map(|(ports, names)| Egress {
        to: Destinations::Names(names),
        to_ports: [PortRule {
            ports: ports.iter().map(|&number| port(number, "TCP")).collect(),
            rules: None,
        }],
    });
    std::iter::once(questions).chain(answers).collect()
}

fn name(host: &HostPattern) -> Name {
    match host {
        HostPattern::Exact(name) => Name::MatchName(name.to_string()),
        // One star would be one label.
        HostPattern::Below(parent) => Name::MatchPattern(format!("**.{parent}")),
    }
}

fn port(number: u16, protocol: &'static str) -> Port {
    Port {
        port: number.to_string(),
        protocol,
    }
}

fn from_outside() -> IngressDeny {
    IngressDeny::Entities([Entity::World])
}

/// What no rule can open, and networks of the cluster of which no rule opens any part: a denial would win over that rule.
///
/// Not those of pods. Cilium knows pods by their labels, and one that is told to match networks against them too would deny
/// those that are allowed.
fn closed_networks(endpoint: &ValidatedEndpoint) -> EgressDeny {
    let opened: Vec<_> = endpoint
        .egress
        .iter()
        .filter_map(|rule| match rule.destination {
            Destination::Network { network, .. } => Some(network),
            Destination::KubernetesApi { address, .. } => Some(Network::host(address)),
            Destination::Host(_) | Destination::Service { .. } => None,
        })
        .collect();
    let is_apart = |network: &Network| {
        let meets = |opened: &Network| opened.contains(network) || network.contains(opened);
        !opened.iter().any(meets)
    };
    let of_cluster = endpoint.settings.cluster_networks.denied();
    let of_cluster = of_cluster.filter(|denied| denied.kind != DeniedNetworkKind::Pods);
    let closed = never_open().chain(of_cluster.map(|denied| denied.network).filter(is_apart));
    EgressDeny::Networks(closed.map(|network| network.to_string()).collect())
}

/// Pods of any namespace but those that the server may reach.
///
/// A selector is a conjunction, so each of those is spared by one of its labels: a pod elsewhere with the same label is not
/// denied, and stays as closed as NetworkPolicies leave it.
fn other_pods(endpoint: &ValidatedEndpoint) -> LabelSelector {
    let own = endpoint.name.as_str();
    let gateway = endpoint.gateway.as_ref().map(|_| (labels::EGRESS_OF, own));
    let peers = endpoint.has_peers().then_some((labels::ENDPOINT, own));
    let name_servers = endpoint.cluster_dns.then_some(DNS_LABEL);
    let services = endpoint.egress.iter().filter_map(|rule| match &rule.destination {
        Destination::Service { selector, .. } => selector.first_key_value(),
        Destination::Host(_) | Destination::Network { .. } | Destination::KubernetesApi { .. } => None,
    });
    let services = services.map(|(key, value)| (key.as_str(), value.as_str()));
    let mut spared = BTreeMap::<_, BTreeSet<_>>::new();
    for (key, value) in gateway.into_iter().chain(peers).chain(name_servers).chain(services) {
        spared.entry(key).or_default().insert(value.to_owned());
    }
    let every_namespace = LabelSelectorRequirement {
        key: namespace_key(),
        operator: "Exists".to_owned(),
        values: None,
    };
    let spared = spared.into_iter().map(|(key, values)| LabelSelectorRequirement {
        key: pod_key(key),
        operator: "NotIn".to_owned(),
        values: Some(values.into_iter().collect()),
    });
    LabelSelector {
        match_expressions: Some(std::iter::once(every_namespace).chain(spared).collect()),
        ..LabelSelector::default()
    }
}

/// Without this label a selector is about the policy's own namespace.
fn namespace_key() -> String {
    pod_key("io.kubernetes.pod.namespace")
}

/// Cilium's name of a label that a pod has in Kubernetes.
fn pod_key(key: &str) -> String {
    format!("k8s:{key}")
}
