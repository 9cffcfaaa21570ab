//! Seals secrets with the real `kubeseal`.

use crate::{
    Cluster, Context, Result,
    command::run_with_input,
    objects::{FIELD_MANAGER, sealed_secret},
};
use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};

/// Seals `token` as the key `token` of a SealedSecret.
///
/// # Errors
///
/// When `kubeseal` fails.
pub async fn seal(cluster: &Cluster, namespace: &str, name: &str, token: &str) -> Result<Value> {
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": { "name": name, "namespace": namespace },
        "stringData": { "token": token },
    });
    let command = cluster.program("kubeseal", &["--format", "json"]).await?;
    let sealed = run_with_input(command, &secret.to_string())
        .await
        .context("seal a secret")?;
    Ok(serde_json::from_str(&sealed)?)
}

/// Applies a SealedSecret.
///
/// # Errors
///
/// When the API server refuses it.
pub async fn apply(cluster: &Cluster, namespace: &str, sealed: &Value) -> Result<DynamicObject> {
    let name = sealed["metadata"]["name"]
        .as_str()
        .context("a SealedSecret has a name")?;
    Api::<DynamicObject>::namespaced_with(cluster.client.clone(), namespace, &sealed_secret())
        .patch(name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(sealed))
        .await
        .context(format!("apply SealedSecret {namespace}/{name}"))
}
