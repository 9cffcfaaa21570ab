//! An endpoint that was validated: every value is of a form that Kubernetes accepts and that is safe to render.

use crate::{Amounts, Network, NodeFeatures, Settings, writable::WritableDir};
use sallyport_api::v1alpha1::{AuditArguments, NetworkEnforcement, QuotaMode, SERVICE_PORT};
use sallyport_policy::egress::{EgressHostRule, EgressMode, HostName};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

/// An endpoint that [`validate`](crate::validate) accepted.
///
/// Its fields are private to this crate: there is no other way to one than through validation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidatedEndpoint {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) server: Server,
    pub(crate) credentials: Vec<MountedCredential>,
    pub(crate) access: Vec<Peer>,
    pub(crate) egress: Vec<Rule>,
    pub(crate) gateway: Option<Gateway>,
    /// Whether the server may ask the cluster's name servers.
    pub(crate) cluster_dns: bool,
    pub(crate) network_enforcement: NetworkEnforcement,
    /// Addresses of the operator's canary.
    pub(crate) canaries: Vec<SocketAddr>,
    pub(crate) audit_arguments: AuditArguments,
    pub(crate) quota: QuotaMode,
    pub(crate) replicas: u8,
    pub(crate) nodes: NodeFeatures,
    pub(crate) settings: Settings,
}

/// The server container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    pub image: String,
    pub image_pull_secrets: Vec<String>,
    pub command: Vec<String>,
    pub args: Vec<String>,
    pub port: u16,
    pub path: String,
    /// Writable directories besides which the root file system is read-only.
    pub writable: Vec<WritableDir>,
    /// As the user wrote them: without the writable directories.
    pub amounts: Amounts,
    /// Presets' variables first, then the user's; no name twice.
    pub env: Vec<(String, String)>,
}

/// A credential that is mounted into the server container, or into the gateway's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MountedCredential {
    pub name: String,
    pub secret_name: String,
    /// Hash of the ciphertext, as far as the operator may see one.
    pub revision: Option<String>,
}

/// Pods that may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// Pods of the endpoint's own namespace.
    Pods(BTreeMap<String, String>),
    /// All pods of these namespaces.
    Namespaces(BTreeMap<String, String>),
    /// These pods of these namespaces.
    PodsInNamespaces {
        namespaces: BTreeMap<String, String>,
        pods: BTreeMap<String, String>,
    },
}

/// One entry of `egress.allow`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Position in the list.
    pub index: usize,
    pub destination: Destination,
}

/// What the server may reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// Hosts by name, through the egress gateway.
    Host(EgressHostRule),
    /// Addresses outside the cluster.
    Network {
        network: Network,
        /// Inside `network`; metadata and API server addresses among them.
        except: Vec<Network>,
        ports: Vec<u16>,
    },
    /// Pods of the cluster.
    Service {
        namespace: String,
        selector: BTreeMap<String, String>,
        ports: Vec<u16>,
    },
}

/// The egress gateway that an endpoint needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gateway {
    pub mode: EgressMode,
    /// Address of its Service; `None` until the API server has given it one.
    pub address: Option<IpAddr>,
    /// Addresses of the Kubernetes API, which stay closed.
    pub api_servers: Vec<IpAddr>,
    /// Hosts whose names lead to the gateway in the server's pod.
    pub transparent: BTreeSet<HostName>,
    /// What it adds to requests.
    pub injected: Injected,
}

/// What an egress gateway needs to add credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Injected {
    /// Credentials that the gateway alone mounts.
    pub credentials: Vec<MountedCredential>,
    /// ConfigMaps with authorities that vouch for hosts.
    pub authorities: BTreeSet<String>,
}

impl ValidatedEndpoint {
    /// Namespace of the endpoint and of all its children.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Name of the endpoint and of all its children.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// UID of the endpoint, which owns all its children.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// Pods that are wanted.
    pub fn replicas(&self) -> i32 {
        i32::from(self.replicas)
    }

    /// What happens to pods whose forbidden destinations are not refused.
    pub fn network_enforcement(&self) -> NetworkEnforcement {
        self.network_enforcement
    }

    /// Whether the endpoint asks for the namespace's quota.
    pub fn quota(&self) -> QuotaMode {
        self.quota
    }

    /// Whether servers go out through an egress gateway whose address is not known yet.
    ///
    /// A Deployment that is rendered meanwhile leads its servers nowhere: apply the other children, which gives the gateway
    /// its address, and render again.
    pub fn awaits_gateway(&self) -> bool {
        self.gateway.as_ref().is_some_and(|gateway| gateway.address.is_none())
    }

    /// Whether no canary is known that pods could be told of: their guards would wait in vain.
    pub fn awaits_canary(&self) -> bool {
        self.canaries.is_empty()
    }

    /// Where clients inside the cluster reach the endpoint.
    pub fn url(&self) -> String {
        let Self {
            name,
            namespace,
            server,
            ..
        } = self;
        format!("http://{name}.{namespace}.svc:{SERVICE_PORT}{}", server.path)
    }
}
