//! What is done to a pod from its node, past the API server.

use crate::{Cluster, Context, Failure, Result, cluster::Place, pods};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

/// Ends a running container's process by SIGKILL, as the kernel does to one that is out of memory.
///
/// # Errors
///
/// When the container does not run, or the node is not that of a local cluster.
pub async fn kill(cluster: &Cluster, pod: &Pod, container: &str) -> Result<()> {
    let Place::Local { name, state } = &cluster.place else {
        return Err(Failure::new("processes can be killed in a local cluster only"));
    };
    let ctr = state.join("bin/ctr").display().to_string();
    let id = pods::container(pod, container)
        .and_then(|status| status.container_id.as_deref()?.strip_prefix("containerd://"))
        .context(format!("{container} of {} does not run", pod.name_any()))?;
    let tasks = ["--namespace", "k8s.io", "tasks", "kill", "--signal", "SIGKILL", id];
    let command = [&["exec", "--name", name, "--", &ctr], tasks.as_slice()].concat();
    cluster.tool.run(&command).await?;
    Ok(())
}
