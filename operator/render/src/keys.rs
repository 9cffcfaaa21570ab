//! What the audit sidecar alone mounts: keys out of Secrets, certificate authorities out of ConfigMaps.
//!
//! All containers of a pod share its fsGroup, so that the group of a file keeps nobody out; that the server's container
//! mounts none of these volumes does.

use k8s_openapi::api::core::v1::{ConfigMapVolumeSource, KeyToPath, SecretVolumeSource, Volume, VolumeMount};

/// Directory under which each key of the audit sidecar has its own.
const KEYS_PATH: &str = "/var/run/secrets/sallyport-audit";
/// Directory under which each bundle of certificate authorities has its own.
const BUNDLES_PATH: &str = "/etc/sallyport-ca";
/// Name of the file in such a directory.
const BUNDLE_FILE: &str = "ca.crt";

/// As for the server's credentials.
const KEY_MODE: i32 = 0o440;
const BUNDLE_MODE: i32 = 0o444;

/// A Secret that the audit sidecar alone mounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// Its place in the spec, which is its name in the status.
    pub field: &'static str,
    /// Name of its directory.
    pub name: &'static str,
    pub secret_name: String,
    /// Keys of the Secret that become files; no others do.
    pub files: Vec<String>,
    /// Hash of the ciphertext, as far as the operator may see one.
    pub revision: Option<String>,
}

impl Key {
    /// Path of one of its files in the audit sidecar.
    pub fn path(&self, file: &str) -> String {
        format!("{KEYS_PATH}/{}/{file}", self.name)
    }

    fn volume_name(&self) -> String {
        format!("key-{}", self.name)
    }

    pub fn volume(&self) -> Volume {
        Volume {
            name: self.volume_name(),
            secret: Some(SecretVolumeSource {
                secret_name: Some(self.secret_name.clone()),
                default_mode: Some(KEY_MODE),
                items: Some(self.files.iter().map(|file| item(file, file)).collect()),
                ..SecretVolumeSource::default()
            }),
            ..Volume::default()
        }
    }

    pub fn mount(&self) -> VolumeMount {
        read_only(self.volume_name(), format!("{KEYS_PATH}/{}", self.name))
    }
}

/// Certificate authorities that the audit sidecar trusts for one purpose; those of the collector, the egress gateway too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bundle {
    /// Name of its directory.
    pub name: String,
    pub config_map: String,
    pub key: String,
}

impl Bundle {
    /// Path of the file in the container.
    pub fn path(&self) -> String {
        format!("{BUNDLES_PATH}/{}/{BUNDLE_FILE}", self.name)
    }

    fn volume_name(&self) -> String {
        format!("ca-{}", self.name)
    }

    pub fn volume(&self) -> Volume {
        Volume {
            name: self.volume_name(),
            config_map: Some(ConfigMapVolumeSource {
                name: self.config_map.clone(),
                default_mode: Some(BUNDLE_MODE),
                items: Some(vec![item(&self.key, BUNDLE_FILE)]),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        }
    }

    pub fn mount(&self) -> VolumeMount {
        read_only(self.volume_name(), format!("{BUNDLES_PATH}/{}", self.name))
    }
}

fn item(key: &str, path: &str) -> KeyToPath {
    KeyToPath {
        key: key.to_owned(),
        path: path.to_owned(),
        mode: None,
    }
}

fn read_only(name: String, mount_path: String) -> VolumeMount {
    VolumeMount {
        name,
        mount_path,
        read_only: Some(true),
        ..VolumeMount::default()
    }
}
