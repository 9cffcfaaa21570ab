//! Whom an endpoint lets in, which no pod shows.

use super::{EndpointCheck, Verdict};

pub(super) const CALLERS: EndpointCheck = EndpointCheck {
    id: "callers-known",
    title: "Callers prove who they are, to the audit sidecar",
    source: "MCP authorization; OWASP MCP07; CIS 5.1",
    check: |endpoint| {
        let calls = &endpoint.calls;
        let reason = if calls.declared {
            "authentication says anonymous: true, so callers without a credential are let in"
        } else {
            "authentication is absent, so whoever reaches the endpoint may call"
        };
        Verdict::pass_if(!calls.authentication.anonymous, reason)
    },
};
