//! What an attack is made on.

use sallyport_attacks::{Answer, Beliefs, Careless, Connection};
use sallyport_loopback::{Profile, Sidecar};
use serde_json::json;
use std::net::SocketAddr;
use std::time::Duration;

/// The tool that callers may use.
pub const ALLOWED: &str = "echo";

/// The tool that attackers want.
pub const FORBIDDEN: &str = "delete_note";

/// How long a smuggled request gets to arrive.
pub const SETTLE: Duration = Duration::from_millis(50);

/// How long an answer is waited for that may never come.
pub const BRIEFLY: Duration = Duration::from_secs(2);

/// A careless server alone, and one of the same kind behind a sidecar.
pub struct Stage {
    /// Where the defence is off.
    pub alone: Careless,
    /// The server behind the sidecar.
    pub guarded: Careless,
    /// The sidecar, which lets everybody call [`ALLOWED`] and nothing else.
    pub sidecar: Sidecar,
}

/// Only [`ALLOWED`] may be called, by anybody.
pub fn strict(upstream: SocketAddr) -> Profile {
    Profile::closed(upstream).unwrap().unhurried().with(&json!({
        "authentication": {"anonymous": true},
        "authorization": {"rules": [{"name": "read", "tools": [ALLOWED]}]},
        "tools": {"unpinned": "Allow", "sideEffects": [{"tools": [ALLOWED], "sideEffect": "ReadOnly"}]},
    }))
}

impl Stage {
    /// Servers with these beliefs.
    pub async fn of(beliefs: Beliefs) -> Self {
        let alone = Careless::start(beliefs).await.unwrap();
        let guarded = Careless::start(beliefs).await.unwrap();
        let sidecar = Sidecar::start(&strict(guarded.address())).await.unwrap();
        Self {
            alone,
            guarded,
            sidecar,
        }
    }

    /// Makes one attack on both. Gives what is wrong, if anything is: it did not make the lone server run [`FORBIDDEN`], or
    /// the guarded one ran anything but [`ALLOWED`].
    pub async fn attack(&self, name: &str, bytes: &[u8]) -> Option<String> {
        let before = self.alone.ran().len();
        strike_within(self.alone.address(), bytes, BRIEFLY).await;
        if !self.alone.runs(FORBIDDEN, before).await {
            let ran = self.alone.ran().split_off(before);
            return Some(format!("{name}: no attack: the server alone ran {ran:?}"));
        }
        let answer = strike_within(self.sidecar.address(), bytes, BRIEFLY).await;
        let ran = self.guarded.ran();
        (!only_allowed(&ran)).then(|| format!("{name}: came through: {ran:?}, answer {answer:?}"))
    }
}

/// Whether only [`ALLOWED`] was run.
pub fn only_allowed(ran: &[String]) -> bool {
    ran.iter().all(|tool| tool == ALLOWED)
}

/// Sends bytes on a connection of its own, reads the answer, and gives what was smuggled time to arrive.
pub async fn strike(address: SocketAddr, bytes: &[u8]) -> Option<Answer> {
    strike_within(address, bytes, Duration::from_secs(20)).await
}

/// The same, of bytes that may get no answer.
pub async fn strike_within(address: SocketAddr, bytes: &[u8], bound: Duration) -> Option<Answer> {
    let mut connection = Connection::open(address).await.ok()?;
    connection.send(bytes).await;
    let answer = connection.answer_within(bound).await;
    tokio::time::sleep(SETTLE).await;
    answer
}

/// Fails with all that is wrong.
pub fn none_of(wrong: impl IntoIterator<Item = Option<String>>) {
    let wrong: Vec<String> = wrong.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
