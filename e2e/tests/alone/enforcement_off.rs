//! A cluster whose network plugin enforces nothing, or late.

use futures::FutureExt;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use sallyport_api::{McpEndpointClass, labels};
use sallyport_e2e::{
    Cluster, Context, Failure, Result, Scene,
    attempts::{self, is_over_network},
    cluster::Place,
    endpoint, eventually,
    objects::{FIELD_MANAGER, apply},
    pods,
    stage::Stage,
};
use serde_json::json;
use std::{
    panic::{AssertUnwindSafe, resume_unwind},
    time::Duration,
};

#[tokio::test]
async fn without_enforcement_no_server_starts_unless_its_class_only_warns() -> Result<()> {
    Scene::play("unenforced", async |scene| {
        with_policy(&scene.cluster, &["off"], async || {
            let client = scene.client();
            let kept = endpoint::endpoint(&scene.cluster, "kept", "hostile")?;
            apply(client, &scene.namespace, &kept).await?;
            let open = ("NetworkEnforced", "False", Some("NotEnforced"));
            let message = endpoint::condition(client, &scene.namespace, "kept", open).await?;
            println!("{message}");
            assert!(message.contains("this pod reaches what no rule allows"), "{message}");
            endpoint::condition(
                client,
                &scene.namespace,
                "kept",
                ("Ready", "False", Some("NotEnforced")),
            )
            .await?;
            for pod in pods::list(client, &scene.namespace, &format!("{}=kept", labels::ENDPOINT)).await? {
                let server = pods::container(&pod, "server").context("the kubelet says nothing of the server")?;
                assert_eq!(server.started, Some(false), "{server:?}");
                assert!(server.container_id.is_none(), "the server was started: {server:?}");
            }

            let class = scene.namespace.clone();
            warning_class(&scene.cluster, &class).await?;
            let elsewhere = scene.namespace("elsewhere", &[]).await?;
            let outside = Some(("unenforced", "192.52.193.40"));
            let stage =
                Stage::set_in_class(&scene.cluster, &scene.namespace, &elsewhere, outside, Some(&class)).await?;
            let stage = stage.in_a_cloud(&scene.cluster).await?;
            let message = endpoint::condition(client, &scene.namespace, "hostile", open).await?;
            println!("negative control, the class says Warn: ready, and {message}");
            let caller = scene.allowed_caller().await?;
            for attempt in attempts::attempts(&stage.targets)
                .iter()
                .filter(|attempt| is_over_network(attempt))
            {
                let outcome = attempts::make(&caller, &stage.hardened, attempt).await?;
                println!("unenforced | {} | {}", attempt.title, outcome.detail);
                // The endpoint's pods have no resolver of their own, whether policies are enforced or not.
                let resolves = attempt.arguments["attempt"] != "dns" || !attempt.arguments["server"].is_null();
                assert_eq!(outcome.succeeded, resolves, "{}: {}", attempt.title, outcome.detail);
            }
            stage.strike(&scene.cluster).await?;
            Api::<McpEndpointClass>::all(client.clone())
                .delete(&class, &DeleteParams::default())
                .await?;
            Ok(())
        })
        .await?;
        // The guard is started again by the kubelet, less and less often.
        eventually("the kept endpoint is ready", Duration::from_mins(8), async || {
            let kept = endpoint::get(scene.client(), &scene.namespace, "kept").await?;
            endpoint::is_ready(&kept).then_some(()).context(endpoint::why(&kept))
        })
        .await?;
        let enforced = ("NetworkEnforced", "True", Some("Enforced"));
        endpoint::condition(scene.client(), &scene.namespace, "kept", enforced).await?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_server_waits_for_enforcement_that_comes_late() -> Result<()> {
    Scene::play("late", async |scene| {
        with_policy(&scene.cluster, &["lag", "15s"], async || {
            let client = scene.client();
            let late = endpoint::endpoint(&scene.cluster, "late", "hostile")?;
            apply(client, &scene.namespace, &late).await?;
            endpoint::ready(client, &scene.namespace, "late").await?;
            let pods = endpoint::ready_pods(client, &scene.namespace, "late").await?;
            let pod = pods.first().context("the endpoint has no ready pod")?;
            let guard = pods::container(pod, "guard").and_then(|status| status.state.as_ref()?.terminated.clone());
            let guard = guard.context("the guard has not ended")?;
            let (Some(begun), Some(ended)) = (&guard.started_at, &guard.finished_at) else {
                return Err(Failure::new("the kubelet does not say when the guard ran"));
            };
            let waited = ended.0.duration_since(begun.0);
            println!("the guard waited {waited:#}");
            assert_eq!(guard.exit_code, 0);
            assert!(
                waited >= Duration::from_secs(2).try_into().context("a duration")?,
                "{waited:#}"
            );
            let server = pods::container(pod, "server")
                .and_then(|status| status.state.as_ref()?.running.as_ref()?.started_at.clone());
            assert!(server.context("the server does not run")?.0 >= ended.0);
            Ok(())
        })
        .await
    })
    .await
}

/// Sets the policy agent to `mode` while `test` runs, and on again whatever comes of it.
async fn with_policy(cluster: &Cluster, mode: &[&str], test: impl AsyncFnOnce() -> Result<()>) -> Result<()> {
    let Place::Local { name, .. } = &cluster.place else {
        return Err(Failure::new("the policy agent of this cluster is not ours to switch"));
    };
    let set = async |mode: &[&str]| {
        let arguments = [&["policy"], mode, &["--name", name]].concat();
        cluster.tool.run(&arguments).await.context(format!("policy {mode:?}"))
    };
    set(mode).await?;
    let ended = AssertUnwindSafe(test()).catch_unwind().await;
    set(&["on"]).await?;
    ended.unwrap_or_else(|panic| resume_unwind(panic))
}

async fn warning_class(cluster: &Cluster, name: &str) -> Result<()> {
    let class = json!({
        "apiVersion": "sallyport.dev/v1alpha1", "kind": "McpEndpointClass",
        "metadata": { "name": name }, "spec": { "networkEnforcement": "Warn" },
    });
    let parameters = PatchParams::apply(FIELD_MANAGER).validation_strict();
    let classes = Api::<McpEndpointClass>::all(cluster.client.clone());
    classes.patch(name, &parameters, &Patch::Apply(class)).await?;
    Ok(())
}
