//! Command line and environment.

use crate::scope::Scope;
use clap::{Parser, Subcommand, ValueEnum};
use sallyport_api::{labels, quantity::Amount, v1alpha1::CANARY_PORT};
use sallyport_render::{Amounts, ClusterNetwork, ClusterNetworks, Settings};
use std::{net::SocketAddr, time::Duration};

/// Runs MCP servers that are provably locked down.
#[derive(Debug, Parser)]
#[command(name = "sallyport-operator", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the operator can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the operator until SIGTERM.
    Run(Box<RunArgs>),
}

/// How the operator runs.
#[derive(Debug, Parser)]
pub struct RunArgs {
    /// Image of the audit sidecar, pinned by digest.
    #[arg(long, env = "SALLYPORT_SIDECAR_IMAGE", value_parser = pinned_image)]
    pub sidecar_image: String,
    /// Image of the egress gateway, pinned by digest.
    #[arg(long, env = "SALLYPORT_EGRESS_IMAGE", value_parser = pinned_image)]
    pub egress_image: String,
    /// CPU of each audit sidecar, from 10m to 4.
    #[arg(long, default_value = "100m", value_parser = cpu)]
    pub sidecar_cpu: i64,
    /// Memory of each audit sidecar, from 32Mi to 4Gi; more where the limits of its endpoint can come to more.
    #[arg(long, default_value = "208Mi", value_parser = memory)]
    pub sidecar_memory: i64,
    /// PriorityClass that endpoint pods carry and that namespace quotas are scoped to.
    #[arg(long, default_value = labels::PRIORITY_CLASS)]
    pub priority_class: String,
    /// DNS domain of the cluster.
    #[arg(long, default_value = "cluster.local")]
    pub cluster_domain: String,
    /// Namespaces to watch, separated by commas; all if empty.
    #[arg(long, value_delimiter = ',')]
    pub watch_namespaces: Vec<String>,
    /// Address of /metrics, /healthz and /readyz.
    #[arg(long, default_value = "0.0.0.0:8080")]
    pub admin_listen: SocketAddr,
    /// Port of the canary, which endpoint pods must be refused; the port of its Service and of its listener.
    #[arg(long, default_value_t = CANARY_PORT)]
    pub canary_port: u16,
    /// Name of the canary's Service in the operator's namespace.
    #[arg(long, default_value = "sallyport-canary")]
    pub canary_service: String,
    /// Form of the log.
    #[arg(long, value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
    /// What is logged: error, warn, info, debug, trace, or directives such as sallyport_controller=debug,kube=info.
    #[arg(long, env = "SALLYPORT_LOG", default_value = "info")]
    pub log_level: String,
    /// Name of the lease in the operator's namespace.
    #[arg(long, default_value = "sallyport-operator")]
    pub lease_name: String,
    /// How long a replica that went silent keeps the lease, as in 15s; at least 3s.
    #[arg(long, default_value = "15s", value_parser = lease_duration)]
    pub lease_duration: Duration,
    /// Name of this pod; a name of its own if unset.
    #[arg(long, env = "POD_NAME")]
    pub pod_name: Option<String>,
    /// Namespace of this pod.
    #[arg(long, env = "POD_NAMESPACE", default_value = "sallyport-system")]
    pub pod_namespace: String,
    /// Labels of the operator's own pods, which may reach the sidecars' admin port.
    #[arg(long, value_delimiter = ',', value_parser = label, default_value = "app.kubernetes.io/name=sallyport")]
    pub operator_pod_labels: Vec<(String, String)>,
    /// Networks in which pods have their addresses, separated by commas; to be named where these are public.
    #[arg(long, value_delimiter = ',', value_name = "CIDR")]
    pub pod_networks: Vec<ClusterNetwork>,
    /// Networks in which Services have their addresses, likewise.
    #[arg(long, value_delimiter = ',', value_name = "CIDR")]
    pub service_networks: Vec<ClusterNetwork>,
    /// Networks in which nodes have their addresses, those by which they are reached from outside included, likewise.
    #[arg(long, value_delimiter = ',', value_name = "CIDR")]
    pub node_networks: Vec<ClusterNetwork>,
    /// Whether to use pod features that every node supports (user namespaces, strict supplemental groups).
    #[arg(long, value_enum, default_value_t = NodeFeatureMode::Auto)]
    pub node_features: NodeFeatureMode,
    /// Whether to write CiliumNetworkPolicies beside NetworkPolicies, where the cluster has that kind.
    #[arg(long, value_enum, default_value_t = CiliumMode::Never)]
    pub cilium_network_policies: CiliumMode,
    /// Endpoints that are reconciled at a time.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub concurrency: u16,
}

/// Form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Pretty,
}

/// Whether node features are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NodeFeatureMode {
    /// Those that every node supports.
    Auto,
    /// None.
    Off,
}

/// Whether CiliumNetworkPolicies are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CiliumMode {
    /// While the cluster serves the kind.
    Auto,
    /// Not at all; those of before are removed.
    Never,
}

impl RunArgs {
    /// What rendering needs to know.
    pub fn settings(&self) -> Settings {
        Settings {
            sidecar_image: self.sidecar_image.clone(),
            egress_image: self.egress_image.clone(),
            sidecar_amounts: Amounts {
                cpu_milli: self.sidecar_cpu,
                memory_bytes: self.sidecar_memory,
                ..Amounts::SIDECAR
            },
            priority_class: self.priority_class.clone(),
            cluster_domain: self.cluster_domain.clone(),
            operator_namespace: self.pod_namespace.clone(),
            operator_pod_labels: self.operator_pod_labels.iter().cloned().collect(),
            cluster_networks: ClusterNetworks {
                pods: self.pod_networks.clone(),
                services: self.service_networks.clone(),
                nodes: self.node_networks.clone(),
            },
        }
    }

    /// What is watched.
    pub fn scopes(&self) -> Vec<Scope> {
        let named: Vec<_> = self.watch_namespaces.iter().filter(|name| !name.is_empty()).collect();
        if named.is_empty() {
            vec![Scope::All]
        } else {
            named.into_iter().map(|name| Scope::Namespace(name.clone())).collect()
        }
    }

    /// Identity in the election: the pod's name, which a restarted container shares with nobody but its former self.
    pub fn identity(&self) -> String {
        self.pod_name.clone().unwrap_or_else(|| {
            let begun = k8s_openapi::jiff::Timestamp::now().as_nanosecond();
            format!("sallyport-operator-{}-{begun:x}", std::process::id())
        })
    }
}

fn pinned_image(text: &str) -> Result<String, String> {
    let digest = text.rsplit_once("@sha256:").map(|(_, digest)| digest);
    let pinned = digest.is_some_and(|digest| digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if pinned {
        Ok(text.to_owned())
    } else {
        Err("pin the image by digest, as in registry.example/sallyport/sidecar@sha256:<64 hex digits>".to_owned())
    }
}

/// Thousandths of a core.
fn cpu(text: &str) -> Result<i64, String> {
    let milli = Amount::new(text).milli().map_err(|error| error.to_string())?;
    let milli = i64::try_from(milli).ok().filter(|milli| (10..=4000).contains(milli));
    milli.ok_or_else(|| "write an amount of CPU from 10m to 4, as in 100m".to_owned())
}

/// Bytes.
fn memory(text: &str) -> Result<i64, String> {
    let bytes = Amount::new(text).units().map_err(|error| error.to_string())?;
    let bytes = i64::try_from(bytes)
        .ok()
        .filter(|bytes| (32 << 20..=4 << 30).contains(bytes));
    bytes.ok_or_else(|| "write an amount of memory from 32Mi to 4Gi, as in 128Mi".to_owned())
}

fn lease_duration(text: &str) -> Result<Duration, String> {
    let seconds = text.strip_suffix('s').and_then(|number| number.parse().ok());
    seconds
        .filter(|seconds| (3..=3600).contains(seconds))
        .map(Duration::from_secs)
        .ok_or_else(|| "write whole seconds from 3s to 3600s, as in 15s".to_owned())
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write labels as key=value, as in app.kubernetes.io/name=sallyport".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(extra: &[&str]) -> Result<RunArgs, clap::Error> {
        let image = format!("registry.example/sidecar@sha256:{}", "a".repeat(64));
        let base = [
            "sallyport-operator",
            "run",
            "--sidecar-image",
            &image,
            "--egress-image",
            &image,
        ];
        let Command::Run(args) = Cli::try_parse_from(base.iter().chain(extra))?.command;
        Ok(*args)
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_empty_list_of_namespaces_watches_all() {
        assert_eq!(parse(&[]).unwrap().scopes(), [Scope::All]);
        assert_eq!(parse(&["--watch-namespaces="]).unwrap().scopes(), [Scope::All]);
        let two = parse(&["--watch-namespaces=a,b"]).unwrap().scopes();
        assert_eq!(
            two,
            [Scope::Namespace("a".to_owned()), Scope::Namespace("b".to_owned())]
        );
    }

    #[test]
    fn the_sidecars_amounts_are_as_written() {
        assert_eq!(parse(&[]).unwrap().settings().sidecar_amounts, Amounts::SIDECAR);
        let args = parse(&["--sidecar-cpu=0.5", "--sidecar-memory=1Gi"]).unwrap();
        let amounts = args.settings().sidecar_amounts;
        assert_eq!((amounts.cpu_milli, amounts.memory_bytes), (500, 1 << 30));
    }

    #[test]
    fn networks_of_the_cluster_are_as_written_and_none_by_default() {
        let networks = |extra: &[&str]| parse(extra).unwrap().settings().cluster_networks;
        assert_eq!(networks(&[]), ClusterNetworks::default());
        let named = networks(&[
            "--pod-networks=10.244.0.0/16,2600:1f00::/48",
            "--service-networks=10.96.0.0/12",
            "--node-networks=203.0.113.0/24",
        ]);
        let texts = |networks: &[ClusterNetwork]| networks.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(texts(&named.pods), ["10.244.0.0/16", "2600:1f00::/48"]);
        assert_eq!(texts(&named.services), ["10.96.0.0/12"]);
        assert_eq!(texts(&named.nodes), ["203.0.113.0/24"]);
    }

    #[test]
    fn bad_values_are_refused_with_an_example() {
        for (args, example) in [
            (["--sidecar-image=sidecar:latest"], "@sha256:"),
            (["--sidecar-cpu=1m"], "100m"),
            (["--sidecar-cpu=half"], "250m"),
            (["--sidecar-memory=1Mi"], "128Mi"),
            (["--lease-duration=1s"], "15s"),
            (["--lease-duration=15"], "15s"),
            (["--operator-pod-labels=name"], "key=value"),
            (["--concurrency=0"], "1..=256"),
            (["--pod-networks="], "as in 203.0.113.10/32"),
            (["--pod-networks=10.244.0.0"], "as in 203.0.113.10/32"),
            (["--service-networks=10.96.0.0/12,10.97.0.1/12"], "all host bits zero"),
            (["--node-networks=0.0.0.0/0"], "at least /8"),
        ] {
            let error = match &args[0].strip_prefix("--sidecar-image=") {
                Some(image) => {
                    Cli::try_parse_from(["sallyport-operator", "run", "--sidecar-image", image]).unwrap_err()
                }
                None => parse(&args).unwrap_err(),
            };
            assert!(error.to_string().contains(example), "{error}");
        }
    }
}
