//! Entry point.

use clap::{Parser, Subcommand};
use sallyport_egress::{Gateway, Kernel, Place, StartError, UnwrittenRecords};
use sallyport_policy::MOUNT_PATH;
use sallyport_policy::egress::{CLIENTS_FILE_NAME, FILE_NAME};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// The egress gateway of a Sallyport endpoint.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Let out what the policy allows: events go to standard output, diagnostics to standard error.
    Run {
        /// The egress file that the operator wrote. It is read again when it changes.
        #[arg(long, env = "SALLYPORT_POLICY", default_value_os_t = default_policy())]
        policy: PathBuf,
        /// Which credentials may go where: the SHA-256 of the egress file's rules that inject. None, if left out.
        #[arg(long)]
        injections: Option<String>,
        /// Which pods have which addresses. It is read again when it changes.
        #[arg(long, default_value_os_t = default_clients())]
        clients: PathBuf,
        /// Where the kubelet looks for the last words of a container.
        #[arg(long, default_value = "/dev/termination-log")]
        termination_log: PathBuf,
        /// What is logged to standard error, as a tracing filter.
        #[arg(long, env = "SALLYPORT_LOG_LEVEL", default_value = "info")]
        log_level: EnvFilter,
    },
}

fn default_policy() -> PathBuf {
    Path::new(MOUNT_PATH).join(FILE_NAME)
}

fn default_clients() -> PathBuf {
    Path::new(MOUNT_PATH).join(CLIENTS_FILE_NAME)
}

#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error("cannot write events to standard output")]
    Sink(#[source] io::Error),
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
    #[error("cannot start")]
    Start(#[from] StartError),
    #[error("stopped, but not whole")]
    Unwritten(#[from] UnwrittenRecords),
}

#[tokio::main]
async fn main() -> ExitCode {
    let Command::Run {
        policy,
        injections,
        clients,
        termination_log,
        log_level,
    } = Args::parse().command;
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(log_level)
        .with_writer(io::stderr)
        .init();
    let place = Place {
        policy,
        injections,
        clients: Some(clients),
        termination_log: Some(termination_log),
    };
    match run(place).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let causes = std::iter::successors(std::error::Error::source(&error), |error| error.source());
            let causes: Vec<String> = causes.map(ToString::to_string).collect();
            tracing::error!(causes = causes.join(": "), "{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(place: Place) -> Result<(), RunError> {
    // Not through std's own handle: it keeps what a failed write left over, and the journal must know what was written.
    let sink = io::stdout().as_fd().try_clone_to_owned().map_err(RunError::Sink)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Signals)?;
    let gateway = Gateway::bind(place, File::from(sink), Arc::new(Kernel)).await?;
    tracing::info!(traffic = %gateway.traffic_address(), admin = %gateway.admin_address(), "listening");
    gateway
        .serve(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
        .await?;
    tracing::info!("stopped, every event is written");
    Ok(())
}
