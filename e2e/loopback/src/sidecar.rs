//! The sidecar as a process.

use crate::Profile;
use crate::directory::Directory;
use serde_json::{Value, json};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

/// How long the sidecar may take to say where it listens.
const START_BOUND: Duration = Duration::from_secs(20);

/// How long [`Sidecar::record`] waits.
const RECORD_BOUND: Duration = Duration::from_secs(10);

const POLL: Duration = Duration::from_millis(10);

/// Why a sidecar cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Not built, or not where the tests are.
    #[error("there is no sidecar at {0}: run `cargo build --package sallyport-sidecar` first")]
    NotBuilt(PathBuf),
    /// No place for its policy file.
    #[error("the policy file cannot be written")]
    Policy(#[source] io::Error),
    /// The kernel refused.
    #[error("the sidecar cannot be started")]
    Spawn(#[source] io::Error),
    /// It ended, or said nothing.
    #[error("the sidecar does not say where it listens; its log is:\n{log}")]
    Silent {
        /// What it wrote to standard error.
        log: String,
    },
}

/// A running sidecar. It is killed when this is dropped.
#[derive(Debug)]
pub struct Sidecar {
    child: Child,
    directory: Directory,
    traffic: SocketAddr,
    admin: SocketAddr,
    records: Lines,
    log: Lines,
}

/// What a process wrote, line by line. Clones share it.
#[derive(Clone, Debug, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn collect(&self, source: impl AsyncRead + Unpin + Send + 'static) {
        let lines = self.clone();
        tokio::spawn(async move {
            let mut source = BufReader::new(source).lines();
            while let Ok(Some(line)) = source.next_line().await {
                lines.lock().push(line);
            }
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sidecar {
    /// Starts one and waits until it listens.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub async fn start(profile: &Profile) -> Result<Self, StartError> {
        let program = program()?;
        let directory = Directory::new().map_err(StartError::Policy)?;
        let policy = directory.path().join("policy.json");
        std::fs::write(&policy, profile.text()).map_err(StartError::Policy)?;
        let mut child = Command::new(program)
            .arg("run")
            .arg("--policy")
            .arg(&policy)
            .env("SALLYPORT_LOG_LEVEL", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(StartError::Spawn)?;
        let (records, log) = (Lines::default(), Lines::default());
        if let Some(output) = child.stdout.take() {
            records.collect(output);
        }
        if let Some(errors) = child.stderr.take() {
            log.collect(errors);
        }
        let listening = async {
            loop {
                if let Some(addresses) = log.lock().iter().find_map(|line| addresses(line)) {
                    return Some(addresses);
                }
                if !matches!(child.try_wait(), Ok(None)) {
                    return None;
                }
                tokio::time::sleep(POLL).await;
            }
        };
        let Ok(Some((traffic, admin))) = tokio::time::timeout(START_BOUND, listening).await else {
            // Its last words may still be on the way.
            tokio::time::sleep(10 * POLL).await;
            let log = log.lock().join("\n");
            return Err(StartError::Silent { log });
        };
        Ok(Self {
            child,
            directory,
            traffic,
            admin,
            records,
            log,
        })
    }

    /// Starts one whose policy has to name the address that it is called at, as the origin of its own pages. Between finding a
    /// free port and listening somebody else may take it; then it is another.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub async fn start_at_known_address(profile: impl Fn(SocketAddr) -> Profile) -> Result<Self, StartError> {
        loop {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
            let address = listener.and_then(|listener| listener.local_addr());
            let address = address.map_err(StartError::Spawn)?;
            let profile = profile(address).with(&json!({"listen": {"port": address.port()}}));
            match Self::start(&profile).await {
                Err(StartError::Silent { log }) if log.contains("Address already in use") => {}
                started => return started,
            }
        }
    }

    /// Where MCP traffic is served.
    pub const fn address(&self) -> SocketAddr {
        self.traffic
    }

    /// Where the admin port is served.
    pub const fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Its MCP endpoint.
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.traffic)
    }

    /// The audit records so far.
    pub fn records(&self) -> Vec<Value> {
        let lines = self.records.lock();
        lines
            .iter()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Everything that it wrote, records and log: where a secret must not be found.
    pub fn output(&self) -> String {
        let records = self.records.lock().join("\n");
        records + "\n" + &self.log.lock().join("\n")
    }

    /// The first record that fits, once it is written; none if it does not come.
    pub async fn record(&self, fits: impl Fn(&Value) -> bool) -> Option<Value> {
        let waiting = async {
            loop {
                if let Some(record) = self.records().into_iter().find(&fits) {
                    return record;
                }
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::time::timeout(RECORD_BOUND, waiting).await.ok()
    }

    /// How many records fit, once it is `expected` or more; fewer if they do not come.
    pub async fn count(&self, expected: usize, fits: impl Fn(&Value) -> bool) -> usize {
        let count = || self.records().iter().filter(|record| fits(record)).count();
        let waiting = async {
            while count() < expected {
                tokio::time::sleep(POLL).await;
            }
        };
        // What is missing then shows in the number.
        let _ = tokio::time::timeout(RECORD_BOUND, waiting).await;
        count()
    }

    /// The folder of its policy file, for files that the policy names.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Whether it still runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Its process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }
}

/// The program beside the tests: `target/debug/deps/test-x` and `target/debug/sallyport-sidecar`.
fn program() -> Result<PathBuf, StartError> {
    const NAME: &str = "sallyport-sidecar";
    let own = std::env::current_exe().map_err(StartError::Spawn)?;
    let folders = own.ancestors().skip(1).take(2);
    let found = folders.map(|folder| folder.join(NAME)).find(|path| path.is_file());
    found.ok_or_else(|| StartError::NotBuilt(own.with_file_name(NAME)))
}

/// The two addresses, if the line says them. The sidecar listens on all addresses; the tests call the loopback one.
fn addresses(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let line: Value = serde_json::from_str(line).ok()?;
    let fields = line.get("fields")?;
    let address = |name: &str| -> Option<SocketAddr> {
        let address: SocketAddr = fields.get(name)?.as_str()?.parse().ok()?;
        Some((Ipv4Addr::LOCALHOST, address.port()).into())
    };
    Some((address("traffic")?, address("admin")?))
}
