//! What the status says: computed here without I/O, written only when it differs.
//!
//! kstatus reads it in this order: an `observedGeneration` behind the generation is in progress, so is `Reconciling`;
//! `Stalled` is failed; then `Ready` decides. `Reconciling` and `Stalled` are absent when false.

use crate::{context::Context, credentials, enforcement::Enforcement, error::Error, pods::Diagnosis, quota::Shortfall};
use k8s_openapi::{api::apps::v1::Deployment, apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams},
};
use sallyport_api::{
    McpEndpoint, McpEndpointStatus,
    conditions::{self, reasons, types},
    labels,
    v1alpha1::{AuditStatus, EgressMode, Footprint, NamedSecret, NetworkEnforcement, Posture, ServerInfo, ToolsStatus},
};
use sallyport_render::{Applied, Children, CredentialFact, Widening};
use serde_json::json;
use std::collections::BTreeMap;

mod details;
mod rollout;
mod summary;
#[cfg(test)]
mod tests;

pub use rollout::Rollout;

use details::{Closed, Detail};
use summary::{Course, Summary};

/// Order in which conditions are listed.
const ORDER: &[&str] = &[
    types::READY,
    types::RECONCILING,
    types::STALLED,
    types::AVAILABLE,
    types::CREDENTIALS_READY,
    types::NETWORK_ENFORCED,
    types::EGRESS_WIDENED,
    types::HARDENING_APPLIED,
    types::QUOTA_SUFFICIENT,
    types::TOOLS_PINNED,
];

/// Everything that the status of an applied endpoint speaks of.
#[derive(Debug)]
pub struct Observed<'a> {
    /// Fences and, unless it was withheld, workload, as the API server answered.
    pub children: &'a Children<Applied>,
    /// The Deployment as it is: the applied one, or the former one while a credential is missing.
    pub deployment: Option<&'a Deployment>,
    /// The credentials and keys of the spec.
    pub secrets: &'a [NamedSecret],
    /// What is known of each.
    pub facts: &'a BTreeMap<String, CredentialFact>,
    /// Where clients reach the endpoint.
    pub url: String,
    /// Pods that are wanted.
    pub replicas: i32,
    /// The most that the endpoint can use now.
    pub footprint: Footprint,
    /// What the server said of itself, if it was asked.
    pub server: Option<ServerInfo>,
    /// What the sidecars saw of its tools, now or before.
    pub tools: Option<ToolsStatus>,
    /// Whether the spec pins tools.
    pub pinned: bool,
    /// How far the sidecars' records had come.
    pub audit: Option<AuditStatus>,
    /// What keeps the sidecars from telling callers apart; `None`: as was told before.
    pub problems: Option<&'a [String]>,
    /// The hardening checks of the applied pod template.
    pub posture: Option<Posture>,
    /// Quotas that leave too little.
    pub shortfalls: &'a [Shortfall],
    /// Whether the pods are closed; `None`: as was told before.
    pub enforcement: Option<Enforcement>,
    /// Whether the endpoint is ready only when they are.
    pub network_enforcement: NetworkEnforcement,
    /// Why pods do not become ready.
    pub diagnosis: Option<Diagnosis>,
    /// Why pods of the egress gateway do not become ready.
    pub gateway_diagnosis: Option<Diagnosis>,
    /// What the egress gateway does with hosts that are not allowed.
    pub mode: EgressMode,
    /// NetworkPolicies of others that open more than the endpoint says.
    pub widenings: &'a [Widening],
}

/// The status after the children were applied.
pub fn compute(old: &McpEndpointStatus, generation: i64, observed: Observed<'_>, now: Timestamp) -> McpEndpointStatus {
    let rollout = Rollout::of(observed.deployment);
    let closed = Closed::of(observed.enforcement.as_ref(), old);
    let summary = summary::of(&rollout, &closed, &observed);
    let posture = observed.posture.clone().or_else(|| old.posture.clone());
    let details = details::of(&rollout, closed, posture.as_ref(), old, &observed);
    let mut next = McpEndpointStatus {
        observed_generation: generation,
        conditions: old.conditions.clone(),
        url: Some(observed.url),
        replicas: observed.replicas,
        ready_replicas: observed
            .deployment
            .and_then(|deployment| deployment.status.as_ref()?.available_replicas)
            .unwrap_or(0),
        footprint: Some(observed.footprint),
        server: observed.server,
        tools: observed.tools,
        audit: observed.audit,
        credentials: credentials::statuses(observed.secrets, observed.facts),
        posture,
    };
    for Detail {
        type_,
        status,
        reason,
        message,
    } in details
    {
        conditions::set(
            &mut next.conditions,
            type_,
            status,
            &reason,
            message,
            Some(generation),
            now,
        );
    }
    if observed.mode == EgressMode::Enforce && observed.widenings.is_empty() {
        conditions::clear(&mut next.conditions, types::EGRESS_WIDENED);
    }
    if !observed.pinned {
        conditions::clear(&mut next.conditions, types::TOOLS_PINNED);
    }
    conclude(&mut next, &summary, generation, now);
    next
}

/// The status when nothing helps but a change of the spec, or of an object that it collides with.
pub fn stalled(old: &McpEndpointStatus, generation: i64, error: &Error, now: Timestamp) -> McpEndpointStatus {
    let reason = match error {
        Error::NameConflict { .. } => reasons::NAME_CONFLICT,
        _ => reasons::INVALID_SPEC,
    };
    failed(old, generation, reason, error.to_string(), Course::Stalled, now)
}

/// The status when the API server refused a child; `message` is its own.
pub fn refused(old: &McpEndpointStatus, generation: i64, message: String, now: Timestamp) -> McpEndpointStatus {
    failed(
        old,
        generation,
        reasons::APPLY_FAILED,
        message,
        Course::Reconciling,
        now,
    )
}

fn failed(
    old: &McpEndpointStatus,
    generation: i64,
    reason: &'static str,
    message: String,
    course: Course,
    now: Timestamp,
) -> McpEndpointStatus {
    let mut next = old.clone();
    next.observed_generation = generation;
    let summary = Summary {
        ready: false,
        reason,
        message,
        course,
    };
    conclude(&mut next, &summary, generation, now);
    next
}

/// Sets the summary conditions and puts all in order.
fn conclude(next: &mut McpEndpointStatus, summary: &Summary, generation: i64, now: Timestamp) {
    let Summary {
        ready,
        reason,
        message,
        course,
    } = summary;
    let conditions = &mut next.conditions;
    conditions::set(conditions, types::READY, *ready, reason, message, Some(generation), now);
    for (type_, active) in [
        (types::RECONCILING, matches!(course, Course::Reconciling)),
        (types::STALLED, matches!(course, Course::Stalled)),
    ] {
        if active {
            conditions::set(conditions, type_, true, reason, message, Some(generation), now);
        } else {
            conditions::clear(conditions, type_);
        }
    }
    let rank = |condition: &Condition| {
        ORDER
            .iter()
            .position(|type_| *type_ == condition.type_)
            .unwrap_or(ORDER.len())
    };
    conditions.sort_by_key(rank);
}

/// Whether `old` says of this `generation` that all pods are closed.
pub fn is_proven(old: &McpEndpointStatus, generation: i64) -> bool {
    let condition = conditions::get(&old.conditions, types::NETWORK_ENFORCED);
    condition.is_some_and(|condition| condition.status == "True" && condition.observed_generation == Some(generation))
}

/// Writes `next` unless it is what is stored already, so that a reconcile never triggers itself. Whether it was written.
///
/// # Errors
///
/// What the API server answered.
pub async fn write(context: &Context, endpoint: &McpEndpoint, next: &McpEndpointStatus) -> Result<bool, Error> {
    if endpoint.status.as_ref() == Some(next) {
        return Ok(false);
    }
    let name = endpoint.name_any();
    let api = Api::<McpEndpoint>::namespaced(context.client.clone(), &endpoint.namespace().unwrap_or_default());
    let body = json!({
        "apiVersion": McpEndpoint::api_version(&()),
        "kind": McpEndpoint::kind(&()),
        "metadata": {"name": name, "uid": endpoint.uid()},
        "status": next,
    });
    let params = PatchParams::apply(labels::STATUS_FIELD_MANAGER).force();
    let written = api.patch_status(&name, &params, &Patch::Apply(body)).await;
    written.map(|_| true).map_err(|source| Error::Api {
        verb: "write the status of",
        kind: McpEndpoint::kind(&()).into_owned(),
        name,
        source: Box::new(source),
    })
}
