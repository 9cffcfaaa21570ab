//! Which fields of a child others have set, read from its managedFields.
//!
//! Server-side apply takes back every field that the operator sends, but leaves alone what others *added*: another
//! container, a capability, a label of the pod template. Whoever added it is recorded in managedFields.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use sallyport_api::labels;
use serde_json::Value;
use std::collections::BTreeSet;

/// Path of the pod template's annotations, where `kubectl rollout restart` and the like may write.
const TOLERATED: &[&str] = &["f:spec", "f:template", "f:metadata", "f:annotations"];

/// What others set on an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Foreign {
    /// Field managers that set it.
    pub managers: BTreeSet<String>,
}

impl Foreign {
    /// Whether nobody else set anything.
    pub fn is_empty(&self) -> bool {
        self.managers.is_empty()
    }
}

type Path<'a> = Vec<&'a str>;

/// Fields outside metadata and status that another field manager owns and that the operator does not.
///
/// Fields with the same value that both own are no drift. Writes to the `status` subresource are other controllers' work;
/// those to `scale` are not, because the endpoint says how many pods run.
pub fn foreign(metadata: &ObjectMeta) -> Foreign {
    let entries = metadata.managed_fields.as_deref().unwrap_or_default();
    let (own, others): (Vec<_>, Vec<_>) = entries.iter().partition(|entry| is_own(entry));
    let own: BTreeSet<Path<'_>> = own.into_iter().flat_map(fields).collect();
    let managers = others
        .into_iter()
        .filter(|entry| entry.subresource.as_deref() != Some("status"))
        .filter(|entry| fields(entry).iter().any(|path| !is_shared(path, &own)))
        .map(|entry| entry.manager.clone().unwrap_or_else(|| "unnamed".to_owned()))
        .collect();
    Foreign { managers }
}

/// Takes away the claims of all that [`foreign`] counts.
pub fn drop_foreign(metadata: &mut ObjectMeta) {
    if let Some(entries) = &mut metadata.managed_fields {
        entries.retain(|entry| is_own(entry) || entry.subresource.as_deref() == Some("status"));
    }
}

/// Whether the operator ever applied the object.
pub fn is_applied_by_operator(metadata: &ObjectMeta) -> bool {
    metadata.managed_fields.iter().flatten().any(is_operator)
}

/// Whoever else wrote last outside status, when the object was changed without adding anything.
pub fn last_writer(metadata: &ObjectMeta) -> Option<String> {
    let entries = metadata.managed_fields.iter().flatten();
    let others = entries.filter(|entry| !is_operator(entry) && entry.subresource.as_deref() != Some("status"));
    let last = others.max_by_key(|entry| entry.time.as_ref().map(|time| time.0));
    last.and_then(|entry| entry.manager.clone())
}

/// What the operator applied. What it owns by replacing the object is as foreign as others' fields once it is not applied.
fn is_own(entry: &ManagedFieldsEntry) -> bool {
    is_operator(entry) && entry.operation.as_deref() == Some("Apply")
}

fn is_operator(entry: &ManagedFieldsEntry) -> bool {
    entry.manager.as_deref() == Some(labels::FIELD_MANAGER)
}

/// Every field of the entry that counts, as its path.
fn fields(entry: &ManagedFieldsEntry) -> Vec<Path<'_>> {
    let mut paths = vec![];
    if let Some(Value::Object(top)) = entry.fields_v1.as_ref().map(|fields| &fields.0) {
        for (name, below) in top {
            if name != "f:metadata" && name != "f:status" {
                collect(below, &mut vec![name.as_str()], &mut paths);
            }
        }
    }
    paths.retain(|path| !path.starts_with(TOLERATED));
    paths
}

fn collect<'a>(below: &'a Value, path: &mut Path<'a>, paths: &mut Vec<Path<'a>>) {
    match below.as_object().filter(|fields| !fields.is_empty()) {
        None => paths.push(path.clone()),
        Some(fields) => {
            for (name, below) in fields {
                path.push(name);
                collect(below, path, paths);
                path.pop();
            }
        }
    }
}

/// Whether the operator owns the field too. A `.` stands for the map or list item itself, which exists anyway if the
/// operator owns anything in it.
fn is_shared(path: &Path<'_>, own: &BTreeSet<Path<'_>>) -> bool {
    match path.split_last() {
        Some((&".", parent)) => own.iter().any(|field| field.starts_with(parent)),
        _ => own.contains(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn metadata(others: &Value) -> ObjectMeta {
        let own = json!({
            "manager": "sallyport", "operation": "Apply", "fieldsV1": {
                "f:metadata": {"f:labels": {"f:sallyport.dev/endpoint": {}}},
                "f:spec": {
                    "f:replicas": {},
                    "f:template": {
                        "f:metadata": {"f:annotations": {"f:sallyport.dev/policy-hash": {}}, "f:labels": {"f:sallyport.dev/endpoint": {}}},
                        "f:spec": {"f:containers": {"k:{\"name\":\"server\"}": {
                            ".": {}, "f:name": {}, "f:image": {}, "f:securityContext": {"f:capabilities": {"f:drop": {}}},
                        }}},
                    },
                },
            },
        });
        let mut entries = vec![own];
        entries.extend(others.as_array().unwrap().iter().cloned());
        serde_json::from_value(json!({"name": "demo", "managedFields": entries})).unwrap()
    }

    fn container(fields: &Value) -> Value {
        json!({"f:spec": {"f:template": {"f:spec": {"f:containers": fields}}}})
    }

    #[test]
    fn what_others_add_is_drift_and_what_they_share_or_may_write_is_not() {
        let edit = |fields: Value| json!([{"manager": "kubectl-edit", "operation": "Update", "fieldsV1": fields}]);
        let table = [
            ("nobody else", json!([]), false),
            (
                "status of the Deployment controller",
                json!([{"manager": "kube-controller-manager", "operation": "Update", "subresource": "status", "fieldsV1": {
                    "f:metadata": {"f:annotations": {".": {}, "f:deployment.kubernetes.io/revision": {}}},
                    "f:status": {"f:replicas": {}},
                }}]),
                false,
            ),
            (
                "annotation on the child",
                edit(json!({"f:metadata": {"f:annotations": {"f:note": {}}}})),
                false,
            ),
            (
                "kubectl rollout restart",
                edit(json!({"f:spec": {"f:template": {"f:metadata": {"f:annotations": {
                    ".": {}, "f:kubectl.kubernetes.io/restartedAt": {},
                }}}}})),
                false,
            ),
            ("same value as ours", edit(json!({"f:spec": {"f:replicas": {}}})), false),
            (
                "same container, same value",
                edit(container(&json!({"k:{\"name\":\"server\"}": {".": {}, "f:image": {}}}))),
                false,
            ),
            (
                "host network",
                edit(json!({"f:spec": {"f:template": {"f:spec": {"f:hostNetwork": {}}}}})),
                true,
            ),
            (
                "capability",
                edit(container(
                    &json!({"k:{\"name\":\"server\"}": {"f:securityContext": {"f:capabilities": {"f:add": {}}}}}),
                )),
                true,
            ),
            (
                "another container",
                edit(container(
                    &json!({"k:{\"name\":\"evil\"}": {".": {}, "f:name": {}, "f:image": {}}}),
                )),
                true,
            ),
            (
                "label of the pod template",
                edit(json!({"f:spec": {"f:template": {"f:metadata": {"f:labels": {"f:app": {}}}}}})),
                true,
            ),
            (
                "kubectl scale to another number, before it is taken back",
                json!([{"manager": "kubectl", "operation": "Update", "subresource": "scale", "fieldsV1": {
                    "f:spec": {"f:paused": {}},
                }}]),
                true,
            ),
            (
                "data of a ConfigMap",
                edit(json!({"f:data": {"f:other.json": {}}})),
                true,
            ),
            ("immutability of a ConfigMap", edit(json!({"f:immutable": {}})), true),
        ];
        for (name, others, drifted) in table {
            let found = foreign(&metadata(&others));
            assert_eq!(!found.is_empty(), drifted, "{name}: {found:?}");
        }
    }

    #[test]
    fn claims_of_others_and_of_own_replacements_are_dropped() {
        let others = json!([
            {"manager": "evil", "operation": "Update", "fieldsV1": {"f:spec": {"f:serviceAccount": {}}}},
            {"manager": "sallyport", "operation": "Update", "fieldsV1": {"f:spec": {"f:paused": {}}}},
            {"manager": "kube-controller-manager", "operation": "Update", "subresource": "status", "fieldsV1": {}},
        ]);
        let mut metadata = metadata(&others);
        assert_eq!(
            foreign(&metadata).managers,
            BTreeSet::from(["evil".to_owned(), "sallyport".to_owned()])
        );
        drop_foreign(&mut metadata);
        assert!(foreign(&metadata).is_empty());
        assert_eq!(metadata.managed_fields.unwrap().len(), 2);
    }

    #[test]
    fn the_manager_is_named() {
        let others = json!([
            {"manager": "a", "operation": "Update", "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:spec": {"f:x": {}}}},
            {"manager": "b", "operation": "Update", "time": "2026-01-02T00:00:00Z", "fieldsV1": {"f:metadata": {"f:labels": {}}}},
        ]);
        let metadata = metadata(&others);
        assert_eq!(foreign(&metadata).managers, BTreeSet::from(["a".to_owned()]));
        assert_eq!(last_writer(&metadata).as_deref(), Some("b"));
    }
}
