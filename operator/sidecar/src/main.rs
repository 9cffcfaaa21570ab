//! Entry point.

use clap::{Parser, Subcommand};
use sallyport_policy::{FILE_NAME, MOUNT_PATH, ParseError, PolicyFile};
use sallyport_sidecar::{Sidecar, StartError, UnwrittenRecords};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
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
        /// The policy file that the operator wrote.
        #[arg(long, env = "SALLYPORT_POLICY", default_value_os_t = default_policy())]
        policy: PathBuf,
        /// What is logged to standard error, as a tracing filter.
        #[arg(long, env = "SALLYPORT_LOG_LEVEL", default_value = "info")]
        log_level: EnvFilter,
    },
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
    #[error("stopped, but not whole")]
    Unwritten(#[from] UnwrittenRecords),
}

#[tokio::main]
async fn main() -> ExitCode {
    let Command::Run { policy, log_level } = Args::parse().command;
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(log_level)
        .with_writer(io::stderr)
        .init();
    match run(policy).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let causes = std::iter::successors(std::error::Error::source(&error), |error| error.source());
            let causes: Vec<String> = causes.map(ToString::to_string).collect();
            tracing::error!(causes = causes.join(": "), "{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(path: PathBuf) -> Result<(), RunError> {
    let policy = read_policy(path)?;
    // Not through std's own handle: it keeps what a failed write left over, and the journal must know what was written.
    let sink = io::stdout().as_fd().try_clone_to_owned().map_err(RunError::Sink)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Signals)?;
    let sidecar = Sidecar::bind(policy, File::from(sink)).await?;
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
