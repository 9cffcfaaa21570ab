//! Why an endpoint's pods do not become ready, in words that stay the same while the cause does.

use crate::anchors::{self, Source};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt;
use sallyport_api::{conditions::reasons, v1alpha1::AuditWriter};
use sallyport_policy::egress::EgressClients;
use std::net::IpAddr;

/// Why a pod does not become ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// Reason for the condition.
    pub reason: &'static str,
    /// Message for the condition.
    pub message: String,
}

/// The plainest cause among `pods`, newest pods first.
pub fn diagnose(pods: &[Pod]) -> Option<Diagnosis> {
    let mut newest: Vec<_> = pods
        .iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none())
        .collect();
    newest.sort_by_key(|pod| std::cmp::Reverse(pod.creation_timestamp().map(|created| created.0)));
    newest.into_iter().find_map(of_pod)
}

/// Address of a pod that is ready, the newest of them.
pub fn ready_address(pods: &[Pod]) -> Option<IpAddr> {
    let ready = pods
        .iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none() && has_condition(pod, "Ready", "True"));
    let newest = ready.max_by_key(|pod| pod.creation_timestamp().map(|created| created.0))?;
    newest.status.as_ref()?.pod_ip.as_ref()?.parse().ok()
}

/// The pods in which the program that writes records runs, with their addresses.
pub fn writing(pods: &[Pod], writer: AuditWriter) -> Vec<(Source, IpAddr)> {
    let runs = |pod: &&Pod| {
        let status = pod.status.as_ref();
        let init = status.and_then(|status| status.init_container_statuses.as_ref());
        let others = status.and_then(|status| status.container_statuses.as_ref());
        let mut statuses = init.into_iter().chain(others).flatten();
        let program = statuses.find(|status| status.name == anchors::container_of(writer));
        program.is_some_and(|status| status.state.as_ref().is_some_and(|state| state.running.is_some()))
    };
    let address = |pod: &Pod| {
        let address = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
        Some((Source::of(pod, writer), address))
    };
    pods.iter().filter(runs).filter_map(address).collect()
}

/// Which pods have which addresses. One that is over has lost its own, and another may have got it.
pub fn clients(pods: &[Pod]) -> EgressClients {
    let addresses = pods.iter().flat_map(|pod| {
        let status = pod.status.as_ref();
        let is_over = matches!(
            status.and_then(|status| status.phase.as_deref()),
            Some("Failed" | "Succeeded")
        );
        let addresses = status.filter(|_| !is_over).and_then(|status| status.pod_ips.as_ref());
        let addresses = addresses.into_iter().flatten().filter_map(|at| at.ip.parse().ok());
        addresses.map(move |address| (address, pod.name_any()))
    });
    EgressClients::new(addresses)
}

fn of_pod(pod: &Pod) -> Option<Diagnosis> {
    let status = pod.status.as_ref()?;
    let conditions = status.conditions.iter().flatten();
    let unschedulable = conditions
        .into_iter()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")
        .and_then(|condition| condition.message.as_ref())
        .map(|message| format!("no node takes the pod: {message}"));
    let failed = (status.phase.as_deref() == Some("Failed")).then(|| {
        let why = [&status.reason, &status.message]
            .map(|part| part.clone().unwrap_or_default())
            .join(": ");
        format!("the pod failed: {why}")
    });
    let init = status.init_container_statuses.iter().flatten();
    let containers = init.chain(status.container_statuses.iter().flatten());
    let message = unschedulable
        .or(failed)
        .or_else(|| containers.into_iter().find_map(of_container))?;
    Some(Diagnosis {
        reason: reasons::CONTAINER_NOT_STARTING,
        message,
    })
}

fn of_container(status: &ContainerStatus) -> Option<String> {
    let name = &status.name;
    let waiting = status.state.as_ref().and_then(|state| state.waiting.as_ref())?;
    let message = waiting.message.clone().unwrap_or_default();
    match waiting.reason.as_deref()? {
        "PodInitializing" | "ContainerCreating" => None,
        // The kubelet alternates between these two; only the second part says why.
        "ImagePullBackOff" | "ErrImagePull" => {
            let why = message
                .split_once("ErrImagePull: ")
                .map_or(message.as_str(), |(_, why)| why);
            Some(format!("the image of container {name} cannot be pulled: {why}"))
        }
        // The kubelet's message counts the back-off up; how the container ended is what matters.
        "CrashLoopBackOff" => {
            let ended = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
            let how = ended.map_or_else(String::new, |ended| {
                let reason = ended.reason.as_deref().unwrap_or("Error");
                format!(" with exit code {} ({reason})", ended.exit_code)
            });
            Some(format!(
                "container {name} ends again and again{how}; kubectl logs -c {name} --previous shows why"
            ))
        }
        reason => Some(format!("container {name} does not start: {reason}: {message}")),
    }
}

fn has_condition(pod: &Pod, type_: &str, value: &str) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == type_ && condition.status == value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(created: u8, status: &Value) -> Pod {
        let created = format!("2026-01-01T00:00:0{created}Z");
        serde_json::from_value(json!({"metadata": {"name": "demo-1", "creationTimestamp": created}, "status": status}))
            .unwrap()
    }

    fn waiting(reason: &str, message: &str) -> Value {
        json!({"containerStatuses": [{
            "name": "server", "image": "", "imageID": "", "ready": false, "restartCount": 7,
            "state": {"waiting": {"reason": reason, "message": message}},
            "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}},
        }]})
    }

    #[test]
    fn each_cause_reads_plainly_and_without_counters() {
        let pull = "Back-off pulling image \"x\": ErrImagePull: rpc error: not found";
        let table = [
            (
                waiting("ImagePullBackOff", pull),
                "the image of container server cannot be pulled: rpc error: not found",
            ),
            (
                waiting("ErrImagePull", "rpc error: not found"),
                "the image of container server cannot be pulled: rpc error: not found",
            ),
            (
                waiting("CrashLoopBackOff", "back-off 5m0s restarting failed container=server"),
                "container server ends again and again with exit code 1 (Error); kubectl logs -c server --previous shows why",
            ),
            (
                waiting("CreateContainerConfigError", "secret \"upstream\" not found"),
                "container server does not start: CreateContainerConfigError: secret \"upstream\" not found",
            ),
            (
                json!({"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}]}),
                "no node takes the pod: 0/1 nodes are available",
            ),
            (
                json!({"phase": "Failed", "reason": "Evicted", "message": "the node was low on memory"}),
                "the pod failed: Evicted: the node was low on memory",
            ),
        ];
        for (status, expected) in table {
            assert_eq!(diagnose(&[pod(0, &status)]).unwrap().message, expected);
        }
        assert_eq!(diagnose(&[pod(0, &waiting("ContainerCreating", ""))]), None);
    }

    #[test]
    fn the_pods_that_have_an_address_are_known_by_it() {
        let at = |name: &str, phase: &str, addresses: &[&str]| {
            let addresses: Vec<_> = addresses.iter().map(|ip| json!({"ip": ip})).collect();
            let mut pod = pod(0, &json!({"phase": phase, "podIPs": addresses}));
            pod.metadata.name = Some(name.to_owned());
            pod
        };
        let clients = clients(&[
            at("demo-1", "Running", &["10.0.0.1", "fd00::1"]),
            at("demo-2", "Pending", &[]),
            at("demo-3", "Failed", &["10.0.0.1"]),
            at("demo-4", "Running", &["10.0.0.4"]),
            at("demo-5", "Running", &["10.0.0.4"]),
        ]);
        for (address, pod) in [
            ("10.0.0.1", Some("demo-1")),
            ("fd00::1", Some("demo-1")),
            ("10.0.0.4", None),
        ] {
            assert_eq!(clients.name(address.parse().unwrap()), pod, "{address}");
        }
    }

    #[test]
    fn the_newest_ready_pod_is_asked() {
        let ready = |ip: &str, ready: &str| json!({"podIP": ip, "conditions": [{"type": "Ready", "status": ready}]});
        let pods = [
            pod(1, &ready("10.0.0.1", "True")),
            pod(2, &ready("10.0.0.2", "True")),
            pod(3, &ready("10.0.0.3", "False")),
        ];
        assert_eq!(ready_address(&pods), Some("10.0.0.2".parse().unwrap()));
        assert_eq!(ready_address(&[]), None);
    }
}
