//! The Deployment and its pod template.

use crate::{
    ValidatedEndpoint,
    containers::{self, POLICY_VOLUME, SERVER, SERVER_ID},
    metadata,
};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{
            Affinity, ConfigMapVolumeSource, LocalObjectReference, PodAffinityTerm, PodAntiAffinity, PodDNSConfig,
            PodSecurityContext, PodSpec, PodTemplateSpec, SecretVolumeSource, TopologySpreadConstraint, Volume,
            WeightedPodAffinityTerm,
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
const CREDENTIAL_MODE: i32 = 0o440;

const CONFIG_MODE: i32 = 0o444;

pub(crate) fn deployment(endpoint: &ValidatedEndpoint, policy: &str) -> Deployment {
    Deployment {
        metadata: metadata::of_child(endpoint),
        spec: Some(DeploymentSpec {
            replicas: Some(endpoint.replicas()),
            selector: metadata::selector(endpoint),
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
                    labels: Some(metadata::endpoint_labels(endpoint)),
                    annotations: Some(annotations(endpoint, policy)),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod_spec(endpoint)),
            },
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

fn annotations(endpoint: &ValidatedEndpoint, policy: &str) -> BTreeMap<String, String> {
    let mut annotations = metadata::owned([
        ("kubectl.kubernetes.io/default-container", SERVER),
        (labels::POLICY_HASH, &short_hash(policy.as_bytes())),
    ]);
    if let Some(hash) = credentials_hash(endpoint) {
        annotations.insert(labels::CREDENTIALS_HASH.to_owned(), hash);
    }
    annotations
}

/// Hash over the ciphertexts that the operator knows; none, if it knows none.
fn credentials_hash(endpoint: &ValidatedEndpoint) -> Option<String> {
    let revisions: Vec<_> = endpoint
        .credentials
        .iter()
        .filter_map(|credential| Some(format!("{}={}\n", credential.name, credential.revision.as_ref()?)))
        .collect();
    (!revisions.is_empty()).then(|| short_hash(revisions.concat().as_bytes()))
}

fn pod_spec(endpoint: &ValidatedEndpoint) -> PodSpec {
    PodSpec {
        service_account_name: Some(endpoint.name.clone()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        share_process_namespace: Some(false),
        host_users: endpoint.nodes.user_namespaces.then_some(false),
        priority_class_name: Some(endpoint.settings.priority_class.clone()),
        termination_grace_period_seconds: Some(TERMINATION_GRACE_SECONDS),
        image_pull_secrets: image_pull_secrets(endpoint),
        // Names are a way to leak data. `None` wants a name server, and on this address there is none.
        dns_policy: Some("None".to_owned()),
        dns_config: Some(PodDNSConfig {
            nameservers: Some(vec!["127.0.0.1".to_owned()]),
            ..PodDNSConfig::default()
        }),
        security_context: Some(PodSecurityContext {
            fs_group: Some(SERVER_ID),
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            run_as_group: Some(SERVER_ID),
            run_as_non_root: Some(true),
            run_as_user: Some(SERVER_ID),
            seccomp_profile: Some(containers::runtime_default_seccomp()),
            supplemental_groups_policy: endpoint.nodes.supplemental_groups_policy.then(|| "Strict".to_owned()),
            ..PodSecurityContext::default()
        }),
        affinity: several(endpoint).then(|| apart(endpoint)),
        topology_spread_constraints: several(endpoint).then(|| vec![across_zones(endpoint)]),
        init_containers: Some(vec![containers::sidecar(endpoint)]),
        containers: vec![containers::server(endpoint)],
        volumes: Some(volumes(endpoint)),
        ..PodSpec::default()
    }
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
    let policy = Volume {
        name: POLICY_VOLUME.to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: endpoint.name.clone(),
            default_mode: Some(CONFIG_MODE),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    };
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
    std::iter::once(policy).chain(writable).chain(credentials).collect()
}

fn several(endpoint: &ValidatedEndpoint) -> bool {
    endpoint.replicas > 1
}

/// Prefers nodes that run none of the endpoint's pods.
fn apart(endpoint: &ValidatedEndpoint) -> Affinity {
    Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![WeightedPodAffinityTerm {
                weight: 100,
                pod_affinity_term: PodAffinityTerm {
                    label_selector: Some(metadata::selector(endpoint)),
                    topology_key: "kubernetes.io/hostname".to_owned(),
                    ..PodAffinityTerm::default()
                },
            }]),
            ..PodAntiAffinity::default()
        }),
        ..Affinity::default()
    }
}

fn across_zones(endpoint: &ValidatedEndpoint) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: "topology.kubernetes.io/zone".to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(metadata::selector(endpoint)),
        match_label_keys: Some(vec!["pod-template-hash".to_owned()]),
        ..TopologySpreadConstraint::default()
    }
}
