//! `kubectl mcpe`: shows what the operator would do with an endpoint, without a cluster.

mod audit;
mod input;
mod key;
mod output;
mod pin;
mod schema;
mod settings;
mod suggest;

use clap::{Args, Parser, Subcommand};
use sallyport_render::{Target, ValidatedEndpoint};
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
    /// Explain what servers may reach, and find out what they want to reach
    #[command(subcommand)]
    Egress(Egress),
    /// Look into what audit sidecars and egress gateways recorded
    #[command(subcommand)]
    Audit(audit::Command),
    /// Print the pins of the tools that a server lists, for spec of its McpEndpoint; exit status 3: not all can be pinned or
    /// called
    Pin(Pin),
    /// Make API keys for callers
    #[command(subcommand)]
    Key(Key),
}

#[derive(Args)]
struct Pin {
    /// File with the server's own answer to tools/list, as curl saves it: JSON or an event stream; several for several
    /// pages; - is standard input
    #[arg(short, long = "filename", required = true, value_name = "FILE")]
    file: Vec<PathBuf>,
}

#[derive(Subcommand)]
enum Key {
    /// Add a new API key to a key file, and print it; it cannot be printed again
    New(Box<key::New>),
}

#[derive(Subcommand)]
enum Egress {
    /// Tell whether servers may reach a destination, by which rule and through which path; exit status 3: refused
    Explain(Box<Explain>),
    /// Read events of egress gateways from standard input, as kubectl logs prints them, and print the rules that would
    /// allow what was refused
    Suggest,
}

#[derive(Args)]
struct Source {
    /// File with McpEndpoints; other kinds in it are left out; - is standard input
    #[arg(short, long = "filename", required = true, value_name = "FILE")]
    file: Vec<PathBuf>,
    #[command(flatten)]
    assumed: Assumed,
}

#[derive(Args)]
struct Explain {
    #[command(flatten)]
    source: Source,
    /// Host or address with or without a port, as in api.example.com, 203.0.113.10:5432 or [2001:db8::1]:443
    #[arg(value_name = "HOST|IP[:PORT]")]
    target: Target,
}

/// Exit status when a destination is refused, a tool cannot be pinned, or records are not as they should be.
const REFUSED: u8 = 3;

fn main() -> ExitCode {
    match run(&Cli::parse().command) {
        Ok((text, code)) => {
            print!("{text}");
            code
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Why nothing is printed.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Output(#[from] output::Error),
    #[error(transparent)]
    Pin(#[from] pin::Error),
    #[error(transparent)]
    Audit(#[from] audit::Error),
    #[error(transparent)]
    Key(#[from] key::Error),
}

fn run(command: &Command) -> Result<(String, ExitCode), Error> {
    let text = match command {
        Command::Render(source) => output::render(&load(source)?, &source.assumed.settings())?,
        Command::Audit(asked) => {
            let (text, clean) = audit::run(asked)?;
            let code = if clean {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(REFUSED)
            };
            return Ok((text, code));
        }
        Command::Posture(source) => output::posture(&load(source)?),
        Command::Egress(Egress::Explain(asked)) => {
            let (text, refused) = output::explain(&load(&asked.source)?, &asked.target);
            let code = if refused {
                ExitCode::from(REFUSED)
            } else {
                ExitCode::SUCCESS
            };
            return Ok((text, code));
        }
        Command::Pin(asked) => {
            let pinned = pin::pins(&asked.file)?;
            for warning in &pinned.warnings {
                eprintln!("warning: {warning}");
            }
            let code = if pinned.warnings.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(REFUSED)
            };
            return Ok((pinned.text, code));
        }
        Command::Key(Key::New(asked)) => key::new(asked)?,
        Command::Egress(Egress::Suggest) => suggest::rules(std::io::stdin().lock()).map_err(output::Error::from)?,
    };
    Ok((text, ExitCode::SUCCESS))
}

fn load(source: &Source) -> Result<Vec<ValidatedEndpoint>, output::Error> {
    let mut loaded = vec![];
    for file in &source.file {
        loaded.extend(input::load(file, &source.assumed)?);
    }
    Ok(loaded)
}
