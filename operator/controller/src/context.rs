//! What every reconcile shares.

use crate::{
    backoff::Backoff,
    classes::Classes,
    endpoints::Endpoints,
    enforcement::Measurements,
    events::{Events, Occurrence},
    last_words::LastWords,
    ledger::{Key, Ledger},
    metrics::Metrics,
};
use k8s_openapi::{api::core::v1::ObjectReference, jiff::Timestamp};
use kube::{Client, Resource, runtime::events::EventType};
use sallyport_render::{NodeFeatures, Settings};
use std::net::{IpAddr, SocketAddr};
use tokio::sync::{RwLock, Semaphore, mpsc, watch};

/// What every reconcile shares.
pub struct Context {
    /// Reads freely; writes only while this replica leads.
    pub client: Client,
    /// How the operator was configured.
    pub settings: Settings,
    /// What every node supports; `None` until known.
    pub node_features: watch::Receiver<Option<NodeFeatures>>,
    /// Addresses of the Kubernetes API; `None` until known.
    pub api_servers: watch::Receiver<Option<Vec<IpAddr>>>,
    /// Addresses of the canary; `None` until known, empty without a Service.
    pub canaries: watch::Receiver<Option<Vec<SocketAddr>>>,
    /// Whether the cluster serves CiliumNetworkPolicies and the operator is to write them; `None` until known.
    pub cilium: watch::Receiver<Option<bool>>,
    /// What the platform decided; `None` until known.
    pub classes: watch::Receiver<Option<Classes>>,
    /// All endpoints.
    pub endpoints: Endpoints,
    /// Tells users what happened.
    pub events: Events,
    /// What was applied last.
    pub ledger: Ledger,
    /// How far the records of pods that ended came.
    pub last_words: LastWords,
    /// When each endpoint's network enforcement was measured.
    pub measurements: Measurements,
    /// How long failed objects wait.
    pub backoff: Backoff,
    /// What is counted.
    pub metrics: Metrics,
    /// Names of namespaces whose shared objects are to be looked at.
    pub namespaces: mpsc::UnboundedSender<String>,
    /// Held for reading while an endpoint is applied, for writing while a namespace's fence is removed: a Deployment must not
    /// slip in between the last look and the removal.
    pub removal: RwLock<()>,
    /// Bounds the reconciles of all scopes together.
    pub slots: Semaphore,
    /// Port at which sidecars tell what the server said of itself and what the pod is refused, and sidecars and egress gateways
    /// how far their records have come.
    pub admin_port: u16,
    /// The clock.
    pub now: fn() -> Timestamp,
}

impl Context {
    /// Asks for a look at what the endpoints of `namespace` share.
    pub fn look_at_namespace(&self, namespace: &str) {
        // The receiver is gone only during shutdown.
        let _ = self.namespaces.send(namespace.to_owned());
    }

    /// Tells that an object which others had changed or deleted is as it should be again.
    ///
    /// The event is on the endpoint that owns the object, or on the object itself if namespaces share it.
    pub async fn drift_repaired<K>(&self, object: &K, key: &Key, culprit: Option<&str>)
    where
        K: Resource<DynamicType = ()>,
    {
        let Key { kind, namespace, name } = key;
        tracing::warn!(kind, namespace, name, manager = culprit, "drift repaired");
        self.metrics.drift_repaired(kind);
        let itself = object.object_ref(&());
        let owners = object.meta().owner_references.iter().flatten();
        let owner = owners
            .into_iter()
            .find(|owner| owner.controller == Some(true))
            .map(|owner| ObjectReference {
                api_version: Some(owner.api_version.clone()),
                kind: Some(owner.kind.clone()),
                name: Some(owner.name.clone()),
                namespace: Some(namespace.clone()),
                uid: Some(owner.uid.clone()),
                ..ObjectReference::default()
            });
        let by = culprit.map_or_else(String::new, |manager| format!(" by field manager {manager}"));
        let occurrence = Occurrence {
            type_: EventType::Warning,
            reason: "DriftRepaired".to_owned(),
            // Events that differ in the note alone are counted as one, under the first one's note.
            action: culprit.map_or_else(|| "Restore".to_owned(), action_against),
            note: format!("{kind} {name} was changed or deleted{by}; it is restored"),
        };
        let related = owner.is_some().then(|| itself.clone());
        self.events.publish(&owner.unwrap_or(itself), related, occurrence).await;
    }
}

/// At most 128 bytes, as the API server asks for.
fn action_against(manager: &str) -> String {
    const LONGEST: usize = 100;
    let end = manager.floor_char_boundary(LONGEST.min(manager.len()));
    format!("TakeBackFrom {}", &manager[..end])
}
