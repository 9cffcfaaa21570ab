//! What the status says: computed here without I/O, written only when it differs.
//!
//! kstatus reads it in this order: an `observedGeneration` behind the generation is in progress, so is `Reconciling`;
//! `Stalled` is failed; then `Ready` decides. `Reconciling` and `Stalled` are absent when false.

use crate::{context::Context, credentials, enforcement::Enforcement, error::Error, pods::Diagnosis, quota::Shortfall};
use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentCondition},
    apimachinery::pkg::apis::meta::v1::Condition,
    jiff::Timestamp,
};
use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams},
};
use sallyport_api::{
    McpEndpoint, McpEndpointStatus,
    conditions::{self, Status, reasons, types},
    labels,
    v1alpha1::{Credential, EgressMode, Footprint, NetworkEnforcement, Posture, ServerInfo},
};
use sallyport_render::{Applied, Children, CredentialFact, Widening};
use serde_json::json;
use std::collections::BTreeMap;

#[cfg(test)]
mod tests;

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
];

/// Checks that only nodes can make a pod deviate from; what else deviates, the endpoint asks for.
const NODE_CHECKS: &[&str] = &["user-namespace", "strict-groups"];

/// Everything that the status of an applied endpoint speaks of.
#[derive(Debug)]
pub struct Observed<'a> {
    /// Fences and, unless it was withheld, workload, as the API server answered.
    pub children: &'a Children<Applied>,
    /// The Deployment as it is: the applied one, or the former one while a credential is missing.
    pub deployment: Option<&'a Deployment>,
    /// The credentials of the spec.
    pub credentials: &'a [Credential],
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

/// How far the Deployment's roll-out is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rollout {
    /// There is none.
    Absent,
    /// Pods are being replaced or created.
    Progressing,
    /// The API server refuses to create pods.
    Refused(String),
    /// It took longer than its deadline.
    Overdue(String),
    /// Every pod is of the current template; `available` if enough of them are.
    Complete {
        /// Whether all wanted pods are available.
        available: bool,
    },
}

impl Rollout {
    /// Reads the Deployment's status.
    pub fn of(deployment: Option<&Deployment>) -> Self {
        let Some(deployment) = deployment else {
            return Self::Absent;
        };
        let status = deployment.status.clone().unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        let find = |type_: &str, value: &str| {
            let found = conditions
                .iter()
                .find(|condition| condition.type_ == type_ && condition.status == value);
            found.cloned()
        };
        let text = |condition: DeploymentCondition| condition.message.unwrap_or_default();
        if status.observed_generation < deployment.metadata.generation {
            return Self::Progressing;
        }
        if let Some(failure) = find("ReplicaFailure", "True") {
            return Self::Refused(text(failure));
        }
        let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let updated = status.updated_replicas.unwrap_or(0);
        let available = status.available_replicas.unwrap_or(0) >= wanted;
        let progressing = find("Progressing", "True").and_then(|condition| condition.reason);
        let settled = progressing.as_deref() == Some("NewReplicaSetAvailable") || available;
        if updated >= wanted && status.replicas.unwrap_or(0) <= updated && settled {
            return Self::Complete { available };
        }
        match find("Progressing", "False")
            .filter(|condition| condition.reason.as_deref() == Some("ProgressDeadlineExceeded"))
        {
            Some(overdue) => Self::Overdue(text(overdue)),
            None => Self::Progressing,
        }
    }

    /// Whether all wanted pods are of the current template and available.
    pub fn is_available(&self) -> bool {
        matches!(self, Self::Complete { available: true })
    }
}

/// The summary: one reason and message, and whether it is being worked on or waits for the user.
struct Summary {
    ready: bool,
    reason: &'static str,
    message: String,
    course: Course,
}

enum Course {
    /// Nothing is under way.
    Settled,
    /// kstatus `Reconciling`.
    Reconciling,
    /// kstatus `Stalled`.
    Stalled,
}

/// The status after the children were applied.
pub fn compute(old: &McpEndpointStatus, generation: i64, observed: Observed<'_>, now: Timestamp) -> McpEndpointStatus {
    let rollout = Rollout::of(observed.deployment);
    let credentials = credential_problem(observed.credentials, observed.facts);
    let withheld = observed.children.deployment.is_none();
    let closed = Closed::of(observed.enforcement.as_ref(), old);
    let summary = summarize(&rollout, withheld, credentials.as_ref(), &closed, &observed);
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
        credentials: credentials::statuses(observed.credentials, observed.facts),
        posture: observed.posture.or_else(|| old.posture.clone()),
    };
    let set = &mut |type_: &str, status: bool, reason: &str, message: String| {
        conditions::set(
            &mut next.conditions,
            type_,
            status,
            reason,
            message,
            Some(generation),
            now,
        );
    };
    let available = rollout.is_available();
    let (reason, message) = match &rollout {
        _ if available => (reasons::PODS_AVAILABLE, "all wanted pods are available"),
        Rollout::Absent => (reasons::UNAVAILABLE, "no pods were created yet"),
        _ => (reasons::UNAVAILABLE, "fewer pods than wanted are available"),
    };
    set(types::AVAILABLE, available, reason, message.to_owned());
    match credentials {
        Some(problem) => set(types::CREDENTIALS_READY, false, problem.reason, problem.message),
        None if observed.credentials.is_empty() => {
            set(
                types::CREDENTIALS_READY,
                true,
                reasons::CREDENTIALS_SYNCED,
                "the endpoint names no credentials".to_owned(),
            );
        }
        None => set(
            types::CREDENTIALS_READY,
            true,
            reasons::CREDENTIALS_SYNCED,
            "all credentials are there".to_owned(),
        ),
    }
    conditions::set(
        &mut next.conditions,
        types::NETWORK_ENFORCED,
        closed.status,
        &closed.reason,
        closed.message,
        Some(generation),
        now,
    );
    if let Some(posture) = &next.posture {
        let (status, reason, message) = hardening(posture);
        conditions::set(
            &mut next.conditions,
            types::HARDENING_APPLIED,
            status,
            reason,
            message,
            Some(generation),
            now,
        );
    }
    match widened(observed.mode, observed.widenings) {
        None => conditions::clear(&mut next.conditions, types::EGRESS_WIDENED),
        Some((reason, message)) => conditions::set(
            &mut next.conditions,
            types::EGRESS_WIDENED,
            true,
            reason,
            message,
            Some(generation),
            now,
        ),
    }
    let shortfalls: Vec<_> = observed.shortfalls.iter().map(ToString::to_string).collect();
    let (reason, message) = if shortfalls.is_empty() {
        (
            reasons::QUOTA_AVAILABLE,
            "the namespace's quotas leave room for the endpoint".to_owned(),
        )
    } else {
        (reasons::QUOTA_EXCEEDED, shortfalls.join("; "))
    };
    let sufficient = shortfalls.is_empty();
    conditions::set(
        &mut next.conditions,
        types::QUOTA_SUFFICIENT,
        sufficient,
        reason,
        message,
        Some(generation),
        now,
    );
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

/// Whether the pods are closed, as the condition `NetworkEnforced` says it.
struct Closed {
    status: Status,
    reason: String,
    message: String,
}

impl Closed {
    fn of(measured: Option<&Enforcement>, old: &McpEndpointStatus) -> Self {
        let before = conditions::get(&old.conditions, types::NETWORK_ENFORCED);
        match (measured, before) {
            // Only what was proven is not told anew.
            (None, Some(before)) => Self {
                status: Status::True,
                reason: before.reason.clone(),
                message: before.message.clone(),
            },
            (measured, _) => {
                let (status, reason, message) =
                    measured.map_or_else(|| Enforcement::default().condition(), Enforcement::condition);
                Self {
                    status,
                    reason: reason.to_owned(),
                    message,
                }
            }
        }
    }

    /// Why the endpoint is not ready before its pods are proven closed; `None` if they are.
    fn problem(&self, rollout: &Rollout) -> Option<Summary> {
        let (reason, course) = match (self.status, rollout) {
            (Status::True, _) => return None,
            (Status::Unknown, _) if self.reason == reasons::CANARY_UNREACHABLE => {
                (reasons::CANARY_UNREACHABLE, Course::Reconciling)
            }
            (Status::Unknown, _) => (reasons::NOT_MEASURED, Course::Reconciling),
            (Status::False, Rollout::Overdue(_)) => (reasons::NOT_ENFORCED, Course::Stalled),
            (Status::False, Rollout::Complete { .. }) => (reasons::NOT_ENFORCED, Course::Settled),
            (Status::False, _) => (reasons::NOT_ENFORCED, Course::Reconciling),
        };
        Some(Summary {
            ready: false,
            reason,
            message: self.message.clone(),
            course,
        })
    }
}

/// Whether `old` says of this `generation` that all pods are closed.
pub fn is_proven(old: &McpEndpointStatus, generation: i64) -> bool {
    let condition = conditions::get(&old.conditions, types::NETWORK_ENFORCED);
    condition.is_some_and(|condition| condition.status == "True" && condition.observed_generation == Some(generation))
}

fn summarize(
    rollout: &Rollout,
    withheld: bool,
    credentials: Option<&Problem>,
    closed: &Closed,
    observed: &Observed<'_>,
) -> Summary {
    let not_ready = |reason, message: String, course| Summary {
        ready: false,
        reason,
        message,
        course,
    };
    if let Some(problem) = credentials {
        let course = if problem.reason == reasons::UNSEAL_FAILED {
            Course::Stalled
        } else {
            Course::Reconciling
        };
        return not_ready(problem.reason, problem.message.clone(), course);
    }
    let cause = |otherwise: &str| {
        observed
            .diagnosis
            .clone()
            .map_or_else(|| otherwise.to_owned(), |diagnosis| diagnosis.message)
    };
    let unproven = match observed.network_enforcement {
        NetworkEnforcement::Required => closed.problem(rollout),
        NetworkEnforcement::Warn => None,
    };
    if closed.status == Status::False
        && let Some(open) = unproven
    {
        return open;
    }
    match rollout {
        Rollout::Refused(message) => not_ready(reasons::FAILED_CREATE, message.clone(), Course::Reconciling),
        Rollout::Overdue(message) => not_ready(reasons::PROGRESS_DEADLINE_EXCEEDED, cause(message), Course::Stalled),
        _ if withheld && matches!(observed.enforcement, Some(Enforcement::NoCanary)) => {
            not_ready(reasons::CANARY_UNREACHABLE, closed.message.clone(), Course::Reconciling)
        }
        _ if withheld => not_ready(
            reasons::PROGRESSING,
            "the roll-out waits for the address of the egress gateway's Service".to_owned(),
            Course::Reconciling,
        ),
        Rollout::Absent | Rollout::Progressing => match &observed.diagnosis {
            Some(diagnosis) => not_ready(diagnosis.reason, diagnosis.message.clone(), Course::Reconciling),
            None => not_ready(
                reasons::PROGRESSING,
                "waiting for the pods of the current spec to become available".to_owned(),
                Course::Reconciling,
            ),
        },
        Rollout::Complete { available: false } => {
            let reason = observed
                .diagnosis
                .as_ref()
                .map_or(reasons::UNAVAILABLE, |diagnosis| diagnosis.reason);
            not_ready(reason, cause("fewer pods than wanted are available"), Course::Settled)
        }
        Rollout::Complete { available: true } if observed.server.is_none() => not_ready(
            reasons::HANDSHAKE_PENDING,
            "waiting for the server's answer to the MCP handshake, through the audit sidecar".to_owned(),
            Course::Reconciling,
        ),
        Rollout::Complete { available: true } => gateway_problem(observed).or(unproven).unwrap_or_else(|| Summary {
            ready: true,
            reason: reasons::READY,
            message: format!(
                "pods are available, fences are in place{}, the server answered the MCP handshake",
                if closed.status == Status::True {
                    " and enforced"
                } else {
                    ""
                }
            ),
            course: Course::Settled,
        }),
    }
}

/// Why the egress gateway does not serve; `None` if it does, or if there is none.
fn gateway_problem(observed: &Observed<'_>) -> Option<Summary> {
    let gateway = observed.children.gateway.as_ref()?;
    let cause = |otherwise: &str| {
        let found = observed.gateway_diagnosis.as_ref();
        found.map_or_else(
            || otherwise.to_owned(),
            |diagnosis| format!("egress gateway: {}", diagnosis.message),
        )
    };
    let (reason, message, course) = match Rollout::of(Some(&gateway.deployment)) {
        Rollout::Complete { available: true } => return None,
        Rollout::Complete { available: false } => (
            reasons::UNAVAILABLE,
            cause("fewer pods of the egress gateway than wanted are available"),
            Course::Settled,
        ),
        Rollout::Refused(message) => (
            reasons::FAILED_CREATE,
            format!("egress gateway: {message}"),
            Course::Reconciling,
        ),
        Rollout::Overdue(message) => (
            reasons::PROGRESS_DEADLINE_EXCEEDED,
            cause(&format!("egress gateway: {message}")),
            Course::Stalled,
        ),
        Rollout::Absent | Rollout::Progressing => (
            observed
                .gateway_diagnosis
                .as_ref()
                .map_or(reasons::PROGRESSING, |diagnosis| diagnosis.reason),
            cause("waiting for the pods of the egress gateway to become available"),
            Course::Reconciling,
        ),
    };
    Some(Summary {
        ready: false,
        reason,
        message,
        course,
    })
}

/// Why more may leave or enter than the endpoint allows; `None` if nothing more may.
fn widened(mode: EgressMode, widenings: &[Widening]) -> Option<(&'static str, String)> {
    let audit = "egress.mode is Audit: the egress gateway lets every public host through and records it";
    let names: Vec<_> = widenings.iter().map(ToString::to_string).collect();
    let others = format!(
        "NetworkPolicies of others open more to or from the endpoint's pods than it says: {}; remove them, or exclude pods \
         with the labels {} and {} from their podSelector",
        names.join(", "),
        labels::ENDPOINT,
        labels::EGRESS_OF
    );
    match (mode, names.is_empty()) {
        (EgressMode::Enforce, true) => None,
        (EgressMode::Audit, true) => Some((reasons::AUDIT_MODE, audit.to_owned())),
        (EgressMode::Enforce, false) => Some((reasons::OTHER_POLICIES, others)),
        (EgressMode::Audit, false) => Some((reasons::OTHER_POLICIES, format!("{others}; {audit}"))),
    }
}

struct Problem {
    reason: &'static str,
    message: String,
}

/// The worst of the credentials: a failure before an absence before a delay.
fn credential_problem(credentials: &[Credential], facts: &BTreeMap<String, CredentialFact>) -> Option<Problem> {
    let problem = |credential: &Credential| {
        let source = credentials::source(credential);
        let (rank, reason, message) = match facts.get(&credential.name)? {
            CredentialFact::Unwatched | CredentialFact::Synced { .. } => return None,
            CredentialFact::Failed { message } => (0, reasons::UNSEAL_FAILED, format!("{source}: {message}")),
            CredentialFact::Missing => (
                1,
                reasons::CREDENTIAL_MISSING,
                format!(
                    "{source} does not exist in this namespace; create it, or remove the credential {}",
                    credential.name
                ),
            ),
            CredentialFact::Pending => (
                2,
                reasons::CREDENTIAL_PENDING,
                format!(
                    "{source} is not unsealed yet; is the sealed-secrets controller running, with --update-status?"
                ),
            ),
        };
        Some((rank, Problem { reason, message }))
    };
    let worst = credentials.iter().filter_map(problem).min_by_key(|(rank, _)| *rank);
    worst.map(|(_, problem)| problem)
}

fn hardening(posture: &Posture) -> (bool, &'static str, String) {
    if posture.deviations.is_empty() {
        (true, reasons::ALL_APPLIED, "every hardening check passes".to_owned())
    } else {
        let of_nodes = |deviation: &String| NODE_CHECKS.iter().any(|id| deviation.starts_with(&format!("{id}:")));
        let reason = if posture.deviations.iter().all(of_nodes) {
            reasons::NODE_SUPPORT_MISSING
        } else {
            reasons::CHOSEN
        };
        (false, reason, posture.deviations.join("; "))
    }
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
