//! The policy file that the audit sidecar reads.

use crate::{ValidatedEndpoint, injection};
use sallyport_api::v1alpha1::{AuditArguments, NetworkEnforcement, SIDECAR_ADMIN_PORT, SIDECAR_PORT};
use sallyport_policy::{
    ArgumentsMode, AuditPolicy, EndpointIdentity, Limits, Listen, PolicyFile, SCHEMA, Upstream,
    enforcement::{Enforcement, EnforcementMode},
};

pub(crate) fn policy_file(endpoint: &ValidatedEndpoint) -> PolicyFile {
    PolicyFile {
        schema: SCHEMA.to_owned(),
        endpoint: EndpointIdentity {
            namespace: endpoint.namespace.clone(),
            name: endpoint.name.clone(),
            uid: endpoint.uid.clone(),
        },
        listen: Listen {
            port: SIDECAR_PORT,
            admin_port: SIDECAR_ADMIN_PORT,
        },
        upstream: Upstream {
            port: endpoint.server.port,
            path: endpoint.server.path.clone(),
        },
        hosts: hosts(endpoint),
        origins: vec![],
        limits: Limits::default(),
        audit: AuditPolicy {
            arguments: match endpoint.audit_arguments {
                AuditArguments::Digest => ArgumentsMode::Digest,
            },
        },
        enforcement: enforcement(endpoint),
        signer: injection::signer_policy(endpoint),
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
