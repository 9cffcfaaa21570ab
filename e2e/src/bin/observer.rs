//! Watches pods and NetworkPolicies during a whole test run and fails it if an endpoint's pod ever ran without its
//! fences.

use clap::{Parser, Subcommand};
use sallyport_e2e::{
    Cluster, Context, Failure, Result,
    judge::{Verdict, judge},
    observer,
};
use std::{fmt::Write as _, path::PathBuf};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
#[command(about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Watch a local cluster until SIGTERM, write the recording, and judge it.
    Watch {
        /// The cluster.
        #[arg(long)]
        cluster: String,
        /// Where to write the recording.
        #[arg(long)]
        record: PathBuf,
        /// A file that is made once the watches stand.
        #[arg(long)]
        started: PathBuf,
    },
    /// Judge a recording.
    Judge {
        /// The recording.
        record: PathBuf,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let verdict = match Arguments::parse().command {
        Command::Judge { record } => judge(observer::read(&record)?),
        Command::Watch {
            cluster,
            record,
            started,
        } => watch(&cluster, record, started).await?,
    };
    report(&verdict)
}

async fn watch(cluster: &str, record: PathBuf, started: PathBuf) -> Result<Verdict> {
    let client = Cluster::local(cluster).await?.client;
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let stop = async move {
        terminate.recv().await;
    };
    let records = observer::observe(client, stop, || {
        if let Err(error) = std::fs::write(&started, "") {
            eprintln!("observer: cannot write {}: {error}", started.display());
        }
    })
    .await?;
    let mut text = String::new();
    for line in &records {
        writeln!(text, "{}", serde_json::to_string(line)?).context("write a record")?;
    }
    std::fs::write(&record, text).context(format!("write {}", record.display()))?;
    Ok(judge(records))
}

fn report(verdict: &Verdict) -> Result<()> {
    println!(
        "observer: {} endpoint pods ran, {} changes of policies, {} pods without fences",
        verdict.pods,
        verdict.policy_changes,
        verdict.violations.len()
    );
    for violation in &verdict.violations {
        println!(
            "observer: pod {}/{} ran without a fence at revision {} ({})",
            violation.pod.namespace, violation.pod.name, violation.revision, violation.seen
        );
    }
    if verdict.is_clean() {
        Ok(())
    } else {
        Err(Failure::new(
            "the recording does not show that every pod of an endpoint ran behind its fences",
        ))
    }
}
