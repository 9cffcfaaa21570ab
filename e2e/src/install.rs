//! Installs what the tests and the demo run on: the operator by Helm, and the SealedSecrets controller.

use crate::{Cluster, Context, Failure, Result, command::run, eventually, objects::apply_yaml, tool::checkout};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use std::time::Duration;

/// The operator's namespace.
pub const NAMESPACE: &str = "sallyport-system";
/// The Helm release, and so the operator's Deployment and ServiceAccount.
pub const RELEASE: &str = "sallyport";
/// Selects the operator's pods.
pub const OPERATOR_PODS: &str = "app.kubernetes.io/name=sallyport";
/// The operator as the API server knows it.
pub const OPERATOR_USER: &str = "system:serviceaccount:sallyport-system:sallyport";

const SEALED_SECRETS: &str = include_str!("../fixtures/sealed-secrets.yaml");

/// The tests' own values: twenty endpoints have to fit on a node with two cores.
pub const SMALL: &[&str] = &["sidecar.resources.cpu=50m"];

/// Installs or upgrades the operator with the repository's chart and further `values`, and waits until it runs.
///
/// # Errors
///
/// When Helm fails.
pub async fn operator(cluster: &Cluster, values: &[&str]) -> Result<()> {
    let [operator, sidecar, egress] = ["operator", "sidecar", "egress"].map(|name| cluster.images.parts(name));
    let (operator, sidecar, egress) = (operator?, sidecar?, egress?);
    let images = [
        format!("image.repository={}", operator.repository),
        format!("image.digest={}", operator.digest),
        format!("sidecar.image.repository={}", sidecar.repository),
        format!("sidecar.image.digest={}", sidecar.digest),
        format!("egress.image.repository={}", egress.repository),
        format!("egress.image.digest={}", egress.digest),
    ];
    let values = images
        .iter()
        .map(String::as_str)
        .chain(values.iter().copied())
        .collect::<Vec<_>>()
        .join(",");
    let chart = checkout().join("charts/sallyport");
    let chart = chart.to_str().context("the checkout's path is not UTF-8")?;
    let helm = [
        "upgrade",
        "--install",
        RELEASE,
        chart,
        "--namespace",
        NAMESPACE,
        "--create-namespace",
    ];
    let options = ["--set-string", &values, "--wait", "--timeout", "4m"];
    run(cluster.program("helm", &[&helm[..], &options].concat()).await?)
        .await
        .context("install the operator")?;
    Ok(())
}

/// Uninstalls the operator and gives what Helm printed.
///
/// # Errors
///
/// When Helm fails.
pub async fn uninstall(cluster: &Cluster) -> Result<String> {
    let helm = [
        "uninstall",
        RELEASE,
        "--namespace",
        NAMESPACE,
        "--wait",
        "--timeout",
        "2m",
    ];
    run(cluster.program("helm", &helm).await?).await
}

/// Installs the SealedSecrets controller where `kubeseal` looks for it, and waits until it runs.
///
/// # Errors
///
/// When its objects are refused or it does not start.
pub async fn sealed_secrets(cluster: &Cluster) -> Result<()> {
    let manifest = SEALED_SECRETS.replace("IMAGE", cluster.images.get("sealed-secrets")?);
    apply_yaml(&cluster.client, &manifest)
        .await
        .context("install the SealedSecrets controller")?;
    available(cluster, "kube-system", "sealed-secrets-controller").await
}

/// Waits until all replicas of a Deployment are of its present spec and available, and no others are left.
///
/// # Errors
///
/// When it does not come to that within three minutes.
pub async fn available(cluster: &Cluster, namespace: &str, name: &str) -> Result<()> {
    let api = Api::<Deployment>::namespaced(cluster.client.clone(), namespace);
    eventually(
        &format!("Deployment {namespace}/{name} available"),
        Duration::from_mins(3),
        async || {
            let deployment = api.get(name).await?;
            let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
            let status = deployment.status.unwrap_or_default();
            let (all, updated, available) = (status.replicas, status.updated_replicas, status.available_replicas);
            let observed = status.observed_generation == deployment.metadata.generation;
            if observed
                && [all, updated, available]
                    .iter()
                    .all(|count| count.unwrap_or_default() == wanted)
            {
                return Ok(());
            }
            Err(Failure::new(format!(
                "of {wanted} replicas {} are updated and {} available",
                updated.unwrap_or_default(),
                available.unwrap_or_default()
            )))
        },
    )
    .await
}
