//! Reading and writing Kubernetes objects of any kind.

use crate::{Context, Failure, Result};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DynamicObject, Patch, PatchParams},
    core::{ApiResource, GroupVersionKind, NamespaceResourceScope},
    discovery::{self, Scope},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::fmt::Debug;

/// Field manager of what tests and the demo write.
pub const FIELD_MANAGER: &str = "sallyport-e2e";

/// The kind of the SealedSecrets controller.
pub fn sealed_secret() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("bitnami.com", "v1alpha1", "SealedSecret"))
}

/// Applies one object of a namespace and gives it as stored.
///
/// # Errors
///
/// When the API server refuses it; the message is its own.
pub async fn apply<K>(client: &Client, namespace: &str, object: &K) -> Result<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Serialize + DeserializeOwned + Clone + Debug,
{
    let (kind, name) = (K::kind(&()), object.name_any());
    let api = Api::<K>::namespaced(client.clone(), namespace);
    let parameters = PatchParams::apply(FIELD_MANAGER).force().validation_strict();
    let patch = Patch::Apply(object);
    // On the heap, as every request that is nested deeply: its future is large.
    let applied = Box::pin(api.patch(&name, &parameters, &patch)).await;
    applied.context(format!("apply {kind} {namespace}/{name}"))
}

/// Applies one object that is written as JSON, typed by `K`.
///
/// # Errors
///
/// As [`apply`], or when the JSON is no `K`.
pub async fn apply_json<K>(client: &Client, namespace: &str, object: Value) -> Result<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Serialize + DeserializeOwned + Clone + Debug,
{
    let object = serde_json::from_value(object).context(format!("write a {}", K::kind(&())))?;
    apply(client, namespace, &object).await
}

/// Applies every document of a YAML file, in order.
///
/// # Errors
///
/// When a document is no Kubernetes object, or is refused.
pub async fn apply_yaml(client: &Client, text: &str) -> Result<()> {
    for document in serde_saphyr::from_multiple::<Value>(text).context("read YAML")? {
        if document.is_null() {
            continue;
        }
        let object: DynamicObject = serde_json::from_value(document).context("read a Kubernetes object from YAML")?;
        let types = object.types.clone().unwrap_or_default();
        let kind = GroupVersionKind::try_from(&types).context("read apiVersion and kind")?;
        let (resource, capabilities) = discovery::pinned_kind(client, &kind)
            .await
            .context(format!("find the kind {}", types.kind))?;
        let api: Api<DynamicObject> = match (capabilities.scope, object.namespace()) {
            (Scope::Cluster, _) => Api::all_with(client.clone(), &resource),
            (Scope::Namespaced, Some(namespace)) => Api::namespaced_with(client.clone(), &namespace, &resource),
            (Scope::Namespaced, None) => {
                return Err(Failure::new(format!(
                    "{} {} names no namespace",
                    types.kind,
                    object.name_any()
                )));
            }
        };
        api.patch(
            &object.name_any(),
            &PatchParams::apply(FIELD_MANAGER).force(),
            &Patch::Apply(&object),
        )
        .await
        .context(format!("apply {} {}", types.kind, object.name_any()))?;
    }
    Ok(())
}
