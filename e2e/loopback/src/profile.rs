//! Policies for tests.

use sallyport_policy::{EndpointIdentity, Listen, PolicyFile, Upstream};
use serde_json::{Value, json};
use std::net::SocketAddr;

/// A policy under construction: the closed one, and what a test opens in it.
#[derive(Clone, Debug)]
pub struct Profile(Value);

impl Profile {
    /// The closed policy in front of the server at `upstream`, which must be on a loopback address. The sidecar chooses
    /// its ports itself; callers may name it `127.0.0.1` or `localhost`.
    ///
    /// # Errors
    ///
    /// Never in practice: a policy serializes.
    pub fn closed(upstream: SocketAddr) -> Result<Self, serde_json::Error> {
        let endpoint = EndpointIdentity {
            namespace: "loopback".into(),
            name: "fixture".into(),
            uid: "00000000-0000-0000-0000-000000000000".into(),
        };
        let listen = Listen::new(0, 0);
        let policy = PolicyFile {
            hosts: vec!["127.0.0.1".into(), "localhost".into()],
            ..PolicyFile::closed(endpoint, listen, Upstream::port(upstream.port(), "/mcp"))
        };
        Ok(Self(serde_json::to_value(policy)?).with(&json!({"enforcement": {"mode": "Warn"}})))
    }

    /// The same, with `patch` merged in (RFC 7396).
    #[must_use]
    pub fn with(mut self, patch: &Value) -> Self {
        merge(&mut self.0, patch);
        self
    }

    /// The same, with rates and numbers at a time that no test reaches. The sizes stay as they are.
    #[must_use]
    pub fn unhurried(self) -> Self {
        let rate = json!({"requests": 1_000_000, "seconds": 1, "burst": 1_000_000});
        self.with(&json!({"limits": {
            "concurrentRequests": 10_000,
            "concurrentRequestsPerPrincipal": 10_000,
            "concurrentStreamsPerPrincipal": 10_000,
            "rates": {"perPrincipal": rate, "perTool": rate, "discover": rate, "failedAuthentication": rate},
        }}))
    }

    /// The same, with every caller admitted and everything allowed that rules could deny: what is left are the defences
    /// that no policy turns off.
    #[must_use]
    pub fn open(self) -> Self {
        self.with(&json!({
            "authentication": {"anonymous": true},
            "confirmation": {"tools": "Nothing"},
            "extensions": ["io.modelcontextprotocol/tasks"],
            "authorization": {"withoutRules": "Allow"},
            "tools": {"unpinned": "Allow"},
        }))
    }

    /// The file's text.
    pub fn text(&self) -> String {
        self.0.to_string()
    }
}

/// JSON merge patch (RFC 7396).
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Value::Object(target) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opened_policy_is_one_that_the_sidecar_reads() {
        let profile = Profile::closed(([127, 0, 0, 1], 3001).into()).unwrap().unhurried();
        let policy = PolicyFile::parse(&profile.text()).unwrap();
        assert_eq!(policy.hosts, ["127.0.0.1", "localhost"]);
        assert_eq!(policy.limits.concurrent_requests, 10_000);
    }
}
