//! Metadata of children: names, labels, owner.

use crate::ValidatedEndpoint;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use kube::Resource;
use sallyport_api::{McpEndpoint, labels};
use std::collections::BTreeMap;

/// Metadata of a child of `endpoint`. Every child bears the endpoint's name.
pub(crate) fn of_child(endpoint: &ValidatedEndpoint) -> ObjectMeta {
    ObjectMeta {
        name: Some(endpoint.name.clone()),
        namespace: Some(endpoint.namespace.clone()),
        labels: Some(endpoint_labels(endpoint)),
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

/// Labels of every child and pod of `endpoint`.
pub(crate) fn endpoint_labels(endpoint: &ValidatedEndpoint) -> BTreeMap<String, String> {
    owned([
        (labels::MANAGED_BY, labels::OPERATOR),
        (labels::PART_OF, labels::OPERATOR),
        (labels::COMPONENT, "server"),
        (labels::ENDPOINT, &endpoint.name),
    ])
}

/// The one label that selects the pods of `endpoint`.
pub(crate) fn selector_labels(endpoint: &ValidatedEndpoint) -> BTreeMap<String, String> {
    owned([(labels::ENDPOINT, endpoint.name.as_str())])
}

/// Selects the pods of `endpoint`.
pub(crate) fn selector(endpoint: &ValidatedEndpoint) -> LabelSelector {
    matching(selector_labels(endpoint))
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
