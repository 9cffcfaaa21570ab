//! The policy in force: read at the start, read again when the file changes, kept when the new one is broken.

use crate::metrics::Metrics;
use sallyport_policy::egress::{EgressFile, ParseError};
use sallyport_policy::{EndpointIdentity, short_hash};
use serde::Serialize;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often the file is looked at. The kubelet updates mounted ConfigMaps about once a minute; the file is small.
const PERIOD: Duration = Duration::from_secs(1);

/// A policy and what it is known by.
#[derive(Debug)]
pub struct Policy {
    /// What the file says.
    pub file: EgressFile,
    /// [`short_hash`] of the file's text.
    pub hash: String,
    /// The file's endpoint, shared by all events.
    pub endpoint: Arc<EndpointIdentity>,
}

/// Why there is no policy.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read the egress file {path}")]
    Read {
        /// Where it should be.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file cannot be used.
    #[error("cannot use the egress file {path}")]
    Parse {
        /// Where it is.
        path: PathBuf,
        /// Why.
        #[source]
        source: ParseError,
    },
}

/// What the admin port shows.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// Hash of the policy in force.
    pub hash: String,
    /// Why the file's newest content is not in force. Absent when it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Whether the file has changed what is read at the start only: ports, resolver, sinks, connections, drain.
    pub restart_needed: bool,
}

/// Sees the policy in force. Clones see the same.
#[derive(Clone)]
pub struct PolicyWatch(watch::Receiver<State>);

#[derive(Clone)]
struct State {
    policy: Arc<Policy>,
    status: PolicyStatus,
}

impl Policy {
    /// Reads the policy at `path`, which may inject what `injections` says ([`EgressFile::injections`]) or nothing.
    ///
    /// # Errors
    ///
    /// See [`LoadError`].
    pub fn load(path: &Path, injections: Option<&str>) -> Result<Self, LoadError> {
        let text = std::fs::read_to_string(path).map_err(|source| LoadError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::of(&text, injections).map_err(|source| LoadError::Parse {
            path: path.to_owned(),
            source,
        })
    }

    fn of(text: &str, injections: Option<&str>) -> Result<Self, ParseError> {
        let file = EgressFile::parse(text)?;
        if file
            .injections()
            .is_some_and(|found| Some(found.as_str()) != injections)
        {
            return Err(ParseError::Injections);
        }
        Ok(Self {
            hash: short_hash(text.as_bytes()),
            endpoint: Arc::new(file.endpoint.clone()),
            file,
        })
    }

    fn needs_restart_after(&self, first: &Self) -> bool {
        let (new, old) = (&self.file, &first.file);
        new.listen != old.listen
            || new.resolver != old.resolver
            || new.audit != old.audit
            || new.limits.connections != old.limits.connections
            || new.limits.drain_seconds != old.limits.drain_seconds
    }
}

impl PolicyWatch {
    /// A watch on `first`, and the task that follows the file at `path`, bound to `injections`, until every watch is gone.
    pub fn follow(
        first: Policy,
        path: PathBuf,
        injections: Option<String>,
        metrics: Arc<Metrics>,
    ) -> (Self, impl Future<Output = ()>) {
        let first = Arc::new(first);
        let (sender, receiver) = watch::channel(State {
            status: PolicyStatus {
                hash: first.hash.clone(),
                error: None,
                restart_needed: false,
            },
            policy: first.clone(),
        });
        let follow = async move {
            let mut seen = first.hash.clone();
            let mut broken = None;
            loop {
                tokio::select! {
                    () = tokio::time::sleep(PERIOD) => {}
                    () = sender.closed() => return,
                }
                match tokio::fs::read_to_string(&path).await {
                    Err(error) => {
                        let message = format!("the egress file cannot be read: {error}");
                        if broken.as_ref() != Some(&message) {
                            keep(&sender, &metrics, &message);
                            broken = Some(message);
                        }
                    }
                    Ok(text) => {
                        let hash = short_hash(text.as_bytes());
                        if hash == seen && broken.is_none() {
                            continue;
                        }
                        broken = None;
                        seen.clone_from(&hash);
                        match Policy::of(&text, injections.as_deref()) {
                            Ok(policy) => replace(&sender, &metrics, policy, &first),
                            Err(error) => keep(&sender, &metrics, &with_causes(&error)),
                        }
                    }
                }
            }
        };
        (Self(receiver), follow)
    }

    /// The policy in force.
    pub fn current(&self) -> Arc<Policy> {
        self.0.borrow().policy.clone()
    }

    /// What the admin port shows.
    pub fn status(&self) -> PolicyStatus {
        self.0.borrow().status.clone()
    }

    /// Waits for another policy than was last seen here; never returns once none can come.
    pub async fn changed(&mut self) -> Arc<Policy> {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.0.borrow_and_update().policy.clone()
    }
}

fn replace(sender: &watch::Sender<State>, metrics: &Metrics, policy: Policy, first: &Policy) {
    let restart_needed = policy.needs_restart_after(first);
    tracing::info!(hash = policy.hash, restart_needed, "a new policy is in force");
    metrics.policy_loaded();
    sender.send_replace(State {
        status: PolicyStatus {
            hash: policy.hash.clone(),
            error: None,
            restart_needed,
        },
        policy: Arc::new(policy),
    });
}

fn keep(sender: &watch::Sender<State>, metrics: &Metrics, error: &str) {
    tracing::error!(error, "the egress file is broken; the policy before it stays in force");
    metrics.policy_broken();
    sender.send_modify(|state| state.status.error = Some(error.to_owned()));
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
