//! The egress gateway of one endpoint: the only way out by host name, in pods of its own.

use crate::{
    Amounts, CiliumNetworkPolicy, Footprint, Network, ValidatedEndpoint, cilium, config,
    containers::{self, Every, Failures},
    endpoint::{Destination, Gateway, Origin},
    fences, identity, injection,
    keys::Bundle,
    metadata::Part,
    transparent, workload,
};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Container, PodSpec, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use sallyport_api::v1alpha1::{GATEWAY_ADMIN_PORT, GATEWAY_PORT};
use sallyport_policy::{
    AuditPolicy, AuditSinks, EndpointIdentity, MOUNT_PATH, OtlpSink,
    egress::{
        CLIENTS_FILE_NAME, DeniedNetwork, DeniedNetworkKind, EgressAddresses, EgressAudit, EgressFile, EgressHostRule,
        EgressLimits, EgressListen, EgressMode, FILE_NAME, PermittedNetwork, ResolverPolicy, SCHEMA,
    },
};
use serde_json::Value;
use std::{collections::BTreeSet, net::IpAddr};

/// Name of the container.
pub const CONTAINER: &str = "egress";

/// User and group of the gateway.
const GATEWAY_ID: i64 = 65530;

/// What one gateway may use.
///
/// The memory is what clients can make it keep. Connections with a place, 1024 over all ports (`EgressLimits::connections`), hold
/// 48 KiB each while their hello is under way, and no more once bytes move (`operator/egress`: `hello/reader.rs`,
/// `tests/idle.rs`): 48 MiB. Clients of the proxy without a place, at most 1088, hold up to 32 KiB of a request's head each
/// (`target.rs`): 34 MiB. The other 46 MiB are for the program, names, events, and buffers of the kernel, which it cuts when
/// memory gets short.
const AMOUNTS: Amounts = Amounts {
    cpu_milli: 100,
    memory_bytes: 128 << 20,
    ephemeral_storage_bytes: 64 << 20,
};

/// What it may use besides if it ends TLS: a connection then takes some 100 KiB, and two handshakes.
const INJECTING: Amounts = Amounts {
    cpu_milli: 100,
    memory_bytes: 128 << 20,
    ephemeral_storage_bytes: 0,
};

/// Ports that are open in `Audit` mode, besides those that the rules name.
const AUDITED_PORTS: [u16; 2] = [80, 443];

/// Names that a server reaches by itself, whatever its endpoint allows: they are in its own pod.
const OWN_NAMES: &str = "localhost,127.0.0.1,::1";

/// Objects of one egress gateway, in the order in which they are applied: fences first, workload last.
#[derive(Clone, Debug, PartialEq)]
pub struct GatewayChildren {
    /// Identity of the pods: without a token, without rights.
    pub service_account: ServiceAccount,
    /// Holds the egress file and the clients file.
    pub config_map: ConfigMap,
    /// Opens the proxy's port to the endpoint's pods alone, and the way out to public addresses.
    pub network_policy: NetworkPolicy,
    /// Opens hosts by name and denies what is never dialled, where the cluster has such policies.
    pub cilium_network_policy: Option<CiliumNetworkPolicy>,
    /// Lets nodes drain one pod at a time.
    pub pod_disruption_budget: PodDisruptionBudget,
    /// Has the address that servers are told.
    pub service: Service,
    /// Runs the pods.
    pub deployment: Deployment,
}

impl GatewayChildren {
    /// The objects as JSON documents, in the order in which they are applied.
    pub(crate) fn documents(&self) -> Result<Vec<Value>, serde_json::Error> {
        let mut documents = vec![
            serde_json::to_value(&self.service_account)?,
            serde_json::to_value(&self.config_map)?,
            serde_json::to_value(&self.network_policy)?,
        ];
        if let Some(policy) = &self.cilium_network_policy {
            documents.push(serde_json::to_value(policy)?);
        }
        documents.extend([
            serde_json::to_value(&self.pod_disruption_budget)?,
            serde_json::to_value(&self.service)?,
            serde_json::to_value(&self.deployment)?,
        ]);
        Ok(documents)
    }
}

/// Renders the gateway; `None` if the endpoint needs none.
pub(crate) fn children(endpoint: &ValidatedEndpoint) -> Option<GatewayChildren> {
    let gateway = endpoint.gateway.as_ref()?;
    let file = file(endpoint, gateway);
    let text = file.to_string();
    // Only the egress file counts for new pods: who connects changes with every pod of the server.
    let clients = gateway.clients.to_text().unwrap_or_default();
    let files = [(FILE_NAME, text.as_str()), (CLIENTS_FILE_NAME, clients.as_str())];
    Some(GatewayChildren {
        service_account: identity::service_account(endpoint, Part::Gateway),
        config_map: config::config_map(endpoint, Part::Gateway, files),
        network_policy: fences::gateway_policy(endpoint, &file),
        cilium_network_policy: cilium::gateway_policy(endpoint, &file),
        pod_disruption_budget: identity::pod_disruption_budget(endpoint, Part::Gateway),
        service: identity::service(endpoint, Part::Gateway),
        deployment: workload::deployment_of(
            endpoint,
            Part::Gateway,
            replicas(endpoint),
            workload::annotations(CONTAINER, &text),
            pod_spec(endpoint, gateway, &file),
        ),
    })
}

/// Pods that are wanted: as many as it takes for one to stay while another goes, if the server wants that too.
pub(crate) fn replicas(endpoint: &ValidatedEndpoint) -> i32 {
    endpoint.replicas().min(2)
}

/// The most that the gateway of `endpoint` can use, one surge pod of a roll-out included.
pub(crate) fn footprint(endpoint: &ValidatedEndpoint) -> Footprint {
    if endpoint.gateway.is_none() {
        return Footprint::default();
    }
    let pods = i64::from(replicas(endpoint) + workload::MAX_SURGE);
    Footprint {
        pods,
        amounts: amounts(endpoint) * pods,
    }
}

fn amounts(endpoint: &ValidatedEndpoint) -> Amounts {
    if injection::is_used(endpoint) {
        AMOUNTS + INJECTING
    } else {
        AMOUNTS
    }
}

/// Variables that lead the server's HTTP clients through the gateway, by its address: the server has no resolver.
///
/// Programs differ in whether they read the upper or the lower case, and Node.js wants to be told to look at either. None
/// before the address is known, and none if the audit sidecar alone goes that way.
pub(crate) fn proxy_env(endpoint: &ValidatedEndpoint) -> Vec<(&'static str, String)> {
    let Some(proxy) = proxy_url(endpoint).filter(|_| endpoint.server_uses_gateway()) else {
        return vec![];
    };
    let direct = direct(endpoint);
    vec![
        ("HTTPS_PROXY", proxy.clone()),
        ("HTTP_PROXY", proxy.clone()),
        ("NODE_USE_ENV_PROXY", "1".to_owned()),
        ("NO_PROXY", direct.clone()),
        ("http_proxy", proxy.clone()),
        ("https_proxy", proxy),
        ("no_proxy", direct),
    ]
}

/// URL of the gateway's proxy, by its address; `None` before that is known.
pub(crate) fn proxy_url(endpoint: &ValidatedEndpoint) -> Option<String> {
    Some(match endpoint.gateway.as_ref()?.address? {
        IpAddr::V4(address) => format!("http://{address}:{GATEWAY_PORT}"),
        IpAddr::V6(address) => format!("http://[{address}]:{GATEWAY_PORT}"),
    })
}

/// What is reached without the gateway: the server's own pod, allowed networks, and, with a resolver, the cluster's names.
fn direct(endpoint: &ValidatedEndpoint) -> String {
    let networks = endpoint
        .egress
        .iter()
        .filter_map(|rule| match (&rule.origin, &rule.destination) {
            (Origin::Allow(_), Destination::Network { network, .. }) => Some(match network.single() {
                Some(address) => address.to_string(),
                None => network.to_string(),
            }),
            (Origin::Allow(_), Destination::KubernetesApi { address, .. }) => Some(address.to_string()),
            _ => None,
        });
    let names = endpoint
        .cluster_dns
        .then(|| [".svc".to_owned(), format!(".{}", endpoint.settings.cluster_domain)]);
    let own = std::iter::once(OWN_NAMES.to_owned());
    own.chain(networks)
        .chain(names.into_iter().flatten())
        .collect::<Vec<_>>()
        .join(",")
}

fn networks(endpoint: &ValidatedEndpoint) -> impl Iterator<Item = (Network, &[Network], &[u16])> {
    endpoint
        .egress
        .iter()
        .filter_map(|rule| match (&rule.origin, &rule.destination) {
            (Origin::Allow(_), Destination::Network { network, except, ports }) => {
                Some((*network, &**except, &**ports))
            }
            _ => None,
        })
}

/// The egress file that the gateway of `endpoint` is told; `None` if it has none.
pub(crate) fn file_of(endpoint: &ValidatedEndpoint) -> Option<EgressFile> {
    endpoint.gateway.as_ref().map(|gateway| file(endpoint, gateway))
}

fn file(endpoint: &ValidatedEndpoint, gateway: &Gateway) -> EgressFile {
    EgressFile {
        schema: SCHEMA.to_owned(),
        endpoint: EndpointIdentity {
            namespace: endpoint.namespace.clone(),
            name: endpoint.name.clone(),
            uid: endpoint.uid.clone(),
        },
        listen: EgressListen {
            port: GATEWAY_PORT,
            admin_port: GATEWAY_ADMIN_PORT,
            transparent_port: transparent::port(endpoint),
        },
        mode: gateway.mode,
        rules: rules(endpoint),
        addresses: EgressAddresses {
            permitted: networks(endpoint).map(permitted).collect(),
            denied: denied(endpoint, gateway),
        },
        resolver: ResolverPolicy::default(),
        limits: EgressLimits::default(),
        audit: audit(endpoint),
        signer_port: injection::signer_port(endpoint),
    }
}

/// Events go where the records of calls go.
fn audit(endpoint: &ValidatedEndpoint) -> EgressAudit {
    let AuditPolicy {
        format,
        sinks,
        on_sink_failure,
        ..
    } = endpoint.calls.audit.clone();
    // Connections are no spans.
    let otlp = sinks.otlp.map(|otlp| OtlpSink { traces: false, ..otlp });
    EgressAudit {
        format,
        sinks: AuditSinks { otlp, ..sinks },
        on_sink_failure,
    }
}

fn rules(endpoint: &ValidatedEndpoint) -> Vec<EgressHostRule> {
    let hosts = endpoint.egress.iter().filter_map(|rule| match &rule.destination {
        Destination::Host(host) => Some(host.clone()),
        Destination::Network { .. } | Destination::KubernetesApi { .. } | Destination::Service { .. } => None,
    });
    hosts.collect()
}

/// A host may lie in a private network that the server may reach anyway. The gateway's NetworkPolicy bounds the ports.
fn permitted((network, except, _): (Network, &[Network], &[u16])) -> PermittedNetwork {
    PermittedNetwork {
        network,
        except: except.to_vec(),
    }
}

fn denied(endpoint: &ValidatedEndpoint, gateway: &Gateway) -> Vec<DeniedNetwork> {
    let api_servers = gateway.api_servers.iter().copied().map(api_server);
    api_servers.chain(endpoint.settings.cluster_networks.denied()).collect()
}

fn api_server(address: IpAddr) -> DeniedNetwork {
    DeniedNetwork {
        network: Network::host(address),
        kind: DeniedNetworkKind::ApiServer,
    }
}

/// Ports on which the gateway dials public addresses: those of all rules, and in `Audit` mode those of HTTP.
pub(crate) fn dialled_ports(file: &EgressFile) -> BTreeSet<u16> {
    let audited = (file.mode == EgressMode::Audit).then_some(AUDITED_PORTS);
    let ruled = file.rules.iter().flat_map(|rule| rule.ports.iter().copied());
    ruled.chain(audited.into_iter().flatten()).collect()
}

/// Private networks that the gateway may dial, each with the ports that both it and a host rule allow.
pub(crate) fn dialled_networks<'a>(
    endpoint: &'a ValidatedEndpoint,
    file: &EgressFile,
) -> Vec<(Network, &'a [Network], Vec<u16>)> {
    let ports = dialled_ports(file);
    networks(endpoint)
        .map(|(network, except, allowed)| {
            let both = allowed.iter().copied().filter(|port| ports.contains(port)).collect();
            (network, except, both)
        })
        .filter(|(_, _, ports): &(_, _, Vec<u16>)| !ports.is_empty())
        .collect()
}

fn pod_spec(endpoint: &ValidatedEndpoint, gateway: &Gateway, file: &EgressFile) -> PodSpec {
    let policy = config::volume(endpoint, Part::Gateway);
    let injected = injection::gateway_volumes(&gateway.injected);
    let collector = gateway.collector.as_ref().map(Bundle::volume);
    PodSpec {
        // The gateway resolves names, by the cluster's name servers; the server's pods have none.
        dns_policy: Some("ClusterFirst".to_owned()),
        containers: vec![container(endpoint, gateway, file)],
        volumes: Some(std::iter::once(policy).chain(injected).chain(collector).collect()),
        ..workload::hardened_pod(endpoint, Part::Gateway, GATEWAY_ID)
    }
}

fn container(endpoint: &ValidatedEndpoint, gateway: &Gateway, file: &EgressFile) -> Container {
    let bound = file
        .injections()
        .map(|injections| ["--injections".to_owned(), injections]);
    let arguments = [
        "run".to_owned(),
        "--policy".to_owned(),
        format!("{MOUNT_PATH}/{FILE_NAME}"),
    ];
    let injected = injection::gateway_mounts(&gateway.injected);
    let collector = gateway.collector.as_ref().map(Bundle::mount);
    let tls = transparent::port(endpoint).map(|port| containers::port(containers::TLS_PORT_NAME, port));
    let ports = [
        containers::port(containers::PROXY_PORT_NAME, GATEWAY_PORT),
        containers::port("admin", GATEWAY_ADMIN_PORT),
    ];
    Container {
        name: CONTAINER.to_owned(),
        image: Some(endpoint.settings.egress_image.clone()),
        command: Some(vec!["/sallyport-egress".to_owned()]),
        args: Some(arguments.into_iter().chain(bound.into_iter().flatten()).collect()),
        ports: Some(ports.into_iter().chain(tls).collect()),
        startup_probe: Some(containers::probe("/healthz", Every::Seconds(1), Failures(60))),
        liveness_probe: Some(containers::probe("/healthz", Every::Seconds(10), Failures(3))),
        readiness_probe: Some(containers::probe("/readyz", Every::Seconds(5), Failures(2))),
        lifecycle: Some(containers::stop_delay()),
        volume_mounts: Some(
            std::iter::once(config::mount())
                .chain(injected)
                .chain(collector)
                .collect(),
        ),
        resources: Some(amounts(endpoint).requirements()),
        ..containers::hardened(GATEWAY_ID)
    }
}
