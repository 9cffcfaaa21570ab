//! How files that the operator writes come into the pods that read it.

use crate::{
    ValidatedEndpoint,
    metadata::{self, Part},
};
use k8s_openapi::api::core::v1::{ConfigMap, ConfigMapVolumeSource, Volume, VolumeMount};
use sallyport_policy::MOUNT_PATH;

/// Volume of the files.
const VOLUME: &str = "policy";

const MODE: i32 = 0o444;

/// The ConfigMap that holds `files`, each with its name and text.
pub(crate) fn config_map<const N: usize>(
    endpoint: &ValidatedEndpoint,
    part: Part,
    files: [(&str, &str); N],
) -> ConfigMap {
    ConfigMap {
        metadata: metadata::of_child(endpoint, part),
        data: Some(metadata::owned(files)),
        ..ConfigMap::default()
    }
}

/// The volume of that ConfigMap.
pub(crate) fn volume(endpoint: &ValidatedEndpoint, part: Part) -> Volume {
    Volume {
        name: VOLUME.to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: part.name(endpoint),
            default_mode: Some(MODE),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// Where a container finds them.
pub(crate) fn mount() -> VolumeMount {
    VolumeMount {
        name: VOLUME.to_owned(),
        mount_path: MOUNT_PATH.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    }
}
