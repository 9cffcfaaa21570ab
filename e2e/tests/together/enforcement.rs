//! That egress is closed is measured: by the pod, witnessed by the operator's canary.

use k8s_openapi::api::{
    core::v1::{ContainerStateTerminated, Pod},
    networking::v1::NetworkPolicy,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use sallyport_api::McpEndpointClass;
use sallyport_e2e::{
    Context, Failure, Result, Scene, endpoint, eventually,
    objects::{FIELD_MANAGER, apply, apply_json},
    pods,
};
use serde_json::{Value, json};

#[tokio::test]
async fn a_pod_is_proven_closed_before_its_server_starts_and_a_plain_pod_fails_the_same_guard() -> Result<()> {
    Scene::play("enforced", async |scene| {
        let client = scene.client();
        let proven = endpoint::endpoint(&scene.cluster, "proven", "hostile")?;
        apply(client, &scene.namespace, &proven).await?;
        endpoint::ready(client, &scene.namespace, "proven").await?;
        let enforced = ("NetworkEnforced", "True", Some("Enforced"));
        let message = endpoint::condition(client, &scene.namespace, "proven", enforced).await?;
        println!("{message}");
        assert!(message.starts_with("1 of 1 pods are refused"), "{message}");
        let pods = endpoint::ready_pods(client, &scene.namespace, "proven").await?;
        let pod = pods.first().context("the endpoint has no ready pod")?;
        let guard = ended(pod, "guard").context("the guard has not ended")?;
        println!(
            "guard: exit code {}: {}",
            guard.exit_code,
            guard.message.as_deref().unwrap_or_default()
        );
        assert_eq!(guard.exit_code, 0);
        let server = pods::container(pod, "server")
            .and_then(|status| status.state.as_ref()?.running.as_ref()?.started_at.clone());
        assert!(
            guard.finished_at < server,
            "the server started before the guard had ended"
        );

        let api = Api::<Pod>::namespaced(client.clone(), &scene.namespace);
        let plain = serde_json::from_value(plain_guard(pod)?)?;
        api.create(&PostParams::default(), &plain)
            .await
            .context("start the plain guard")?;
        let failed = eventually("the plain guard ends", endpoint::PATIENCE, async || {
            let pod = api.get("plain-guard").await?;
            ended(&pod, "guard").ok_or_else(|| Failure::new("it is still trying"))
        })
        .await?;
        let said = failed.message.unwrap_or_default();
        println!("negative control: exit code {}: {said}", failed.exit_code);
        assert_eq!(failed.exit_code, 3, "{said}");
        assert!(said.contains("this pod reaches what no rule allows"), "{said}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_pod_that_others_open_gets_no_calls_until_it_is_closed_again() -> Result<()> {
    Scene::play("opened", async |scene| {
        let client = scene.client();
        let opened = endpoint::endpoint(&scene.cluster, "opened", "hostile")?;
        apply(client, &scene.namespace, &opened).await?;
        endpoint::ready(client, &scene.namespace, "opened").await?;
        let policy = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": { "name": "allow-all" },
            "spec": { "podSelector": {}, "policyTypes": ["Egress"], "egress": [{}] },
        });
        apply_json::<NetworkPolicy>(client, &scene.namespace, policy).await?;
        let open = ("NetworkEnforced", "False", Some("NotEnforced"));
        let message = endpoint::condition(client, &scene.namespace, "opened", open).await?;
        println!("{message}");
        let not_ready = ("Ready", "False", Some("NotEnforced"));
        endpoint::condition(client, &scene.namespace, "opened", not_ready).await?;
        eventually(
            "no pod takes calls",
            endpoint::PATIENCE,
            async || match endpoint::ready_pods(client, &scene.namespace, "opened").await?.len() {
                0 => Ok(()),
                ready => Err(Failure::new(format!("{ready} pods are ready"))),
            },
        )
        .await?;

        let policies = Api::<NetworkPolicy>::namespaced(client.clone(), &scene.namespace);
        policies.delete("allow-all", &DeleteParams::default()).await?;
        endpoint::ready(client, &scene.namespace, "opened").await?;
        let enforced = ("NetworkEnforced", "True", Some("Enforced"));
        endpoint::condition(client, &scene.namespace, "opened", enforced).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_class_that_is_missing_stalls_its_endpoints_until_it_is_there() -> Result<()> {
    Scene::play("classes", async |scene| {
        let client = scene.client();
        let class = scene.namespace.clone();
        let mut classed = endpoint::endpoint(&scene.cluster, "classed", "hostile")?;
        classed.spec.class_name = Some(class.clone());
        apply(client, &scene.namespace, &classed).await?;
        let stalled = ("Stalled", "True", Some("InvalidSpec"));
        let message = endpoint::condition(client, &scene.namespace, "classed", stalled).await?;
        println!("{message}");
        assert!(message.contains(&class), "{message}");

        let api = Api::<McpEndpointClass>::all(client.clone());
        let object = json!({
            "apiVersion": "sallyport.dev/v1alpha1", "kind": "McpEndpointClass",
            "metadata": { "name": class }, "spec": { "networkEnforcement": "Warn" },
        });
        let parameters = PatchParams::apply(FIELD_MANAGER).validation_strict();
        api.patch(&class, &parameters, &Patch::Apply(object)).await?;
        let ready = endpoint::ready(client, &scene.namespace, "classed").await;
        api.delete(&class, &DeleteParams::default()).await?;
        ready?;
        endpoint::condition(client, &scene.namespace, "classed", stalled).await?;
        Ok(())
    })
    .await
}

fn ended(pod: &Pod, container: &str) -> Option<ContainerStateTerminated> {
    pods::container(pod, container)?.state.as_ref()?.terminated.clone()
}

/// The guard of `pod` with its policy file, in a pod that no policy selects.
fn plain_guard(pod: &Pod) -> Result<Value> {
    let spec = pod.spec.as_ref().context("the pod has no spec")?;
    let guard = spec
        .init_containers
        .iter()
        .flatten()
        .find(|container| container.name == "guard");
    let mut guard = serde_json::to_value(guard.context(format!("pod {} has no guard", pod.name_any()))?)?;
    let mounts = guard["volumeMounts"]
        .as_array_mut()
        .context("the guard mounts nothing")?;
    mounts.retain(|mount| mount["mountPath"] == "/etc/sallyport");
    let volumes = spec
        .volumes
        .iter()
        .flatten()
        .filter(|volume| volume.config_map.is_some());
    Ok(json!({
        "metadata": { "name": "plain-guard" },
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "containers": [guard],
            "volumes": volumes.collect::<Vec<_>>(),
        },
    }))
}
