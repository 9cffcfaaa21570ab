//! Inputs that the tests share.

use sallyport_api::McpEndpoint;
use sallyport_render::{Amounts, ClusterNetworks, Facts, NodeFeatures, Settings};
use serde_json::{Value, json};

pub const DIGEST: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

pub fn settings() -> Settings {
    Settings {
        sidecar_image: format!("registry.example/sallyport/sidecar@sha256:{}", "0".repeat(64)),
        egress_image: format!("registry.example/sallyport/egress@sha256:{}", "0".repeat(64)),
        sidecar_amounts: Amounts::SIDECAR,
        priority_class: "sallyport-endpoint".into(),
        cluster_domain: "cluster.local".into(),
        operator_namespace: "sallyport-system".into(),
        cluster_networks: ClusterNetworks::default(),
        operator_pod_labels: [("app.kubernetes.io/name".to_owned(), "sallyport".to_owned())].into(),
    }
}

/// The same where pods, Services and nodes have public addresses, all of them in networks that rules name too, and the
/// operator is told.
pub fn settings_of_a_public_cluster() -> Settings {
    Settings {
        cluster_networks: ClusterNetworks {
            pods: vec!["11.16.0.0/12".parse().unwrap(), "2600:1f00:1::/48".parse().unwrap()],
            services: vec!["12.64.0.0/14".parse().unwrap(), "2600:1f00:2::/112".parse().unwrap()],
            nodes: vec!["203.128.0.0/10".parse().unwrap(), "2600:1f00:3::/64".parse().unwrap()],
        },
        ..settings()
    }
}

/// Nodes that can do everything, and one address of the Kubernetes API.
pub fn facts() -> Facts {
    Facts {
        node_features: NodeFeatures {
            user_namespaces: true,
            supplemental_groups_policy: true,
        },
        api_servers: vec!["10.96.0.1".parse().unwrap()],
        gateway_address: Some("10.96.0.77".parse().unwrap()),
        canaries: vec!["10.96.0.70:15070".parse().unwrap()],
        ..Facts::default()
    }
}

/// The least that an endpoint needs, as the API server stored it.
pub fn minimal() -> Value {
    json!({
        "apiVersion": "sallyport.dev/v1alpha1",
        "kind": "McpEndpoint",
        "metadata": {"name": "demo", "namespace": "team-a", "uid": "6f0f6a0e-0000-4000-8000-000000000001"},
        "spec": {
            "server": {
                "image": format!("registry.example/mcp/server@sha256:{DIGEST}"),
                "transport": {"http": {"port": 3001}},
            },
        },
    })
}

/// [`minimal`] with `value` at `pointer` (RFC 6901); objects on the way are made.
pub fn with(pointer: &str, value: Value) -> Value {
    let mut endpoint = minimal();
    let target = pointer.split('/').skip(1).fold(&mut endpoint, |at, key| &mut at[key]);
    *target = value;
    endpoint
}

pub fn endpoint(value: Value) -> McpEndpoint {
    serde_json::from_value(value).unwrap()
}
