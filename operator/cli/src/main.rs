//! `kubectl mcpe`: shows what the operator would do with an endpoint, without a cluster.

mod input;
mod output;
mod schema;
mod settings;

use clap::{Args, Parser, Subcommand};
use sallyport_render::ValidatedEndpoint;
use settings::Assumed;
use std::{path::PathBuf, process::ExitCode};

#[derive(Parser)]
#[command(
    name = "kubectl-mcpe",
    bin_name = "kubectl mcpe",
    version,
    about = "Shows what Sallyport would do with an McpEndpoint, without a cluster"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print the objects that endpoints become, as YAML
    Render(Source),
    /// Print the hardening checks that endpoints pass, and those that they deviate from
    Posture(Source),
}

#[derive(Args)]
struct Source {
    /// File with McpEndpoints; other kinds in it are left out; - is standard input
    #[arg(short, long = "filename", required = true, value_name = "FILE")]
    file: Vec<PathBuf>,
    #[command(flatten)]
    assumed: Assumed,
}

fn main() -> ExitCode {
    match run(&Cli::parse().command) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Result<String, output::Error> {
    match command {
        Command::Render(source) => output::render(&load(source)?, &source.assumed.settings()),
        Command::Posture(source) => Ok(output::posture(&load(source)?)),
    }
}

fn load(source: &Source) -> Result<Vec<ValidatedEndpoint>, input::Error> {
    let mut loaded = vec![];
    for file in &source.file {
        loaded.extend(input::load(file, &source.assumed)?);
    }
    Ok(loaded)
}
