//! Endpoints as tests and the demo write them.

use crate::{Cluster, Context, Failure, Result, eventually, pods};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt};
use sallyport_api::{McpEndpoint, conditions, labels};
use serde_json::json;
use std::time::Duration;

/// Label and value of the namespaces whose pods may call the tests' endpoints.
pub const CALLERS: (&str, &str) = ("team", "agents");

/// How long an endpoint may take until it is ready, its image pulled and other tests running beside it.
pub const PATIENCE: Duration = Duration::from_mins(3);

/// An endpoint that runs the image `image` (`everything`, `hostile`), callable from namespaces with the label
/// [`CALLERS`].
///
/// # Errors
///
/// When the image is not loaded.
pub fn endpoint(cluster: &Cluster, name: &str, image: &str) -> Result<McpEndpoint> {
    let (label, value) = CALLERS;
    serde_json::from_value(json!({
        "apiVersion": "sallyport.dev/v1alpha1",
        "kind": "McpEndpoint",
        "metadata": { "name": name },
        "spec": {
            "server": {
                "image": cluster.images.get(image)?,
                "transport": { "http": { "port": 3001, "path": "/mcp" } },
                "writable": { "presets": ["Tmp"] },
                "resources": { "cpu": "150m", "memory": "192Mi" },
            },
            "access": { "from": [{ "namespace": { "matchLabels": { label: value } } }] },
        },
    }))
    .context("write an McpEndpoint")
}

/// Reads the endpoint.
///
/// # Errors
///
/// When it is not there.
pub async fn get(client: &Client, namespace: &str, name: &str) -> Result<McpEndpoint> {
    let endpoint = Api::<McpEndpoint>::namespaced(client.clone(), namespace)
        .get(name)
        .await;
    endpoint.context(format!("read McpEndpoint {namespace}/{name}"))
}

/// Waits until the endpoint is ready at its present generation.
///
/// # Errors
///
/// When it does not become ready; the message is the endpoint's own.
pub async fn ready(client: &Client, namespace: &str, name: &str) -> Result<McpEndpoint> {
    eventually(&format!("McpEndpoint {namespace}/{name} ready"), PATIENCE, async || {
        let endpoint = get(client, namespace, name).await?;
        if is_ready(&endpoint) {
            Ok(endpoint)
        } else {
            Err(Failure::new(why(&endpoint)))
        }
    })
    .await
}

/// Waits until the condition `type_` has `status` (and `reason`, if one is named), and gives its message.
///
/// # Errors
///
/// When it does not come to that.
pub async fn condition(
    client: &Client,
    namespace: &str,
    name: &str,
    (type_, status, reason): (&str, &str, Option<&str>),
) -> Result<String> {
    let what = format!(
        "McpEndpoint {namespace}/{name} has {type_}={status} {}",
        reason.unwrap_or_default()
    );
    eventually(&what, PATIENCE, async || {
        let endpoint = get(client, namespace, name).await?;
        let conditions = endpoint
            .status
            .as_ref()
            .map(|status| status.conditions.as_slice())
            .unwrap_or_default();
        match conditions::get(conditions, type_) {
            Some(found) if found.status == status && reason.is_none_or(|reason| found.reason == reason) => {
                Ok(found.message.clone())
            }
            _ => Err(Failure::new(why(&endpoint))),
        }
    })
    .await
}

/// Whether the endpoint is ready and its status speaks of its present spec.
pub fn is_ready(endpoint: &McpEndpoint) -> bool {
    endpoint.status.as_ref().is_some_and(|status| {
        Some(status.observed_generation) == endpoint.metadata.generation
            && conditions::get(&status.conditions, conditions::types::READY).is_some_and(|ready| ready.status == "True")
    })
}

/// All conditions in one line.
pub fn why(endpoint: &McpEndpoint) -> String {
    let Some(status) = &endpoint.status else {
        return "no status yet".to_owned();
    };
    let conditions = status.conditions.iter().map(|condition| {
        format!(
            "{}={} {}: {}",
            condition.type_, condition.status, condition.reason, condition.message
        )
    });
    let generation = endpoint.metadata.generation.unwrap_or_default();
    let observed = format!("observed generation {} of {generation}", status.observed_generation);
    std::iter::once(observed)
        .chain(conditions)
        .collect::<Vec<_>>()
        .join("; ")
}

/// The URL at which clients in the cluster reach the endpoint.
///
/// # Errors
///
/// When its status holds none.
pub fn url(endpoint: &McpEndpoint) -> Result<String> {
    let url = endpoint.status.as_ref().and_then(|status| status.url.clone());
    url.context(format!("McpEndpoint {} has no URL in its status", endpoint.name_any()))
}

/// The endpoint's pods that are ready and not being deleted.
///
/// # Errors
///
/// When they cannot be listed.
pub async fn ready_pods(client: &Client, namespace: &str, name: &str) -> Result<Vec<Pod>> {
    let pods = pods::list(client, namespace, &format!("{}={name}", labels::ENDPOINT)).await?;
    Ok(pods.into_iter().filter(pods::is_ready).collect())
}

/// The audit records that the endpoint's pods wrote, oldest first within a pod.
///
/// # Errors
///
/// When a log cannot be read, or a line of it is no JSON.
pub async fn audit_records(client: &Client, namespace: &str, name: &str) -> Result<Vec<serde_json::Value>> {
    let mut records = Vec::new();
    for pod in ready_pods(client, namespace, name).await? {
        let log = pods::logs(client, namespace, &pod.name_any(), "audit").await?;
        for line in log.lines().filter(|line| line.starts_with('{')) {
            let record: serde_json::Value = serde_json::from_str(line).context(format!("read audit record {line}"))?;
            if record["kind"] == "audit" {
                records.push(record);
            }
        }
    }
    Ok(records)
}
