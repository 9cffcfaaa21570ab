//! The endpoints that the watches know, by namespace.

use crate::{quota, scope::Scope};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::{
    ResourceExt,
    api::PartialObjectMeta,
    core::DeserializeGuard,
    runtime::reflector::{ObjectRef, Store},
};
use sallyport_api::{
    McpEndpoint,
    conditions::{self, types},
    labels,
};
use sallyport_render::{Facts, Footprint, NamespaceMember, Settings, footprint, validate};
use std::sync::Arc;

/// An endpoint, or why its stored form does not decode; so that one bad object stops no watch.
pub type Guarded = DeserializeGuard<McpEndpoint>;

/// Caches of all endpoints, one for each watched scope.
#[derive(Clone, Default)]
pub struct Endpoints(Vec<(Scope, Store<Guarded>)>);

impl Endpoints {
    /// Caches of `scopes`.
    pub fn new(stores: Vec<(Scope, Store<Guarded>)>) -> Self {
        Self(stores)
    }

    /// Waits until the first lists are complete.
    pub async fn ready(&self) {
        for (_, store) in &self.0 {
            // An error means that the watch is gone, as it is during shutdown.
            if store.wait_until_ready().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// The endpoints of `namespace`.
    pub fn of(&self, namespace: &str) -> Vec<Arc<Guarded>> {
        let scopes = self.0.iter().filter(|(scope, _)| scope.holds(namespace));
        let here = |endpoint: &Guarded| endpoint.namespace().as_deref() == Some(namespace);
        scopes.flat_map(|(_, store)| store.state_filter(here)).collect()
    }

    /// Endpoints of `namespace` that take a credential or a key from the SealedSecret `name`.
    pub fn using_sealed_secret(&self, namespace: &str, name: &str) -> Vec<ObjectRef<Guarded>> {
        self.references(namespace, |endpoint| {
            let named = endpoint.spec.secrets().into_iter();
            named
                .filter_map(|secret| secret.from.sealed_secret)
                .any(|source| source.name == name)
        })
    }

    /// Endpoints of `namespace` that were last seen not to fit its quotas.
    pub fn short_of_quota(&self, namespace: &str) -> Vec<ObjectRef<Guarded>> {
        self.references(namespace, |endpoint| {
            let conditions = endpoint.status.as_ref().map(|status| status.conditions.as_slice());
            let condition = conditions::get(conditions.unwrap_or_default(), types::QUOTA_SUFFICIENT);
            condition.is_some_and(|condition| condition.status == "False")
        })
    }

    /// Endpoints that a NetworkPolicy is about: the one that owns it, or all of its namespace if it is somebody else's.
    ///
    /// Names and owners are for anybody to write: only a policy that the operator repairs is an endpoint's own.
    pub fn concerned_by_policy(&self, policy: &PartialObjectMeta<NetworkPolicy>) -> Vec<ObjectRef<Guarded>> {
        let (namespace, name) = (policy.namespace().unwrap_or_default(), policy.name_any());
        if [labels::FENCE, labels::GATEWAY_FENCE].contains(&name.as_str()) {
            return vec![];
        }
        let own = self.references(&namespace, |endpoint| {
            let has_child = name == endpoint.name_any()
                || endpoint.spec.needs_gateway() && name == labels::gateway_of(&endpoint.name_any());
            let mut owners = policy.owner_references().iter();
            has_child && owners.any(|owner| endpoint.uid().as_ref() == Some(&owner.uid))
        });
        if own.is_empty() {
            self.references(&namespace, |_| true)
        } else {
            own
        }
    }

    fn references(&self, namespace: &str, wanted: impl Fn(&McpEndpoint) -> bool) -> Vec<ObjectRef<Guarded>> {
        let decoded = |guarded: &Arc<Guarded>| guarded.0.as_ref().is_ok_and(&wanted);
        let endpoints = self.of(namespace).into_iter().filter(decoded);
        endpoints.map(|endpoint| ObjectRef::from_obj(&*endpoint)).collect()
    }
}

/// What the namespace's shared objects need to know of an endpoint.
///
/// Its footprint is what it may use by its spec, and, as long as the published one is larger, room for the pods that are
/// still to be replaced.
pub fn member(endpoint: &McpEndpoint, settings: &Settings) -> NamespaceMember {
    let wanted = validate(endpoint, settings, &Facts::default())
        .ok()
        .map(|valid| footprint(&valid));
    let published = endpoint
        .status
        .as_ref()
        .and_then(|status| quota::published(status.footprint.as_ref()?));
    let footprint = match (wanted, published) {
        (Some(wanted), Some(published)) => quota::hull(wanted, published),
        (one, other) => one.or(other).unwrap_or(Footprint::default()),
    };
    NamespaceMember {
        footprint,
        quota: endpoint.spec.isolation.quota,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::runtime::{reflector, watcher};
    use pretty_assertions::assert_eq;
    use serde_json::{Value, json};

    fn endpoints(of: &[(&str, Value)]) -> Endpoints {
        let (store, mut writer) = reflector::store();
        for (name, egress) in of {
            let endpoint = json!({
                "apiVersion": "sallyport.dev/v1alpha1", "kind": "McpEndpoint",
                "metadata": {"name": name, "namespace": "team-a", "uid": format!("uid-of-{name}")},
                "spec": {
                    "server": {"image": "registry.example/mcp", "transport": {"http": {"port": 3001}}},
                    "egress": egress,
                },
            });
            let endpoint = serde_json::from_value(endpoint).unwrap();
            writer.apply_watcher_event(&watcher::Event::Apply(DeserializeGuard(Ok(endpoint))));
        }
        Endpoints::new(vec![(Scope::All, store)])
    }

    fn concerned(endpoints: &Endpoints, policy: &str, owner: &str) -> Vec<String> {
        let owner =
            json!({"apiVersion": "sallyport.dev/v1alpha1", "kind": "McpEndpoint", "name": "demo", "uid": owner});
        let policy = serde_json::from_value(json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": policy, "namespace": "team-a", "ownerReferences": [owner]},
        }));
        let found = endpoints.concerned_by_policy(&policy.unwrap());
        let mut names: Vec<_> = found.into_iter().map(|found| found.name).collect();
        names.sort();
        names
    }

    #[test]
    fn a_policy_concerns_all_endpoints_of_its_namespace_unless_it_is_one_endpoints_own() {
        let host = json!({"allow": [{"host": "api.example.com"}]});
        let endpoints = endpoints(&[("demo", json!({})), ("web", host)]);
        let all = ["demo", "web"];
        for (policy, owner, expected) in [
            ("demo", "uid-of-demo", &["demo"][..]),
            ("web", "uid-of-web", &["web"]),
            ("web-egress", "uid-of-web", &["web"]),
            ("demo-egress", "uid-of-demo", &all),
            ("web-egress", "uid-of-demo", &all),
            ("web-egress", "somebody", &all),
            ("demo", "somebody", &all),
            ("allow-all", "uid-of-demo", &all),
            ("sallyport-fence", "somebody", &[]),
        ] {
            assert_eq!(concerned(&endpoints, policy, owner), expected, "{policy} of {owner}");
        }
    }
}
