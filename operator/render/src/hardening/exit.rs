//! What an endpoint lets its server reach that no pod shows.

use super::{EndpointCheck, Verdict};
use sallyport_policy::egress::EgressMode;

pub(super) const KUBERNETES_API: EndpointCheck = EndpointCheck {
    id: "no-kubernetes-api",
    title: "No rule opens the Kubernetes API to the server",
    source: "CIS 5.3; Sallyport",
    check: |endpoint| {
        Verdict::pass_if(
            endpoint.kubernetes_api().is_forbidden(),
            "egress.allow opens the Kubernetes API, as the class allows",
        )
    },
};

pub(super) const HOSTS_BY_NAME: EndpointCheck = EndpointCheck {
    id: "hosts-by-name",
    title: "Where Cilium's policies are written, they too open hosts by name alone",
    source: "Sallyport",
    check: |endpoint| {
        let learns = |mode: EgressMode| endpoint.cilium && mode == EgressMode::Audit;
        Verdict::pass_if(
            !endpoint.gateway.as_ref().is_some_and(|gateway| learns(gateway.mode)),
            "egress.mode is Audit, so that the network lets the gateway reach every public address",
        )
    },
};
