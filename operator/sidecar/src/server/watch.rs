//! Knows whether the server answers MCP. The handshake is done once per life of the server; in between only
//! connections are tried, so that no server collects sessions.

use super::Upstream;
use super::handshake::{ServerInfo, shake_hands};
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
    upstream: Upstream,
}

impl ServerWatch {
    /// Starts watching the server at `path`, for as long as the runtime lives.
    pub fn start(upstream: Upstream, path: PathAndQuery) -> Self {
        let (sender, state) = watch::channel(ServerState::Waiting {
            reason: "not tried yet".into(),
        });
        let watched = upstream.clone();
        tokio::spawn(async move {
            loop {
                let info = until_answered(&upstream, &path, &sender).await;
                tracing::info!(
                    name = info.name,
                    version = info.version,
                    protocol = info.protocol_version,
                    "the server answers"
                );
                sender.send_replace(ServerState::Answered(info));
                until_lost(&upstream).await;
                tracing::warn!("the server is lost");
                sender.send_replace(ServerState::Waiting {
                    reason: "nothing accepts the sidecar's connections any more".into(),
                });
            }
        });
        Self {
            state,
            upstream: watched,
        }
    }

    /// What is known now.
    pub fn state(&self) -> ServerState {
        self.state.borrow().clone()
    }

    /// Whether the server accepts connections at this moment.
    pub async fn accepts(&self) -> bool {
        accepts(&self.upstream).await
    }
}

async fn until_answered(upstream: &Upstream, path: &PathAndQuery, sender: &watch::Sender<ServerState>) -> ServerInfo {
    let mut pause = FIRST_PAUSE;
    loop {
        let reason = if accepts(upstream).await {
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
            format!("nothing accepts connections on {}", upstream.address())
        };
        sender.send_replace(ServerState::Waiting { reason });
        tokio::time::sleep(pause).await;
    }
}

async fn until_lost(upstream: &Upstream) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = upstream.lost() => {}
        }
        if !accepts(upstream).await {
            return;
        }
    }
}

async fn accepts(upstream: &Upstream) -> bool {
    matches!(tokio::time::timeout(CONNECT_BOUND, upstream.connect()).await, Ok(Ok(_)))
}
