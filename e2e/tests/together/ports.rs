//! The sidecar's ports while the sidecar is away: a hostile server in the same pod lies in wait for them.

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt, api::PostParams};
use sallyport_api::v1alpha1::{SIDECAR_ADMIN_PORT, SIDECAR_PORT};
use sallyport_e2e::{
    Context, Failure, Result, Scene, attempts, attempts::Attempt, caller::Caller, endpoint, eventually, node,
    objects::apply, pods,
};
use serde_json::{Value, json};

const NAME: &str = "besieged";

/// What the server says once it has a port.
const TOOK: &str = "took port";

#[tokio::test]
async fn a_server_never_gets_the_ports_of_a_sidecar_that_is_killed_and_gets_them_where_nobody_holds_them() -> Result<()>
{
    Scene::play("ports", async |scene| {
        let client = scene.client();
        let caller = scene.allowed_caller().await?;
        let mut besieged = endpoint::endpoint(&scene.cluster, NAME, "hostile")?;
        let siege = format!("{SIDECAR_PORT},{SIDECAR_ADMIN_PORT}");
        besieged.spec.server.env = serde_json::from_value(json!([{ "name": "SIEGE", "value": siege }]))?;
        apply(client, &scene.namespace, &besieged).await?;
        let url = endpoint::url(&endpoint::ready(client, &scene.namespace, NAME).await?)?;
        println!("before: {}", report(&caller, &url).await?);

        // The kubelet waits longer before each new start.
        for kill in 1..=2 {
            let pod = the_pod(scene).await?;
            node::kill(&scene.cluster, &pod, "audit").await?;
            restarted(scene, &pod, "audit", kill).await?;
            let told = eventually("the sidecar answers again", endpoint::PATIENCE, async || {
                report(&caller, &url).await
            })
            .await?;
            println!("sidecar killed {kill} times: {told}");
        }
        let pod = the_pod(scene).await?;
        node::kill(&scene.cluster, &pod, "holder").await?;
        // The sidecar listens on, but a pod with a container that is away is not ready, so the Service leads nowhere.
        restarted(scene, &pod, "holder", 1).await?;
        let told = eventually("the pod is ready again", endpoint::PATIENCE, async || {
            report(&caller, &url).await
        })
        .await?;
        println!("holder killed: {told}");
        node::kill(&scene.cluster, &pod, "audit").await?;
        restarted(scene, &pod, "audit", 3).await?;
        eventually("the sidecar answers again", endpoint::PATIENCE, async || {
            report(&caller, &url).await
        })
        .await?;
        let log = pods::logs(client, &scene.namespace, &pod.name_any(), "server").await?;
        assert!(!log.contains(TOOK), "{log}");

        let api = Api::<Pod>::namespaced(client.clone(), &scene.namespace);
        let plain = api
            .create(&PostParams::default(), &serde_json::from_value(unheld(&pod)?)?)
            .await?
            .name_any();
        let pod = eventually("the plain server runs", endpoint::PATIENCE, async || {
            let pod = api.get(&plain).await?;
            match pods::container(&pod, "server").and_then(|status| status.state.as_ref()?.running.as_ref()) {
                Some(_) => Ok(pod.clone()),
                None => Err(Failure::new(pods::state(&pod))),
            }
        })
        .await?;
        // It tries from its first moment on.
        eventually("the server tries", endpoint::PATIENCE, async || {
            let log = pods::logs(client, &scene.namespace, &plain, "server").await?;
            log.contains("hostile MCP server on port").then_some(()).context(log)
        })
        .await?;
        node::kill(&scene.cluster, &pod, "audit").await?;
        let log = eventually(
            "negative control: the server gets a port",
            endpoint::PATIENCE,
            async || {
                let log = pods::logs(client, &scene.namespace, &plain, "server").await?;
                if log.contains(TOOK) {
                    Ok(log)
                } else {
                    Err(Failure::new(log))
                }
            },
        )
        .await?;
        println!("negative control: {}", log.lines().last().unwrap_or_default());
        eventually("the sidecar is kept out", endpoint::PATIENCE, async || {
            let pod = api.get(&plain).await?;
            match pods::container(&pod, "audit").and_then(ended_last) {
                Some(5) => Ok(()),
                other => Err(Failure::new(format!("its last exit code is {other:?}"))),
            }
        })
        .await
    })
    .await
}

/// What the server tells, through the real sidecar, of its attempts; an error if it took a port, or another answers.
async fn report(caller: &Caller, url: &str) -> Result<String> {
    let attempt = Attempt {
        title: "take the sidecar's ports",
        arguments: json!({ "attempt": "take_ports" }),
    };
    let outcome = attempts::make(caller, url, &attempt).await?;
    if outcome.succeeded {
        Err(Failure::new(outcome.detail))
    } else {
        Ok(outcome.detail)
    }
}

async fn the_pod(scene: &Scene) -> Result<Pod> {
    eventually("the endpoint has a ready pod", endpoint::PATIENCE, async || {
        let pods = endpoint::ready_pods(scene.client(), &scene.namespace, NAME).await?;
        pods.into_iter().next().context("the endpoint has no ready pod")
    })
    .await
}

/// Waits until the kubelet has started the container that often again.
async fn restarted(scene: &Scene, pod: &Pod, container: &str, times: i32) -> Result<()> {
    let api = Api::<Pod>::namespaced(scene.client().clone(), &scene.namespace);
    let what = format!("{container} is started again");
    eventually(&what, endpoint::PATIENCE, async || {
        let pod = api.get(&pod.name_any()).await?;
        let status = pods::container(&pod, container).context("the pod has no such container")?;
        let runs = status.state.as_ref().is_some_and(|state| state.running.is_some());
        if runs && status.restart_count >= times {
            Ok(())
        } else {
            Err(Failure::new(pods::state(&pod)))
        }
    })
    .await
}

fn ended_last(status: &k8s_openapi::api::core::v1::ContainerStatus) -> Option<i32> {
    let ended = [&status.state, &status.last_state]
        .into_iter()
        .flatten()
        .find_map(|state| state.terminated.as_ref())?;
    Some(ended.exit_code)
}

/// The sidecar and the server of `pod` in a pod that no policy selects, without the holder of the ports.
fn unheld(pod: &Pod) -> Result<Value> {
    let mut spec = serde_json::to_value(pod.spec.as_ref().context("the pod has no spec")?)?;
    let fields = spec.as_object_mut().context("a pod's spec is an object")?;
    fields.retain(|field, _| {
        matches!(
            field.as_str(),
            "initContainers" | "containers" | "volumes" | "securityContext"
        )
    });
    let containers = fields
        .get_mut("initContainers")
        .and_then(Value::as_array_mut)
        .context("the pod has no init containers")?;
    containers.retain(|container| container["name"] == "audit");
    for container in containers {
        let arguments = container["args"]
            .as_array_mut()
            .context("the sidecar has no arguments")?;
        let ports = arguments.iter().position(|argument| argument == "--ports");
        arguments.drain(ports.context("the sidecar is told of no holder")?..);
    }
    fields.insert("automountServiceAccountToken".to_owned(), json!(false));
    Ok(json!({ "metadata": { "generateName": "unheld-" }, "spec": fields }))
}
