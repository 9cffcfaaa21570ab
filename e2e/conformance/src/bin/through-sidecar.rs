//! Runs a client with the URL of a sidecar in front of the server that the last argument names.
//!
//! `through-sidecar CLIENT [ARGUMENT...] URL`

use http::{HeaderMap, Uri};
use sallyport_loopback::{Hop, Profile, Sidecar};
use serde_json::json;
use std::error::Error;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use tokio::process::Command;

/// How the sidecar calls itself when it calls.
const SIDECAR: &str = r#""name":"sallyport-sidecar""#;

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let url: Uri = arguments.pop().ok_or("the URL of the server is missing")?.parse()?;
    let (client, arguments) = arguments.split_first().ok_or("the client is missing")?;
    let port = url.port_u16().ok_or("the URL names no port")?;
    // The suite takes whoever calls for the client under test, and the sidecar asks its server on its own account, too.
    let hop = Hop::start_deaf((Ipv4Addr::LOCALHOST, port).into(), HeaderMap::new(), Some(SIDECAR)).await?;
    // Callers are the suite's own clients, and what its servers offer is theirs to choose.
    let profile = Profile::closed(hop.address())?
        .unhurried()
        .open()
        .with(&json!({"upstream": {"path": url.path()}}));
    let sidecar = Sidecar::start(&profile).await?;
    let through = format!("http://{}{}", sidecar.address(), url.path());
    let status = Command::new(client)
        .args(arguments)
        .arg(through)
        .kill_on_drop(true)
        .status()
        .await?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
