//! What holds for every endpoint that validates.

use super::{common::settings_of_a_public_cluster as settings, inputs::input};
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{Container, PodSpec},
        networking::v1::{NetworkPolicy, NetworkPolicySpec},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use proptest::prelude::*;
use sallyport_api::{McpEndpoint, v1alpha1::EgressRule};
use sallyport_policy::egress::{EgressFile, FILE_NAME};
use sallyport_render::{
    Children, Facts, NamespaceMember, Network, Prepared, footprint, hardening, render, render_namespace, validate,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// Addresses of pods, Services and nodes of [`settings`].
const OF_CLUSTER: [&str; 6] = [
    "11.17.0.1",
    "12.65.0.1",
    "203.129.0.1",
    "2600:1f00:1::1",
    "2600:1f00:2::1",
    "2600:1f00:3::1",
];

proptest! {
    #[test]
    fn every_pod_passes_every_check_but_those_that_its_nodes_or_its_endpoint_rule_out((endpoint, facts) in input()) {
        let pod = pod(&children(&endpoint, &facts));
        let nodes = facts.node_features;
        let led = facts.gateway_address.is_some() && endpoint.spec.egress.allow.iter().any(|rule| rule.transparent);
        let cannot = [("user-namespace", nodes.user_namespaces), ("strict-groups", nodes.supplemental_groups_policy),
            ("no-host-aliases", !led)];
        let expected: Vec<_> = cannot.into_iter().filter(|(_, can)| !can).map(|(id, _)| id).collect();
        let deviations = hardening::judge(&pod).deviations;
        let deviating: Vec<_> = deviations.iter().filter_map(|text| text.split_once(':')).map(|(id, _)| id).collect();
        prop_assert_eq!(deviating, expected, "{:?}", deviations);
    }

    #[test]
    fn no_policy_opens_more_than_it_names((endpoint, facts) in input()) {
        let policy = children(&endpoint, &facts).network_policy.spec.unwrap();
        prop_assert_eq!(policy.policy_types.clone().unwrap(), ["Ingress", "Egress"]);
        for rule in policy.ingress.iter().flatten() {
            prop_assert!(rule.from.as_ref().is_some_and(|from| !from.is_empty()), "an empty from means everybody");
            let ports: Vec<_> = rule.ports.iter().flatten().map(|port| port.port.clone()).collect();
            prop_assert_eq!(ports.len(), 1, "only the sidecar's ports are reached");
        }
        for rule in policy.egress.iter().flatten() {
            prop_assert!(rule.to.as_ref().is_some_and(|to| !to.is_empty()), "an empty to means everything");
            prop_assert!(rule.ports.as_ref().is_some_and(|ports| !ports.is_empty()), "no ports mean every port");
        }
        prop_assert!(selectors(&policy).iter().all(|labels| !labels.is_empty()), "an empty selector means all");
    }

    #[test]
    fn a_gateway_is_reached_by_its_endpoint_the_operator_and_scrapers_alone_and_reaches_name_servers_and_public_addresses((endpoint, facts) in input()) {
        let hosts = endpoint.spec.needs_gateway();
        let children = children(&endpoint, &facts);
        prop_assert_eq!(children.gateway.is_some(), hosts);
        let Some(gateway) = children.gateway else { return Ok(()) };
        let policy = gateway.network_policy.spec.unwrap();
        prop_assert_eq!(policy.policy_types.clone().unwrap(), ["Ingress", "Egress"]);
        let ingress = serde_json::to_value(&policy.ingress).unwrap();
        let name = endpoint.metadata.name.as_deref().unwrap();
        let led = endpoint.spec.egress.allow.iter().any(|rule| rule.transparent);
        let ports = [3128, 3129].into_iter().take(1 + usize::from(led));
        let ports: Vec<_> = ports.map(|port| json!({"port": port, "protocol": "TCP"})).collect();
        let servers = serde_json::to_value(&children.network_policy.spec.unwrap().ingress).unwrap();
        let admin = json!([{"port": 15090, "protocol": "TCP"}]);
        let scrapers = servers.as_array().unwrap().iter().filter(|rule| rule["ports"] == admin).skip(1).cloned();
        let scraped = endpoint.spec.access.scrapers.len();
        let expected = json!([
            {"from": [{"podSelector": {"matchLabels": {"sallyport.dev/endpoint": name}}}], "ports": ports},
            {
                "from": [{
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "sallyport-system"}},
                    "podSelector": {"matchLabels": {"app.kubernetes.io/name": "sallyport"}},
                }],
                "ports": admin,
            },
        ]);
        let expected: Vec<_> = expected.as_array().unwrap().iter().cloned().chain(scrapers).collect();
        prop_assert_eq!(expected.len(), 2 + usize::from(scraped > 0));
        prop_assert_eq!(expected.get(2).map_or(0, |rule| rule["from"].as_array().unwrap().len()), scraped);
        prop_assert_eq!(&ingress, &json!(expected));
        let injects = endpoint.spec.egress.allow.iter().any(|rule| rule.inject.is_some());
        let signer = json!({"to": ingress[0]["from"], "ports": [{"port": 15091, "protocol": "TCP"}]});
        let rules = policy.egress.unwrap_or_default();
        let (to_signer, rules): (Vec<_>, Vec<_>) =
            rules.into_iter().partition(|rule| serde_json::to_value(rule).unwrap() == signer);
        prop_assert_eq!(to_signer.len(), usize::from(injects));
        let collector = endpoint.spec.audit.otlp.as_ref().and_then(|otlp| otlp.service.as_ref());
        let to_collectors = collector.map(|service| json!([{
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": service.namespace}},
            "podSelector": {"matchLabels": service.selector},
        }]));
        let (to_collector, rules): (Vec<_>, Vec<_>) =
            rules.into_iter().partition(|rule| Some(serde_json::to_value(&rule.to).unwrap()) == to_collectors);
        prop_assert_eq!(to_collector.len(), usize::from(collector.is_some()));
        for rule in &rules {
            let dns = rule.ports.iter().flatten().any(|port| port.port == Some(IntOrString::Int(53)));
            for peer in rule.to.as_ref().unwrap() {
                prop_assert_eq!(dns, peer.ip_block.is_none());
                let Some(block) = &peer.ip_block else { continue };
                let network: Network = block.cidr.parse().unwrap();
                let except: Vec<Network> = block.except.iter().flatten().map(|text| text.parse().unwrap()).collect();
                let open = |text: &str| {
                    let address = Network::host(text.parse().unwrap());
                    network.contains(&address) && !except.iter().any(|inner| inner.contains(&address))
                };
                let never = ["127.0.0.1", "169.254.169.254", "168.63.129.16", "::1", "fe80::1", "fd00:ec2::254",
                    "fd20:ce::254", "2002:a00:1::"];
                prop_assert!(!never.into_iter().any(open), "{:?}", block);
                let servers = facts.api_servers.iter().map(ToString::to_string);
                prop_assert!(!servers.into_iter().any(|address| open(&address)), "{:?}", block);
                // Private networks only as far as the endpoint allows them by themselves.
                let allowed = endpoint.spec.egress.allow.iter().any(|rule| rule.cidr.as_ref() == Some(&block.cidr));
                prop_assert!(allowed || !["10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", "fc00::1"].into_iter().any(open));
                prop_assert!(allowed || !OF_CLUSTER.into_iter().any(open), "{:?}", block);
            }
        }
    }

    #[test]
    fn no_host_lies_in_a_network_of_the_cluster_unless_a_rule_opens_it((endpoint, facts) in input()) {
        let Some(gateway) = children(&endpoint, &facts).gateway else { return Ok(()) };
        let file = EgressFile::parse(&gateway.config_map.data.unwrap()[FILE_NAME]).unwrap();
        for address in OF_CLUSTER.map(|text| text.parse::<IpAddr>().unwrap()) {
            let opens = |rule: &EgressRule| {
                let networks = rule.cidr.iter().map(|text| text.parse::<Network>().unwrap());
                let mut except = rule.except.iter().map(|text| text.parse::<Network>().unwrap());
                networks.into_iter().any(|network| network.holds(address)) && !except.any(|network| network.holds(address))
            };
            let opened = endpoint.spec.egress.allow.iter().any(opens) && !facts.api_servers.contains(&address);
            prop_assert_eq!(file.decide_address(address).is_ok(), opened, "{}", address);
        }
    }

    #[test]
    fn every_pod_is_selected_by_its_own_policy_and_fence_and_by_no_others((endpoint, facts) in input()) {
        let children = children(&endpoint, &facts);
        let shared = render_namespace("team-a", &[], &settings());
        let labels = |deployment: Deployment| deployment.spec.unwrap().template.metadata.unwrap().labels.unwrap();
        let own = |policy: &NetworkPolicy| policy.spec.clone().unwrap().pod_selector.unwrap().match_labels.unwrap();
        let fenced = |policy: &NetworkPolicy| {
            policy.spec.clone().unwrap().pod_selector.unwrap().match_expressions.unwrap().remove(0).key
        };
        let server = labels(children.deployment.clone());
        let fits = |labels: &BTreeMap<String, String>, policy: &NetworkPolicy| own(policy).iter().all(|pair| labels.get_key_value(pair.0) == Some(pair));
        prop_assert!(fits(&server, &children.network_policy));
        prop_assert!(server.contains_key(&fenced(&shared.fence)) && !server.contains_key(&fenced(&shared.gateway_fence)));
        if let Some(gateway) = &children.gateway {
            let pod = labels(gateway.deployment.clone());
            prop_assert!(fits(&pod, &gateway.network_policy) && !fits(&pod, &children.network_policy));
            prop_assert!(!fits(&server, &gateway.network_policy));
            prop_assert!(pod.contains_key(&fenced(&shared.gateway_fence)) && !pod.contains_key(&fenced(&shared.fence)));
            let service = children.service.spec.clone().unwrap().selector.unwrap();
            prop_assert!(!service.iter().all(|(key, value)| pod.get(key) == Some(value)), "calls do not go to the gateway");
        }
    }

    #[test]
    fn a_server_is_told_of_its_gateway_by_address_once_there_is_one((endpoint, facts) in input()) {
        let hosts = endpoint.spec.needs_gateway();
        let validated = validate(&endpoint, &settings(), &facts).unwrap();
        prop_assert_eq!(validated.awaits_gateway(), hosts && facts.gateway_address.is_none());
        let pod = pod(&render(&validated));
        let env = |name: &str| {
            let variables = pod.containers[0].env.iter().flatten();
            variables.into_iter().find(|variable| variable.name == name).and_then(|variable| variable.value.clone())
        };
        let proxies = ["HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"].map(env);
        match facts.gateway_address.filter(|_| endpoint.spec.egress.needs_gateway()) {
            None => prop_assert!(proxies.iter().all(Option::is_none)),
            Some(address) => {
                let url = format!("http://{}", std::net::SocketAddr::new(address, 3128));
                prop_assert!(proxies.iter().all(|proxy| proxy.as_ref() == Some(&url)));
                prop_assert!(env("NO_PROXY").is_some() && env("NO_PROXY") == env("no_proxy"));
                prop_assert_eq!(env("NODE_USE_ENV_PROXY"), Some("1".to_owned()));
            }
        }
    }

    #[test]
    fn a_credential_is_mounted_into_the_server_or_into_its_gateway_and_never_into_both((endpoint, facts) in input()) {
        let children = children(&endpoint, &facts);
        let secrets = |pod: &PodSpec| -> BTreeSet<String> {
            let volumes = pod.volumes.iter().flatten();
            volumes.filter_map(|volume| volume.secret.as_ref()?.secret_name.clone()).collect()
        };
        let server = secrets(&pod(&children));
        let gateway = children.gateway.as_ref().map(|gateway| gateway.deployment.spec.clone().unwrap());
        let gateway = gateway.map(|spec| secrets(&spec.template.spec.unwrap())).unwrap_or_default();
        for credential in &endpoint.spec.credentials {
            let injected = endpoint.spec.egress.allow.iter().filter_map(|rule| rule.inject.as_ref());
            let injected = injected.into_iter().any(|inject| inject.credential == credential.name);
            let secret = format!("{}-token", credential.name);
            prop_assert_eq!((server.contains(&secret), gateway.contains(&secret)), (!injected, injected));
        }
        let trusts = pod(&children).volumes.iter().flatten().any(|volume| volume.name == "trust");
        prop_assert_eq!(trusts, !gateway.is_empty(), "a server trusts its signer if it has to, and only then");
    }

    #[test]
    fn names_lead_to_the_gateway_if_the_endpoint_says_so_and_it_takes_them((endpoint, facts) in input()) {
        let children = children(&endpoint, &facts);
        let wanted: BTreeSet<_> = endpoint.spec.egress.allow.iter().filter(|rule| rule.transparent)
            .filter_map(|rule| rule.host.clone()).collect();
        let aliases = pod(&children).host_aliases.unwrap_or_default();
        let led: BTreeSet<_> = aliases.iter().flat_map(|alias| alias.hostnames.clone().unwrap_or_default()).collect();
        let known = facts.gateway_address.is_some();
        prop_assert_eq!(led, if known { wanted.clone() } else { BTreeSet::new() });
        prop_assert!(aliases.iter().all(|alias| Some(&alias.ip) == facts.gateway_address.map(|ip| ip.to_string()).as_ref()));
        if let Some(gateway) = children.gateway {
            let ports = gateway.service.spec.unwrap().ports.unwrap();
            prop_assert_eq!(ports.iter().any(|port| port.port == 443), !wanted.is_empty());
        }
    }

    #[test]
    fn no_policy_reaches_everything_a_metadata_service_the_api_or_dns((endpoint, facts) in input()) {
        let policy = children(&endpoint, &facts).network_policy.spec.unwrap();
        let metadata = ["169.254.169.254", "169.254.170.2", "168.63.129.16", "100.100.100.200", "192.0.0.192",
            "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "127.0.0.1", "::1"];
        let metadata = metadata.iter().map(|address| address.parse::<IpAddr>().unwrap());
        let closed: Vec<_> = metadata.chain(facts.api_servers.iter().copied()).map(Network::host).collect();
        for rule in policy.egress.iter().flatten() {
            for block in rule.to.iter().flatten().filter_map(|peer| peer.ip_block.as_ref()) {
                let network: Network = block.cidr.parse().unwrap();
                prop_assert!(network.prefix() >= if network.is_ipv4() { 8 } else { 32 }, "{}", block.cidr);
                let except: Vec<Network> = block.except.iter().flatten().map(|text| text.parse().unwrap()).collect();
                prop_assert!(except.iter().all(|inner| network.contains(inner) && *inner != network), "{:?}", block);
                for address in &closed {
                    let open = network.contains(address) && !except.iter().any(|inner| inner.contains(address));
                    prop_assert!(!open, "{} is open in {:?}", address, block);
                }
            }
            for port in rule.ports.iter().flatten() {
                let port = serde_json::to_value(&port.port).unwrap();
                prop_assert!(![53, 853, 5353, 6443, 15070].iter().any(|closed| port == *closed));
            }
        }
    }

    #[test]
    fn selectors_select_the_pods_by_the_one_reserved_label((endpoint, facts) in input()) {
        let children = children(&endpoint, &facts);
        let spec = children.deployment.spec.clone().unwrap();
        let labels = spec.template.metadata.unwrap().labels.unwrap();
        let selectors = [
            spec.selector.match_labels,
            children.network_policy.spec.unwrap().pod_selector.unwrap().match_labels,
            children.pod_disruption_budget.spec.unwrap().selector.unwrap().match_labels,
            children.service.spec.unwrap().selector,
        ];
        for selector in selectors.map(Option::unwrap) {
            prop_assert_eq!(selector.keys().collect::<Vec<_>>(), ["sallyport.dev/endpoint"]);
            prop_assert!(selector.iter().all(|(key, value)| labels.get(key) == Some(value)));
        }
    }

    #[test]
    fn every_child_is_named_labelled_and_owned_as_the_endpoint((endpoint, facts) in input()) {
        let name = endpoint.metadata.name.clone().unwrap();
        for object in children(&endpoint, &facts).documents().unwrap() {
            let metadata = &object["metadata"];
            let child = metadata["name"].as_str().unwrap();
            prop_assert_eq!(sallyport_api::labels::endpoint_of(child), &name);
            prop_assert!(child.len() <= 63 && name.len() <= 52);
            prop_assert_eq!(metadata["namespace"].as_str(), endpoint.metadata.namespace.as_deref());
            prop_assert_eq!(&metadata["labels"]["sallyport.dev/endpoint"], &name);
            prop_assert_eq!(&metadata["labels"]["app.kubernetes.io/managed-by"], "sallyport");
            let owner = &metadata["ownerReferences"][0];
            prop_assert_eq!(owner["uid"].as_str(), endpoint.metadata.uid.as_deref());
            prop_assert_eq!(&owner["controller"], true);
        }
    }

    #[test]
    fn names_inside_the_pod_fit_and_are_told_apart((endpoint, facts) in input()) {
        let pod = pod(&children(&endpoint, &facts));
        let volumes: Vec<_> = pod.volumes.iter().flatten().map(|volume| volume.name.as_str()).collect();
        prop_assert!(volumes.iter().all(|name| name.len() <= 63));
        prop_assert_eq!(volumes.iter().collect::<BTreeSet<_>>().len(), volumes.len());
        for container in pod.init_containers.iter().flatten().chain(&pod.containers) {
            let paths: Vec<_> = container.volume_mounts.iter().flatten().map(|mount| &mount.mount_path).collect();
            prop_assert_eq!(paths.iter().collect::<BTreeSet<_>>().len(), paths.len());
            let env: Vec<_> = container.env.iter().flatten().map(|variable| &variable.name).collect();
            prop_assert_eq!(env.iter().collect::<BTreeSet<_>>().len(), env.len());
            prop_assert!(container.volume_mounts.iter().flatten().all(|mount| volumes.contains(&mount.name.as_str())));
        }
    }

    #[test]
    fn equal_input_gives_equal_bytes_whatever_the_order_of_its_sets((endpoint, facts) in input()) {
        let text = |endpoint: &McpEndpoint| {
            serde_json::to_string(&children(endpoint, &facts).documents().unwrap()).unwrap()
        };
        prop_assert_eq!(text(&endpoint), text(&endpoint));
        let mut reordered = endpoint.clone();
        reordered.spec.server.writable.presets.reverse();
        reordered.spec.server.writable.paths.reverse();
        for rule in &mut reordered.spec.egress.allow {
            rule.ports.reverse();
            rule.except.reverse();
        }
        prop_assert_eq!(text(&endpoint), text(&reordered));
    }

    #[test]
    fn what_the_sidecar_alone_may_read_the_server_does_not_mount((endpoint, facts) in input()) {
        let pod = pod(&children(&endpoint, &facts));
        let server: BTreeSet<_> = pod.containers[0].volume_mounts.iter().flatten().map(|mount| &mount.name).collect();
        let secrets = |pod: &PodSpec| -> Vec<_> {
            let named = pod.volumes.iter().flatten();
            named.filter_map(|volume| Some((volume.name.clone(), volume.secret.as_ref()?.secret_name.clone()?))).collect()
        };
        let mounted = secrets(&pod);
        let injected = endpoint.spec.egress.allow.iter().filter_map(|rule| rule.inject.as_ref());
        let injected: BTreeSet<_> = injected.map(|inject| &inject.credential).collect();
        prop_assert_eq!(mounted.len() + injected.len(), endpoint.spec.secrets().len());
        for (volume, secret) in mounted {
            let own = endpoint.spec.credentials.iter().any(|credential| {
                let from = &credential.from;
                from.secret.iter().chain(&from.sealed_secret).any(|source| source.name == secret)
            });
            prop_assert_eq!(own, server.contains(&volume), "{}", secret);
        }
        prop_assert!(!server.iter().any(|name| name.starts_with("ca-") || *name == "policy"));
    }

    #[test]
    fn pods_of_an_endpoint_reach_each_other_only_to_use_up_confirmations((endpoint, facts) in input()) {
        let children = children(&endpoint, &facts);
        let policy = serde_json::to_string(&children.network_policy.spec).unwrap();
        let file = children.config_map.data.unwrap()["policy.json"].clone();
        let file = sallyport_policy::PolicyFile::parse(&file).unwrap();
        prop_assert_eq!(policy.contains("15081"), file.sealing.peer_port.is_some());
        prop_assert!(file.sealing.peer_port.is_none() || (endpoint.spec.replicas > 1 && file.sealing.keys_file.is_some()));
    }

    #[test]
    fn nothing_is_null_and_no_list_is_empty((endpoint, facts) in input()) {
        for object in children(&endpoint, &facts).documents().unwrap() {
            prop_assert!(is_dense(&object), "{}", object);
        }
    }

    #[test]
    fn the_footprint_is_what_the_pods_may_use((endpoint, facts) in input()) {
        let validated = validate(&endpoint, &settings(), &facts).unwrap();
        let footprint = footprint(&validated);
        let children = render(&validated);
        let gateway = children.gateway.as_ref().map(|gateway| gateway.deployment.clone());
        // Each Deployment may run one pod more during its roll-out.
        let deployments: Vec<_> = std::iter::once(children.deployment.clone()).chain(gateway)
            .map(|deployment| deployment.spec.unwrap())
            .map(|spec| (i64::from(spec.replicas.unwrap()) + 1, spec.template.spec.unwrap()))
            .collect();
        prop_assert_eq!(footprint.pods, deployments.iter().map(|(pods, _)| pods).sum::<i64>());
        let limits = |name: &str| -> i128 {
            deployments.iter().map(|(pods, pod)| i128::from(*pods) * limit(pod, name)).sum()
        };
        prop_assert_eq!(i128::from(footprint.amounts.cpu_milli), limits("cpu"));
        prop_assert_eq!(i128::from(footprint.amounts.memory_bytes) * 1000, limits("memory"));
        let disk = i128::from(footprint.amounts.ephemeral_storage_bytes) * 1000;
        prop_assert_eq!(disk, limits("ephemeral-storage"));
        let (pods, pod) = &deployments[0];
        let empty_dirs: i64 = pod.volumes.iter().flatten().filter_map(|volume| volume.empty_dir.as_ref())
            .map(|dir| bytes(&dir.size_limit.as_ref().unwrap().0)).sum();
        prop_assert!(i128::from(empty_dirs * pods) * 1000 < disk, "full directories stay within the disk limit");
    }

    #[test]
    fn the_fence_selects_every_endpoint_pod_and_the_quota_their_class((endpoint, facts) in input()) {
        let validated = validate(&endpoint, &settings(), &facts).unwrap();
        let member = NamespaceMember { footprint: footprint(&validated), quota: validated.quota() };
        let shared = render_namespace(validated.namespace(), &[member, member], &settings());
        for (fence, key) in [(shared.fence, "sallyport.dev/endpoint"), (shared.gateway_fence, "sallyport.dev/egress-of")] {
            let fence = fence.spec.unwrap();
            let expression = fence.pod_selector.unwrap().match_expressions.unwrap().remove(0);
            prop_assert_eq!((expression.key.as_str(), expression.operator.as_str()), (key, "Exists"));
            prop_assert!(fence.ingress.is_none() && fence.egress.is_none());
        }
        if let Some(quota) = shared.quota {
            let spec = serde_json::to_value(quota.spec).unwrap();
            let class = pod(&render(&validated)).priority_class_name.unwrap();
            prop_assert_eq!(&spec["scopeSelector"]["matchExpressions"][0]["values"][0], &class);
            prop_assert_eq!(&spec["hard"]["pods"], &(2 * member.footprint.pods).to_string());
        }
    }
}

fn children(endpoint: &McpEndpoint, facts: &Facts) -> Children<Prepared> {
    render(&validate(endpoint, &settings(), facts).unwrap())
}

fn pod(children: &Children<Prepared>) -> PodSpec {
    children.deployment.spec.clone().unwrap().template.spec.unwrap()
}

/// What the containers of a pod may use at a time, in thousandths, as Kubernetes counts it (KEP-753): sidecars run as long
/// as the pod; another init container runs beside the sidecars before it, and before the main containers.
fn limit(pod: &PodSpec, name: &str) -> i128 {
    let limit = |container: &Container| {
        let text = &container.resources.as_ref().unwrap().limits.as_ref().unwrap()[name].0;
        sallyport_api::quantity::Amount::new(text.clone()).milli().unwrap()
    };
    let (mut sidecars, mut starting) = (0, 0);
    for container in pod.init_containers.iter().flatten() {
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars += limit(container);
        } else {
            starting = starting.max(sidecars + limit(container));
        }
    }
    starting.max(sidecars + pod.containers.iter().map(limit).sum::<i128>())
}

fn bytes(amount: &str) -> i64 {
    i64::try_from(sallyport_api::quantity::Amount::new(amount).units().unwrap()).unwrap()
}

/// Every label selector of a policy.
fn selectors(policy: &NetworkPolicySpec) -> Vec<BTreeMap<String, String>> {
    let from = policy
        .ingress
        .iter()
        .flatten()
        .flat_map(|rule| rule.from.iter().flatten());
    let to = policy.egress.iter().flatten().flat_map(|rule| rule.to.iter().flatten());
    from.chain(to)
        .flat_map(|peer| [&peer.namespace_selector, &peer.pod_selector].into_iter().flatten())
        .map(|selector| selector.match_labels.clone().unwrap_or_default())
        .collect()
}

fn is_dense(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(items) => !items.is_empty() && items.iter().all(is_dense),
        Value::Object(fields) => fields.values().all(is_dense),
        _ => true,
    }
}
