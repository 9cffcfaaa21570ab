//! The classes that the platform made, and which of them holds for an endpoint.

use crate::watch;
use futures::StreamExt;
use kube::{
    Api, Client, ResourceExt,
    core::DeserializeGuard,
    runtime::watcher::{self, Event},
};
use sallyport_api::{McpEndpointClass, McpEndpointClassSpec, labels};
use sallyport_render::ClassFact;
use std::{collections::BTreeMap, pin::pin, sync::Arc};
use tokio::sync::watch::Sender;

/// All classes by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Classes(Arc<BTreeMap<String, Class>>);

#[derive(Clone, Debug, PartialEq)]
struct Class {
    spec: McpEndpointClassSpec,
    /// When it was created, if it is marked as default.
    default_since: Option<String>,
}

impl Classes {
    /// The class that `name` names, or the default one. Of several defaults the newest holds, as with StorageClasses.
    pub fn resolve(&self, name: Option<&str>) -> ClassFact {
        let found = match name {
            Some(name) => self.0.get(name),
            None => self.default(),
        };
        match (found, name) {
            (Some(class), _) => ClassFact::Found(class.spec.clone()),
            (None, Some(_)) => ClassFact::Missing,
            (None, None) => ClassFact::BuiltIn,
        }
    }

    fn default(&self) -> Option<&Class> {
        let marked = self.0.values().filter(|class| class.default_since.is_some());
        marked.max_by_key(|class| &class.default_since)
    }
}

/// Follows the classes and tells `classes`, for as long as it is polled. There are none while their kind is not installed
/// or may not be read.
pub async fn follow(client: Client, classes: Sender<Option<Classes>>) {
    let api = Api::<DeserializeGuard<McpEndpointClass>>::all(client);
    let mut events = pin!(watch::events(api, watcher::Config::default(), "McpEndpointClass"));
    let mut known = BTreeMap::new();
    let mut listed = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => {
                known.clear();
                listed = false;
            }
            Ok(Event::InitApply(class) | Event::Apply(class)) => {
                let name = class.name_any();
                match class.0 {
                    Ok(class) => drop(known.insert(name, of(&class))),
                    Err(error) => {
                        tracing::warn!(class = name, %error, "a class cannot be read; it counts as missing");
                        known.remove(&name);
                    }
                }
            }
            Ok(Event::Delete(class)) => drop(known.remove(&class.name_any())),
            Ok(Event::InitDone) => listed = true,
            Err(()) if classes.borrow().is_none() => listed = true,
            Err(()) => {}
        }
        if listed {
            let next = Classes(Arc::new(known.clone()));
            classes.send_if_modified(|known| known.replace(next.clone()).as_ref() != Some(&next));
        }
    }
}

fn of(class: &McpEndpointClass) -> Class {
    let default = class.annotations().get(labels::DEFAULT_CLASS).map(String::as_str) == Some("true");
    // RFC 3339 in UTC sorts by time.
    let created = class
        .creation_timestamp()
        .map_or_else(String::new, |created| created.0.to_string());
    Class {
        spec: class.spec.clone(),
        default_since: default.then_some(created),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;
    use sallyport_api::v1alpha1::NetworkEnforcement;
    use serde_json::json;

    fn classes(list: &[(&str, &str, &str)]) -> Classes {
        let class = |(name, default, created): &(&str, &str, &str)| {
            let enforcement = if name.starts_with("lax") { "Warn" } else { "Required" };
            let class = serde_json::from_value(json!({
                "apiVersion": "sallyport.dev/v1alpha1", "kind": "McpEndpointClass",
                "metadata": {
                    "name": name, "creationTimestamp": created,
                    "annotations": {"sallyport.dev/is-default-class": default},
                },
                "spec": {"networkEnforcement": enforcement},
            }));
            ((*name).to_owned(), of(&class.unwrap()))
        };
        Classes(Arc::new(list.iter().map(class).collect()))
    }

    fn enforcement(fact: ClassFact) -> NetworkEnforcement {
        match fact {
            ClassFact::Found(spec) => spec.network_enforcement,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_named_class_holds_whatever_the_default_is() {
        let classes = classes(&[
            ("lax", "false", "2026-01-01T00:00:00Z"),
            ("strict", "true", "2026-01-01T00:00:00Z"),
        ]);
        assert_eq!(enforcement(classes.resolve(Some("lax"))), NetworkEnforcement::Warn);
        assert_eq!(enforcement(classes.resolve(None)), NetworkEnforcement::Required);
        assert_eq!(classes.resolve(Some("absent")), ClassFact::Missing);
    }

    #[test]
    fn of_several_defaults_the_newest_holds_and_none_is_built_in() {
        let two = classes(&[
            ("lax", "true", "2026-01-02T00:00:00Z"),
            ("strict", "true", "2026-01-01T00:00:00Z"),
        ]);
        assert_eq!(enforcement(two.resolve(None)), NetworkEnforcement::Warn);
        assert_eq!(
            classes(&[("lax", "yes", "2026-01-01T00:00:00Z")]).resolve(None),
            ClassFact::BuiltIn
        );
    }
}
