//! What holds of the CiliumNetworkPolicies of every endpoint.

use super::{
    common::{endpoint, facts, settings_of_a_public_cluster as settings, with},
    inputs::input,
};
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyPeer};
use proptest::prelude::*;
use sallyport_policy::egress::{EgressFile, EgressMode, FILE_NAME, HostPattern};
use sallyport_render::{CiliumNetworkPolicy, ClassFact, Facts, GatewayChildren, Network, never_open, render, validate};
use serde_json::{Value, json};
use std::{collections::BTreeSet, net::IpAddr};

proptest! {
    #[test]
    fn cilium_denies_nothing_that_the_networkpolicies_open((endpoint, facts) in input()) {
        let children = render(&validate(&endpoint, &settings(), &facts).unwrap());
        let gateway = children.gateway.as_ref();
        let pairs = std::iter::once((&children.network_policy, &children.cilium_network_policy))
            .chain(gateway.map(|gateway| (&gateway.network_policy, &gateway.cilium_network_policy)));
        for (policy, cilium) in pairs {
            prop_assert_eq!(cilium.is_some(), facts.cilium);
            let Some(cilium) = cilium else { continue };
            for denial in denials(cilium) {
                for peer in opened(policy) {
                    prop_assert!(!denies(&denial, &peer, &facts.api_servers), "{denial} denies {peer:?}");
                }
            }
        }
    }

    #[test]
    fn cilium_denies_servers_what_no_rule_opens((endpoint, facts) in input()) {
        let facts = Facts { cilium: true, ..facts };
        let children = render(&validate(&endpoint, &settings(), &facts).unwrap());
        let cilium = children.cilium_network_policy.unwrap();
        let networks = opened(&children.network_policy).any(|peer| peer.ip_block.is_some());
        let all = denials(&cilium);
        let entities: BTreeSet<_> = all.iter().flat_map(|denial| texts(&denial["toEntities"])).collect();
        let closed: BTreeSet<_> = all.iter().flat_map(|denial| texts(&denial["toCIDR"])).collect();
        for entity in ["world", "host", "remote-node"] {
            prop_assert_eq!(entities.contains(entity), !networks);
        }
        prop_assert!(entities.contains("kube-apiserver"));
        prop_assert!(!networks || never_open().all(|network| closed.contains(&network.to_string())));
        let stranger = serde_json::from_value(json!({"podSelector": {"matchLabels": {"app": "canary"}}})).unwrap();
        let spared = endpoint.spec.egress.allow.iter().filter_map(|rule| rule.service.as_ref());
        let spared = spared.into_iter().any(|service| service.selector.iter().next() == Some((&"app".to_owned(), &"canary".to_owned())));
        prop_assert_eq!(all.iter().any(|denial| denies(denial, &stranger, &[])), !spared);
        prop_assert!(cilium.fields["spec"]["egress"].is_null(), "a server's policy denies and nothing else");
    }

    #[test]
    fn cilium_opens_the_gateways_hosts_by_name_and_then_nothing_else_opens_public_addresses((endpoint, facts) in input()) {
        let children = render(&validate(&endpoint, &settings(), &facts).unwrap());
        let Some(gateway) = children.gateway else { return Ok(()) };
        let file = file(&gateway);
        let by_name = facts.cilium && file.mode == EgressMode::Enforce;
        let open = opened(&gateway.network_policy).filter(is_public).count();
        prop_assert_eq!(open == 0, by_name);
        let egress = gateway.cilium_network_policy.map(|policy| policy.fields["spec"]["egress"].clone());
        let egress = egress.unwrap_or_default();
        prop_assert_eq!(egress.is_array(), by_name);
        for rule in file.rules.iter().filter(|_| by_name) {
            let name = match &rule.host {
                HostPattern::Exact(name) => json!({"matchName": name}),
                HostPattern::Below(parent) => json!({"matchPattern": format!("**.{parent}")}),
            };
            let asked = egress[0]["toPorts"][0]["rules"]["dns"].as_array().unwrap();
            prop_assert!(asked.contains(&name));
            prop_assert_eq!(asked.len(), file.rules.len());
            let ports: Vec<_> = rule.ports.iter().map(|port| json!({"port": port.to_string(), "protocol": "TCP"})).collect();
            let opens = |rule: &Value| {
                rule["toFQDNs"].as_array().is_some_and(|names| names.contains(&name)) && rule["toPorts"] == json!([{"ports": ports}])
            };
            prop_assert!(egress.as_array().unwrap().iter().any(opens), "{} is not opened on {:?}", name, ports);
        }
    }
}

#[test]
fn a_denial_of_what_is_open_is_noticed() {
    let peer = |peer: Value| serde_json::from_value::<NetworkPolicyPeer>(peer).unwrap();
    let network = peer(json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}));
    let pod = peer(json!({"podSelector": {"matchLabels": {"app": "db", "tier": "1"}}}));
    let not_in = |key: &str, value: &str| json!({"toEndpoints": [{"matchExpressions": [{"key": key, "operator": "NotIn", "values": [value]}]}]});
    for (denial, peer, expected) in [
        (json!({"toEntities": ["world"]}), &network, true),
        (json!({"toEntities": ["kube-apiserver"]}), &network, false),
        (json!({"toCIDR": ["10.2.0.0/16"]}), &network, true),
        (json!({"toCIDR": ["10.1.2.0/24"]}), &network, false),
        (json!({"toCIDR": ["0.0.0.0/0"]}), &network, true),
        (json!({"toEntities": ["world"]}), &pod, false),
        (not_in("k8s:app", "db"), &pod, false),
        (not_in("k8s:app", "other"), &pod, true),
        (not_in("k8s:name", "db"), &pod, true),
    ] {
        assert_eq!(denies(&denial, peer, &[]), expected, "{denial}");
    }
    let api = "10.2.0.1".parse().unwrap();
    assert!(denies(&json!({"toEntities": ["kube-apiserver"]}), &network, &[api]));
}

#[test]
fn an_endpoint_that_may_reach_the_kubernetes_api_is_not_denied_it() {
    let class = serde_json::from_value(json!({"egress": {"allowKubernetesApi": true}})).unwrap();
    let facts = Facts {
        cilium: true,
        class: ClassFact::Found(class),
        ..facts()
    };
    let rule = json!([{"cidr": "10.96.0.1/32", "ports": [443]}]);
    let endpoint = endpoint(with("/spec/egress/allow", rule));
    let children = render(&validate(&endpoint, &settings(), &facts).unwrap());
    let policy = children.cilium_network_policy.unwrap();
    assert!(denials(&policy).iter().all(|denial| denial["toEntities"].is_null()));
}

#[test]
fn networks_of_the_cluster_are_denied_but_those_of_pods_and_those_that_a_rule_opens() {
    let facts = Facts {
        cilium: true,
        ..facts()
    };
    let rules = json!([
        {"host": "api.example.com"},
        {"cidr": "203.128.7.0/24", "ports": [443]},
        {"cidr": "2600:1f00::/32", "except": ["2600:1f00:2::/48"], "ports": [443]},
    ]);
    let children = render(&validate(&endpoint(with("/spec/egress/allow", rules)), &settings(), &facts).unwrap());
    let gateway = children.gateway.unwrap().cilium_network_policy;
    let of_cluster = ["11.16.0.0/12", "12.64.0.0/14", "203.128.0.0/10", "2600:1f00:2::/112"];
    for policy in [children.cilium_network_policy, gateway].map(Option::unwrap) {
        let closed: Vec<_> = denials(&policy)
            .iter()
            .flat_map(|denial| texts(&denial["toCIDR"]))
            .collect();
        let denied = of_cluster.map(|network| closed.iter().any(|closed| closed == network));
        assert_eq!(denied, [false, true, false, false], "{closed:?}");
    }
}

#[test]
fn who_calls_from_outside_is_not_denied() {
    let facts = Facts {
        cilium: true,
        ..facts()
    };
    for (endpoint_, denied) in [
        (with("/spec/replicas", json!(1)), true),
        (
            with("/spec/access/externalUrl", json!("https://mcp.example.com")),
            false,
        ),
    ] {
        let children = render(&validate(&endpoint(endpoint_), &settings(), &facts).unwrap());
        let policy = children.cilium_network_policy.unwrap();
        assert_eq!(policy.fields["spec"]["ingressDeny"].is_array(), denied);
    }
}

#[test]
fn what_others_put_into_a_policy_is_kept() {
    let stored = json!({
        "apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy", "metadata": {"name": "demo"},
        "spec": {"endpointSelector": {}, "egress": [{"toEntities": ["all"], "unknown": [1]}]},
        "specs": [{"endpointSelector": {}}], "status": {"conditions": []},
    });
    let read: CiliumNetworkPolicy = serde_json::from_value(stored.clone()).unwrap();
    assert_eq!(serde_json::to_value(read).unwrap(), stored);
}

fn denials(policy: &CiliumNetworkPolicy) -> Vec<Value> {
    policy.fields["spec"]["egressDeny"].as_array().unwrap().clone()
}

fn opened(policy: &NetworkPolicy) -> impl Iterator<Item = NetworkPolicyPeer> {
    let rules = policy.spec.as_ref().and_then(|spec| spec.egress.clone());
    rules.into_iter().flatten().flat_map(|rule| rule.to.unwrap())
}

/// Whether one entry of `egressDeny` closes anything of `peer`.
fn denies(denial: &Value, peer: &NetworkPolicyPeer, api_servers: &[IpAddr]) -> bool {
    let Some(block) = &peer.ip_block else {
        let selector = peer.pod_selector.clone().unwrap_or_default();
        let labels = selector.match_labels.unwrap_or_default();
        let spares = |requirement: &Value| {
            let key = requirement["key"].as_str().unwrap();
            let value = labels.get(key.strip_prefix("k8s:").unwrap());
            value.is_some_and(|value| texts(&requirement["values"]).contains(value))
        };
        let selectors = denial["toEndpoints"].as_array();
        return selectors.into_iter().flatten().any(|selector| {
            let requirements = selector["matchExpressions"].as_array().unwrap();
            !requirements.iter().any(spares)
        });
    };
    let network: Network = block.cidr.parse().unwrap();
    let except: Vec<Network> = block
        .except
        .iter()
        .flatten()
        .map(|text| text.parse().unwrap())
        .collect();
    let open = |inner: &Network| network.contains(inner) && !except.iter().any(|except| except.contains(inner));
    let by_entity = texts(&denial["toEntities"]).iter().any(|entity| match entity.as_str() {
        "kube-apiserver" => api_servers.iter().any(|address| open(&Network::host(*address))),
        _ => true,
    });
    let by_network = texts(&denial["toCIDR"]).iter().any(|text| {
        let denied: Network = text.parse().unwrap();
        denied.contains(&network) || open(&denied)
    });
    by_entity || by_network
}

fn is_public(peer: &NetworkPolicyPeer) -> bool {
    let block = peer.ip_block.as_ref();
    block.is_some_and(|block| block.cidr == "0.0.0.0/0" || block.cidr == "2000::/3")
}

fn texts(list: &Value) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items.map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn file(gateway: &GatewayChildren) -> EgressFile {
    EgressFile::parse(&gateway.config_map.data.as_ref().unwrap()[FILE_NAME]).unwrap()
}
