//! Metadata of children: names, labels, owner.

use crate::ValidatedEndpoint;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use kube::Resource;
use sallyport_api::{McpEndpoint, labels};
use std::collections::BTreeMap;

/// Which pods of an endpoint an object is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Those of the server.
    Server,
    /// Those of its egress gateway.
    Gateway,
}

impl Part {
    /// Name of every object of this part: the endpoint's own, or with a suffix with which no endpoint's name ends.
    pub fn name(self, endpoint: &ValidatedEndpoint) -> String {
        match self {
            Self::Server => endpoint.name.clone(),
            Self::Gateway => labels::gateway_of(&endpoint.name),
        }
    }

    /// The label that the pods of this part alone carry.
    pub fn pod_label(self) -> &'static str {
        match self {
            Self::Server => labels::ENDPOINT,
            Self::Gateway => labels::EGRESS_OF,
        }
    }

    fn component(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Gateway => "egress",
        }
    }
}

/// Metadata of a child of `endpoint`.
pub(crate) fn of_child(endpoint: &ValidatedEndpoint, part: Part) -> ObjectMeta {
    ObjectMeta {
        name: Some(part.name(endpoint)),
        namespace: Some(endpoint.namespace.clone()),
        labels: Some(labels_with(endpoint, part, labels::ENDPOINT)),
        owner_references: Some(vec![OwnerReference {
            api_version: McpEndpoint::api_version(&()).into_owned(),
            kind: McpEndpoint::kind(&()).into_owned(),
            name: endpoint.name.clone(),
            uid: endpoint.uid.clone(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }]),
        ..ObjectMeta::default()
    }
}

/// Metadata of an object that all endpoints of `namespace` share, and that no single one owns.
pub(crate) fn of_namespace(name: &str, namespace: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(namespace.to_owned()),
        labels: Some(owned([
            (labels::MANAGED_BY, labels::OPERATOR),
            (labels::PART_OF, labels::OPERATOR),
            (labels::COMPONENT, "namespace"),
        ])),
        ..ObjectMeta::default()
    }
}

/// Labels of the pods of one part of `endpoint`.
pub(crate) fn pod_labels(endpoint: &ValidatedEndpoint, part: Part) -> BTreeMap<String, String> {
    labels_with(endpoint, part, part.pod_label())
}

/// The one label that selects the pods of one part of `endpoint`.
pub(crate) fn selector_labels(endpoint: &ValidatedEndpoint, part: Part) -> BTreeMap<String, String> {
    owned([(part.pod_label(), endpoint.name.as_str())])
}

/// Selects the pods of one part of `endpoint`.
pub(crate) fn selector(endpoint: &ValidatedEndpoint, part: Part) -> LabelSelector {
    matching(selector_labels(endpoint, part))
}

fn labels_with(endpoint: &ValidatedEndpoint, part: Part, key: &str) -> BTreeMap<String, String> {
    owned([
        (labels::MANAGED_BY, labels::OPERATOR),
        (labels::PART_OF, labels::OPERATOR),
        (labels::COMPONENT, part.component()),
        (key, &endpoint.name),
    ])
}

/// Selects what carries all of `labels`.
pub(crate) fn matching(labels: BTreeMap<String, String>) -> LabelSelector {
    LabelSelector {
        match_labels: Some(labels),
        ..LabelSelector::default()
    }
}

/// A map of owned strings.
pub(crate) fn owned<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}
