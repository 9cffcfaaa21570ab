//! The container that holds the audit sidecar's ports: it listens before the sidecar does and hands the sockets on, so that
//! the server cannot listen in the sidecar's place while that is away.

use crate::{
    Amounts, ValidatedEndpoint, amounts, config,
    containers::{self, Every, Failures, SIDECAR_ID},
};
use k8s_openapi::{
    api::core::v1::{Container, EmptyDirVolumeSource, Probe, TCPSocketAction, Volume, VolumeMount},
    apimachinery::pkg::{api::resource::Quantity, util::intstr::IntOrString},
};
use sallyport_api::v1alpha1::SIDECAR_ADMIN_PORT;
use sallyport_policy::{FILE_NAME, MOUNT_PATH};

/// Name of the container.
pub(crate) const HOLDER: &str = "holder";

/// What it may use. It starts, opens a few sockets and sleeps; most of the memory is for the runtime that starts it.
pub(crate) const AMOUNTS: Amounts = Amounts {
    cpu_milli: 20,
    memory_bytes: 32 << 20,
    ephemeral_storage_bytes: 16 << 20,
};

/// Volume with the unix socket over which the listening sockets are handed on.
pub(crate) const VOLUME: &str = "ports";
const BYTES: i64 = 1 << 20;

/// Its directory in the holder and in the audit sidecar. All containers of a pod share its fsGroup, so that the directory's
/// mode keeps nobody out; that the server's container does not mount it does, and the socket is of the sidecar's user.
const PATH: &str = "/run/sallyport-ports";
const SOCKET: &str = "/run/sallyport-ports/ports.sock";

/// The holder: starts before the audit sidecar, stops after it, and is the same user.
pub(crate) fn container(endpoint: &ValidatedEndpoint) -> Container {
    Container {
        name: HOLDER.to_owned(),
        image: Some(endpoint.settings.sidecar_image.clone()),
        command: Some(vec!["/sallyport-sidecar".to_owned()]),
        args: Some(vec![
            "hold".to_owned(),
            "--policy".to_owned(),
            format!("{MOUNT_PATH}/{FILE_NAME}"),
            "--socket".to_owned(),
            SOCKET.to_owned(),
        ]),
        restart_policy: Some("Always".to_owned()),
        // The kernel accepts connections for it, so this tells that the port is taken. There is nothing that could tell
        // more later: it answers nobody, and its end is seen without a probe.
        startup_probe: Some(Probe {
            tcp_socket: Some(TCPSocketAction {
                port: IntOrString::Int(i32::from(SIDECAR_ADMIN_PORT)),
                ..TCPSocketAction::default()
            }),
            ..containers::timing(Every::Seconds(1), Failures(60))
        }),
        volume_mounts: Some(vec![config::mount(), mount(None)]),
        resources: Some(AMOUNTS.requirements()),
        ..containers::hardened(SIDECAR_ID)
    }
}

/// What tells the audit sidecar to take its ports over.
pub(crate) fn sidecar_args() -> [String; 2] {
    ["--ports".to_owned(), SOCKET.to_owned()]
}

/// What the audit sidecar mounts. A socket on a read-only mount can be connected to.
pub(crate) fn sidecar_mount() -> VolumeMount {
    mount(Some(true))
}

pub(crate) fn volume() -> Volume {
    Volume {
        name: VOLUME.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            size_limit: Some(Quantity(amounts::binary(BYTES))),
            ..EmptyDirVolumeSource::default()
        }),
        ..Volume::default()
    }
}

fn mount(read_only: Option<bool>) -> VolumeMount {
    VolumeMount {
        name: VOLUME.to_owned(),
        mount_path: PATH.to_owned(),
        read_only,
        ..VolumeMount::default()
    }
}
