//! The API server's own audit log: who wrote what.

use crate::{Cluster, Context, Failure, Result, cluster::Place};
use serde::Deserialize;
use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::PathBuf,
};

/// One finished request.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// get, list, watch, create, update, patch, delete or deletecollection.
    pub verb: String,
    /// What it was about.
    #[serde(default)]
    pub object_ref: Option<ObjectRef>,
    stage: String,
    user: User,
}

/// What a request was about.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ObjectRef {
    /// Plural name of the kind.
    pub resource: String,
    /// Namespace, if it has one.
    pub namespace: String,
    /// Name, if one object was meant.
    pub name: String,
    /// `status`, say.
    pub subresource: String,
}

#[derive(Clone, Debug, Deserialize)]
struct User {
    username: String,
}

/// A place in the log.
#[derive(Clone, Debug)]
pub struct Mark {
    path: PathBuf,
    offset: u64,
}

impl Mark {
    /// The log's present end.
    ///
    /// # Errors
    ///
    /// When the cluster keeps no audit log.
    pub fn now(cluster: &Cluster) -> Result<Self> {
        let Place::Local { state, .. } = &cluster.place else {
            return Err(Failure::new("only a local cluster's audit log can be read"));
        };
        let path = state.join("log/audit.jsonl");
        let offset = path.metadata().context(format!("read {}", path.display()))?.len();
        Ok(Self { path, offset })
    }

    /// The writes of `user` since then: everything but reads, and but the renewal of leases.
    ///
    /// # Errors
    ///
    /// When the log cannot be read.
    pub fn writes_since(&self, user: &str) -> Result<Vec<Request>> {
        let mut file = File::open(&self.path).context(format!("open {}", self.path.display()))?;
        file.seek(SeekFrom::Start(self.offset))
            .context("seek in the audit log")?;
        let mut text = String::new();
        file.read_to_string(&mut text).context("read the audit log")?;
        // The last line may be half written.
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Request>(line).ok());
        Ok(lines
            .filter(|request| request.user.username == user && request.is_write())
            .collect())
    }
}

impl Request {
    fn is_write(&self) -> bool {
        let lease = self
            .object_ref
            .as_ref()
            .is_some_and(|object| object.resource == "leases");
        self.stage == "ResponseComplete" && !matches!(self.verb.as_str(), "get" | "list" | "watch") && !lease
    }
}

impl std::fmt::Display for Request {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let object = self.object_ref.clone().unwrap_or_default();
        write!(
            formatter,
            "{} {} {}/{} {}",
            self.verb, object.resource, object.namespace, object.name, object.subresource
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(verb: &str, resource: &str) -> Request {
        serde_json::from_value(serde_json::json!({
            "stage": "ResponseComplete", "verb": verb, "user": { "username": "u" },
            "objectRef": { "resource": resource, "namespace": "a", "name": "b" }
        }))
        .unwrap()
    }

    #[test]
    fn a_lease_and_a_read_are_no_writes() {
        assert!(request("patch", "deployments").is_write());
        assert!(!request("update", "leases").is_write());
        assert!(!request("watch", "deployments").is_write());
    }
}
