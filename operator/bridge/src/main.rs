//! Entry point: `run` is the bridge, `install` copies it to where the server's container finds it.

use clap::{Parser, Subcommand};
use sallyport_bridge::environment::FromFile;
use sallyport_bridge::{Mode, Program, Settings, init, install, serve};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Runs an MCP server that speaks over standard input and output, and lets the audit sidecar call it over a unix socket.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server. Diagnostics go to standard output; standard error is the server's.
    Run {
        /// Where to listen.
        #[arg(long)]
        socket: PathBuf,
        /// The only user (a numeric id) that may call.
        #[arg(long)]
        peer_uid: Option<u32>,
        /// How legacy sessions map to processes of the server.
        #[arg(long, value_enum, default_value = "per-session")]
        sessions: Mode,
        /// A variable for the server whose value a file holds, as in GITHUB_TOKEN=/var/run/secrets/sallyport/github/token.
        #[arg(long = "env", value_name = "NAME=FILE")]
        environment: Vec<FromFile>,
        /// The server's program and its arguments.
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Copy this program.
    Install {
        /// Where to.
        to: PathBuf,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    if init::is_first() {
        return match init::run().await {
            Ok(code) => code,
            Err(error) => failed(&error),
        };
    }
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(EnvFilter::try_from_env("SALLYPORT_LOG").unwrap_or_else(|_| EnvFilter::new("info")))
        .init();
    match Args::parse().command {
        Command::Install { to } => match install::install(&to) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error),
        },
        Command::Run {
            socket,
            peer_uid,
            sessions,
            environment,
            command,
        } => {
            let (mut terminate, mut interrupt) =
                match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
                    (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
                    (Err(error), _) | (_, Err(error)) => return failed(&error),
                };
            let settings = Settings {
                socket,
                peer: peer_uid,
                mode: sessions,
                program: Program { command, environment },
            };
            let stop = async move {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
            };
            match serve(settings, stop).await {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => failed(&error),
            }
        }
    }
}

fn failed(error: &dyn std::error::Error) -> ExitCode {
    let causes = std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string);
    eprintln!("sallyport-bridge: {}", causes.collect::<Vec<_>>().join(": "));
    ExitCode::FAILURE
}
