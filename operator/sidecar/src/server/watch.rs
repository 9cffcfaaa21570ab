//! Knows whether the server answers MCP. The handshake is done once per life of the server; in between only TCP
//! connections are tried, so that no server collects sessions.

use super::handshake::{ServerInfo, shake_hands};
use super::{Upstream, connect};
use http::uri::PathAndQuery;
use std::time::Duration;
use tokio::sync::watch;

/// Pause before the first and the last of the tries to reach a server that does not answer.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// Pause between two looks at a server that has answered.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Bound of one connection attempt.
const CONNECT_BOUND: Duration = Duration::from_secs(1);

/// What is known of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerState {
    /// It has not answered a handshake in its present life.
    Waiting {
        /// What the last try met.
        reason: String,
    },
    /// It has.
    Answered(ServerInfo),
}

/// Sees the state. Clones see the same.
#[derive(Clone)]
pub struct ServerWatch {
    state: watch::Receiver<ServerState>,
    port: u16,
}

impl ServerWatch {
    /// Starts watching the server at `port` and `path`, for as long as the runtime lives.
    pub fn start(upstream: Upstream, port: u16, path: PathAndQuery) -> Self {
        let (sender, state) = watch::channel(ServerState::Waiting {
            reason: "not tried yet".into(),
        });
        tokio::spawn(async move {
            loop {
                let info = until_answered(&upstream, port, &path, &sender).await;
                tracing::info!(
                    name = info.name,
                    version = info.version,
                    protocol = info.protocol_version,
                    "the server answers"
                );
                sender.send_replace(ServerState::Answered(info));
                until_lost(&upstream, port).await;
                tracing::warn!("the server is lost");
                sender.send_replace(ServerState::Waiting {
                    reason: "nothing accepts connections on the server's port any more".into(),
                });
            }
        });
        Self { state, port }
    }

    /// What is known now.
    pub fn state(&self) -> ServerState {
        self.state.borrow().clone()
    }

    /// Whether the server's port accepts connections at this moment.
    pub async fn accepts(&self) -> bool {
        accepts(self.port).await
    }
}

async fn until_answered(
    upstream: &Upstream,
    port: u16,
    path: &PathAndQuery,
    sender: &watch::Sender<ServerState>,
) -> ServerInfo {
    let mut pause = FIRST_PAUSE;
    loop {
        let reason = if accepts(port).await {
            match shake_hands(upstream, path).await {
                Ok(info) => return info,
                Err(error) => {
                    tracing::warn!(%error, "the server did not answer the MCP handshake");
                    pause = (pause * 2).min(LAST_PAUSE);
                    error.to_string()
                }
            }
        } else {
            // A refused connection costs nothing, and the server may listen the next moment.
            pause = (pause * 2).min(FIRST_PAUSE * 4);
            format!("nothing accepts connections on port {port}")
        };
        sender.send_replace(ServerState::Waiting { reason });
        tokio::time::sleep(pause).await;
    }
}

async fn until_lost(upstream: &Upstream, port: u16) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = upstream.lost() => {}
        }
        if !accepts(port).await {
            return;
        }
    }
}

async fn accepts(port: u16) -> bool {
    matches!(tokio::time::timeout(CONNECT_BOUND, connect(port)).await, Ok(Ok(_)))
}
