//! Replicas and calls for tests.

use super::*;
use crate::seal::testing::KeyFile;
use crate::seal::{BindingError, Owner, Seal};
use bytes::Bytes;
use sallyport_policy::{Confirmation, EndpointIdentity, LegacyConfirmation};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub const FORMS: Client<'_> = Client::Modern { forms: true };

/// One sidecar's confirmations.
pub struct Replica {
    pub confirmations: Arc<Confirmations>,
    pub seal: Arc<Seal>,
    pub policy: Confirmation,
    pub address: Option<SocketAddr>,
    serving: Option<JoinHandle<()>>,
}

pub fn endpoint() -> EndpointIdentity {
    EndpointIdentity {
        namespace: "team-a".into(),
        name: "demo".into(),
        uid: "uid".into(),
    }
}

impl Replica {
    /// With a key of its own.
    pub fn alone() -> Self {
        let seal = Arc::new(Seal::new("uid", None).unwrap());
        Self::with(seal, None)
    }

    /// With shared keys and an open port.
    pub async fn shared(keys: &KeyFile) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        Self::listening(keys, listener)
    }

    pub fn listening(keys: &KeyFile, listener: TcpListener) -> Self {
        let seal = Arc::new(Seal::new("uid", Some(keys.path())).unwrap());
        let mut replica = Self::with(seal, Some(listener.local_addr().unwrap()));
        let confirmations = replica.confirmations.clone();
        replica.serving = Some(tokio::spawn(async move { confirmations.serve_peers(listener).await }));
        replica
    }

    fn with(seal: Arc<Seal>, address: Option<SocketAddr>) -> Self {
        Self {
            confirmations: Arc::new(Confirmations::new(seal.clone(), &endpoint(), address).unwrap()),
            seal,
            policy: Confirmation::default(),
            address,
            serving: None,
        }
    }

    pub fn with_tokens(mut self) -> Self {
        self.policy.legacy = LegacyConfirmation::Token;
        self
    }

    pub fn receive(&self, owner: Owner, body: &Bytes) -> Result<Received, BindingError> {
        let takes_token = self.policy.legacy == LegacyConfirmation::Token;
        self.confirmations.receive(owner, body, takes_token, now())
    }

    /// A call as the pipeline handles it. What would be forwarded comes with `Pass`.
    pub async fn call(&self, owner: Owner, body: &Bytes, client: Client<'_>) -> (Decision, Received) {
        let mut received = self.receive(owner, body).unwrap();
        let params: Value = serde_json::from_slice(&received.body).unwrap();
        let tool = params["params"]["name"].as_str().unwrap().to_owned();
        let decision = self
            .confirmations
            .gate(&mut received, &self.policy, &tool, client)
            .await;
        (decision, received)
    }

    /// The life of this replica ends; its port is closed.
    pub async fn stop(mut self) -> SocketAddr {
        let serving = self.serving.take().unwrap();
        serving.abort();
        let _ = serving.await;
        self.address.unwrap()
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

pub fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_hours(500_000)
}

pub fn body(value: &Value) -> Bytes {
    Bytes::from(serde_json::to_string_pretty(value).unwrap())
}

/// A call of `tool`.
pub fn call(tool: &str, arguments: &Value) -> Value {
    json!({
        "jsonrpc": "2.0",
        "id": "req-1",
        "method": "tools/call",
        "params": {"name": tool, "arguments": arguments, "_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}},
    })
}

/// The call again, with an answer to the form in `asked`.
pub fn retry(call: &Value, asked: &Asked, response: &Value) -> Value {
    let asked: Value = serde_json::from_slice(&asked.body).unwrap();
    let mut retry = call.clone();
    retry["id"] = json!("req-2");
    retry["params"]["requestState"] = asked["result"]["requestState"].clone();
    retry["params"]["inputResponses"] = json!({"sallyport.dev/confirm": response});
    retry
}

pub fn yes() -> Value {
    json!({"action": "accept", "content": {"confirm": true}})
}

pub fn asked(decision: Decision) -> Asked {
    match decision {
        Decision::Ask(asked) => asked,
        other => panic!("{other:?}"),
    }
}

pub fn denied(decision: &Decision) -> Refusal {
    match decision {
        Decision::Deny(refusal) => *refusal,
        other => panic!("{other:?}"),
    }
}

pub fn passes(decision: &Decision) -> bool {
    matches!(decision, Decision::Pass)
}
