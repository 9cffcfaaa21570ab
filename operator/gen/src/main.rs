//! `cargo gen write` writes what is generated from the code; `cargo gen check` fails when the repository differs from it.

mod crd;
mod files;
mod floor;
mod rbac;
mod reference;
mod samples;
mod yaml;

use clap::{Parser, Subcommand};
use files::Drift;
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

#[derive(Parser)]
#[command(
    name = "cargo gen",
    about = "Generated files: the CRD, RBAC rules, ClusterNetworkPolicies, samples, reference"
)]
struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Write every generated file.
    Write,
    /// Fail if a generated file differs from what the code says.
    Check,
}

fn main() -> ExitCode {
    match run(&Args::parse().action) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(action: &Action) -> Result<ExitCode, files::Error> {
    let root = repository();
    let files = files::all()?;
    match action {
        Action::Write => {
            let written = files::write(&root, &files)?;
            println!("{} generated files, {written} of them changed", files.len());
            Ok(ExitCode::SUCCESS)
        }
        Action::Check => Ok(report(&files::check(&root, &files)?, files.len())),
    }
}

fn report(drifts: &[Drift], total: usize) -> ExitCode {
    if drifts.is_empty() {
        println!("{total} generated files are up to date");
        return ExitCode::SUCCESS;
    }
    for drift in drifts {
        eprintln!("{drift}");
    }
    eprintln!("run `cargo gen write` and commit the result; do not edit these files by hand");
    ExitCode::FAILURE
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_holds_what_the_code_says() {
        let drifts = files::check(&repository(), &files::all().unwrap()).unwrap();
        let drifts: Vec<_> = drifts.iter().map(ToString::to_string).collect();
        assert!(drifts.is_empty(), "run `cargo gen write`:\n{}", drifts.join("\n"));
    }
}
