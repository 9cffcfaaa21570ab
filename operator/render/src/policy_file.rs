//! The policy file that the audit sidecar reads, and the ConfigMap that holds it.

use crate::{ValidatedEndpoint, metadata};
use k8s_openapi::api::core::v1::ConfigMap;
use sallyport_api::v1alpha1::{AuditArguments, SIDECAR_ADMIN_PORT, SIDECAR_PORT};
use sallyport_policy::{
    ArgumentsMode, AuditPolicy, EndpointIdentity, FILE_NAME, Limits, Listen, PolicyFile, SCHEMA, Upstream,
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
    }
}

pub(crate) fn config_map(endpoint: &ValidatedEndpoint, policy: &str) -> ConfigMap {
    ConfigMap {
        metadata: metadata::of_child(endpoint),
        data: Some(metadata::owned([(FILE_NAME, policy)])),
        ..ConfigMap::default()
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
