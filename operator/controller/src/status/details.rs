//! The conditions that `Ready` sums up, each with its reason and message.

use super::{Observed, Rollout};
use crate::{credentials, enforcement::Enforcement, tools};
use sallyport_api::{
    McpEndpointStatus,
    conditions::{self, Status, reasons, types},
    labels,
    v1alpha1::{EgressMode, NamedSecret, Posture},
};
use sallyport_render::{CredentialFact, Widening};

/// Checks that only nodes can make a pod deviate from; what else deviates, the endpoint asks for.
const NODE_CHECKS: &[&str] = &["user-namespace", "strict-groups"];

/// One condition.
pub(super) struct Detail {
    pub type_: &'static str,
    pub status: Status,
    pub reason: String,
    pub message: String,
}

impl Detail {
    fn new(type_: &'static str, status: impl Into<Status>, reason: &str, message: impl Into<String>) -> Self {
        Self {
            type_,
            status: status.into(),
            reason: reason.to_owned(),
            message: message.into(),
        }
    }
}

/// Every condition that was observed and is not absent.
pub(super) fn of(
    rollout: &Rollout,
    closed: Closed,
    posture: Option<&Posture>,
    old: &McpEndpointStatus,
    observed: &Observed<'_>,
) -> Vec<Detail> {
    let enforced = Detail {
        type_: types::NETWORK_ENFORCED,
        status: closed.status,
        reason: closed.reason,
        message: closed.message,
    };
    let hardened = posture.map(|posture| {
        let (status, reason, message) = hardening(posture);
        Detail::new(types::HARDENING_APPLIED, status, reason, message)
    });
    let widened = widened(observed.mode, observed.widenings);
    let widened = widened.map(|(reason, message)| Detail::new(types::EGRESS_WIDENED, true, reason, message));
    [
        available(rollout),
        credentials_ready(old, observed),
        enforced,
        quota_sufficient(observed),
    ]
    .into_iter()
    .chain(hardened)
    .chain(widened)
    .chain(observed.pinned.then(|| tools_pinned(observed)))
    .collect()
}

/// Whether every pinned tool is as pinned.
fn tools_pinned(observed: &Observed<'_>) -> Detail {
    let detail = |status: Status, reason, message: String| Detail::new(types::TOOLS_PINNED, status, reason, message);
    match &observed.tools {
        None => detail(
            Status::Unknown,
            reasons::TOOLS_UNSEEN,
            "no audit sidecar has seen the server's tools yet; pinned ones are closed until then".to_owned(),
        ),
        Some(seen) if seen.drifted == 0 => detail(
            Status::True,
            reasons::AS_PINNED,
            "every pinned tool is as pinned".to_owned(),
        ),
        Some(seen) => detail(
            Status::False,
            reasons::TOOLS_DRIFTED,
            format!(
                "tools are closed because their definitions are not as pinned: {}; look at what changed, then pin the digests of \
                 status.tools under spec.tools.pins, or go back to the former image",
                tools::closed(seen)
            ),
        ),
    }
}

fn available(rollout: &Rollout) -> Detail {
    let available = rollout.is_available();
    let (reason, message) = match rollout {
        _ if available => (reasons::PODS_AVAILABLE, "all wanted pods are available"),
        Rollout::Absent => (reasons::UNAVAILABLE, "no pods were created yet"),
        _ => (reasons::UNAVAILABLE, "fewer pods than wanted are available"),
    };
    Detail::new(types::AVAILABLE, available, reason, message)
}

fn credentials_ready(old: &McpEndpointStatus, observed: &Observed<'_>) -> Detail {
    let unusable = |message: String| Detail::new(types::CREDENTIALS_READY, false, reasons::KEYS_UNUSABLE, message);
    let before = conditions::get(&old.conditions, types::CREDENTIALS_READY);
    let before = before.filter(|condition| condition.reason == reasons::KEYS_UNUSABLE);
    let synced = |message: &str| Detail::new(types::CREDENTIALS_READY, true, reasons::CREDENTIALS_SYNCED, message);
    match credential_problem(observed) {
        Some(problem) => Detail::new(types::CREDENTIALS_READY, false, problem.reason, problem.message),
        None if observed.problems.is_some_and(|problems| !problems.is_empty()) => {
            let problems = observed.problems.unwrap_or_default().join("; ");
            unusable(format!("the audit sidecar cannot tell all callers apart: {problems}"))
        }
        None if observed.problems.is_none() && before.is_some() => {
            unusable(before.map_or_else(String::new, |condition| condition.message.clone()))
        }
        None if observed.secrets.is_empty() => synced("the endpoint names no credentials"),
        None => synced("all credentials are there"),
    }
}

fn quota_sufficient(observed: &Observed<'_>) -> Detail {
    let shortfalls: Vec<_> = observed.shortfalls.iter().map(ToString::to_string).collect();
    let (reason, message) = if shortfalls.is_empty() {
        let message = "the namespace's quotas leave room for the endpoint".to_owned();
        (reasons::QUOTA_AVAILABLE, message)
    } else {
        (reasons::QUOTA_EXCEEDED, shortfalls.join("; "))
    };
    Detail::new(types::QUOTA_SUFFICIENT, shortfalls.is_empty(), reason, message)
}

/// Whether the pods are closed, as the condition `NetworkEnforced` says it.
pub(super) struct Closed {
    pub status: Status,
    pub reason: String,
    pub message: String,
}

impl Closed {
    pub fn of(measured: Option<&Enforcement>, old: &McpEndpointStatus) -> Self {
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
}

/// What is wrong with the credentials.
pub(super) struct Problem {
    pub reason: &'static str,
    pub message: String,
}

/// The worst of the credentials: a failure before an absence before a delay.
pub(super) fn credential_problem(observed: &Observed<'_>) -> Option<Problem> {
    let problem = |secret: &NamedSecret| {
        let source = credentials::source(secret);
        let (rank, reason, message) = match observed.facts.get(&secret.name)? {
            CredentialFact::Unwatched | CredentialFact::Synced { .. } => return None,
            CredentialFact::Failed { message } => (0, reasons::UNSEAL_FAILED, format!("{source}: {message}")),
            CredentialFact::Missing => (
                1,
                reasons::CREDENTIAL_MISSING,
                format!(
                    "{source} does not exist in this namespace; create it, or remove the credential {}",
                    secret.name
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
    let worst = observed
        .secrets
        .iter()
        .filter_map(problem)
        .min_by_key(|(rank, _)| *rank);
    worst.map(|(_, problem)| problem)
}

/// Whether every hardening check passes, and if not, whether the nodes or the endpoint are why.
pub(super) fn hardening(posture: &Posture) -> (bool, &'static str, String) {
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

/// Why more may leave or enter than the endpoint allows; `None` if nothing more may.
fn widened(mode: EgressMode, widenings: &[Widening]) -> Option<(&'static str, String)> {
    let audit = "egress.mode is Audit: the egress gateway lets every public host through and records it";
    let names: Vec<_> = widenings.iter().map(ToString::to_string).collect();
    let others = format!(
        "NetworkPolicies of others open more to or from the endpoint's pods than it says: {}; remove them, exclude pods with \
         the labels {} and {} from their podSelector, or take off labels that others have put on the pods",
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
