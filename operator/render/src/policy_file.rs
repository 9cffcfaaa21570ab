//! The policy file that the audit sidecar reads.

use crate::ValidatedEndpoint;
use sallyport_api::v1alpha1::{AuditArguments, NetworkEnforcement, SIDECAR_ADMIN_PORT, SIDECAR_PORT};
use sallyport_policy::{
    ArgumentsMode, AuditPolicy, EndpointIdentity, Listen, PolicyFile, Upstream,
    enforcement::{Enforcement, EnforcementMode},
};

pub(crate) fn policy_file(endpoint: &ValidatedEndpoint) -> PolicyFile {
    let identity = EndpointIdentity {
        namespace: endpoint.namespace.clone(),
        name: endpoint.name.clone(),
        uid: endpoint.uid.clone(),
    };
    let listen = Listen::new(SIDECAR_PORT, SIDECAR_ADMIN_PORT);
    let upstream = Upstream::port(endpoint.server.port, endpoint.server.path.clone());
    PolicyFile {
        hosts: hosts(endpoint),
        audit: AuditPolicy {
            arguments: match endpoint.audit_arguments {
                AuditArguments::Digest => ArgumentsMode::Digest,
                AuditArguments::Redacted => ArgumentsMode::Redacted,
                AuditArguments::Full => ArgumentsMode::Full,
            },
            ..AuditPolicy::default()
        },
        enforcement: enforcement(endpoint),
        ..PolicyFile::open(identity, listen, upstream)
    }
}

fn enforcement(endpoint: &ValidatedEndpoint) -> Enforcement {
    let (mode, wait_seconds) = match endpoint.network_enforcement {
        NetworkEnforcement::Required => (EnforcementMode::Required, 30),
        // The server starts in the end whatever is met, so it is not kept waiting for long.
        NetworkEnforcement::Warn => (EnforcementMode::Warn, 10),
    };
    Enforcement {
        mode,
        wait_seconds,
        canaries: endpoint.canaries.clone(),
    }
}

/// Every name of the Service, and the loopback names that `kubectl port-forward` is used with.
fn hosts(endpoint: &ValidatedEndpoint) -> Vec<String> {
    let ValidatedEndpoint {
        name,
        namespace,
        settings,
        ..
    } = endpoint;
    vec![
        name.clone(),
        format!("{name}.{namespace}"),
        format!("{name}.{namespace}.svc"),
        format!("{name}.{namespace}.svc.{}", settings.cluster_domain),
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "[::1]".to_owned(),
    ]
}
