//! The containers of a server's pod, the guard, the audit sidecar and the server, and what every container has.

use crate::{
    Amounts, ValidatedEndpoint, bridge, config, gateway, holder, injection,
    keys::{Bundle, Key},
};
use k8s_openapi::{
    api::core::v1::{
        Capabilities, Container, ContainerPort, EnvVar, EnvVarSource, HTTPGetAction, Lifecycle, LifecycleHandler,
        ObjectFieldSelector, Probe, SeccompProfile, SecurityContext, SleepAction, VolumeMount,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use sallyport_api::v1alpha1::{SIDECAR_ADMIN_PORT, SIDECAR_PEER_PORT, SIDECAR_PORT, SIGNER_PORT};
use sallyport_policy::{FILE_NAME, MOUNT_PATH};

/// Name of the server container.
pub(crate) const SERVER: &str = "server";
/// Name of the init container that lets nothing else start before the pod is refused what no rule allows.
pub const GUARD: &str = "guard";
/// Name of the audit sidecar.
pub const SIDECAR: &str = "audit";
/// Name of the port that carries MCP.
pub(crate) const MCP_PORT_NAME: &str = "mcp";
/// Name of the port on which an egress gateway takes TLS without a proxy request.
pub(crate) const TLS_PORT_NAME: &str = "tls";
/// Name of the port on which an egress gateway takes proxy requests.
pub(crate) const PROXY_PORT_NAME: &str = "proxy";
/// User and group of the server container; also the group that may read the credentials.
pub(crate) const SERVER_ID: i64 = 65532;
/// User and group of the audit sidecar and of its ports' holder: another, so that the server can neither signal nor trace
/// them.
pub(crate) const SIDECAR_ID: i64 = 65531;
/// User and group of the guard.
const GUARD_ID: i64 = 65529;
/// Directory under which each credential has its own.
pub(crate) const CREDENTIALS_PATH: &str = "/var/run/secrets/sallyport";

/// Seconds between a pod's end being decided and the server being told to stop: as long as callers take to learn of it.
/// Meanwhile the sidecar, which stops only after the server, serves on and sends callers to other pods.
const STOP_DELAY_SECONDS: i64 = 5;

/// What the server container may use. The kubelet counts writable directories against the disk of the containers, so
/// they are added; otherwise a server that fills them within their limits would be evicted.
pub(crate) fn server_amounts(endpoint: &ValidatedEndpoint) -> Amounts {
    let writable: i64 = endpoint.server.writable.iter().map(|dir| dir.bytes).sum();
    endpoint.server.amounts
        + Amounts {
            ephemeral_storage_bytes: writable + bridge::disk_bytes(endpoint),
            ..Amounts::default()
        }
}

/// What the audit sidecar may use: at least what its limits can come to, so that callers cannot end it by using them up.
pub(crate) fn sidecar_amounts(endpoint: &ValidatedEndpoint) -> Amounts {
    const MEBIBYTE: u64 = 1 << 20;
    let calls = &endpoint.calls;
    let needed = calls.limits.memory_bytes(calls.tls.is_some()).div_ceil(MEBIBYTE) * MEBIBYTE;
    let settings = endpoint.settings.sidecar_amounts;
    Amounts {
        memory_bytes: settings.memory_bytes.max(i64::try_from(needed).unwrap_or(i64::MAX)),
        ..settings
    }
}

/// The guard: runs to its end before anything else starts. It may use what the sidecar may, which does not run yet, so that
/// it adds nothing to what the pod can use.
pub(crate) fn guard(endpoint: &ValidatedEndpoint) -> Container {
    Container {
        name: GUARD.to_owned(),
        image: Some(endpoint.settings.sidecar_image.clone()),
        command: Some(vec!["/sallyport-sidecar".to_owned()]),
        args: Some(vec![
            "guard".to_owned(),
            "--policy".to_owned(),
            format!("{MOUNT_PATH}/{FILE_NAME}"),
        ]),
        volume_mounts: Some(vec![config::mount()]),
        resources: Some(sidecar_amounts(endpoint).requirements()),
        ..hardened(GUARD_ID)
    }
}

/// The audit sidecar: starts before the server, stops after it.
pub(crate) fn sidecar(endpoint: &ValidatedEndpoint) -> Container {
    let signer = injection::is_used(endpoint).then(|| port("signer", SIGNER_PORT));
    let always = [port(MCP_PORT_NAME, SIDECAR_PORT), port("admin", SIDECAR_ADMIN_PORT)];
    let [ports, socket] = holder::sidecar_args();
    let peers = endpoint.has_peers().then(|| port("peers", SIDECAR_PEER_PORT));
    Container {
        name: SIDECAR.to_owned(),
        image: Some(endpoint.settings.sidecar_image.clone()),
        command: Some(vec!["/sallyport-sidecar".to_owned()]),
        args: Some(vec![
            "run".to_owned(),
            "--policy".to_owned(),
            format!("{MOUNT_PATH}/{FILE_NAME}"),
            ports,
            socket,
        ]),
        env: endpoint.has_peers().then(|| vec![own_address()]),
        restart_policy: Some("Always".to_owned()),
        ports: Some(always.into_iter().chain(peers).chain(signer).collect()),
        startup_probe: Some(probe("/healthz", Every::Seconds(1), Failures(60))),
        liveness_probe: Some(probe("/healthz", Every::Seconds(10), Failures(3))),
        readiness_probe: Some(probe("/readyz", Every::Seconds(5), Failures(2))),
        // SIGTERM comes only after the server has stopped; this comes as soon as the pod's end is decided.
        lifecycle: Some(before_stop(LifecycleHandler {
            http_get: Some(admin("/drain")),
            ..LifecycleHandler::default()
        })),
        volume_mounts: Some(sidecar_mounts(endpoint)),
        resources: Some(sidecar_amounts(endpoint).requirements()),
        ..hardened(SIDECAR_ID)
    }
}

/// The policy, the socket of its ports' holder, that of a stdio server, and what no other container mounts.
fn sidecar_mounts(endpoint: &ValidatedEndpoint) -> Vec<VolumeMount> {
    [config::mount(), holder::sidecar_mount()]
        .into_iter()
        .chain(bridge::sidecar_mount(endpoint))
        .chain(endpoint.keys.iter().map(Key::mount))
        .chain(endpoint.bundles.iter().map(Bundle::mount))
        .chain(injection::sidecar_mounts(endpoint))
        .collect()
}

/// Where replicas find the one that asked for a confirmation.
fn own_address() -> EnvVar {
    EnvVar {
        name: "POD_IP".to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                api_version: Some("v1".to_owned()),
                field_path: "status.podIP".to_owned(),
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

/// The server. It has no probe of its own: a server that listens on the loopback address alone cannot be reached by the
/// kubelet, so the sidecar answers whether the server's port accepts.
pub(crate) fn server(endpoint: &ValidatedEndpoint) -> Container {
    let server = &endpoint.server;
    let credentials = endpoint.credentials.iter().map(|credential| VolumeMount {
        name: credential_volume(&credential.name),
        mount_path: format!("{CREDENTIALS_PATH}/{}", credential.name),
        read_only: Some(true),
        ..VolumeMount::default()
    });
    let mounts: Vec<_> = server
        .writable
        .iter()
        .map(crate::writable::WritableDir::mount)
        .chain(bridge::server_mounts(endpoint))
        .chain(credentials)
        .chain(injection::server_mount(endpoint))
        .collect();
    let (command, args) = match bridge::command(endpoint) {
        Some(command) => (command, vec![]),
        None => (server.command.clone(), server.args.clone()),
    };
    let leading: Vec<_> = gateway::proxy_env(endpoint)
        .into_iter()
        .chain(injection::trust_env(endpoint))
        .collect();
    let leading = leading.iter().map(|(name, value)| literal(name, value));
    let own = server.env.iter().map(|(name, value)| literal(name, value));
    let env: Vec<_> = leading.chain(own).collect();
    Container {
        name: SERVER.to_owned(),
        image: Some(server.image.clone()),
        command: (!command.is_empty()).then_some(command),
        args: (!args.is_empty()).then_some(args),
        env: (!env.is_empty()).then_some(env),
        startup_probe: Some(probe("/upstream/startup", Every::Seconds(2), Failures(90))),
        liveness_probe: Some(probe("/upstream/live", Every::Seconds(10), Failures(3))),
        lifecycle: Some(stop_delay()),
        volume_mounts: (!mounts.is_empty()).then_some(mounts),
        resources: Some(server_amounts(endpoint).requirements()),
        ..hardened(SERVER_ID)
    }
}

/// Volume of a credential.
pub(crate) fn credential_volume(name: &str) -> String {
    format!("credential-{name}")
}

/// The kubelet's own sandbox profile, at pod and at container level.
pub(crate) fn runtime_default_seccomp() -> SeccompProfile {
    SeccompProfile {
        type_: "RuntimeDefault".to_owned(),
        ..SeccompProfile::default()
    }
}

/// Lets callers learn that a pod ends before its container is told to stop.
pub(crate) fn stop_delay() -> Lifecycle {
    before_stop(LifecycleHandler {
        sleep: Some(SleepAction {
            seconds: STOP_DELAY_SECONDS,
        }),
        ..LifecycleHandler::default()
    })
}

/// What every container has.
pub(crate) fn hardened(id: i64) -> Container {
    Container {
        // By digest, so this never brings in other content: it makes the kubelet prove the right to pull at each start.
        image_pull_policy: Some("Always".to_owned()),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities {
                drop: Some(vec!["ALL".to_owned()]),
                add: None,
            }),
            privileged: Some(false),
            read_only_root_filesystem: Some(true),
            run_as_group: Some(id),
            run_as_non_root: Some(true),
            run_as_user: Some(id),
            seccomp_profile: Some(runtime_default_seccomp()),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

fn literal(name: &str, value: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        // The kubelet expands $(NAME) and takes $$ for one dollar: doubled, each stays as the user wrote it.
        value: Some(value.replace('$', "$$")),
        ..EnvVar::default()
    }
}

/// A TCP port that a container listens on.
pub(crate) fn port(name: &str, port: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: i32::from(port),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

/// Time between two probes.
pub(crate) enum Every {
    Seconds(i32),
}

/// Probes in a row that must fail.
pub(crate) struct Failures(pub i32);

/// A probe of the admin port, which is the same in the audit sidecar and in the egress gateway.
pub(crate) fn probe(path: &str, every: Every, failures: Failures) -> Probe {
    Probe {
        http_get: Some(admin(path)),
        ..timing(every, failures)
    }
}

/// When a probe is made, and how often it may fail.
pub(crate) fn timing(Every::Seconds(period): Every, Failures(threshold): Failures) -> Probe {
    Probe {
        period_seconds: Some(period),
        failure_threshold: Some(threshold),
        timeout_seconds: Some(3),
        ..Probe::default()
    }
}

/// What the kubelet asks the sidecar.
fn admin(path: &str) -> HTTPGetAction {
    HTTPGetAction {
        path: Some(path.to_owned()),
        port: IntOrString::Int(i32::from(SIDECAR_ADMIN_PORT)),
        ..HTTPGetAction::default()
    }
}

fn before_stop(handler: LifecycleHandler) -> Lifecycle {
    Lifecycle {
        pre_stop: Some(handler),
        ..Lifecycle::default()
    }
}
