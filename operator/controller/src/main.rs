//! The operator's program.

use clap::Parser;
use sallyport_controller::{
    args::{Cli, Command},
    run, telemetry,
};
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let Command::Run(args) = Cli::parse().command;
    if let Err(error) = telemetry::init(args.log_format, &args.log_level) {
        eprintln!("--log-level: {error}; write for example info or sallyport_controller=debug,kube=info");
        return ExitCode::from(2);
    }
    // An error means that a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match Box::pin(run::run(*args)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            tracing::error!(%error, source, "the operator ends");
            ExitCode::FAILURE
        }
    }
}
