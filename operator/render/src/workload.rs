//! Deployments and their pod templates: what all have, and the server's.

use crate::{
    ValidatedEndpoint, bridge, config,
    containers::{self, SERVER, SERVER_ID},
    holder, injection,
    keys::{Bundle, Key},
    metadata::{self, Part},
    transparent,
};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{
            Affinity, LocalObjectReference, PodAffinityTerm, PodAntiAffinity, PodDNSConfig, PodSecurityContext,
            PodSpec, PodTemplateSpec, SecretVolumeSource, TopologySpreadConstraint, Volume, WeightedPodAffinityTerm,
        },
    },
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};
use sallyport_api::labels;
use sallyport_policy::short_hash;
use std::collections::BTreeMap;

/// Pods that a roll-out may run beyond the wanted number.
pub(crate) const MAX_SURGE: i32 = 1;

/// Longer than the sidecar's drain, so that no call under way is cut off.
const TERMINATION_GRACE_SECONDS: i64 = 40;

/// After which a roll-out that does not move is reported.
const PROGRESS_DEADLINE_SECONDS: i32 = 300;

/// Owner may read, group may read: with a group of its own the kubelet makes it 0440 whatever is asked.
pub(crate) const CREDENTIAL_MODE: i32 = 0o440;

/// The server's Deployment.
pub(crate) fn deployment(endpoint: &ValidatedEndpoint, policy: &str) -> Deployment {
    let mut annotations = annotations(SERVER, policy);
    if let Some(hash) = credentials_hash(endpoint) {
        annotations.insert(labels::CREDENTIALS_HASH.to_owned(), hash);
    }
    deployment_of(
        endpoint,
        Part::Server,
        endpoint.replicas(),
        annotations,
        pod_spec(endpoint),
    )
}

/// A Deployment of one part of `endpoint`.
pub(crate) fn deployment_of(
    endpoint: &ValidatedEndpoint,
    part: Part,
    replicas: i32,
    annotations: BTreeMap<String, String>,
    pod: PodSpec,
) -> Deployment {
    Deployment {
        metadata: metadata::of_child(endpoint, part),
        spec: Some(DeploymentSpec {
            replicas: Some(replicas),
            selector: metadata::selector(endpoint, part),
            revision_history_limit: Some(3),
            progress_deadline_seconds: Some(PROGRESS_DEADLINE_SECONDS),
            // A new pod serves before an old one goes.
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(MAX_SURGE)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(metadata::pod_labels(endpoint, part)),
                    annotations: Some(annotations),
                    ..ObjectMeta::default()
                }),
                spec: Some(if replicas > 1 { spread(endpoint, part, pod) } else { pod }),
            },
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

/// Annotations of a pod template: a changed policy rolls out.
pub(crate) fn annotations(container: &str, policy: &str) -> BTreeMap<String, String> {
    metadata::owned([
        ("kubectl.kubernetes.io/default-container", container),
        (labels::POLICY_HASH, &short_hash(policy.as_bytes())),
    ])
}

/// Hash over the ciphertexts that the operator knows; none, if it knows none.
fn credentials_hash(endpoint: &ValidatedEndpoint) -> Option<String> {
    let revisions: Vec<_> = endpoint
        .credentials
        .iter()
        .map(|credential| (credential.name.as_str(), &credential.revision))
        .chain(endpoint.keys.iter().map(|key| (key.field, &key.revision)))
        .filter_map(|(name, revision)| Some(format!("{name}={}\n", revision.as_ref()?)))
        .collect();
    (!revisions.is_empty()).then(|| short_hash(revisions.concat().as_bytes()))
}

/// What every pod has.
pub(crate) fn hardened_pod(endpoint: &ValidatedEndpoint, part: Part, id: i64) -> PodSpec {
    PodSpec {
        service_account_name: Some(part.name(endpoint)),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        share_process_namespace: Some(false),
        host_users: endpoint.nodes.user_namespaces.then_some(false),
        priority_class_name: Some(endpoint.settings.priority_class.clone()),
        termination_grace_period_seconds: Some(TERMINATION_GRACE_SECONDS),
        security_context: Some(PodSecurityContext {
            fs_group: Some(id),
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            run_as_group: Some(id),
            run_as_non_root: Some(true),
            run_as_user: Some(id),
            seccomp_profile: Some(containers::runtime_default_seccomp()),
            supplemental_groups_policy: endpoint.nodes.supplemental_groups_policy.then(|| "Strict".to_owned()),
            ..PodSecurityContext::default()
        }),
        ..PodSpec::default()
    }
}

fn pod_spec(endpoint: &ValidatedEndpoint) -> PodSpec {
    let (dns_policy, dns_config) = dns(endpoint);
    PodSpec {
        image_pull_secrets: image_pull_secrets(endpoint),
        dns_policy: Some(dns_policy.to_owned()),
        dns_config,
        host_aliases: transparent::host_aliases(endpoint),
        init_containers: Some(
            [
                containers::guard(endpoint),
                holder::container(endpoint),
                containers::sidecar(endpoint),
            ]
            .into_iter()
            .chain(bridge::installer(endpoint))
            .collect(),
        ),
        containers: vec![containers::server(endpoint)],
        volumes: Some(volumes(endpoint)),
        ..hardened_pod(endpoint, Part::Server, SERVER_ID)
    }
}

/// Names are a way to leak data, so that the server has a resolver only if its endpoint says so.
fn dns(endpoint: &ValidatedEndpoint) -> (&'static str, Option<PodDNSConfig>) {
    if endpoint.cluster_dns {
        return ("ClusterFirst", None);
    }
    // `None` wants a name server, and on this address there is none.
    let nowhere = PodDNSConfig {
        nameservers: Some(vec!["127.0.0.1".to_owned()]),
        ..PodDNSConfig::default()
    };
    ("None", Some(nowhere))
}

fn image_pull_secrets(endpoint: &ValidatedEndpoint) -> Option<Vec<LocalObjectReference>> {
    let names = &endpoint.server.image_pull_secrets;
    (!names.is_empty()).then(|| {
        names
            .iter()
            .map(|name| LocalObjectReference { name: name.clone() })
            .collect()
    })
}

fn volumes(endpoint: &ValidatedEndpoint) -> Vec<Volume> {
    let policy = config::volume(endpoint, Part::Server);
    let writable = endpoint
        .server
        .writable
        .iter()
        .map(crate::writable::WritableDir::volume);
    let credentials = endpoint.credentials.iter().map(|credential| Volume {
        name: containers::credential_volume(&credential.name),
        secret: Some(SecretVolumeSource {
            secret_name: Some(credential.secret_name.clone()),
            default_mode: Some(CREDENTIAL_MODE),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    });
    [policy, holder::volume()]
        .into_iter()
        .chain(writable)
        .chain(bridge::volumes(endpoint))
        .chain(credentials)
        .chain(endpoint.keys.iter().map(Key::volume))
        .chain(endpoint.bundles.iter().map(Bundle::volume))
        .chain(injection::server_volumes(endpoint))
        .collect()
}

/// Spreads the pods of one part over nodes and zones.
fn spread(endpoint: &ValidatedEndpoint, part: Part, pod: PodSpec) -> PodSpec {
    PodSpec {
        affinity: Some(apart(endpoint, part)),
        topology_spread_constraints: Some(vec![across_zones(endpoint, part)]),
        ..pod
    }
}

/// Prefers nodes that run none of these pods.
fn apart(endpoint: &ValidatedEndpoint, part: Part) -> Affinity {
    Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![WeightedPodAffinityTerm {
                weight: 100,
                pod_affinity_term: PodAffinityTerm {
                    label_selector: Some(metadata::selector(endpoint, part)),
                    topology_key: "kubernetes.io/hostname".to_owned(),
                    ..PodAffinityTerm::default()
                },
            }]),
            ..PodAntiAffinity::default()
        }),
        ..Affinity::default()
    }
}

fn across_zones(endpoint: &ValidatedEndpoint, part: Part) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: "topology.kubernetes.io/zone".to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(metadata::selector(endpoint, part)),
        match_label_keys: Some(vec!["pod-template-hash".to_owned()]),
        ..TopologySpreadConstraint::default()
    }
}
