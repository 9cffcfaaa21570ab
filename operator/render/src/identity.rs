//! How the pods of an endpoint are known in its namespace: ServiceAccount, Service, PodDisruptionBudget.

use crate::{
    ValidatedEndpoint, containers,
    metadata::{self, Part},
    transparent,
};
use k8s_openapi::{
    api::{
        core::v1::{Service, ServiceAccount, ServicePort, ServiceSpec},
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use sallyport_api::v1alpha1::{GATEWAY_PORT, SIDECAR_PORT};

pub(crate) fn service_account(endpoint: &ValidatedEndpoint, part: Part) -> ServiceAccount {
    ServiceAccount {
        metadata: metadata::of_child(endpoint, part),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

/// Leads to the audit sidecars, or to the egress gateway, whose address the server is told literally.
pub(crate) fn service(endpoint: &ValidatedEndpoint, part: Part) -> Service {
    let (name, number, target) = match part {
        Part::Server => (containers::MCP_PORT_NAME, endpoint.service_port(), SIDECAR_PORT),
        Part::Gateway => (containers::PROXY_PORT_NAME, GATEWAY_PORT, GATEWAY_PORT),
    };
    let more = match part {
        Part::Server => None,
        Part::Gateway => transparent::service_port(endpoint),
    };
    let main = ServicePort {
        name: Some(name.to_owned()),
        port: i32::from(number),
        target_port: Some(IntOrString::Int(i32::from(target))),
        // Server-side apply merges ports by number and protocol, so the default must be written.
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    };
    Service {
        metadata: metadata::of_child(endpoint, part),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            selector: Some(metadata::selector_labels(endpoint, part)),
            ports: Some(std::iter::once(main).chain(more).collect()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// One pod at a time may be drained; a pod that is not ready anyway never blocks a node.
pub(crate) fn pod_disruption_budget(endpoint: &ValidatedEndpoint, part: Part) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: metadata::of_child(endpoint, part),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(metadata::selector(endpoint, part)),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    }
}
