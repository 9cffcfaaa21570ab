//! Knows whether the server answers MCP, and what tools it has. The handshake is done once per life of the server, and
//! again when its tools may have changed; in between only connections are tried, so that no server collects sessions.

use super::handshake::{Look, ServerInfo, shake_hands};
use super::{ServerTools, Upstream};
use crate::pipeline::CurrentRules;
use http::uri::PathAndQuery;
use sallyport_policy::tools::Catalog;
use std::time::Duration;
use tokio::sync::watch;

/// Pause before the first and the last of the tries to reach a server that does not answer.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);

/// Pause between two looks at a server that has answered.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Bound of one connection attempt.
const CONNECT_BOUND: Duration = Duration::from_secs(1);

/// How often the tools are looked at while some are pinned.
const TOOLS_EVERY: Duration = Duration::from_mins(1);

/// Pause between two looks at the tools, whatever the server says: it could keep the sidecar busy with saying so.
const TOOLS_PAUSE: Duration = Duration::from_secs(2);

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
    /// Starts watching the server at `path`, for as long as the runtime lives. Its tools go into `tools`.
    pub fn start(upstream: Upstream, path: PathAndQuery, tools: ServerTools, rules: CurrentRules) -> Self {
        let (sender, state) = watch::channel(ServerState::Waiting {
            reason: "not tried yet".into(),
        });
        let watched = upstream.clone();
        tokio::spawn(async move {
            loop {
                let look = until_answered(&upstream, &path, &sender).await;
                let info = look.info.clone();
                tracing::info!(
                    name = info.name,
                    version = info.version,
                    protocol = info.protocol_version,
                    "the server answers"
                );
                note(&tools, look);
                sender.send_replace(ServerState::Answered(info));
                tokio::select! {
                    () = until_lost(&upstream) => {}
                    () = keep_looking(&upstream, &path, &tools, &rules) => {}
                }
                tracing::warn!("the server is lost");
                // Whatever comes up next is another server until it was looked at.
                tools.replace(Catalog::default());
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

async fn until_answered(upstream: &Upstream, path: &PathAndQuery, sender: &watch::Sender<ServerState>) -> Look {
    let mut pause = FIRST_PAUSE;
    loop {
        let reason = if accepts(upstream).await {
            match shake_hands(upstream, path).await {
                Ok(look) => return look,
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

/// Looks at the tools again when they are said to have changed and, while some are pinned, now and then. Never returns.
async fn keep_looking(upstream: &Upstream, path: &PathAndQuery, tools: &ServerTools, rules: &CurrentRules) {
    loop {
        tokio::select! {
            () = tools.due() => {}
            () = tokio::time::sleep(TOOLS_EVERY) => {
                if rules.borrow().policy.tools.pins.is_empty() {
                    continue;
                }
            }
        }
        match shake_hands(upstream, path).await {
            Ok(look) => note(tools, look),
            Err(error) => {
                tracing::warn!(%error, "the server's tools cannot be looked at: none that is pinned can be called");
                tools.replace(Catalog::default());
                tools.look_again();
            }
        }
        tokio::time::sleep(TOOLS_PAUSE).await;
    }
}

fn note(tools: &ServerTools, look: Look) {
    match look.tools {
        Ok(catalog) => tools.replace(catalog),
        Err(error) => {
            tracing::warn!(%error, "the server does not list its tools: none that is pinned can be called");
            tools.replace(Catalog::default());
            tools.look_again();
        }
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
