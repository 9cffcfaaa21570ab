//! Hosts whose names lead to the egress gateway, for servers that ignore proxy variables.

use crate::{ValidatedEndpoint, containers};
use k8s_openapi::api::core::v1::{HostAlias, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use sallyport_api::v1alpha1::{GATEWAY_TRANSPARENT_PORT, TRANSPARENT_SERVICE_PORT};
use sallyport_policy::egress::HostName;

/// Whether the gateway takes TLS without a proxy request.
pub(crate) fn is_used(endpoint: &ValidatedEndpoint) -> bool {
    endpoint
        .gateway
        .as_ref()
        .is_some_and(|gateway| !gateway.transparent.is_empty())
}

/// Whether the name of `host` leads to the gateway.
pub(crate) fn leads(endpoint: &ValidatedEndpoint, host: &HostName, port: u16) -> bool {
    let gateway = endpoint.gateway.as_ref();
    port == TRANSPARENT_SERVICE_PORT && gateway.is_some_and(|gateway| gateway.transparent.contains(host))
}

/// The port on which the gateway takes it, in its pods.
pub(crate) fn port(endpoint: &ValidatedEndpoint) -> Option<u16> {
    is_used(endpoint).then_some(GATEWAY_TRANSPARENT_PORT)
}

/// The port of the gateway's Service.
pub(crate) fn service_port(endpoint: &ValidatedEndpoint) -> Option<ServicePort> {
    is_used(endpoint).then(|| ServicePort {
        name: Some(containers::TLS_PORT_NAME.to_owned()),
        port: i32::from(TRANSPARENT_SERVICE_PORT),
        target_port: Some(IntOrString::Int(i32::from(GATEWAY_TRANSPARENT_PORT))),
        // Server-side apply merges ports by number and protocol, so the default must be written.
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    })
}

/// Lines of the server's /etc/hosts. None before the gateway's address is known.
pub(crate) fn host_aliases(endpoint: &ValidatedEndpoint) -> Option<Vec<HostAlias>> {
    let gateway = endpoint.gateway.as_ref()?;
    let address = gateway.address?;
    is_used(endpoint).then(|| {
        vec![HostAlias {
            ip: address.to_string(),
            hostnames: Some(gateway.transparent.iter().map(ToString::to_string).collect()),
        }]
    })
}
