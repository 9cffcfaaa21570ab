//! Hosts of the outside world: what they received.

use crate::{Cluster, Context, Failure, Result, cluster::Place, eventually};
use serde::Deserialize;
use serde_json::Value;
use std::{path::PathBuf, time::Duration};

/// How long a host may take to write down what arrived: it does so when the peer is done, or silent for two seconds.
const WRITTEN: Duration = Duration::from_secs(30);

/// A host outside of the cluster that accepts everything and keeps a log of it.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its address.
    pub address: String,
    name: String,
    log: PathBuf,
    /// How many lines of the log speak of an earlier host of that name.
    earlier: usize,
}

/// Something that arrived.
#[derive(Clone, Debug, Deserialize)]
pub struct Arrival {
    /// `tcp` or `udp`.
    pub proto: String,
    /// The port on which it arrived.
    pub port: u16,
    /// Who sent it.
    pub peer: String,
    /// Whether it came inside TLS, which the host ended.
    #[serde(default)]
    pub tls: bool,
    /// The first 4 KiB of it.
    #[serde(default)]
    pub data: String,
}

impl Host {
    /// Adds a host with TCP ports 80 and 443, both of which speak TLS to a peer that does, and UDP ports 53 (DNS) and 514, in
    /// place of an earlier one of that name.
    ///
    /// # Errors
    ///
    /// When the cluster has no outside world, or the host cannot be made.
    pub async fn add(cluster: &Cluster, name: &str, address: &str) -> Result<Self> {
        Self::add_with(cluster, name, address, &[]).await
    }

    /// The same, and it answers every HTTP request with `document`.
    ///
    /// # Errors
    ///
    /// As [`Host::add`].
    pub async fn publishing(cluster: &Cluster, name: &str, address: &str, document: &Value) -> Result<Self> {
        Self::add_with(cluster, name, address, &["--json", &document.to_string()]).await
    }

    async fn add_with(cluster: &Cluster, name: &str, address: &str, options: &[&str]) -> Result<Self> {
        let Place::Local { name: local, state } = &cluster.place else {
            return Err(Failure::new("only a local cluster has an outside world of its own"));
        };
        // Left over from a run that was cut short; that there is none is the usual case.
        let _ = cluster.tool.run(&["host", "rm", name, "--name", local]).await;
        let ports = ["--tcp", "80,443", "--udp", "53,514"];
        let arguments = [
            &["host", "add", name, "--name", local, "--ip", address],
            ports.as_slice(),
            options,
        ]
        .concat();
        cluster
            .tool
            .run(&arguments)
            .await
            .context(format!("add outside host {name}"))?;
        let mut host = Self {
            address: address.to_owned(),
            name: name.to_owned(),
            log: state.join("hosts").join(format!("{name}.jsonl")),
            earlier: 0,
        };
        host.earlier = host.arrivals()?.len();
        Ok(host)
    }

    /// Everything that arrived since the host was added.
    ///
    /// # Errors
    ///
    /// When the log cannot be read.
    pub fn arrivals(&self) -> Result<Vec<Arrival>> {
        let text = match std::fs::read_to_string(&self.log) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).context(format!("read {}", self.log.display())),
        };
        let lines = text.lines().filter(|line| !line.is_empty()).skip(self.earlier);
        lines
            .map(|line| serde_json::from_str(line).context(format!("read {line:?}")))
            .collect()
    }

    /// The first arrival that fits, once the host has written it down.
    ///
    /// # Errors
    ///
    /// When there is none; the message holds all that arrived.
    pub async fn arrival(&self, what: &str, fits: impl Fn(&Arrival) -> bool) -> Result<Arrival> {
        eventually(&format!("{what} arrived at {}", self.name), WRITTEN, async || {
            let arrived = self.arrivals()?;
            let found = arrived.iter().find(|arrival| fits(arrival)).cloned();
            found.context(format!("{arrived:?}"))
        })
        .await
    }

    /// The certificate of the authority that vouches for the host towards peers that speak TLS, in PEM.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn authority(&self) -> Result<String> {
        let file = self.log.with_file_name(format!("{}.ca.pem", self.name));
        std::fs::read_to_string(&file).context(format!("read {}", file.display()))
    }

    /// Removes the host.
    ///
    /// # Errors
    ///
    /// When it cannot be removed.
    pub async fn remove(self, cluster: &Cluster) -> Result<()> {
        let Place::Local { name: local, .. } = &cluster.place else {
            return Ok(());
        };
        cluster
            .tool
            .run(&["host", "rm", &self.name, "--name", local])
            .await
            .map(drop)
    }
}
