//! What this process applied last, so that a reconcile which changes nothing writes nothing.

use sallyport_api::labels;
use serde::Serialize;
use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Kind.
    pub kind: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// What was wanted and what it became.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// UID of the object.
    pub uid: Option<String>,
    /// Hash of the object that was sent.
    pub desired: u64,
    /// [`fingerprint`] of the object that was stored.
    pub stored: u64,
}

/// What was applied, and whose orphans were looked for. Lost with the process: the next one applies everything once.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    applied: HashMap<Key, Entry>,
    pruned: HashMap<(String, String), u64>,
}

impl Ledger {
    /// What was applied last.
    pub fn get(&self, key: &Key) -> Option<Entry> {
        self.lock().applied.get(key).cloned()
    }

    /// Remembers what was applied.
    pub fn record(&self, key: Key, entry: Entry) {
        self.lock().applied.insert(key, entry);
    }

    /// Forgets one object.
    pub fn remove(&self, key: &Key) {
        self.lock().applied.remove(key);
    }

    /// Whether the endpoint's orphans were looked for since its children were these.
    pub fn is_pruned(&self, namespace: &str, endpoint: &str, children: u64) -> bool {
        let endpoint = (namespace.to_owned(), endpoint.to_owned());
        self.lock().pruned.get(&endpoint) == Some(&children)
    }

    /// Remembers that the endpoint's orphans are gone.
    pub fn pruned(&self, namespace: &str, endpoint: &str, children: u64) {
        self.lock()
            .pruned
            .insert((namespace.to_owned(), endpoint.to_owned()), children);
    }

    /// Forgets the children of an endpoint, which all have its name, with or without the gateway's suffix. What namespaces
    /// share has names of its own.
    pub fn forget(&self, namespace: &str, endpoint: &str) {
        let mut inner = self.lock();
        inner
            .applied
            .retain(|key, _| key.namespace != namespace || labels::endpoint_of(&key.name) != endpoint);
        inner.pruned.remove(&(namespace.to_owned(), endpoint.to_owned()));
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hash of what an object is to be.
///
/// # Errors
///
/// Never in practice: every object serializes.
pub fn desired(object: &impl Serialize) -> Result<u64, serde_json::Error> {
    Ok(hash(&serde_json::to_vec(object)?))
}

/// Changes whenever anybody changes the object itself: not its status, not its annotations, which controllers write to,
/// and not what the API server counts.
///
/// # Errors
///
/// Never in practice: every object serializes.
pub fn fingerprint(object: &impl Serialize) -> Result<u64, serde_json::Error> {
    let mut object = serde_json::to_value(object)?;
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(serde_json::Value::as_object_mut) {
        metadata.retain(|name, _| matches!(name.as_str(), "uid" | "labels" | "ownerReferences"));
    }
    Ok(hash(&object.to_string()))
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(object: &serde_json::Value) -> u64 {
        fingerprint(object).unwrap()
    }

    #[test]
    fn a_status_write_leaves_the_fingerprint_and_any_other_write_does_not() {
        let stored = json!({
            "metadata": {"uid": "u", "resourceVersion": "1", "generation": 1, "labels": {"a": "b"}},
            "spec": {"hard": {"pods": "1"}},
            "status": {"used": {"pods": "0"}},
        });
        let with = |change: fn(&mut serde_json::Value)| {
            let mut object = stored.clone();
            change(&mut object);
            of(&object)
        };
        assert_eq!(with(|object| object["status"] = json!({})), of(&stored));
        assert_eq!(
            with(|object| object["metadata"]["resourceVersion"] = json!("2")),
            of(&stored)
        );
        assert_eq!(
            with(|object| object["metadata"]["annotations"] = json!({"a": "b"})),
            of(&stored)
        );
        assert_ne!(with(|object| object["spec"]["hard"]["pods"] = json!("2")), of(&stored));
        assert_ne!(with(|object| object["metadata"]["labels"] = json!({})), of(&stored));
        assert_ne!(with(|object| object["metadata"]["uid"] = json!("v")), of(&stored));
    }

    #[test]
    fn an_endpoint_that_is_gone_is_forgotten() {
        let ledger = Ledger::default();
        let key = |namespace: &str, name: &str| Key {
            kind: "Service".to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        let entry = Entry {
            uid: None,
            desired: 1,
            stored: 2,
        };
        for (namespace, name) in [("a", "demo"), ("a", "other"), ("b", "demo")] {
            ledger.record(key(namespace, name), entry.clone());
        }
        ledger.forget("a", "demo");
        assert_eq!(ledger.get(&key("a", "demo")), None);
        assert!(ledger.get(&key("a", "other")).is_some() && ledger.get(&key("b", "demo")).is_some());
    }
}
