//! One process of the server: its lines in, its lines out, and its end.

use crate::environment::{EnvironmentError, FromFile};
use crate::frame::Frame;
use crate::init::HIDDEN;
use rustix::process::{Pid, Signal, kill_process_group};
use std::ffi::OsString;
use std::io;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;

/// Longest line of the server in bytes, as long as the longest message that SDKs take.
pub const LONGEST_LINE: usize = 16 * 1024 * 1024;

/// Messages on the way to the server, and from it, at a time.
const QUEUE: usize = 64;

/// How long a server gets to end after its input has ended, and again after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(2);

/// Lines without a message that are reported, so that a chatty server does not fill the log.
const REPORTED_LINES: u32 = 20;

/// Held for as long as a process of the server lives.
pub type Alive = mpsc::Sender<()>;

/// How to start the server.
#[derive(Clone, Debug)]
pub struct Program {
    /// The program and its arguments; never empty.
    pub command: Vec<OsString>,
    /// Variables that files hold.
    pub environment: Vec<FromFile>,
}

/// Why the server cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// No command.
    #[error("there is no command to run: write it under server.command")]
    NoCommand,
    /// A variable's file cannot be used.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// The kernel refuses.
    #[error("cannot start {program:?}: is it in the image, executable, and for this machine?")]
    Start {
        /// The program.
        program: OsString,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// No pipes.
    #[error("the server was started without pipes")]
    NoPipes,
}

/// A running server: write to `input`, read from `output`, whose end is the server's. Dropping `input` ends it.
pub struct Process {
    /// Lines to the server, without their line breaks.
    pub input: mpsc::Sender<String>,
    /// What the server says.
    pub output: mpsc::Receiver<Frame>,
}

impl Program {
    /// Starts the server in a process group of its own, for which `alive` stands. Its standard error is this process's.
    ///
    /// # Errors
    ///
    /// See [`SpawnError`].
    pub fn start(&self, alive: Alive) -> Result<Process, SpawnError> {
        let (program, arguments) = self.command.split_first().ok_or(SpawnError::NoCommand)?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .process_group(0)
            .kill_on_drop(true);
        for name in HIDDEN {
            command.env_remove(name);
        }
        for variable in &self.environment {
            command.env(&variable.name, variable.value()?);
        }
        let mut child = command.spawn().map_err(|source| SpawnError::Start {
            program: program.clone(),
            source,
        })?;
        let stdin = child.stdin.take().ok_or(SpawnError::NoPipes)?;
        let stdout = child.stdout.take().ok_or(SpawnError::NoPipes)?;
        let (input, lines) = mpsc::channel(QUEUE);
        let (frames, output) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            supervise(child, stdin, stdout, lines, frames).await;
            drop(alive);
        });
        Ok(Process { input, output })
    }
}

/// Serves the pipes until one of them ends, then ends the whole process group.
async fn supervise(
    mut child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
    lines: mpsc::Receiver<String>,
    frames: mpsc::Sender<Frame>,
) {
    let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let mut reading = std::pin::pin!(read(BufReader::new(stdout), frames));
    tokio::select! {
        () = write(stdin, lines) => {
            // Its input has ended; what it still says is of no use, but a full pipe would keep it from ending.
            tokio::select! {
                () = reading => {}
                () = tokio::time::sleep(PATIENCE) => {}
            }
        }
        () = &mut reading => {}
    }
    if tokio::time::timeout(PATIENCE, child.wait()).await.is_err() {
        signal(group, Signal::TERM);
        let _ = tokio::time::timeout(PATIENCE, child.wait()).await;
    }
    // Whatever the server has started goes with it.
    signal(group, Signal::KILL);
    match child.wait().await {
        Ok(status) => tracing::info!(%status, "the server's process ended"),
        Err(error) => tracing::warn!(%error, "the server's process cannot be waited for"),
    }
}

fn signal(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        // A group that is gone has what it was to get.
        let _ = kill_process_group(group, signal);
    }
}

async fn write(mut stdin: ChildStdin, mut lines: mpsc::Receiver<String>) {
    while let Some(mut line) = lines.recv().await {
        line.push('\n');
        let written = async {
            stdin.write_all(line.as_bytes()).await?;
            stdin.flush().await
        };
        if let Err(error) = written.await {
            tracing::warn!(%error, "the server takes no more input");
            return;
        }
    }
}

async fn read(mut stdout: impl AsyncBufRead + Unpin, frames: mpsc::Sender<Frame>) {
    let mut ignored = 0_u32;
    loop {
        match line(&mut stdout).await {
            Ok(Some(line)) if line.iter().all(u8::is_ascii_whitespace) => {}
            Ok(Some(line)) => match Frame::parse(&line) {
                Ok(frame) => {
                    if frames.send(frame).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    ignored = ignored.saturating_add(1);
                    if ignored <= REPORTED_LINES {
                        // Not its text: it may hold what is secret.
                        tracing::warn!(%error, bytes = line.len(), "the server wrote a line that is no message; it must write logs to its standard error");
                    }
                }
            },
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, "the server's output cannot be read; the server is ended");
                return;
            }
        }
    }
}

/// The next line without its line break; `None` at the end.
async fn line(stdout: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    loop {
        let buffer = stdout.fill_buf().await?;
        if buffer.is_empty() {
            return Ok((!line.is_empty()).then_some(line));
        }
        let (taken, ended) = match buffer.iter().position(|byte| *byte == b'\n') {
            Some(end) => (end + 1, true),
            None => (buffer.len(), false),
        };
        if line.len() + taken > LONGEST_LINE {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a line is longer than {LONGEST_LINE} bytes"),
            ));
        }
        line.extend_from_slice(&buffer[..taken]);
        stdout.consume(taken);
        if ended {
            line.pop();
            return Ok(Some(line));
        }
    }
}
