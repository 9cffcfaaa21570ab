//! What goes beyond the restricted Pod Security Standard.

use super::{
    Check, Verdict,
    containers::{all, context_where, hooks, mounts, names_where, probes, volumes},
};
use crate::{
    containers::{GUARD, SIDECAR},
    holder::{self, HOLDER},
};
use k8s_openapi::api::core::v1::{Container, PodSecurityContext, PodSpec, ResourceRequirements};
use std::collections::{BTreeMap, BTreeSet};

/// Users and groups up to this one may exist on the node.
const HIGHEST_NODE_ID: i64 = 10_000;

/// What every container must bound.
const BOUNDED: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "read-only-root",
        title: "The root file system of every container is read-only",
        source: "NSA/CISA Kubernetes Hardening; CIS 5.7; KSV-0014",
        check: |pod| {
            let writable = context_where(pod, |context| context.read_only_root_filesystem != Some(true));
            Verdict::none(writable, "containers without readOnlyRootFilesystem: true")
        },
    },
    Check {
        id: "own-user",
        title: "Every container states a user above 10000, which exists on no node",
        source: "KSV-0020; CKV_K8S_40",
        check: |pod| {
            let shared = context_where(pod, |context| {
                // User 0 is the business of pss-run-as-user.
                context
                    .run_as_user
                    .is_none_or(|user| user != 0 && user <= HIGHEST_NODE_ID)
            });
            Verdict::none(shared, "containers with a low or no user")
        },
    },
    Check {
        id: "own-group",
        title: "Every container and the pod's volumes have a group above 10000",
        source: "KSV-0021; Kubescape C-0013",
        check: |pod| {
            let low = |group: Option<i64>| group.is_none_or(|group| group <= HIGHEST_NODE_ID);
            let shared = context_where(pod, |context| low(context.run_as_group));
            let fs_group = low(context(pod).and_then(|context| context.fs_group)).then(|| "fsGroup".to_owned());
            Verdict::none(shared.into_iter().chain(fs_group), "low or no group")
        },
    },
    Check {
        id: "users-apart",
        title: "No two containers run as one user, so none can signal or trace another; the holder of the audit sidecar's ports is its other half",
        source: "Sallyport",
        check: |pod| {
            let whose = |name: &str| if name == HOLDER { SIDECAR } else { name }.to_owned();
            let users: BTreeSet<_> = all(pod)
                .filter_map(|container| {
                    Some((
                        whose(&container.name),
                        container.security_context.as_ref()?.run_as_user?,
                    ))
                })
                .collect();
            let distinct: BTreeSet<_> = users.iter().map(|(_, user)| user).collect();
            Verdict::pass_if(distinct.len() == users.len(), "containers share a user")
        },
    },
    Check {
        id: "non-root-everywhere",
        title: "runAsNonRoot is stated by the pod and by every container",
        source: "Kubescape C-0013; KSV-0012",
        check: |pod| {
            // A container that says false is the business of pss-run-as-non-root.
            let silent = context_where(pod, |context| context.run_as_non_root.is_none());
            let pod_level = context(pod).and_then(|context| context.run_as_non_root);
            let pod_level = pod_level.is_none().then(|| "pod".to_owned());
            Verdict::none(pod_level.into_iter().chain(silent), "not stated")
        },
    },
    Check {
        id: "seccomp-everywhere",
        title: "The seccomp profile is stated by the pod and by every container",
        source: "CIS 5.7.2; Kubescape C-0055",
        check: |pod| {
            let silent = context_where(pod, |context| context.seccomp_profile.is_none());
            let pod_level = context(pod).is_none_or(|context| context.seccomp_profile.is_none());
            let pod_level = pod_level.then(|| "pod".to_owned());
            Verdict::none(pod_level.into_iter().chain(silent), "not stated")
        },
    },
    Check {
        id: "user-namespace",
        title: "The pod runs in a user namespace: root inside would be nobody on the node",
        source: "KEP-127",
        check: |pod| {
            Verdict::pass_if(
                pod.host_users == Some(false),
                "hostUsers is not false; it is set only when every node supports user namespaces",
            )
        },
    },
    Check {
        id: "strict-groups",
        title: "Groups that the image declares for its user are not taken over",
        source: "KEP-3619",
        check: |pod| {
            let policy = context(pod).and_then(|context| context.supplemental_groups_policy.as_deref());
            Verdict::pass_if(
                policy == Some("Strict"),
                "supplementalGroupsPolicy is not Strict; it is set only when every node supports it",
            )
        },
    },
    Check {
        id: "no-token",
        title: "No token of the Kubernetes API is mounted",
        source: "CIS 5.1.6; NSA/CISA; CKV_K8S_38",
        check: |pod| {
            Verdict::pass_if(
                pod.automount_service_account_token == Some(false),
                "automountServiceAccountToken is not false",
            )
        },
    },
    Check {
        id: "no-projected-token",
        title: "No volume projects a token of a service account",
        source: "CIS 5.1.6",
        check: |pod| {
            let tokens = volumes(pod).filter(|volume| {
                let sources = volume
                    .projected
                    .iter()
                    .flat_map(|projected| projected.sources.iter().flatten());
                sources.into_iter().any(|source| source.service_account_token.is_some())
            });
            Verdict::none(tokens.map(|volume| volume.name.clone()), "volumes with a token")
        },
    },
    Check {
        id: "own-service-account",
        title: "The pod has a service account of its own, without rights",
        source: "CIS 5.1.5",
        check: |pod| {
            let own = pod
                .service_account_name
                .as_deref()
                .is_some_and(|name| !matches!(name, "" | "default"));
            Verdict::pass_if(own, "the pod uses the namespace's default service account")
        },
    },
    Check {
        id: "no-service-links",
        title: "The addresses of the namespace's services are not handed to the server",
        source: "Sallyport",
        check: |pod| {
            Verdict::pass_if(
                pod.enable_service_links == Some(false),
                "enableServiceLinks is not false",
            )
        },
    },
    Check {
        id: "no-shared-processes",
        title: "Containers do not see each other's processes",
        source: "CIS 5.2; Kubescape C-0038",
        check: |pod| {
            Verdict::pass_if(
                pod.share_process_namespace != Some(true),
                "shareProcessNamespace is true",
            )
        },
    },
    Check {
        id: "no-host-aliases",
        title: "No name is redirected by the pod",
        source: "KSV-0007",
        check: |pod| {
            Verdict::pass_if(
                pod.host_aliases.as_ref().is_none_or(Vec::is_empty),
                "hostAliases are set",
            )
        },
    },
    Check {
        id: "no-dns",
        title: "The pod has no name server, so that no data leaves by queries",
        source: "Sallyport",
        check: |pod| {
            let servers = pod
                .dns_config
                .iter()
                .flat_map(|config| config.nameservers.iter().flatten());
            let reachable: Vec<_> = servers
                .filter(|server| *server != "127.0.0.1" && *server != "::1")
                .collect();
            Verdict::pass_if(
                pod.dns_policy.as_deref() == Some("None") && reachable.is_empty(),
                "dnsPolicy is not None, or a name server is named",
            )
        },
    },
    Check {
        id: "priority-class",
        title: "The pod has a PriorityClass, which the namespace's quota of endpoints is scoped to",
        source: "Sallyport",
        check: |pod| {
            let named = pod.priority_class_name.as_deref().is_some_and(|name| !name.is_empty());
            Verdict::pass_if(named, "priorityClassName is not set")
        },
    },
    Check {
        id: "scheduled-as-any",
        title: "The pod neither picks its node nor tolerates a taint, so control-plane nodes stay closed to it",
        source: "NSA/CISA; Kubescape C-0270",
        check: |pod| {
            let picked = pod.node_name.is_some() || pod.tolerations.as_ref().is_some_and(|list| !list.is_empty());
            Verdict::pass_if(!picked, "nodeName or tolerations are set")
        },
    },
    Check {
        id: "pinned-images",
        title: "Every image is pinned by digest",
        source: "Kubescape C-0306; CKV_K8S_43",
        check: |pod| {
            let loose = names_where(pod, |container| {
                !container.image.as_deref().is_some_and(crate::syntax::is_pinned_image)
            });
            Verdict::none(loose, "containers whose image has no digest")
        },
    },
    Check {
        id: "pull-always",
        title: "The right to pull an image is proved at every start",
        source: "CIS 5.5; CKV_K8S_15; kube-score",
        check: |pod| {
            let cached = names_where(pod, |container| {
                container.image_pull_policy.as_deref() != Some("Always")
            });
            Verdict::none(cached, "containers without imagePullPolicy: Always")
        },
    },
    Check {
        id: "limits",
        title: "Every container limits CPU, memory and disk",
        source: "NSA/CISA; CKV_K8S_11, 13; kube-score",
        check: |pod| {
            let unbounded = names_where(pod, |container| {
                let limits = amounts(container, |resources| &resources.limits);
                !BOUNDED.iter().all(|name| limits.contains_key(*name))
            });
            Verdict::none(unbounded, "containers without a limit")
        },
    },
    Check {
        id: "requests-equal-limits",
        title: "Every container requests what it may use, so that it neither starves nor crowds out",
        source: "Sallyport; CKV_K8S_10, 12",
        check: |pod| {
            let overcommitted = names_where(pod, |container| {
                let requests = amounts(container, |resources| &resources.requests);
                let limits = amounts(container, |resources| &resources.limits);
                limits.iter().any(|(name, limit)| requests.get(name) != Some(limit))
            });
            Verdict::none(overcommitted, "containers whose requests differ from their limits")
        },
    },
    Check {
        id: "bounded-empty-dirs",
        title: "Every emptyDir has a size limit",
        source: "Sallyport; kube-score",
        check: |pod| {
            let unbounded =
                volumes(pod).filter(|volume| volume.empty_dir.as_ref().is_some_and(|dir| dir.size_limit.is_none()));
            Verdict::none(unbounded.map(|volume| volume.name.clone()), "volumes without sizeLimit")
        },
    },
    Check {
        id: "read-only-mounts",
        title: "Only emptyDirs are mounted writable",
        source: "Kubescape C-0045",
        check: |pod| {
            let empty: BTreeSet<_> = volumes(pod)
                .filter(|volume| volume.empty_dir.is_some())
                .map(|volume| &volume.name)
                .collect();
            let writable = mounts(pod).filter(|mount| mount.read_only != Some(true) && !empty.contains(&mount.name));
            Verdict::none(writable.map(|mount| mount.name.clone()), "writable mounts")
        },
    },
    Check {
        id: "no-sub-paths",
        title: "No volume is mounted by subPath, which would never be updated",
        source: "Sallyport",
        check: |pod| {
            let partial = mounts(pod).filter(|mount| mount.sub_path.is_some() || mount.sub_path_expr.is_some());
            Verdict::none(partial.map(|mount| mount.name.clone()), "mounts by subPath")
        },
    },
    Check {
        id: "no-mount-propagation",
        title: "Mounts inside a container stay inside",
        source: "KSV-0117",
        check: |pod| {
            let spreading = mounts(pod).filter(|mount| {
                mount
                    .mount_propagation
                    .as_ref()
                    .is_some_and(|propagation| propagation != "None")
            });
            Verdict::none(spreading.map(|mount| mount.name.clone()), "mounts that propagate")
        },
    },
    Check {
        id: "no-devices",
        title: "No block device and no claimed device is handed to the pod",
        source: "Sallyport",
        check: |pod| {
            let devices = names_where(pod, |container| {
                container
                    .volume_devices
                    .as_ref()
                    .is_some_and(|devices| !devices.is_empty())
            });
            let claims = pod.resource_claims.iter().flatten().map(|claim| claim.name.clone());
            Verdict::none(devices.into_iter().chain(claims), "devices")
        },
    },
    Check {
        id: "no-secrets-in-env",
        title: "No secret is handed over as an environment variable",
        source: "CIS 5.4.1; Kubescape C-0207; CKV_K8S_35",
        check: |pod| {
            let leaking = names_where(pod, |container| {
                let by_key = container
                    .env
                    .iter()
                    .flatten()
                    .filter_map(|variable| variable.value_from.as_ref());
                let whole = container.env_from.iter().flatten();
                by_key.into_iter().any(|source| source.secret_key_ref.is_some())
                    || whole.into_iter().any(|source| source.secret_ref.is_some())
            });
            Verdict::none(leaking, "containers with secrets in env")
        },
    },
    Check {
        id: "secret-mode",
        title: "Secret files are readable by their user and group alone",
        source: "Sallyport",
        check: |pod| {
            let open = volumes(pod).filter(|volume| {
                // Without a mode, Kubernetes takes 0644.
                volume.secret.as_ref().is_some_and(|secret| {
                    let modes = secret.items.iter().flatten().filter_map(|item| item.mode);
                    modes
                        .chain([secret.default_mode.unwrap_or(0o644)])
                        .any(|mode| mode & !0o440 != 0)
                })
            });
            Verdict::none(
                open.map(|volume| volume.name.clone()),
                "volumes with a mode beyond 0440",
            )
        },
    },
    Check {
        id: "secret-in-one-container",
        title: "A secret is mounted into the one container that needs it",
        source: "Sallyport",
        check: |pod| {
            let secrets = volumes(pod).filter(|volume| volume.secret.is_some());
            let shared = secrets.filter(|volume| {
                let mounting = |container: &&Container| {
                    container
                        .volume_mounts
                        .iter()
                        .flatten()
                        .any(|mount| mount.name == volume.name)
                };
                all(pod).filter(mounting).count() > 1
            });
            Verdict::none(
                shared.map(|volume| volume.name.clone()),
                "secrets in several containers",
            )
        },
    },
    Check {
        id: "one-writer",
        title: "A directory that containers share is written by one of them alone",
        source: "Sallyport",
        check: |pod| {
            let writers = |name: &String| {
                let writing = |container: &&Container| {
                    let mounts = container.volume_mounts.iter().flatten();
                    mounts
                        .into_iter()
                        .any(|mount| mount.name == *name && mount.read_only != Some(true))
                };
                all(pod).filter(writing).count()
            };
            let shared = volumes(pod).filter(|volume| volume.empty_dir.is_some() && writers(&volume.name) > 1);
            Verdict::none(shared.map(|volume| volume.name.clone()), "volumes with several writers")
        },
    },
    Check {
        id: "guarded-start",
        title: "The guard runs to its end before anything else starts, so that nothing runs before the pod is closed",
        source: "Sallyport",
        check: |pod| {
            let first = pod.init_containers.iter().flatten().next();
            let guarded = first.is_some_and(|container| container.name == GUARD && container.restart_policy.is_none());
            Verdict::pass_if(guarded, "the first container is not the guard, or is not waited for")
        },
    },
    Check {
        id: "audited-entrance",
        title: "The audit sidecar starts first after the guard and the holder of its ports, runs as long as the pod, and alone declares ports",
        source: "Sallyport",
        check: |pod| {
            let mut starting = pod.init_containers.iter().flatten();
            let first = starting.find(|container| container.name != GUARD && container.name != HOLDER);
            let gate = first.is_some_and(|container| {
                container.name == SIDECAR
                    && container.restart_policy.as_deref() == Some("Always")
                    && container.startup_probe.is_some()
            });
            let others = all(pod).filter(|container| container.name != SIDECAR);
            let silent = others
                .into_iter()
                .all(|container| container.ports.as_ref().is_none_or(Vec::is_empty));
            Verdict::pass_if(
                gate && silent,
                "the first container after the guard is not the gate, or another declares ports",
            )
        },
    },
    Check {
        id: "held-ports",
        title: "The audit sidecar's ports are held before it starts and as long as the pod runs, and no other container can ask for them",
        source: "Sallyport",
        check: |pod| {
            let starting = pod.init_containers.iter().flatten();
            let holder = starting
                .take_while(|container| container.name != SIDECAR)
                .find(|container| {
                    container.name == HOLDER
                        && container.restart_policy.as_deref() == Some("Always")
                        && container.startup_probe.is_some()
                });
            let can_ask = |container: &Container| {
                let mut mounts = container.volume_mounts.iter().flatten();
                mounts.any(|mount| mount.name == holder::VOLUME)
            };
            let others = names_where(pod, |container| {
                container.name != HOLDER && container.name != SIDECAR && can_ask(container)
            });
            let missing = holder.is_none().then(|| "no holder that is waited for".to_owned());
            Verdict::none(missing.into_iter().chain(others), "the ports can be taken")
        },
    },
    Check {
        id: "no-exec",
        title: "The kubelet runs no program inside a container: no exec probes, no exec hooks",
        source: "Sallyport",
        check: |pod| {
            let running = names_where(pod, |container| {
                probes(container).any(|probe| probe.exec.is_some()) || hooks(container).any(|hook| hook.exec.is_some())
            });
            Verdict::none(running, "containers with exec")
        },
    },
    Check {
        id: "no-terminal",
        title: "No container holds a terminal or an open standard input",
        source: "Sallyport",
        check: |pod| {
            let open = names_where(pod, |container| {
                container.stdin == Some(true) || container.tty == Some(true)
            });
            Verdict::none(open, "containers with stdin or tty")
        },
    },
];

fn context(pod: &PodSpec) -> Option<&PodSecurityContext> {
    pod.security_context.as_ref()
}

type Amounts = BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>;

fn amounts(container: &Container, part: impl Fn(&ResourceRequirements) -> &Option<Amounts>) -> Amounts {
    container
        .resources
        .as_ref()
        .and_then(|resources| part(resources).clone())
        .unwrap_or_default()
}
