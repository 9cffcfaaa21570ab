//! What can be seen of a namespace and of the operator, for the wreck of a failed test.

use crate::{
    Cluster, Result,
    command::tail,
    endpoint,
    install::{NAMESPACE, OPERATOR_PODS},
    pods,
};
use k8s_openapi::api::{core::v1::Pod, events::v1::Event};
use kube::{Api, ResourceExt, api::ListParams};
use sallyport_api::McpEndpoint;

/// Prints endpoints, pods, events and logs of the namespaces, and the operator's log.
pub async fn dump(cluster: &Cluster, namespaces: &[String]) {
    for namespace in namespaces {
        if let Err(error) = dump_namespace(cluster, namespace).await {
            eprintln!("  (could not look at {namespace}: {error:?})");
        }
    }
    match pods::list(&cluster.client, NAMESPACE, OPERATOR_PODS).await {
        Ok(operators) => {
            for pod in operators {
                show_log(cluster, NAMESPACE, &pod.name_any(), "operator", 40).await;
            }
        }
        Err(error) => eprintln!("  (could not look at the operator: {error:?})"),
    }
}

async fn dump_namespace(cluster: &Cluster, namespace: &str) -> Result<()> {
    let client = &cluster.client;
    let all = ListParams::default();
    eprintln!("--- namespace {namespace}");
    for found in Api::<McpEndpoint>::namespaced(client.clone(), namespace)
        .list(&all)
        .await?
    {
        eprintln!("  McpEndpoint {}: {}", found.name_any(), endpoint::why(&found));
    }
    for event in Api::<Event>::namespaced(client.clone(), namespace).list(&all).await? {
        let about = event.regarding.as_ref();
        eprintln!(
            "  event {} {}/{}: {}",
            event.reason.unwrap_or_default(),
            about.and_then(|about| about.kind.as_deref()).unwrap_or_default(),
            about.and_then(|about| about.name.as_deref()).unwrap_or_default(),
            event.note.unwrap_or_default()
        );
    }
    for pod in Api::<Pod>::namespaced(client.clone(), namespace).list(&all).await? {
        eprintln!("  pod {}: {}", pod.name_any(), pods::state(&pod));
        for container in ["audit", "server"] {
            show_log(cluster, namespace, &pod.name_any(), container, 15).await;
        }
    }
    Ok(())
}

/// Shows the end of a container's log, if there is such a container.
async fn show_log(cluster: &Cluster, namespace: &str, pod: &str, container: &str, lines: usize) {
    if let Ok(log) = pods::logs(&cluster.client, namespace, pod, container).await {
        eprintln!("  log of {container} in {pod}:");
        for line in tail(&log, lines).lines() {
            eprintln!("    {line}");
        }
    }
}
