//! Installs what the tests run on into a local cluster that is up and has its images.

use clap::Parser;
use sallyport_e2e::{Cluster, Result, install};

/// Installs the operator and the SealedSecrets controller into a local cluster.
#[derive(Parser)]
struct Arguments {
    /// The cluster.
    #[arg(long)]
    cluster: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let cluster = Cluster::local(&Arguments::parse().cluster).await?;
    println!("setup: SealedSecrets controller");
    install::sealed_secrets(&cluster).await?;
    println!("setup: operator, by Helm");
    install::operator(&cluster, install::SMALL).await
}
