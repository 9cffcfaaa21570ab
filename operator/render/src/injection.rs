//! Credentials that the egress gateway adds: what the gateway has for it, and what the server's pod has, which does not
//! have the credentials.

use crate::{
    ValidatedEndpoint, containers,
    endpoint::{Destination, Injected},
    workload,
};
use k8s_openapi::{
    api::core::v1::{ConfigMapVolumeSource, EmptyDirVolumeSource, SecretVolumeSource, Volume, VolumeMount},
    apimachinery::pkg::api::resource::Quantity,
};
use sallyport_api::v1alpha1::SIGNER_PORT;
use sallyport_policy::{
    egress::HostName,
    signer::{BUNDLE_FILE, KEY_PATH, OWN_FILE, SignerPolicy, TRUST_PATH},
};
use std::collections::BTreeSet;

/// Directory under which each ConfigMap of authorities has its own, in the gateway.
const AUTHORITIES_PATH: &str = "/etc/sallyport-authorities";

const AUTHORITIES_MODE: i32 = 0o444;

/// Volume with the certificates that the server trusts.
const TRUST: &str = "trust";

/// Volume with the key of the pod's authority.
const KEY: &str = "signer";

/// Largest sizes: some 150 certificates in PEM, twice while they are replaced; one key.
const TRUST_SIZE: &str = "2Mi";
const KEY_SIZE: &str = "64Ki";

/// Variables by which programs find the certificates that they trust: OpenSSL, Go, Python's requests, curl, Git and AWS's
/// libraries read the whole bundle; Node.js adds to its own.
const TRUST_ENV: [(&str, &str); 6] = [
    ("AWS_CA_BUNDLE", BUNDLE_FILE),
    ("CURL_CA_BUNDLE", BUNDLE_FILE),
    ("GIT_SSL_CAINFO", BUNDLE_FILE),
    ("NODE_EXTRA_CA_CERTS", OWN_FILE),
    ("REQUESTS_CA_BUNDLE", BUNDLE_FILE),
    ("SSL_CERT_FILE", BUNDLE_FILE),
];

/// Path of a credential's key, in the gateway as it would be in the server.
pub(crate) fn credential_path(credential: &str, key: &str) -> String {
    format!("{}/{credential}/{key}", containers::CREDENTIALS_PATH)
}

/// Path of a ConfigMap's key in the gateway.
pub(crate) fn authorities_path(config_map: &str, key: &str) -> String {
    format!("{AUTHORITIES_PATH}/{config_map}/{key}")
}

/// Hosts to which a credential is added, each once.
fn hosts(endpoint: &ValidatedEndpoint) -> Vec<HostName> {
    let hosts = endpoint.egress.iter().filter_map(|rule| match &rule.destination {
        Destination::Host(host) if host.inject.is_some() => Some(host.host.name().clone()),
        _ => None,
    });
    hosts.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Whether any credential is injected.
pub(crate) fn is_used(endpoint: &ValidatedEndpoint) -> bool {
    !hosts(endpoint).is_empty()
}

/// Where the gateway finds the signer of a server's pod.
pub(crate) fn signer_port(endpoint: &ValidatedEndpoint) -> Option<u16> {
    is_used(endpoint).then_some(SIGNER_PORT)
}

/// What the audit sidecar is told of signing.
pub(crate) fn signer_policy(endpoint: &ValidatedEndpoint) -> Option<SignerPolicy> {
    is_used(endpoint).then(|| SignerPolicy {
        port: SIGNER_PORT,
        hosts: hosts(endpoint),
        trust_directory: TRUST_PATH.to_owned(),
        key_directory: KEY_PATH.to_owned(),
    })
}

/// Volumes of the gateway: credentials, and authorities of hosts.
pub(crate) fn gateway_volumes(injected: &Injected) -> impl Iterator<Item = Volume> + '_ {
    let credentials = injected.credentials.iter().map(|credential| Volume {
        name: containers::credential_volume(&credential.name),
        secret: Some(SecretVolumeSource {
            secret_name: Some(credential.secret_name.clone()),
            default_mode: Some(workload::CREDENTIAL_MODE),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    });
    let authorities = injected.authorities.iter().enumerate().map(|(index, name)| Volume {
        name: authorities_volume(index),
        config_map: Some(ConfigMapVolumeSource {
            name: name.clone(),
            default_mode: Some(AUTHORITIES_MODE),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    });
    credentials.chain(authorities)
}

/// Where the gateway's container has them.
pub(crate) fn gateway_mounts(injected: &Injected) -> impl Iterator<Item = VolumeMount> + '_ {
    let credentials = injected.credentials.iter().map(|credential| {
        let path = format!("{}/{}", containers::CREDENTIALS_PATH, credential.name);
        read_only(containers::credential_volume(&credential.name), path)
    });
    let authorities = injected
        .authorities
        .iter()
        .enumerate()
        .map(|(index, name)| read_only(authorities_volume(index), format!("{AUTHORITIES_PATH}/{name}")));
    credentials.chain(authorities)
}

/// Volumes of the server's pod.
pub(crate) fn server_volumes(endpoint: &ValidatedEndpoint) -> Vec<Volume> {
    if !is_used(endpoint) {
        return vec![];
    }
    let volume = |name: &str, size: &str, medium: Option<&str>| Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            size_limit: Some(Quantity(size.to_owned())),
            medium: medium.map(str::to_owned),
        }),
        ..Volume::default()
    };
    vec![volume(TRUST, TRUST_SIZE, None), volume(KEY, KEY_SIZE, Some("Memory"))]
}

/// Where the audit sidecar writes the certificates and keeps its key.
pub(crate) fn sidecar_mounts(endpoint: &ValidatedEndpoint) -> Vec<VolumeMount> {
    if !is_used(endpoint) {
        return vec![];
    }
    let writable = |name: &str, path: &str| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        ..VolumeMount::default()
    };
    vec![writable(TRUST, TRUST_PATH), writable(KEY, KEY_PATH)]
}

/// Where the server reads the certificates.
pub(crate) fn server_mount(endpoint: &ValidatedEndpoint) -> Option<VolumeMount> {
    is_used(endpoint).then(|| read_only(TRUST.to_owned(), TRUST_PATH.to_owned()))
}

/// Variables that lead the server's TLS clients to the certificates. One that the user sets wins.
pub(crate) fn trust_env(endpoint: &ValidatedEndpoint) -> Vec<(&'static str, String)> {
    if !is_used(endpoint) {
        return vec![];
    }
    let is_own = |name: &str| endpoint.server.env.iter().any(|(own, _)| own == name);
    TRUST_ENV
        .into_iter()
        .filter(|(name, _)| !is_own(name))
        .map(|(name, file)| (name, format!("{TRUST_PATH}/{file}")))
        .collect()
}

fn authorities_volume(index: usize) -> String {
    format!("authorities-{index}")
}

fn read_only(name: String, mount_path: String) -> VolumeMount {
    VolumeMount {
        name,
        mount_path,
        read_only: Some(true),
        ..VolumeMount::default()
    }
}
