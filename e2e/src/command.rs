//! Runs other programs.

use crate::{Context, Failure, Result};
use std::{ffi::OsStr, process::Stdio};
use tokio::{io::AsyncWriteExt, process::Command};

/// A program with its arguments.
pub fn program(path: impl AsRef<OsStr>, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut command = Command::new(path);
    command.args(arguments).kill_on_drop(true);
    command
}

/// Runs `command` to its end and gives its standard output.
///
/// # Errors
///
/// When it cannot be started or fails; the message holds the end of what it said.
pub async fn run(command: Command) -> Result<String> {
    run_with_input(command, "").await
}

/// As [`run`], but the program's messages go to the terminal as they come.
///
/// # Errors
///
/// As [`run`].
pub async fn run_shown(mut command: Command) -> Result<String> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    let line = show(&command);
    // Not `output`, which captures standard error whatever was asked for.
    let child = command.spawn().context(format!("start {line}"))?;
    let output = child.wait_with_output().await.context(format!("run {line}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(Failure::new(format!("{line} ended with {}", output.status)))
    }
}

/// As [`run`], with `input` on the program's standard input.
///
/// # Errors
///
/// As [`run`].
pub async fn run_with_input(mut command: Command, input: &str) -> Result<String> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let line = show(&command);
    let mut child = command.spawn().context(format!("start {line}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        let input = input.to_owned();
        // In a task of its own: a program that answers before it has read all would otherwise block both sides.
        tokio::spawn(async move { stdin.write_all(input.as_bytes()).await });
    }
    let output = child.wait_with_output().await.context(format!("run {line}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(Failure::new(format!(
        "{line} ended with {}:\n{}",
        output.status,
        tail(&String::from_utf8_lossy(&said), 30)
    )))
}

/// The last `count` lines of `text`.
pub fn tail(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

fn show(command: &Command) -> String {
    let command = command.as_std();
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failing_program_is_quoted() {
        let error = run(program("sh", ["-c", "echo the reason >&2; exit 3"]))
            .await
            .unwrap_err();
        assert!(error.chain().contains("the reason"), "{error:?}");
    }

    #[tokio::test]
    async fn input_reaches_the_program() {
        assert_eq!(run_with_input(program("cat", [""; 0]), "hello").await.unwrap(), "hello");
    }
}
