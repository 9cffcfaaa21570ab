//! Whole rendered sets, one file per feature: `UPDATE_GOLDEN=1 cargo test -p sallyport-render` rewrites them.

use super::common::{facts, settings};
use pretty_assertions::assert_str_eq;
use sallyport_api::{
    McpEndpoint,
    v1alpha1::{API_KEYS, CLIENT_SECRET, SEALING, TLS},
};
use sallyport_policy::egress::EgressClients;
use sallyport_render::{
    ClassFact, CredentialFact, Facts, NamespaceMember, NodeFeatures, footprint, render, render_namespace, validate,
};
use std::{fs, path::Path};

#[test]
fn the_least_endpoint_is_closed_both_ways() {
    holds("minimal", &facts());
}

#[test]
fn an_endpoint_with_everything_renders_all_of_it() {
    let mut facts = facts();
    facts.credentials.insert("upstream".into(), synced("0123456789abcdef"));
    holds("everything", &facts);
}

#[test]
fn credentials_are_files_of_the_server_alone_and_known_ciphertexts_roll_out() {
    let mut facts = facts();
    facts.credentials.insert("sealed".into(), synced("0123456789abcdef"));
    facts.credentials.insert("pending".into(), CredentialFact::Pending);
    facts.credentials.insert("plain".into(), CredentialFact::Unwatched);
    holds("credentials", &facts);
}

#[test]
fn every_form_of_caller_reaches_the_sidecar_port_alone() {
    holds("access", &facts());
}

#[test]
fn metadata_services_and_the_kubernetes_api_are_cut_out_of_wide_networks() {
    holds("egress", &facts());
}

#[test]
fn hosts_are_reached_through_a_gateway_that_only_the_endpoints_pods_reach() {
    holds("hosts", &facts());
}

#[test]
fn a_gateway_sends_its_events_where_the_records_of_calls_go_and_knows_its_clients() {
    let clients = [
        ("10.244.0.7", "demo-6d4f9c-x2x9z"),
        ("fd00:244::7", "demo-6d4f9c-x2x9z"),
    ];
    let clients = clients.map(|(address, pod)| (address.parse().unwrap(), pod.to_owned()));
    let facts = Facts {
        clients: EgressClients::new(clients),
        ..facts()
    };
    holds("collector", &facts);
}

#[test]
fn a_platform_may_let_an_endpoint_reach_the_kubernetes_api() {
    let class = serde_json::from_value(serde_json::json!({"egress": {"allowKubernetesApi": true}})).unwrap();
    let facts = Facts {
        class: ClassFact::Found(class),
        ..facts()
    };
    holds("kubernetes-api", &facts);
}

#[test]
fn cilium_denies_what_no_rule_opens_whatever_others_open() {
    holds("cilium", &with_cilium());
}

#[test]
fn cilium_opens_hosts_to_the_gateway_by_name_and_nothing_else_opens_the_world() {
    holds("cilium-hosts", &with_cilium());
}

#[test]
fn names_lead_to_the_gateway_for_servers_that_heed_no_proxy() {
    holds("transparent", &facts());
}

#[test]
fn a_credential_that_is_injected_is_the_gateways_alone_and_the_server_trusts_its_pods_signer() {
    let mut facts = facts();
    facts.credentials.insert("github".into(), synced("0123456789abcdef"));
    holds("inject", &facts);
}

#[test]
fn a_platform_may_let_an_endpoint_resolve_names_and_learn_its_hosts() {
    let class = serde_json::from_value(serde_json::json!({"egress": {"allowClusterDns": true}})).unwrap();
    let facts = Facts {
        class: ClassFact::Found(class),
        gateway_address: Some("fd00:96::77".parse().unwrap()),
        ..facts()
    };
    holds("audit-mode", &facts);
}

#[test]
fn node_programs_get_bounded_directories_and_the_variables_that_lead_there() {
    holds("writable-node", &facts());
}

#[test]
fn python_programs_get_bounded_directories_and_the_variables_that_lead_there() {
    holds("writable-python", &facts());
}

#[test]
fn several_replicas_spread_out() {
    holds("replicas", &facts());
}

#[test]
fn what_the_nodes_cannot_do_is_left_out() {
    let facts = Facts {
        node_features: NodeFeatures::default(),
        ..facts()
    };
    holds("old-nodes", &facts);
}

#[test]
fn without_quota_the_fence_alone_is_shared() {
    holds("no-quota", &facts());
}

#[test]
fn the_environment_is_taken_literally_and_the_rest_of_the_server_as_written() {
    holds("server", &facts());
}

#[test]
fn a_stdio_server_runs_under_the_bridge_and_listens_on_a_socket_alone() {
    let mut facts = facts();
    facts.credentials.insert("github".into(), synced("0123456789abcdef"));
    holds("stdio", &facts);
}

#[test]
fn keys_and_authorities_are_mounted_into_the_sidecar_alone_and_issuers_are_reached_through_the_gateway() {
    let mut facts = facts();
    for (name, revision) in [(API_KEYS, "1"), (TLS, "2"), (SEALING, "3")] {
        facts.credentials.insert(name.into(), synced(revision));
    }
    facts
        .credentials
        .insert(CLIENT_SECRET.into(), CredentialFact::Unwatched);
    holds("authentication", &facts);
}

#[test]
fn rules_tools_limits_and_records_are_written_into_the_policy() {
    holds("calls", &facts());
}

fn with_cilium() -> Facts {
    Facts {
        cilium: true,
        ..facts()
    }
}

fn synced(revision: &str) -> CredentialFact {
    CredentialFact::Synced {
        revision: revision.to_owned(),
    }
}

/// Renders `fixtures/<name>.yaml` and compares the whole set, the namespace's objects first.
fn holds(name: &str, facts: &Facts) {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let fixture = fs::read_to_string(tests.join("fixtures").join(name).with_extension("yaml")).unwrap();
    let endpoint: McpEndpoint = serde_saphyr::from_str(&fixture).unwrap();
    let endpoint = validate(&endpoint, &settings(), facts).unwrap();
    let member = NamespaceMember {
        footprint: footprint(&endpoint),
        quota: endpoint.quota(),
    };
    let shared = render_namespace(endpoint.namespace(), &[member], &settings())
        .documents()
        .unwrap();
    let own = render(&endpoint).documents().unwrap();
    let documents: Vec<_> = shared
        .iter()
        .chain(&own)
        .map(|object| serde_saphyr::to_string(object).unwrap())
        .collect();
    let rendered = documents.join("---\n");

    let golden = tests.join("golden").join(name).with_extension("yaml");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, &rendered).unwrap();
    }
    let expected = fs::read_to_string(&golden).unwrap_or_default();
    assert_str_eq!(expected, rendered, "if this is what you want, run with UPDATE_GOLDEN=1");
}
