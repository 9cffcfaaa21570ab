//! An endpoint that was validated: every value is of a form that Kubernetes accepts and that is safe to render.

use crate::{
    Amounts, Network, NodeFeatures, Settings,
    keys::{Bundle, Key},
    writable::WritableDir,
};
use sallyport_api::v1alpha1::{NetworkEnforcement, QuotaMode, SERVICE_PORT, SERVICE_TLS_PORT, StdioSessions};
use sallyport_policy::{
    AuditPolicy, Authentication, Confirmation, ConfirmedTools, Limits, Sealing, Tls,
    authorization::Authorization,
    egress::{EgressClients, EgressHostRule, EgressMode, HostName},
    enforcement::KubernetesApi,
    tools::ToolPolicy,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
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
    pub(crate) generation: i64,
    pub(crate) server: Server,
    pub(crate) credentials: Vec<MountedCredential>,
    pub(crate) access: Vec<Peer>,
    /// Who may read the metrics of audit sidecar and egress gateway.
    pub(crate) scrapers: Vec<Peer>,
    /// Origins of web pages that may call.
    pub(crate) origins: Vec<String>,
    /// Host, with a port if it is not the scheme's, under which clients outside reach the endpoint.
    pub(crate) external_host: Option<String>,
    pub(crate) calls: Calls,
    /// Secrets and certificate authorities that the audit sidecar alone mounts.
    pub(crate) keys: Vec<Key>,
    pub(crate) bundles: Vec<Bundle>,
    /// What the server may reach, then what the audit sidecar has to.
    pub(crate) egress: Vec<Rule>,
    pub(crate) gateway: Option<Gateway>,
    /// Whether the server may ask the cluster's name servers.
    pub(crate) cluster_dns: bool,
    pub(crate) network_enforcement: NetworkEnforcement,
    /// Addresses of the operator's canary.
    pub(crate) canaries: Vec<SocketAddr>,
    pub(crate) quota: QuotaMode,
    pub(crate) replicas: u8,
    pub(crate) nodes: NodeFeatures,
    /// Whether CiliumNetworkPolicies are written too.
    pub(crate) cilium: bool,
    pub(crate) settings: Settings,
}

/// The server container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    pub image: String,
    pub image_pull_secrets: Vec<String>,
    pub command: Vec<String>,
    pub args: Vec<String>,
    pub transport: ServerTransport,
    /// Path of the MCP endpoint.
    pub path: String,
    /// Writable directories besides which the root file system is read-only.
    pub writable: Vec<WritableDir>,
    /// As the user wrote them: without the writable directories.
    pub amounts: Amounts,
    /// Presets' variables first, then the user's; no name twice.
    pub env: Vec<(String, String)>,
}

/// How the audit sidecar reaches the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ServerTransport {
    Http { port: u16 },
    Stdio(Stdio),
}

/// A server that speaks over its standard input and output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stdio {
    pub sessions: StdioSessions,
    /// Variables with the files that hold their values.
    pub environment: Vec<(String, String)>,
}

/// Who may call, what they may do, and what is recorded of it, in the words of the policy file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Calls {
    /// Whether the endpoint says who may call; otherwise everybody may who reaches it.
    pub declared: bool,
    pub authentication: Authentication,
    pub tls: Option<Tls>,
    pub authorization: Authorization,
    pub tools: ToolPolicy,
    /// Extensions of MCP that client and server may use.
    pub extensions: BTreeSet<String>,
    pub confirmation: Confirmation,
    pub sealing: Sealing,
    pub limits: Limits,
    pub audit: AuditPolicy,
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

/// One destination, with the field of the spec that opens it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub origin: Origin,
    pub destination: Destination,
}

/// Which field of the spec opens a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// An entry of `egress.allow`, by its position.
    Allow(usize),
    /// Something that the audit sidecar has to reach. The network cannot tell it from the server, whose pod it shares.
    Sidecar(String),
    /// The collector of records, which audit sidecar and egress gateway have to reach: `audit.otlp`.
    Collector,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow(index) => write!(formatter, "egress.allow[{index}]"),
            Self::Sidecar(field) => formatter.write_str(field),
            Self::Collector => formatter.write_str("audit.otlp"),
        }
    }
}

/// What may be reached.
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
    /// The Kubernetes API, as the endpoint's class allows.
    KubernetesApi { address: IpAddr, ports: Vec<u16> },
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
    /// The pods that connect.
    pub clients: EgressClients,
    /// Certificate authorities of the collector that events go to.
    pub collector: Option<Bundle>,
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

    /// Whether the pods must be refused the Kubernetes API: unless a rule opens it.
    pub fn kubernetes_api(&self) -> KubernetesApi {
        let opens = |rule: &Rule| matches!(rule.destination, Destination::KubernetesApi { .. });
        if self.egress.iter().any(opens) {
            KubernetesApi::Allowed
        } else {
            KubernetesApi::Forbidden
        }
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

    /// Port of the endpoint's Service.
    pub(crate) fn service_port(&self) -> u16 {
        match self.calls.tls {
            Some(_) => SERVICE_TLS_PORT,
            None => SERVICE_PORT,
        }
    }

    /// Where clients inside the cluster reach the endpoint.
    pub fn url(&self) -> String {
        let Self {
            name,
            namespace,
            server,
            ..
        } = self;
        let (scheme, port) = match self.calls.tls {
            Some(_) => ("https", String::new()),
            None => ("http", format!(":{SERVICE_PORT}")),
        };
        format!("{scheme}://{name}.{namespace}.svc{port}{}", server.path)
    }

    /// Whether the replicas ask each other to use up a confirmation: otherwise each of them would take it once.
    pub(crate) fn has_peers(&self) -> bool {
        let confirms = self.calls.confirmation.tools != ConfirmedTools::Nothing;
        self.replicas > 1 && confirms && self.calls.sealing.keys_file.is_some()
    }

    /// Whether the server itself goes out through the egress gateway, or only the audit sidecar does.
    pub(crate) fn server_uses_gateway(&self) -> bool {
        let by_name =
            |rule: &Rule| matches!(rule.origin, Origin::Allow(_)) && matches!(rule.destination, Destination::Host(_));
        let learns = self
            .gateway
            .as_ref()
            .is_some_and(|gateway| gateway.mode == EgressMode::Audit);
        learns || self.egress.iter().any(by_name)
    }
}
