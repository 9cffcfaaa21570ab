//! What every node can do.

use crate::watch;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client, ResourceExt,
    runtime::watcher::{self, Event},
};
use sallyport_render::NodeFeatures;
use std::{collections::BTreeMap, pin::pin};
use tokio::sync::watch::Sender;

/// Follows the nodes and tells `features` what all of them support, for as long as it is polled.
///
/// Without the right to list nodes, nothing is supported: asking a node for what it cannot do stops the pod.
pub async fn follow(client: Client, features: Sender<Option<NodeFeatures>>) {
    let mut nodes = Nodes::default();
    let mut events = pin!(watch::events(
        Api::<Node>::all(client),
        watcher::Config::default(),
        "Node"
    ));
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                if let Some(next) = nodes.take(event) {
                    features.send_if_modified(|known| known.replace(next) != Some(next));
                }
            }
            Err(()) if features.borrow().is_none() => {
                features.send_replace(Some(NodeFeatures::default()));
            }
            Err(()) => {}
        }
    }
}

/// The nodes that were seen ready, with what each supports.
#[derive(Debug, Default)]
struct Nodes {
    known: BTreeMap<String, NodeFeatures>,
    listed: bool,
}

impl Nodes {
    /// Takes one event; the features of all nodes, once the first list is complete.
    fn take(&mut self, event: Event<Node>) -> Option<NodeFeatures> {
        match event {
            Event::Init => {
                self.known.clear();
                self.listed = false;
            }
            Event::InitApply(node) | Event::Apply(node) => {
                // A node that is still starting has not said yet what it can do, and runs no pod yet either.
                if is_ready(&node) {
                    self.known.insert(node.name_any(), features(&node));
                }
            }
            Event::Delete(node) => {
                self.known.remove(&node.name_any());
            }
            Event::InitDone => self.listed = true,
        }
        self.listed.then(|| self.common())
    }

    fn common(&self) -> NodeFeatures {
        let all = |supports: fn(&NodeFeatures) -> bool| !self.known.is_empty() && self.known.values().all(supports);
        NodeFeatures {
            user_namespaces: all(|node| node.user_namespaces),
            supplemental_groups_policy: all(|node| node.supplemental_groups_policy),
        }
    }
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn features(node: &Node) -> NodeFeatures {
    let Some(status) = &node.status else {
        return NodeFeatures::default();
    };
    // The handler without a name is the default one, which endpoint pods run on.
    let default_handler = status
        .runtime_handlers
        .iter()
        .flatten()
        .find(|handler| handler.name.as_deref().unwrap_or_default().is_empty());
    let user_namespaces = default_handler.and_then(|handler| handler.features.as_ref()?.user_namespaces);
    let supplemental_groups_policy = status
        .features
        .as_ref()
        .and_then(|node| node.supplemental_groups_policy);
    NodeFeatures {
        user_namespaces: user_namespaces.unwrap_or(false),
        supplemental_groups_policy: supplemental_groups_policy.unwrap_or(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(name: &str, ready: bool, able: bool) -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": name},
            "status": {
                "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}],
                "features": {"supplementalGroupsPolicy": able},
                "runtimeHandlers": [
                    {"name": "other", "features": {"userNamespaces": !able}},
                    {"name": "", "features": {"userNamespaces": able}},
                ],
            },
        }))
        .unwrap()
    }

    fn features(able: bool) -> NodeFeatures {
        NodeFeatures {
            user_namespaces: able,
            supplemental_groups_policy: able,
        }
    }

    #[test]
    fn a_feature_counts_once_all_ready_nodes_have_it() {
        let mut nodes = Nodes::default();
        assert_eq!(nodes.take(Event::Init), None);
        assert_eq!(nodes.take(Event::InitApply(node("a", true, true))), None);
        assert_eq!(nodes.take(Event::InitDone), Some(features(true)));
        assert_eq!(nodes.take(Event::Apply(node("b", false, false))), Some(features(true)));
        assert_eq!(nodes.take(Event::Apply(node("b", true, false))), Some(features(false)));
        assert_eq!(nodes.take(Event::Delete(node("b", true, false))), Some(features(true)));
        assert_eq!(nodes.take(Event::Delete(node("a", true, true))), Some(features(false)));
    }
}
