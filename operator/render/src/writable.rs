//! Writable directories of the server container: presets and the user's own paths.

use crate::amounts::binary;
use k8s_openapi::{
    api::core::v1::{EmptyDirVolumeSource, Volume, VolumeMount},
    apimachinery::pkg::api::resource::Quantity,
};
use sallyport_api::v1alpha1::WritablePreset;

/// One writable directory: empty at each start, bounded, gone with the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WritableDir {
    /// Name of the volume.
    pub volume: String,
    /// Absolute path in the server container.
    pub path: String,
    /// Largest size in bytes.
    pub bytes: i64,
}

impl WritableDir {
    pub fn volume(&self) -> Volume {
        Volume {
            name: self.volume.clone(),
            empty_dir: Some(EmptyDirVolumeSource {
                size_limit: Some(Quantity(binary(self.bytes))),
                ..EmptyDirVolumeSource::default()
            }),
            ..Volume::default()
        }
    }

    pub fn mount(&self) -> VolumeMount {
        VolumeMount {
            name: self.volume.clone(),
            mount_path: self.path.clone(),
            ..VolumeMount::default()
        }
    }
}

/// The directory of a preset.
pub(crate) fn preset_dir(preset: WritablePreset) -> WritableDir {
    let (volume, path, mebibytes) = match preset {
        WritablePreset::Tmp => ("tmp", "/tmp", 64),
        WritablePreset::NodeCache => ("node-cache", "/var/cache/sallyport/node", 128),
        WritablePreset::PythonCache => ("python-cache", "/var/cache/sallyport/python", 128),
    };
    WritableDir {
        volume: volume.to_owned(),
        path: path.to_owned(),
        bytes: mebibytes << 20,
    }
}

/// Variables that lead programs to a preset's directory. A variable that the user sets wins.
pub(crate) fn preset_env(preset: WritablePreset) -> &'static [(&'static str, &'static str)] {
    match preset {
        WritablePreset::Tmp => &[("HOME", "/tmp"), ("TMPDIR", "/tmp")],
        WritablePreset::NodeCache => &[
            ("XDG_CACHE_HOME", "/var/cache/sallyport/node"),
            ("npm_config_cache", "/var/cache/sallyport/node/npm"),
        ],
        WritablePreset::PythonCache => &[
            ("MPLCONFIGDIR", "/var/cache/sallyport/python/matplotlib"),
            ("NUMBA_CACHE_DIR", "/var/cache/sallyport/python/numba"),
            ("PYTHONPYCACHEPREFIX", "/var/cache/sallyport/python/pycache"),
            ("XDG_CACHE_HOME", "/var/cache/sallyport/python"),
        ],
    }
}
