//! What is assumed of a cluster that is not asked.

use clap::{Args, ValueEnum};
use sallyport_api::{McpEndpointClass, McpEndpointClassSpec, labels};
use sallyport_render::{Amounts, ClassFact, ClusterNetwork, ClusterNetworks, Facts, NodeFeatures, Settings};
use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, SocketAddr},
};

/// Options that stand for the operator's configuration and the cluster's state.
#[derive(Args)]
pub struct Assumed {
    /// Namespace of endpoints that name none
    #[arg(short, long, default_value = "default")]
    pub namespace: String,
    /// Image of the audit sidecar, as the operator has it; the default only stands for one
    #[arg(
        long,
        env = "SALLYPORT_SIDECAR_IMAGE",
        default_value = "registry.example/sallyport/sidecar@sha256:0000000000000000000000000000000000000000000000000000000000000000"
    )]
    sidecar_image: String,
    /// Image of the egress gateway, as the operator has it; the default only stands for one
    #[arg(
        long,
        env = "SALLYPORT_EGRESS_IMAGE",
        default_value = "registry.example/sallyport/egress@sha256:0000000000000000000000000000000000000000000000000000000000000000"
    )]
    egress_image: String,
    /// PriorityClass of endpoint pods
    #[arg(long, default_value = labels::PRIORITY_CLASS)]
    priority_class: String,
    /// DNS domain of the cluster
    #[arg(long, default_value = "cluster.local")]
    cluster_domain: String,
    /// Namespace of the operator
    #[arg(long, default_value = "sallyport-system")]
    operator_namespace: String,
    /// Addresses of the Kubernetes API, which are cut out of the networks that a server may reach
    #[arg(long, value_delimiter = ',', value_name = "ADDRESS")]
    api_server: Vec<IpAddr>,
    /// Networks of pods, as the operator is told, in which no host may lie
    #[arg(long, value_delimiter = ',', value_name = "CIDR")]
    pod_networks: Vec<ClusterNetwork>,
    /// Networks of Services, likewise
    #[arg(long, value_delimiter = ',', value_name = "CIDR")]
    service_networks: Vec<ClusterNetwork>,
    /// Networks of nodes, likewise
    #[arg(long, value_delimiter = ',', value_name = "CIDR")]
    node_networks: Vec<ClusterNetwork>,
    /// Address of the egress gateway's Service, which the API server gives; the default only stands for one
    #[arg(long, value_name = "ADDRESS", default_value = "192.0.2.1")]
    gateway_address: IpAddr,
    /// Addresses of the operator's canary, which pods must be refused; the default only stands for one
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "ADDRESS:PORT",
        default_value = "192.0.2.2:15070"
    )]
    canary: Vec<SocketAddr>,
    /// File with the McpEndpointClass that holds for the endpoints; without one, every field has its default
    #[arg(long, value_name = "FILE", value_parser = class)]
    class: Option<McpEndpointClassSpec>,
    /// Render CiliumNetworkPolicies too, as an operator does that is told to, in a cluster that has them
    #[arg(long)]
    cilium: bool,
    /// Whether the nodes support user namespaces and strict supplemental groups
    #[arg(long, value_enum, default_value_t = Nodes::Recent)]
    nodes: Nodes,
}

#[derive(Clone, Copy, ValueEnum)]
enum Nodes {
    /// Every node supports both
    Recent,
    /// Some node supports neither
    Old,
}

impl Assumed {
    /// The operator's configuration.
    pub fn settings(&self) -> Settings {
        Settings {
            sidecar_image: self.sidecar_image.clone(),
            egress_image: self.egress_image.clone(),
            sidecar_amounts: Amounts::SIDECAR,
            priority_class: self.priority_class.clone(),
            cluster_domain: self.cluster_domain.clone(),
            operator_namespace: self.operator_namespace.clone(),
            operator_pod_labels: BTreeMap::from([("app.kubernetes.io/name".to_owned(), labels::OPERATOR.to_owned())]),
            cluster_networks: ClusterNetworks {
                pods: self.pod_networks.clone(),
                services: self.service_networks.clone(),
                nodes: self.node_networks.clone(),
            },
        }
    }

    /// The cluster's state; every credential counts as there.
    pub fn facts(&self) -> Facts {
        let able = matches!(self.nodes, Nodes::Recent);
        Facts {
            node_features: NodeFeatures {
                user_namespaces: able,
                supplemental_groups_policy: able,
            },
            api_servers: self.api_server.clone(),
            gateway_address: Some(self.gateway_address),
            canaries: self.canary.clone(),
            cilium: self.cilium,
            class: self.class.clone().map_or(ClassFact::BuiltIn, ClassFact::Found),
            ..Facts::default()
        }
    }
}

fn class(path: &str) -> Result<McpEndpointClassSpec, String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let class: McpEndpointClass = serde_saphyr::from_str(&text).map_err(|error| error.to_string())?;
    Ok(class.spec)
}
