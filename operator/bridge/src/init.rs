//! What the first process of a container must do: pass signals on, and reap the orphans of the server's processes.
//!
//! The bridge itself runs as the first process's only child, so that nobody else's wait takes the status of a child away.

use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};
use std::process::{Command, ExitCode};
use std::{env, io};
use tokio::signal::unix::{SignalKind, signal};

/// Set for the process that is the bridge.
const INNER: &str = "SALLYPORT_BRIDGE_INNER";

/// Exit code when a signal ended the bridge.
const BY_SIGNAL: u8 = 128;

/// Whether this process is to call [`run`] rather than to be the bridge.
pub fn is_first() -> bool {
    std::process::id() == 1 && env::var_os(INNER).is_none()
}

/// Runs this program again as a child, passes SIGTERM and SIGINT on to it, reaps whatever ends, and ends as the child does.
///
/// # Errors
///
/// When the child cannot be started or signals cannot be received.
pub async fn run() -> io::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut ended = signal(SignalKind::child())?;
    let bridge = Command::new(env::current_exe()?)
        .args(env::args_os().skip(1))
        .env(INNER, "1")
        .spawn()?;
    let bridge = Pid::from_child(&bridge);
    loop {
        tokio::select! {
            _ = terminate.recv() => kill_process(bridge, Signal::TERM)?,
            _ = interrupt.recv() => kill_process(bridge, Signal::INT)?,
            _ = ended.recv() => {}
        }
        // One signal may stand for several ends.
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid == bridge {
                let code = status.exit_status().and_then(|code| u8::try_from(code).ok());
                let signal = status.terminating_signal().and_then(|signal| u8::try_from(signal).ok());
                return Ok(ExitCode::from(
                    code.unwrap_or_else(|| BY_SIGNAL.saturating_add(signal.unwrap_or(0))),
                ));
            }
        }
    }
}

/// Variables of this process that the server must not see.
pub(crate) const HIDDEN: &[&str] = &[INNER];
