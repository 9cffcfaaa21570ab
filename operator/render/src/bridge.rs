//! How a server that speaks over its standard input and output runs: the bridge is copied into its container, runs the
//! server's own command as its child, and listens on a unix socket that the audit sidecar mounts too.

use crate::{
    ValidatedEndpoint,
    amounts::binary,
    containers,
    endpoint::{ServerTransport, Stdio},
};
use k8s_openapi::{
    api::core::v1::{Container, EmptyDirVolumeSource, Volume, VolumeMount},
    apimachinery::pkg::api::resource::Quantity,
};
use sallyport_api::v1alpha1::StdioSessions;

/// Name of the init container that copies the bridge.
const INSTALLER: &str = "bridge";
/// User and group of that container.
const INSTALLER_ID: i64 = 65528;

/// Where the bridge is in the server's container.
const BIN_PATH: &str = "/sallyport/bin";
const PROGRAM: &str = "/sallyport/bin/bridge";
const BIN_VOLUME: &str = "bridge-bin";
const BIN_BYTES: i64 = 32 << 20;

/// Directory of the socket, in the server's container and in the audit sidecar.
const SOCKET_PATH: &str = "/run/sallyport";
/// The socket.
pub(crate) const SOCKET: &str = "/run/sallyport/mcp.sock";
const SOCKET_VOLUME: &str = "bridge-socket";
const SOCKET_BYTES: i64 = 1 << 20;

/// Disk that the shared directories add to what the server may use.
pub(crate) fn disk_bytes(endpoint: &ValidatedEndpoint) -> i64 {
    of(endpoint).map_or(0, |_| BIN_BYTES + SOCKET_BYTES)
}

/// Copies the bridge out of the sidecar's image. It may use what the server may, which does not run yet, so that it adds
/// nothing to what the pod can use.
pub(crate) fn installer(endpoint: &ValidatedEndpoint) -> Option<Container> {
    of(endpoint)?;
    Some(Container {
        name: INSTALLER.to_owned(),
        image: Some(endpoint.settings.sidecar_image.clone()),
        command: Some(vec!["/sallyport-bridge".to_owned()]),
        args: Some(vec!["install".to_owned(), PROGRAM.to_owned()]),
        volume_mounts: Some(vec![mount(BIN_VOLUME, BIN_PATH, Access::Writable)]),
        resources: Some(containers::server_amounts(endpoint).requirements()),
        ..containers::hardened(INSTALLER_ID)
    })
}

/// The command that the server's container runs in place of the server's own; `None` if it runs that.
pub(crate) fn command(endpoint: &ValidatedEndpoint) -> Option<Vec<String>> {
    let stdio = of(endpoint)?;
    let sessions = match stdio.sessions {
        StdioSessions::PerSession => "per-session",
        StdioSessions::Shared => "shared",
    };
    // The server is the bridge's own user, so that the socket's mode alone would not keep it from calling itself.
    let peer = containers::SIDECAR_ID.to_string();
    let own = ["run", "--socket", SOCKET, "--peer-uid", &peer, "--sessions", sessions].map(str::to_owned);
    let environment = stdio
        .environment
        .iter()
        .flat_map(|(name, file)| ["--env".to_owned(), format!("{name}={file}")]);
    let server = endpoint.server.command.iter().chain(&endpoint.server.args).cloned();
    let program = std::iter::once(PROGRAM.to_owned()).chain(own).chain(environment);
    Some(program.chain(std::iter::once("--".to_owned())).chain(server).collect())
}

pub(crate) fn volumes(endpoint: &ValidatedEndpoint) -> Vec<Volume> {
    if of(endpoint).is_none() {
        return vec![];
    }
    vec![volume(BIN_VOLUME, BIN_BYTES), volume(SOCKET_VOLUME, SOCKET_BYTES)]
}

/// What the server's container mounts: the bridge to run it, the socket's directory to make the socket.
pub(crate) fn server_mounts(endpoint: &ValidatedEndpoint) -> Vec<VolumeMount> {
    if of(endpoint).is_none() {
        return vec![];
    }
    vec![
        mount(BIN_VOLUME, BIN_PATH, Access::ReadOnly),
        mount(SOCKET_VOLUME, SOCKET_PATH, Access::Writable),
    ]
}

/// What the audit sidecar mounts. A socket on a read-only mount can be connected to.
pub(crate) fn sidecar_mount(endpoint: &ValidatedEndpoint) -> Option<VolumeMount> {
    of(endpoint)?;
    Some(mount(SOCKET_VOLUME, SOCKET_PATH, Access::ReadOnly))
}

fn of(endpoint: &ValidatedEndpoint) -> Option<&Stdio> {
    match &endpoint.server.transport {
        ServerTransport::Stdio(stdio) => Some(stdio),
        ServerTransport::Http { .. } => None,
    }
}

#[derive(Clone, Copy)]
enum Access {
    ReadOnly,
    Writable,
}

fn mount(name: &str, path: &str, access: Access) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: match access {
            Access::ReadOnly => Some(true),
            Access::Writable => None,
        },
        ..VolumeMount::default()
    }
}

fn volume(name: &str, bytes: i64) -> Volume {
    Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource {
            size_limit: Some(Quantity(binary(bytes))),
            ..EmptyDirVolumeSource::default()
        }),
        ..Volume::default()
    }
}
