//! The namespace's quota of endpoints, and quotas of others.

use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use kube::Api;
use sallyport_e2e::{
    Context, Failure, Result, Scene, endpoint, eventually,
    objects::{apply, apply_json},
    pods, settled,
};
use serde_json::{Value, json};
use std::time::Duration;

/// A pod that asks for next to nothing.
async fn ordinary_pod(scene: &Scene, name: &str) -> Result<Pod> {
    let container = json!({
        "name": "pause",
        "image": scene.cluster.images.get("pause")?,
        "resources": { "requests": { "cpu": "5m", "memory": "8Mi" }, "limits": { "cpu": "5m", "memory": "8Mi" } },
    });
    pods::start(&scene.cluster, &scene.namespace, name, container).await
}

async fn quota(scene: &Scene, name: &str) -> Result<Value> {
    let quota = Api::<ResourceQuota>::namespaced(scene.client().clone(), &scene.namespace)
        .get(name)
        .await;
    Ok(serde_json::to_value(
        quota.context(format!("read ResourceQuota {name}"))?,
    )?)
}

#[tokio::test]
async fn the_quota_bounds_endpoints_to_their_footprints_and_counts_no_other_pod() -> Result<()> {
    Scene::play("bounded", async |scene| {
        let endpoint = endpoint::endpoint(&scene.cluster, "bounded", "hostile")?;
        apply(scene.client(), &scene.namespace, &endpoint).await?;
        let ready = endpoint::ready(scene.client(), &scene.namespace, "bounded").await?;
        let footprint = ready
            .status
            .and_then(|status| status.footprint)
            .context("status.footprint is missing")?;
        let hard = quota(scene, "sallyport").await?["spec"]["hard"].clone();
        println!("footprint {footprint:?}, quota {hard}");
        assert_eq!(hard["pods"], footprint.pods.to_string());
        for (field, amount) in [
            ("requests.cpu", &footprint.cpu),
            ("limits.cpu", &footprint.cpu),
            ("requests.memory", &footprint.memory),
            ("limits.memory", &footprint.memory),
        ] {
            assert_eq!(&hard[field], amount, "{field}");
        }

        ordinary_pod(scene, "ordinary-1").await?;
        ordinary_pod(scene, "ordinary-2").await?;
        eventually(
            "the quota counts the endpoint's pod alone",
            Duration::from_secs(20),
            async || {
                let used = quota(scene, "sallyport").await?["status"]["used"]["pods"].clone();
                if used == "1" {
                    Ok(())
                } else {
                    Err(Failure::new(format!("it counts {used} pods")))
                }
            },
        )
        .await
    })
    .await
}

#[tokio::test]
async fn an_endpoint_that_does_not_fit_is_reported_with_numbers_and_others_go_on() -> Result<()> {
    Scene::play("tight", async |scene| {
        let tight = json!({
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": { "name": "team" },
            "spec": { "hard": { "requests.cpu": "100m" } },
        });
        apply_json::<ResourceQuota>(scene.client(), &scene.namespace, tight).await?;
        settled::quota(scene.client(), &scene.namespace, "team").await?;
        let endpoint = endpoint::endpoint(&scene.cluster, "large", "hostile")?;
        apply(scene.client(), &scene.namespace, &endpoint).await?;
        let exceeded = ("QuotaSufficient", "False", Some("QuotaExceeded"));
        let message = endpoint::condition(scene.client(), &scene.namespace, "large", exceeded).await?;
        println!("{message}");
        for number in ["team", "100m", "440m"] {
            assert!(message.contains(number), "{number} is missing in: {message}");
        }
        let refused = ("Ready", "False", Some("FailedCreate"));
        let message = endpoint::condition(scene.client(), &scene.namespace, "large", refused).await?;
        println!("{message}");
        assert!(
            message.contains("exceeded quota: team"),
            "the API server's own message: {message}"
        );

        ordinary_pod(scene, "ordinary").await?;

        // As soon as there is room, the endpoint takes it.
        let roomy = json!({
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": { "name": "team" },
            "spec": { "hard": { "requests.cpu": "2" } },
        });
        apply_json::<ResourceQuota>(scene.client(), &scene.namespace, roomy).await?;
        endpoint::ready(scene.client(), &scene.namespace, "large").await?;
        endpoint::condition(
            scene.client(),
            &scene.namespace,
            "large",
            ("QuotaSufficient", "True", None),
        )
        .await
        .map(drop)
    })
    .await
}
