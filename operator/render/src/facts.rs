//! What rendering needs besides the endpoint itself.

use crate::{Amounts, ClusterNetworks};
use sallyport_api::McpEndpointClassSpec;
use sallyport_policy::egress::EgressClients;
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

/// How the operator was configured. The same for every endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Image of the audit sidecar, by digest.
    pub sidecar_image: String,
    /// Image of the egress gateway, by digest.
    pub egress_image: String,
    /// What the audit sidecar may use.
    pub sidecar_amounts: Amounts,
    /// PriorityClass of every endpoint pod; the namespace's quota is scoped to it.
    pub priority_class: String,
    /// DNS domain of the cluster, as in `cluster.local`.
    pub cluster_domain: String,
    /// Namespace in which the operator runs.
    pub operator_namespace: String,
    /// Labels of the operator's pods, which may reach the sidecar's admin port. Nobody may, if empty.
    pub operator_pod_labels: BTreeMap<String, String>,
    /// Networks of the cluster in which no host may lie.
    pub cluster_networks: ClusterNetworks,
}

/// What was read from the cluster for one endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// What every node can do.
    pub node_features: NodeFeatures,
    /// Addresses of the Kubernetes API: its Service's and those behind it. No server may reach them.
    pub api_servers: Vec<IpAddr>,
    /// Address of the egress gateway's Service, once it has one.
    pub gateway_address: Option<IpAddr>,
    /// Which of the server's pods have which addresses, for the events of the egress gateway.
    pub clients: EgressClients,
    /// Addresses of the operator's canary, which pods must be refused; none, if the operator has no canary Service.
    pub canaries: Vec<SocketAddr>,
    /// Whether the cluster serves CiliumNetworkPolicies and the operator is to write them.
    pub cilium: bool,
    /// What the platform decided for the endpoint.
    pub class: ClassFact,
    /// What is known of each credential, by its name in the spec.
    pub credentials: BTreeMap<String, CredentialFact>,
}

/// Pod features that only some nodes support. True: every node does.
///
/// Asking for one on a node without it makes the kubelet refuse the pod, so each is rendered only when it is true.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeFeatures {
    /// `hostUsers: false` (KEP-127).
    pub user_namespaces: bool,
    /// `supplementalGroupsPolicy: Strict` (KEP-3619).
    pub supplemental_groups_policy: bool,
}

/// What is known of the class that holds for an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClassFact {
    /// The endpoint names none and none is marked as default: every field has its documented default.
    #[default]
    BuiltIn,
    /// The class that the endpoint names, or the default one.
    Found(McpEndpointClassSpec),
    /// The endpoint names a class that does not exist.
    Missing,
}

/// What is known of one credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialFact {
    /// A plain Secret, which the operator may not look at, or a SealedSecret whose status nobody writes.
    Unwatched,
    /// The SealedSecret does not exist.
    Missing,
    /// The SealedSecret is not unsealed yet.
    Pending,
    /// The sealed-secrets controller could not unseal it.
    Failed {
        /// That controller's own message.
        message: String,
    },
    /// Unsealed.
    Synced {
        /// Hash of the ciphertext.
        revision: String,
    },
}

impl CredentialFact {
    /// Whether a pod that mounts the credential can start, as far as the operator may see.
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Unwatched | Self::Synced { .. })
    }
}
