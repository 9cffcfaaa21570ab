//! The condition `Ready`: one reason and message out of everything that was observed.

use super::{
    Observed, Rollout,
    details::{self, Closed},
};
use crate::enforcement::Enforcement;
use sallyport_api::{
    conditions::{Status, reasons},
    v1alpha1::NetworkEnforcement,
};

/// The summary: one reason and message, and whether it is being worked on or waits for the user.
pub(super) struct Summary {
    pub ready: bool,
    pub reason: &'static str,
    pub message: String,
    pub course: Course,
}

pub(super) enum Course {
    /// Nothing is under way.
    Settled,
    /// kstatus `Reconciling`.
    Reconciling,
    /// kstatus `Stalled`.
    Stalled,
}

/// Sums up what was observed.
pub(super) fn of(rollout: &Rollout, closed: &Closed, observed: &Observed<'_>) -> Summary {
    let withheld = observed.children.deployment.is_none();
    let not_ready = |reason, message: String, course| Summary {
        ready: false,
        reason,
        message,
        course,
    };
    if let Some(problem) = details::credential_problem(observed) {
        let course = if problem.reason == reasons::UNSEAL_FAILED {
            Course::Stalled
        } else {
            Course::Reconciling
        };
        return not_ready(problem.reason, problem.message, course);
    }
    let cause = |otherwise: &str| {
        observed
            .diagnosis
            .clone()
            .map_or_else(|| otherwise.to_owned(), |diagnosis| diagnosis.message)
    };
    let unproven = match observed.network_enforcement {
        NetworkEnforcement::Required => unproven(closed, rollout),
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

/// Why the endpoint is not ready before its pods are proven closed; `None` if they are.
fn unproven(closed: &Closed, rollout: &Rollout) -> Option<Summary> {
    let (reason, course) = match (closed.status, rollout) {
        (Status::True, _) => return None,
        (Status::Unknown, _) if closed.reason == reasons::CANARY_UNREACHABLE => {
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
        message: closed.message.clone(),
        course,
    })
}
