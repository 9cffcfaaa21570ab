//! The restricted Pod Security Standard, Kubernetes 1.33 to 1.37, written after the checks of
//! kubernetes/pod-security-admission. Checks of the baseline level are folded into stricter ones of the same field.
//!
//! The relaxations for pods in a user namespace (1.35 and later) are not taken: those fields stay strict everywhere.

use super::{
    Check, Verdict,
    containers::{context_where, hooks, names_where, probes, volumes},
};
use k8s_openapi::api::core::v1::{PodSecurityContext, PodSpec, SeccompProfile, Volume};
use serde_json::Value;

const BASELINE: &str = "Pod Security Standards, baseline";
const RESTRICTED: &str = "Pod Security Standards, restricted";

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "pss-host-namespaces",
        title: "The pod shares no network, process or IPC namespace with its node",
        source: BASELINE,
        check: |pod| {
            let shared = [
                ("hostNetwork", pod.host_network),
                ("hostPID", pod.host_pid),
                ("hostIPC", pod.host_ipc),
            ];
            let shared = shared.into_iter().filter(|(_, shares)| *shares == Some(true));
            Verdict::none(
                shared.map(|(field, _)| field.to_owned()),
                "shares namespaces with the node",
            )
        },
    },
    Check {
        id: "pss-privileged",
        title: "No container is privileged",
        source: BASELINE,
        check: |pod| {
            let privileged = context_where(pod, |context| context.privileged == Some(true));
            Verdict::none(privileged, "privileged containers")
        },
    },
    Check {
        id: "pss-capabilities-dropped",
        title: "Every container drops all Linux capabilities",
        source: RESTRICTED,
        check: |pod| {
            let keeping = context_where(pod, |context| {
                let dropped = context.capabilities.iter().flat_map(|set| set.drop.iter().flatten());
                !dropped.into_iter().any(|capability| capability == "ALL")
            });
            Verdict::none(keeping, "containers that do not drop ALL")
        },
    },
    Check {
        id: "pss-capabilities-added",
        title: "No container adds a Linux capability",
        source: RESTRICTED,
        check: |pod| {
            // The standard allows NET_BIND_SERVICE; nothing here binds a low port.
            let adding = context_where(pod, |context| {
                context
                    .capabilities
                    .iter()
                    .any(|set| set.add.as_ref().is_some_and(|added| !added.is_empty()))
            });
            Verdict::none(adding, "containers that add capabilities")
        },
    },
    Check {
        id: "pss-volume-types",
        title: "Volumes are of the types that cannot reach the node: no hostPath, no network file systems",
        source: RESTRICTED,
        check: |pod| {
            let other = volumes(pod)
                .filter(|volume| !is_allowed(volume))
                .map(|volume| volume.name.clone());
            Verdict::none(other, "volumes of other types")
        },
    },
    Check {
        id: "pss-host-ports",
        title: "No container takes a port of its node",
        source: BASELINE,
        check: |pod| {
            let taking = names_where(pod, |container| {
                container
                    .ports
                    .iter()
                    .flatten()
                    .any(|port| port.host_port.is_some_and(|port| port != 0))
            });
            Verdict::none(taking, "containers with hostPort")
        },
    },
    Check {
        id: "pss-proc-mount",
        title: "/proc stays masked",
        source: RESTRICTED,
        check: |pod| {
            let unmasked = context_where(pod, |context| {
                context.proc_mount.as_ref().is_some_and(|kind| kind != "Default")
            });
            Verdict::none(unmasked, "containers with another procMount")
        },
    },
    Check {
        id: "pss-selinux",
        title: "SELinux types are the container types, user and role are the runtime's",
        source: BASELINE,
        check: |pod| {
            let allowed = [
                "",
                "container_t",
                "container_init_t",
                "container_kvm_t",
                "container_engine_t",
            ];
            let fits = |options: &k8s_openapi::api::core::v1::SELinuxOptions| {
                allowed.contains(&options.type_.as_deref().unwrap_or_default())
                    && options.user.is_none()
                    && options.role.is_none()
            };
            let own = context_where(pod, |context| {
                context.se_linux_options.as_ref().is_some_and(|own| !fits(own))
            });
            let pod_level = context(pod).and_then(|context| context.se_linux_options.as_ref());
            let pod_level = pod_level.filter(|options| !fits(options)).map(|_| "pod".to_owned());
            Verdict::none(pod_level.into_iter().chain(own), "SELinux options")
        },
    },
    Check {
        id: "pss-apparmor",
        title: "AppArmor is not switched off",
        source: BASELINE,
        check: |pod| {
            let off = |profile: &k8s_openapi::api::core::v1::AppArmorProfile| {
                !matches!(profile.type_.as_str(), "RuntimeDefault" | "Localhost")
            };
            let own = context_where(pod, |context| context.app_armor_profile.as_ref().is_some_and(off));
            let pod_level = context(pod).and_then(|context| context.app_armor_profile.as_ref());
            let pod_level = pod_level.filter(|profile| off(profile)).map(|_| "pod".to_owned());
            Verdict::none(pod_level.into_iter().chain(own), "unconfined by AppArmor")
        },
    },
    Check {
        id: "pss-seccomp",
        title: "System calls are filtered by a seccomp profile in every container",
        source: RESTRICTED,
        check: |pod| {
            let filters = |profile: &SeccompProfile| matches!(profile.type_.as_str(), "RuntimeDefault" | "Localhost");
            let pod_level = context(pod).and_then(|context| context.seccomp_profile.as_ref());
            let unfiltered = context_where(pod, |context| {
                !context.seccomp_profile.as_ref().or(pod_level).is_some_and(filters)
            });
            Verdict::none(unfiltered, "containers without a profile")
        },
    },
    Check {
        id: "pss-sysctls",
        title: "The pod sets no kernel parameter",
        source: BASELINE,
        check: |pod| {
            // The standard allows a few; none is needed.
            let set = context(pod)
                .into_iter()
                .flat_map(|context| context.sysctls.iter().flatten());
            Verdict::none(set.map(|sysctl| sysctl.name.clone()), "sysctls")
        },
    },
    Check {
        id: "pss-host-process",
        title: "No container runs as a Windows host process",
        source: BASELINE,
        check: |pod| {
            let own = context_where(pod, |context| {
                context
                    .windows_options
                    .as_ref()
                    .is_some_and(|options| options.host_process == Some(true))
            });
            let pod_level = context(pod).and_then(|context| context.windows_options.as_ref());
            let pod_level = pod_level
                .filter(|options| options.host_process == Some(true))
                .map(|_| "pod".to_owned());
            Verdict::none(pod_level.into_iter().chain(own), "hostProcess")
        },
    },
    Check {
        id: "pss-probe-hosts",
        title: "Probes and lifecycle hooks address the pod itself, no other host",
        source: "Pod Security Standards, baseline (1.34 and later)",
        check: |pod| {
            let elsewhere = names_where(pod, |container| {
                let gets = probes(container).filter_map(|probe| probe.http_get.as_ref());
                let hook_gets = hooks(container).filter_map(|hook| hook.http_get.as_ref());
                let sockets = probes(container).filter_map(|probe| probe.tcp_socket.as_ref());
                let hook_sockets = hooks(container).filter_map(|hook| hook.tcp_socket.as_ref());
                let get_hosts = gets.chain(hook_gets).map(|get| &get.host);
                let socket_hosts = sockets.chain(hook_sockets).map(|socket| &socket.host);
                get_hosts.chain(socket_hosts).flatten().any(|host| !host.is_empty())
            });
            Verdict::none(elsewhere, "containers that name a host")
        },
    },
    Check {
        id: "pss-privilege-escalation",
        title: "No process can gain more privileges than its parent",
        source: RESTRICTED,
        check: |pod| {
            let gaining = context_where(pod, |context| context.allow_privilege_escalation != Some(false));
            Verdict::none(gaining, "containers without allowPrivilegeEscalation: false")
        },
    },
    Check {
        id: "pss-run-as-non-root",
        title: "The kubelet refuses to start a container as root",
        source: RESTRICTED,
        check: |pod| {
            let pod_level = context(pod).and_then(|context| context.run_as_non_root);
            let root = context_where(pod, |context| context.run_as_non_root.or(pod_level) != Some(true));
            Verdict::none(root, "containers without runAsNonRoot: true")
        },
    },
    Check {
        id: "pss-run-as-user",
        title: "No container runs as user 0",
        source: RESTRICTED,
        check: |pod| {
            let root = context_where(pod, |context| context.run_as_user == Some(0));
            let pod_level = context(pod)
                .filter(|context| context.run_as_user == Some(0))
                .map(|_| "pod".to_owned());
            Verdict::none(pod_level.into_iter().chain(root), "runs as user 0")
        },
    },
    Check {
        id: "pss-ephemeral-containers",
        title: "No debug container is part of the template",
        source: RESTRICTED,
        check: |pod| {
            let debug = pod
                .ephemeral_containers
                .iter()
                .flatten()
                .map(|container| container.name.clone());
            Verdict::none(debug, "ephemeral containers")
        },
    },
];

fn context(pod: &PodSpec) -> Option<&PodSecurityContext> {
    pod.security_context.as_ref()
}

/// Whether the volume is of a type that the restricted level allows. Read from the serialised form, so that a type that
/// is added to Kubernetes later is refused until it is listed here.
fn is_allowed(volume: &Volume) -> bool {
    const ALLOWED: &[&str] = &[
        "name",
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ];
    match serde_json::to_value(volume) {
        Ok(Value::Object(fields)) => fields.keys().all(|field| ALLOWED.contains(&field.as_str())),
        _ => false,
    }
}
