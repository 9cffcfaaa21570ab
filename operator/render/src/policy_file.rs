//! The policy file that the audit sidecar reads.

use crate::{ValidatedEndpoint, endpoint::ServerTransport, gateway, injection, syntax};
use sallyport_api::v1alpha1::{NetworkEnforcement, SIDECAR_ADMIN_PORT, SIDECAR_PEER_PORT, SIDECAR_PORT};
use sallyport_policy::{
    Authentication, EndpointIdentity, Listen, PolicyFile, Sealing, Upstream,
    enforcement::{Enforcement, EnforcementMode},
};

pub(crate) fn policy_file(endpoint: &ValidatedEndpoint) -> PolicyFile {
    let identity = EndpointIdentity {
        namespace: endpoint.namespace.clone(),
        name: endpoint.name.clone(),
        uid: endpoint.uid.clone(),
    };
    let calls = &endpoint.calls;
    let listen = Listen {
        tls: calls.tls.clone(),
        ..Listen::new(SIDECAR_PORT, SIDECAR_ADMIN_PORT)
    };
    PolicyFile {
        generation: endpoint.generation,
        hosts: hosts(endpoint),
        origins: endpoint.origins.clone(),
        authentication: authentication(endpoint),
        extensions: calls.extensions.clone(),
        authorization: calls.authorization.clone(),
        tools: calls.tools.clone(),
        confirmation: calls.confirmation.clone(),
        sealing: Sealing {
            peer_port: endpoint.has_peers().then_some(SIDECAR_PEER_PORT),
            ..calls.sealing.clone()
        },
        limits: calls.limits.clone(),
        audit: calls.audit.clone(),
        enforcement: enforcement(endpoint),
        signer: injection::signer_policy(endpoint),
        ..PolicyFile::closed(identity, listen, upstream(endpoint))
    }
}

fn upstream(endpoint: &ValidatedEndpoint) -> Upstream {
    let path = endpoint.server.path.clone();
    match endpoint.server.transport {
        ServerTransport::Http { port } => Upstream::port(port, path),
        ServerTransport::Stdio(_) => Upstream::socket(crate::bridge::SOCKET, path),
    }
}

/// Issuers of tokens are reached through the egress gateway.
fn authentication(endpoint: &ValidatedEndpoint) -> Authentication {
    let mut authentication = endpoint.calls.authentication.clone();
    if let Some(oauth) = &mut authentication.oauth {
        oauth.egress_proxy = gateway::proxy_url(endpoint);
    }
    authentication
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
        kubernetes_api: endpoint.kubernetes_api(),
    }
}

/// Every name of the Service, the loopback names that `kubectl port-forward` is used with, and the hosts of the URLs
/// that clients outside call.
fn hosts(endpoint: &ValidatedEndpoint) -> Vec<String> {
    let ValidatedEndpoint {
        name,
        namespace,
        settings,
        ..
    } = endpoint;
    let own = [
        name.clone(),
        format!("{name}.{namespace}"),
        format!("{name}.{namespace}.svc"),
        format!("{name}.{namespace}.svc.{}", settings.cluster_domain),
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "[::1]".to_owned(),
    ];
    let oauth = endpoint.calls.authentication.oauth.as_ref();
    let resource = oauth
        .and_then(|oauth| syntax::url(&oauth.resource))
        .map(|url| url.authority().to_owned());
    let mut hosts = own.to_vec();
    for host in endpoint.external_host.clone().into_iter().chain(resource) {
        let named = hosts.iter().any(|known| {
            *known == host
                || host
                    .strip_prefix(known.as_str())
                    .is_some_and(|rest| rest.starts_with(':'))
        });
        if !named {
            hosts.push(host);
        }
    }
    hosts
}
