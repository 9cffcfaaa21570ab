//! Views of a pod that several checks share.

use k8s_openapi::api::core::v1::{Container, LifecycleHandler, PodSpec, Probe, SecurityContext, Volume, VolumeMount};

/// Init containers, sidecars among them, then main containers.
pub(super) fn all(pod: &PodSpec) -> impl Iterator<Item = &Container> {
    pod.init_containers.iter().flatten().chain(&pod.containers)
}

/// Names of the containers for which `offends` holds.
pub(super) fn names_where(pod: &PodSpec, offends: impl Fn(&Container) -> bool) -> Vec<String> {
    all(pod)
        .filter(|container| offends(container))
        .map(|container| container.name.clone())
        .collect()
}

/// Names of the containers whose security context does not fit; an absent one is judged as an empty one.
pub(super) fn context_where(pod: &PodSpec, offends: impl Fn(&SecurityContext) -> bool) -> Vec<String> {
    let empty = SecurityContext::default();
    names_where(pod, |container| {
        offends(container.security_context.as_ref().unwrap_or(&empty))
    })
}

/// All volumes.
pub(super) fn volumes(pod: &PodSpec) -> impl Iterator<Item = &Volume> {
    pod.volumes.iter().flatten()
}

/// All volume mounts.
pub(super) fn mounts(pod: &PodSpec) -> impl Iterator<Item = &VolumeMount> {
    all(pod).flat_map(|container| container.volume_mounts.iter().flatten())
}

/// All probes of a container.
pub(super) fn probes(container: &Container) -> impl Iterator<Item = &Probe> {
    [
        &container.startup_probe,
        &container.liveness_probe,
        &container.readiness_probe,
    ]
    .into_iter()
    .flatten()
}

/// All lifecycle hooks of a container.
pub(super) fn hooks(container: &Container) -> impl Iterator<Item = &LifecycleHandler> {
    let lifecycle = container.lifecycle.iter();
    lifecycle.flat_map(|lifecycle| [&lifecycle.post_start, &lifecycle.pre_stop].into_iter().flatten())
}
