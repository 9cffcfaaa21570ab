//! Which NetworkPolicies of others open more to or from an endpoint's pods than the endpoint says.
//!
//! Kubernetes adds up every NetworkPolicy that selects a pod and has no deny, so that any of them widens the endpoint's own
//! without touching it.

use crate::{
    Network, ValidatedEndpoint, fences,
    metadata::{self, Part},
};
use k8s_openapi::{
    api::networking::v1::{IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec},
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
        util::intstr::IntOrString,
    },
};
use sallyport_api::labels;
use std::{collections::BTreeMap, fmt};

/// Labels of one pod.
type Labels = BTreeMap<String, String>;

/// A NetworkPolicy that opens more than the endpoint says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Widening {
    /// Name of the NetworkPolicy.
    pub policy: String,
    /// Whether it lets more in.
    pub ingress: bool,
    /// Whether it lets more out.
    pub egress: bool,
}

/// As in `allow-all (ingress, egress)`.
impl fmt::Display for Widening {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let directions = [(self.ingress, "ingress"), (self.egress, "egress")];
        let opened: Vec<_> = directions
            .iter()
            .filter(|(open, _)| *open)
            .map(|(_, name)| *name)
            .collect();
        write!(formatter, "{} ({})", self.policy, opened.join(", "))
    }
}

/// Whether `policy`, of the endpoint's namespace, may open more to pods of the endpoint than the policy of those pods does.
///
/// A fence opens nothing, and what the operator keeps for the one part of an endpoint is somebody else's for the other.
pub fn may_widen(endpoint: &ValidatedEndpoint, policy: &NetworkPolicy) -> bool {
    parts(endpoint).any(|part| is_foreign(endpoint, part, policy))
}

/// The policies among `policies`, all those of the endpoint's namespace, that widen it, by name.
///
/// `pods` are the labels of its pods as they are: somebody may have added some, among them those by which policies of other
/// endpoints select, and a policy may select by those that the API server adds. Where it cannot be told that what a policy
/// opens is open anyway, the policy counts as widening.
pub fn widenings(endpoint: &ValidatedEndpoint, policies: &[NetworkPolicy], pods: &[Labels]) -> Vec<Widening> {
    let server = Some((Part::Server, fences::network_policy(endpoint)));
    let gateway =
        crate::gateway::file_of(endpoint).map(|file| (Part::Gateway, fences::gateway_policy(endpoint, &file)));
    let own: Vec<_> = server.into_iter().chain(gateway).collect();
    let mut widenings: Vec<_> = policies
        .iter()
        .filter_map(|policy| {
            let theirs = policy.spec.as_ref()?;
            let selected = own.iter().filter(|(part, _)| {
                let template = metadata::pod_labels(endpoint, *part);
                let of_part = |pod: &&Labels| pod.get(part.pod_label()) == Some(&endpoint.name);
                let mut pods = pods.iter().filter(of_part).chain([&template]);
                is_foreign(endpoint, *part, policy) && pods.any(|pod| selects(theirs.pod_selector.as_ref(), pod))
            });
            let (mut ingress, mut egress) = (false, false);
            for ours in selected.filter_map(|(_, policy)| policy.spec.as_ref()) {
                ingress |= widens(&incoming(theirs), &incoming(ours));
                egress |= widens(&outgoing(theirs), &outgoing(ours));
            }
            (ingress || egress).then(|| Widening {
                policy: policy.metadata.name.clone().unwrap_or_default(),
                ingress,
                egress,
            })
        })
        .collect();
    widenings.sort_by(|one, other| one.policy.cmp(&other.policy));
    widenings
}

/// The kinds of pods that the endpoint has.
fn parts(endpoint: &ValidatedEndpoint) -> impl Iterator<Item = Part> {
    let gateway = endpoint.gateway.as_ref().map(|_| Part::Gateway);
    std::iter::once(Part::Server).chain(gateway)
}

/// Whether `policy` is neither the one that the operator keeps for these pods nor a fence.
fn is_foreign(endpoint: &ValidatedEndpoint, part: Part, policy: &NetworkPolicy) -> bool {
    let own = part.name(endpoint);
    let name = policy.metadata.name.as_deref().unwrap_or_default();
    ![own.as_str(), labels::FENCE, labels::GATEWAY_FENCE].contains(&name)
}

/// One rule of either direction. An empty list means everything, as an absent one does.
struct Opening<'a> {
    peers: &'a [NetworkPolicyPeer],
    ports: &'a [NetworkPolicyPort],
}

fn incoming(policy: &NetworkPolicySpec) -> Vec<Opening<'_>> {
    let rules = policy.ingress.iter().flatten().map(|rule| Opening {
        peers: rule.from.as_deref().unwrap_or_default(),
        ports: rule.ports.as_deref().unwrap_or_default(),
    });
    if has_type(policy, "Ingress", true) {
        rules.collect()
    } else {
        vec![]
    }
}

fn outgoing(policy: &NetworkPolicySpec) -> Vec<Opening<'_>> {
    let rules = policy.egress.iter().flatten().map(|rule| Opening {
        peers: rule.to.as_deref().unwrap_or_default(),
        ports: rule.ports.as_deref().unwrap_or_default(),
    });
    let rules: Vec<_> = rules.collect();
    if has_type(policy, "Egress", !rules.is_empty()) {
        rules
    } else {
        vec![]
    }
}

fn has_type(policy: &NetworkPolicySpec, type_: &str, otherwise: bool) -> bool {
    match policy.policy_types.as_deref() {
        None | Some([]) => otherwise,
        Some(listed) => listed.iter().any(|one| one == type_),
    }
}

fn widens(theirs: &[Opening<'_>], ours: &[Opening<'_>]) -> bool {
    !theirs.iter().all(|rule| {
        // What opens every peer or every port is never open anyway: no rule of the operator's does.
        !rule.peers.is_empty()
            && !rule.ports.is_empty()
            && rule.peers.iter().all(|peer| {
                rule.ports.iter().all(|port| {
                    ours.iter().any(|own| {
                        own.peers.iter().any(|own| covers_peer(own, peer))
                            && own.ports.iter().any(|own| covers_port(own, port))
                    })
                })
            })
    })
}

fn covers_peer(own: &NetworkPolicyPeer, other: &NetworkPolicyPeer) -> bool {
    match (&own.ip_block, &other.ip_block) {
        (Some(own), Some(other)) => covers_block(own, other),
        (None, None) => {
            let namespaces = match (&own.namespace_selector, &other.namespace_selector) {
                (None, None) => true,
                (Some(own), Some(other)) => covers_selector(own, other),
                _ => false,
            };
            let pods = match (&own.pod_selector, &other.pod_selector) {
                (None, _) => true,
                (Some(own), Some(other)) => covers_selector(own, other),
                (Some(_), None) => false,
            };
            namespaces && pods
        }
        _ => false,
    }
}

/// Whether `own` selects all that `other` does: it asks for the same labels, or fewer.
fn covers_selector(own: &LabelSelector, other: &LabelSelector) -> bool {
    let asked = other.match_labels.as_ref();
    let fewer = own
        .match_labels
        .iter()
        .flatten()
        .all(|(key, value)| asked.and_then(|labels| labels.get(key)) == Some(value));
    own == other || own.match_expressions.as_ref().is_none_or(Vec::is_empty) && fewer
}

fn covers_block(own: &IPBlock, other: &IPBlock) -> bool {
    let networks = |texts: &[String]| {
        texts
            .iter()
            .map(|text| text.parse().ok())
            .collect::<Option<Vec<Network>>>()
    };
    let block = |block: &IPBlock| {
        let network: Network = block.cidr.parse().ok()?;
        Some((network, networks(block.except.as_deref().unwrap_or_default())?))
    };
    let (Some((own, own_except)), Some((other, other_except))) = (block(own), block(other)) else {
        return false;
    };
    let stays_closed = |closed: &Network| {
        let apart = !other.contains(closed) && !closed.contains(&other);
        apart || other_except.iter().any(|except| except.contains(closed))
    };
    own.contains(&other) && own_except.iter().all(stays_closed)
}

fn covers_port(own: &NetworkPolicyPort, other: &NetworkPolicyPort) -> bool {
    let protocol = |port: &NetworkPolicyPort| port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
    let range = |port: &NetworkPolicyPort| match port.port {
        Some(IntOrString::Int(first)) => Some((first, port.end_port.unwrap_or(first))),
        _ => None,
    };
    let numbers = match (range(own), range(other)) {
        (Some((first, last)), Some((other_first, other_last))) => first <= other_first && other_last <= last,
        _ => false,
    };
    protocol(own) == protocol(other) && (own.port.is_none() || numbers)
}

/// Whether `selector` selects a pod with these labels; an empty selector, and an absent one, selects every pod.
fn selects(selector: Option<&LabelSelector>, labels: &Labels) -> bool {
    let Some(selector) = selector else { return true };
    let equal = |(key, value): (&String, &String)| labels.get(key) == Some(value);
    selector.match_labels.iter().flatten().all(equal)
        && selector
            .match_expressions
            .iter()
            .flatten()
            .all(|expression| fits(expression, labels))
}

/// An operator that is not known counts as fitting: better to name a policy too many.
fn fits(expression: &LabelSelectorRequirement, labels: &Labels) -> bool {
    let value = labels.get(&expression.key);
    let listed = value.is_some_and(|value| expression.values.iter().flatten().any(|one| one == value));
    match expression.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => true,
    }
}

#[cfg(test)]
#[allow(clippy::needless_pass_by_value, reason = "tables of tests")]
mod tests {
    use super::*;
    use crate::{Facts, Settings, validate};
    use pretty_assertions::assert_eq;
    use serde_json::{Value, json};

    fn endpoint() -> ValidatedEndpoint {
        endpoint_that_allows(json!([
            {"host": "api.example.com"},
            {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"], "ports": [443, 8443]},
            {"service": {"namespace": "data", "selector": {"app": "postgres"}, "ports": [5432]}},
        ]))
    }

    fn endpoint_that_allows(allow: Value) -> ValidatedEndpoint {
        let image = format!("registry.example/a@sha256:{}", "a".repeat(64));
        let endpoint = serde_json::from_value(json!({
            "apiVersion": "sallyport.dev/v1alpha1", "kind": "McpEndpoint",
            "metadata": {"name": "demo", "namespace": "team-a", "uid": "u"},
            "spec": {
                "server": {"image": image, "transport": {"http": {"port": 3001}}},
                "access": {"from": [{"pods": {"matchLabels": {"app": "agent"}}}]},
                "egress": {"allow": allow},
            },
        }));
        let settings = Settings {
            sidecar_image: image.clone(),
            sidecar_amounts: crate::Amounts::SIDECAR,
            egress_image: image,
            priority_class: "p".into(),
            cluster_domain: "cluster.local".into(),
            operator_namespace: "sallyport-system".into(),
            cluster_networks: crate::ClusterNetworks::default(),
            operator_pod_labels: [("app".to_owned(), "sallyport".to_owned())].into(),
        };
        validate(&endpoint.unwrap(), &settings, &Facts::default()).unwrap()
    }

    fn named(name: &str, spec: Value) -> NetworkPolicy {
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": "team-a"}, "spec": spec})).unwrap()
    }

    /// What a policy that selects every pod widens.
    fn widened(spec: Value) -> Option<String> {
        let mut spec = spec;
        spec["podSelector"] = json!({});
        let found = widenings(&endpoint(), &[named("other", spec)], &[]);
        found.first().map(ToString::to_string)
    }

    fn egress(rule: Value) -> Option<String> {
        widened(json!({"policyTypes": ["Egress"], "egress": [rule]}))
    }

    fn block(cidr: &str, except: &[&str]) -> Value {
        json!([{"ipBlock": {"cidr": cidr, "except": except}}])
    }

    const OUT: Option<&str> = Some("other (egress)");

    #[test]
    fn a_policy_that_opens_everything_is_named_with_its_directions() {
        let all = json!({"policyTypes": ["Ingress", "Egress"], "ingress": [{}], "egress": [{}]});
        assert_eq!(widened(all).as_deref(), Some("other (ingress, egress)"));
        assert_eq!(widened(json!({"ingress": [{}]})).as_deref(), Some("other (ingress)"));
        assert_eq!(widened(json!({"egress": [{}]})).as_deref(), OUT);
        let dns = json!({"ports": [{"port": 53, "protocol": "UDP"}]});
        assert_eq!(egress(dns).as_deref(), OUT, "ports without peers are every peer");
        let peers = json!({"to": [{"podSelector": {}}]});
        assert_eq!(egress(peers).as_deref(), OUT, "peers without ports are every port");
    }

    #[test]
    fn a_policy_that_closes_widens_nothing() {
        assert_eq!(widened(json!({"policyTypes": ["Ingress", "Egress"]})), None);
        assert_eq!(
            widened(json!({"policyTypes": ["Ingress"], "egress": [{}]})),
            None,
            "rules of another type do not count"
        );
        assert_eq!(widened(json!({})), None);
    }

    /// What a policy of this name widens that opens everything to the pods that have these labels.
    fn opened(endpoint: &ValidatedEndpoint, name: &str, selector: Value, pods: &[Labels]) -> Vec<String> {
        let spec = json!({"podSelector": {"matchLabels": selector}, "egress": [{}], "policyTypes": ["Egress"]});
        let policies = [named(name, spec)];
        let found = widenings(endpoint, &policies, pods);
        let may = may_widen(endpoint, &policies[0]);
        assert!(may || found.is_empty(), "nobody looks at the pods for {name}");
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_operators_own_policies_are_not_others() {
        for (name, selector) in [
            ("demo", json!({"sallyport.dev/endpoint": "demo"})),
            ("demo-egress", json!({"sallyport.dev/egress-of": "demo"})),
            ("sallyport-fence", json!({})),
            ("sallyport-fence-egress", json!({})),
        ] {
            assert_eq!(opened(&endpoint(), name, selector, &[]), [""; 0], "{name}");
        }
    }

    #[test]
    fn a_policy_with_the_name_of_a_gateways_is_somebody_elses_where_there_is_no_gateway() {
        let lone = endpoint_that_allows(json!([]));
        assert_eq!(opened(&lone, "demo-egress", json!({}), &[]), ["demo-egress (egress)"]);
        assert_eq!(opened(&lone, "demo", json!({}), &[]), [""; 0]);
    }

    #[test]
    fn a_pod_with_the_label_of_other_pods_is_under_their_policy_and_that_is_named() {
        let with = |key: &str, value: &str| -> Labels {
            [("sallyport.dev/endpoint", "demo"), (key, value)]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into()
        };
        let of_gateways = |name: &str| json!({"sallyport.dev/egress-of": name});
        for (endpoint, name, of) in [
            (endpoint(), "other-egress", "other"),
            (endpoint_that_allows(json!([])), "other-egress", "other"),
            (endpoint(), "demo-egress", "demo"),
        ] {
            let pods = [with("sallyport.dev/egress-of", of)];
            let expected = format!("{name} (egress)");
            assert_eq!(opened(&endpoint, name, of_gateways(of), &pods), [expected], "{name}");
            let untouched = [with("pod-template-hash", "abc")];
            let found = opened(&endpoint, name, of_gateways(of), &untouched);
            assert_eq!(found, [""; 0], "{name}");
        }
    }

    #[test]
    fn what_is_open_anyway_is_not_widened() {
        let port = json!([{"port": 443}]);
        for (to, expected) in [
            (block("10.0.0.0/8", &["10.1.0.0/16"]), None),
            (block("10.2.0.0/16", &[]), None),
            (block("10.0.0.0/15", &["10.1.0.0/16"]), None),
            (block("10.0.0.0/15", &["10.0.0.0/15"]), None),
            (block("10.0.0.0/8", &[]), OUT),
            (block("10.0.0.0/8", &["10.1.0.0/17"]), OUT),
            (block("10.1.2.0/24", &[]), OUT),
            (block("0.0.0.0/0", &[]), OUT),
            (block("fd00::/8", &[]), OUT),
        ] {
            assert_eq!(
                egress_of_servers(json!({"to": to, "ports": port})),
                expected.map(str::to_owned),
                "{to}"
            );
        }
        let to = block("10.2.0.0/16", &[]);
        for (ports, expected) in [
            (json!([{"port": 443}, {"port": 8443, "protocol": "TCP"}]), None),
            (json!([{"port": 443, "protocol": "UDP"}]), OUT),
            (json!([{"port": 443, "endPort": 8443}]), OUT),
            (json!([{"port": "https"}]), OUT),
            (json!([{"port": 80}]), OUT),
        ] {
            assert_eq!(
                egress_of_servers(json!({"to": to, "ports": ports})),
                expected.map(str::to_owned),
                "{ports}"
            );
        }
        let data = json!({"matchLabels": {"kubernetes.io/metadata.name": "data"}});
        for (pods, expected) in [
            (json!({"matchLabels": {"app": "postgres"}}), None),
            (json!({"matchLabels": {"app": "postgres", "role": "replica"}}), None),
            (json!({"matchLabels": {"role": "replica"}}), OUT),
            (json!({}), OUT),
        ] {
            let rule = json!({"to": [{"namespaceSelector": data, "podSelector": pods}], "ports": [{"port": 5432}]});
            assert_eq!(egress_of_servers(rule), expected.map(str::to_owned), "{pods}");
        }
    }

    /// As [`egress`], of a policy that selects servers alone.
    fn egress_of_servers(rule: Value) -> Option<String> {
        let selector = json!({"matchLabels": {"sallyport.dev/endpoint": "demo"}});
        let spec = json!({"podSelector": selector, "policyTypes": ["Egress"], "egress": [rule]});
        widenings(&endpoint(), &[named("other", spec)], &[])
            .first()
            .map(ToString::to_string)
    }

    #[test]
    fn policies_count_that_select_a_pod_by_whatever_label_it_has() {
        let live: Labels = [
            ("sallyport.dev/endpoint", "demo"),
            ("pod-template-hash", "abc"),
            ("debug", "true"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        let other_endpoint: Labels = [("sallyport.dev/endpoint".to_owned(), "else".to_owned())].into();
        let expression = |key: &str, operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
        for (selector, selected) in [
            (json!({}), true),
            (json!({"matchLabels": {"sallyport.dev/endpoint": "demo"}}), true),
            (json!({"matchLabels": {"sallyport.dev/egress-of": "demo"}}), true),
            (json!({"matchLabels": {"debug": "true"}}), true),
            (json!({"matchLabels": {"sallyport.dev/endpoint": "else"}}), false),
            (json!({"matchLabels": {"app": "web"}}), false),
            (expression("pod-template-hash", "In", &["abc"]), true),
            (expression("pod-template-hash", "In", &["def"]), false),
            (expression("sallyport.dev/endpoint", "Exists", &[]), true),
            (expression("app", "DoesNotExist", &[]), true),
            (
                expression("app.kubernetes.io/managed-by", "NotIn", &["sallyport"]),
                true,
            ),
            (
                json!({"matchLabels": {"app.kubernetes.io/managed-by": "helm"}, "matchExpressions": []}),
                false,
            ),
        ] {
            let spec = json!({"podSelector": selector, "egress": [{}], "policyTypes": ["Egress"]});
            let found = widenings(
                &endpoint(),
                &[named("other", spec)],
                &[live.clone(), other_endpoint.clone()],
            );
            assert_eq!(found.len(), usize::from(selected), "{selector}");
        }
    }
}
