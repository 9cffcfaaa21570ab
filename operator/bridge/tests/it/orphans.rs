//! The bridge as the first process of a container.

use crate::support::{Bridge, request};
use pretty_assertions::assert_eq;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

/// Processes whose parent is `parent`, with their state as the kernel writes it.
fn children(parent: u32) -> Vec<(u32, String)> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let stat = processes.filter_map(|process| fs::read_to_string(process.path().join("stat")).ok());
    stat.filter_map(|stat| {
        let (pid, rest) = stat.split_once(' ')?;
        let mut fields = rest.rsplit_once(") ")?.1.split(' ');
        let state = fields.next()?.to_owned();
        (fields.next()? == parent.to_string()).then(|| (pid.parse().unwrap(), state))
    })
    .collect()
}

#[allow(clippy::zombie_processes, reason = "the caller waits")]
/// Starts the bridge as process 1 of a namespace of its own.
async fn first_process(socket: &PathBuf, inner: bool) -> Child {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--pid", "--fork", "--kill-child"]);
    command
        .arg(env!("CARGO_BIN_EXE_sallyport-bridge"))
        .arg("run")
        .arg("--socket")
        .arg(socket);
    command.args(["--", "sh", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/server.sh")]);
    if inner {
        command.env("SALLYPORT_BRIDGE_INNER", "1");
    }
    let child = command.spawn().unwrap();
    for _ in 0..300 {
        if socket.exists() {
            return child;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the bridge does not listen");
}

/// Zombies that the first process has after the server has left an orphan behind.
async fn zombies(inner: bool) -> usize {
    let socket = std::env::temp_dir().join(format!("first-{}.sock", uuid::Uuid::new_v4().simple()));
    let mut unshare = first_process(&socket, inner).await;
    let first = children(unshare.id()).first().unwrap().0;
    let bridge = Bridge::at(socket.clone());
    bridge.ask(None, request(1, "orphan")).await;
    let mut zombies = usize::MAX;
    for _ in 0..600 {
        let (dead, alive): (Vec<_>, Vec<_>) = children(first).into_iter().partition(|(_, state)| state == "Z");
        zombies = dead.len();
        // The orphan has ended when none lives but the server; it may be reaped a moment later.
        if alive.len() <= 1 && (inner || zombies == 0) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Ends the whole namespace.
    Command::new("kill").arg(first.to_string()).status().unwrap();
    let ended = tokio::task::spawn_blocking(move || unshare.wait().unwrap())
        .await
        .unwrap();
    assert_eq!(ended.code(), Some(0), "the first process ends as the bridge does");
    zombies
}

#[tokio::test]
async fn orphans_are_reaped_by_the_first_process_and_pile_up_without_it() {
    assert_eq!(zombies(false).await, 0);
    assert_ne!(zombies(true).await, 0, "negative control");
}
