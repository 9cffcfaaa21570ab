//! What an endpoint lets its server reach that no pod shows.

use super::{EndpointCheck, Verdict};

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
