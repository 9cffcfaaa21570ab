//! Entry point: `run` is the audit sidecar, `guard` the init container before it.

use clap::{Parser, Subcommand};
use sallyport_policy::enforcement::EnforcementMode;
use sallyport_policy::{FILE_NAME, MOUNT_PATH, ParseError, PolicyFile};
use sallyport_sidecar::guard::{self, NotRefused, Probe};
use sallyport_sidecar::ports::{self, PortsError};
use sallyport_sidecar::{Place, Sidecar, StartError, UnwrittenRecords};
use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// The audit sidecar of a Sallyport endpoint.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Stand in front of the MCP server: audit records go to standard output, diagnostics to standard error.
    Run {
        #[command(flatten)]
        common: Common,
        /// Socket of the process that holds the ports. Without one, they are taken.
        #[arg(long, env = "SALLYPORT_PORTS")]
        ports: Option<PathBuf>,
        #[command(flatten)]
        last: Last,
    },
    /// Hold the ports of the policy for the sidecar, so that nobody else listens there while it is away.
    Hold {
        #[command(flatten)]
        common: Common,
        /// Where the sidecar takes them over.
        #[arg(long, env = "SALLYPORT_PORTS")]
        socket: PathBuf,
    },
    /// Wait until the pod is refused what no rule allows, then end; the server starts only after that. Fails if it does
    /// not come to that in time: exit code 3 if a forbidden destination was reached, 4 if nobody can tell.
    Guard {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        last: Last,
    },
}

/// Exit code when somebody else in the pod listens where the sidecar should: it may be taken for the sidecar.
const PORT_TAKEN: u8 = 5;

#[derive(clap::Args)]
struct Common {
    /// The policy file that the operator wrote.
    #[arg(long, env = "SALLYPORT_POLICY", default_value_os_t = default_policy())]
    policy: PathBuf,
    /// What is logged to standard error, as a tracing filter.
    #[arg(long, env = "SALLYPORT_LOG_LEVEL", default_value = "info")]
    log_level: EnvFilter,
    /// Address of the API server, as the kubelet tells every container. A name is of no use: there is no resolver.
    #[arg(long, env = "KUBERNETES_SERVICE_HOST")]
    api_server_host: Option<String>,
    /// Its port.
    #[arg(long, env = "KUBERNETES_SERVICE_PORT")]
    api_server_port: Option<String>,
    /// The pod's own address, where other replicas reach it.
    #[arg(long, env = "POD_IP")]
    pod_address: Option<IpAddr>,
}

#[derive(clap::Args)]
struct Last {
    /// Where the kubelet looks for the last words of a container.
    #[arg(long, default_value = "/dev/termination-log")]
    termination_log: PathBuf,
}

impl Common {
    fn api_server(&self) -> Option<SocketAddr> {
        let host = self.api_server_host.as_ref()?.parse().ok()?;
        Some(SocketAddr::new(host, self.api_server_port.as_ref()?.parse().ok()?))
    }
}

fn default_policy() -> PathBuf {
    Path::new(MOUNT_PATH).join(FILE_NAME)
}

#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error("cannot read the policy file {path}")]
    ReadPolicy {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot use the policy file {path}")]
    Policy {
        path: PathBuf,
        #[source]
        source: ParseError,
    },
    #[error("cannot write audit records to standard output")]
    Sink(#[source] io::Error),
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
    #[error("cannot start")]
    Start(#[from] StartError),
    #[error("cannot hold the ports")]
    Hold(#[from] PortsError),
    #[error("{0}")]
    Guard(#[from] NotRefused),
    #[error("stopped, but not whole")]
    Unwritten(#[from] UnwrittenRecords),
}

#[tokio::main]
async fn main() -> ExitCode {
    let ended = match Args::parse().command {
        Command::Run { common, ports, last } => {
            log(common.log_level.clone());
            run(common, ports, last.termination_log).await
        }
        Command::Hold { common, socket } => {
            log(common.log_level.clone());
            hold(common, &socket).await
        }
        Command::Guard { common, last } => {
            log(common.log_level.clone());
            guard(common, &last.termination_log).await
        }
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let causes = std::iter::successors(std::error::Error::source(&error), |error| error.source());
            let causes: Vec<String> = causes.map(ToString::to_string).collect();
            tracing::error!(causes = causes.join(": "), "{error}");
            match error {
                RunError::Guard(not_refused) => ExitCode::from(not_refused.exit_code()),
                RunError::Start(StartError::Ports(PortsError::Bind(_) | PortsError::Address { .. }))
                | RunError::Hold(PortsError::Bind(_)) => ExitCode::from(PORT_TAKEN),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn log(level: EnvFilter) {
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(level)
        .with_writer(io::stderr)
        .init();
}

async fn guard(common: Common, termination_log: &Path) -> Result<(), RunError> {
    let api_server = common.api_server();
    let enforcement = read_policy(common.policy)?.enforcement;
    let bound = Duration::from_secs(enforcement.wait_seconds);
    let waited = guard::wait(&Probe::new(&enforcement, api_server), bound).await;
    let said = match &waited {
        Ok(_) => "this pod is refused what no rule allows".to_owned(),
        Err(error) => error.to_string(),
    };
    // What is lost here is in the log all the same.
    if let Err(error) = std::fs::write(termination_log, &said) {
        tracing::warn!(%error, path = %termination_log.display(), "the termination log cannot be written");
    }
    match (waited, enforcement.mode) {
        (Ok(_), _) => tracing::info!("{said}"),
        (Err(_), EnforcementMode::Warn) => {
            tracing::warn!("{said}; the class says Warn, so the server starts all the same");
        }
        (Err(error), EnforcementMode::Required) => return Err(error.into()),
    }
    Ok(())
}

async fn hold(common: Common, socket: &Path) -> Result<(), RunError> {
    let ports = ports::of_policy(&read_policy(common.policy)?);
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signals)?;
    tokio::select! {
        ended = ports::hold(&ports, socket) => Ok(ended?),
        _ = terminate.recv() => Ok(()),
    }
}

async fn run(common: Common, ports: Option<PathBuf>, termination_log: PathBuf) -> Result<(), RunError> {
    let place = Place {
        api_server: common.api_server(),
        pod: common.pod_address,
        ports,
        termination_log: Some(termination_log),
    };
    let policy = read_policy(common.policy.clone())?;
    // Not through std's own handle: it keeps what a failed write left over, and the journal must know what was written.
    let sink = io::stdout().as_fd().try_clone_to_owned().map_err(RunError::Sink)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Signals)?;
    let sidecar = Sidecar::bind(policy, place, File::from(sink))
        .await?
        .following(common.policy);
    tracing::info!(traffic = %sidecar.traffic_address(), admin = %sidecar.admin_address(), "listening");
    sidecar
        .serve(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
        .await?;
    tracing::info!("stopped, every record is written");
    Ok(())
}

fn read_policy(path: PathBuf) -> Result<PolicyFile, RunError> {
    match std::fs::read_to_string(&path) {
        Err(source) => Err(RunError::ReadPolicy { path, source }),
        Ok(text) => PolicyFile::parse(&text).map_err(|source| RunError::Policy { path, source }),
    }
}
