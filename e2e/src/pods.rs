//! Pods of the tests' own: started, looked at, and run programs in.

use crate::{Cluster, Context, Failure, Result, eventually, objects::apply_json};
use k8s_openapi::{
    api::core::v1::{ContainerStatus, Pod},
    apimachinery::pkg::apis::meta::v1::Status,
};
use kube::{
    Api, Client, ResourceExt,
    api::{AttachParams, ListParams, LogParams},
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// What a program in a container said.
#[derive(Clone, Debug)]
pub struct Executed {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Exit status; -1 if it is not known.
    pub code: i32,
}

/// Runs `command` in a container of a running pod.
///
/// # Errors
///
/// When it cannot be started. A program that fails is no error here.
pub async fn exec(client: &Client, namespace: &str, pod: &str, container: &str, command: &[&str]) -> Result<Executed> {
    let api = Api::<Pod>::namespaced(client.clone(), namespace);
    let parameters = AttachParams::default().container(container).stderr(true);
    let what = || format!("run {command:?} in {namespace}/{pod}");
    let mut process = api.exec(pod, command.to_vec(), &parameters).await.context(what())?;
    let (status, out, err) = (process.take_status(), process.stdout(), process.stderr());
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let read = async {
        tokio::try_join!(
            async {
                match out {
                    Some(mut out) => out.read_to_end(&mut stdout).await,
                    None => Ok(0),
                }
            },
            async {
                match err {
                    Some(mut err) => err.read_to_end(&mut stderr).await,
                    None => Ok(0),
                }
            },
        )
    };
    read.await.context(what())?;
    let status = match status {
        Some(status) => status.await,
        None => None,
    };
    Ok(Executed {
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
        code: status.as_ref().map_or(-1, exit_code),
    })
}

/// The exit status as the API server reports it: a cause named `ExitCode` of a failure.
fn exit_code(status: &Status) -> i32 {
    if status.status.as_deref() == Some("Success") {
        return 0;
    }
    let causes = status.details.as_ref().and_then(|details| details.causes.as_deref());
    causes
        .unwrap_or_default()
        .iter()
        .find(|cause| cause.reason.as_deref() == Some("ExitCode"))
        .and_then(|cause| cause.message.as_deref()?.parse().ok())
        .unwrap_or(-1)
}

/// The log of a container.
///
/// # Errors
///
/// When there is none.
pub async fn logs(client: &Client, namespace: &str, pod: &str, container: &str) -> Result<String> {
    let parameters = LogParams {
        container: Some(container.to_owned()),
        ..LogParams::default()
    };
    let api = Api::<Pod>::namespaced(client.clone(), namespace);
    api.logs(pod, &parameters)
        .await
        .context(format!("read the log of {container} in {namespace}/{pod}"))
}

/// The logs of `container` in all pods that carry `labels`, once they hold all `words`: the container runtime copies what a
/// container writes some moments later.
///
/// # Errors
///
/// When they do not hold one of them; the message is what they hold.
pub async fn logs_with(
    client: &Client,
    namespace: &str,
    labels: &str,
    container: &str,
    words: &[&str],
) -> Result<String> {
    let what = format!("the log of {container} holds {words:?}");
    eventually(&what, Duration::from_secs(30), async || {
        let mut log = String::new();
        for pod in list(client, namespace, labels).await? {
            log += &logs(client, namespace, &pod.name_any(), container).await?;
        }
        if words.iter().all(|word| log.contains(word)) {
            Ok(log)
        } else {
            Err(Failure::new(log))
        }
    })
    .await
}

/// The pods that carry `labels` and are not being deleted.
///
/// # Errors
///
/// When they cannot be listed.
pub async fn list(client: &Client, namespace: &str, labels: &str) -> Result<Vec<Pod>> {
    let pods = Api::<Pod>::namespaced(client.clone(), namespace)
        .list(&ListParams::default().labels(labels))
        .await;
    let pods = pods.context(format!("list the pods {labels} of {namespace}"))?;
    Ok(pods
        .into_iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none())
        .collect())
}

/// Whether the pod is ready.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref());
    conditions
        .unwrap_or_default()
        .iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// The pod's address.
///
/// # Errors
///
/// When it has none yet.
pub fn address(pod: &Pod) -> Result<String> {
    let address = pod.status.as_ref().and_then(|status| status.pod_ip.clone());
    address.context(format!("pod {} has no address yet", pod.name_any()))
}

/// Starts a plain pod, without anything of ours, and waits until it is ready.
///
/// # Errors
///
/// When it is refused or does not become ready within two minutes.
pub async fn start(cluster: &Cluster, namespace: &str, name: &str, container: Value) -> Result<Pod> {
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "labels": { "app": name } },
        "spec": { "terminationGracePeriodSeconds": 0, "containers": [container] },
    });
    apply_json::<Pod>(&cluster.client, namespace, pod).await?;
    ready(&cluster.client, namespace, name).await
}

/// Waits until the pod is ready.
///
/// # Errors
///
/// When it does not become so within two minutes.
pub async fn ready(client: &Client, namespace: &str, name: &str) -> Result<Pod> {
    let api = Api::<Pod>::namespaced(client.clone(), namespace);
    eventually(
        &format!("pod {namespace}/{name} ready"),
        Duration::from_mins(2),
        async || {
            let pod = api.get(name).await?;
            if is_ready(&pod) {
                Ok(pod)
            } else {
                Err(Failure::new(state(&pod)))
            }
        },
    )
    .await
}

/// What the kubelet says of a container of the pod, init containers included.
pub fn container<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let init = status.init_container_statuses.iter().flatten();
    init.chain(status.container_statuses.iter().flatten())
        .find(|status| status.name == name)
}

/// Why a pod is not ready, as far as its container states say.
pub fn state(pod: &Pod) -> String {
    let Some(status) = &pod.status else {
        return "no status yet".to_owned();
    };
    let containers = status
        .init_container_statuses
        .iter()
        .chain(&status.container_statuses)
        .flatten();
    let waiting: Vec<String> = containers
        .filter(|container| !container.ready)
        .map(|container| {
            let state = serde_json::to_string(&container.state).unwrap_or_default();
            format!("{}: {state}", container.name)
        })
        .collect();
    format!(
        "{} {}",
        status.phase.as_deref().unwrap_or("Unknown"),
        waiting.join(", ")
    )
}
