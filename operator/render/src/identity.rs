//! How an endpoint is known in its namespace: ServiceAccount, Service, PodDisruptionBudget.

use crate::{ValidatedEndpoint, containers, metadata};
use k8s_openapi::{
    api::{
        core::v1::{Service, ServiceAccount, ServicePort, ServiceSpec},
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use sallyport_api::v1alpha1::{SERVICE_PORT, SIDECAR_PORT};

pub(crate) fn service_account(endpoint: &ValidatedEndpoint) -> ServiceAccount {
    ServiceAccount {
        metadata: metadata::of_child(endpoint),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

pub(crate) fn service(endpoint: &ValidatedEndpoint) -> Service {
    Service {
        metadata: metadata::of_child(endpoint),
        spec: Some(ServiceSpec {
            type_: Some("ClusterIP".to_owned()),
            selector: Some(metadata::selector_labels(endpoint)),
            ports: Some(vec![ServicePort {
                name: Some(containers::MCP_PORT_NAME.to_owned()),
                port: i32::from(SERVICE_PORT),
                target_port: Some(IntOrString::Int(i32::from(SIDECAR_PORT))),
                // Server-side apply merges ports by number and protocol, so the default must be written.
                protocol: Some("TCP".to_owned()),
                ..ServicePort::default()
            }]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// One pod at a time may be drained; a pod that is not ready anyway never blocks a node.
pub(crate) fn pod_disruption_budget(endpoint: &ValidatedEndpoint) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: metadata::of_child(endpoint),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(metadata::selector(endpoint)),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    }
}
