//! Condition types and reasons of an endpoint's status, and the one place that writes them.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

/// Condition types, in the order in which they are listed.
pub mod types {
    /// Summary: pods available, fences present, the MCP handshake answered through the sidecar.
    pub const READY: &str = "Ready";
    /// kstatus: work is under way. Absent when false.
    pub const RECONCILING: &str = "Reconciling";
    /// kstatus: no progress until the spec or something it names changes. Absent when false.
    pub const STALLED: &str = "Stalled";
    /// The wanted number of pods is available.
    pub const AVAILABLE: &str = "Available";
    /// Every referenced credential exists as far as the operator may see.
    pub const CREDENTIALS_READY: &str = "CredentialsReady";
    /// Abnormal-true: something opens more than the endpoint says. Absent when false.
    pub const EGRESS_WIDENED: &str = "EgressWidened";
    /// Every hardening setting is in force; the message lists what the nodes cannot do.
    pub const HARDENING_APPLIED: &str = "HardeningApplied";
    /// Every pod is refused what no rule allows, as its guard and its sidecar measured while the operator's canary was
    /// alive. Unknown before that, and while the canary is not alive.
    pub const NETWORK_ENFORCED: &str = "NetworkEnforced";
    /// The namespace's quotas leave room for the endpoint's footprint.
    pub const QUOTA_SUFFICIENT: &str = "QuotaSufficient";
    /// Every pinned tool is as pinned. Absent where nothing is pinned.
    pub const TOOLS_PINNED: &str = "ToolsPinned";
}

/// Reasons, as written into conditions and events.
pub mod reasons {
    /// Everything that `Ready` sums up holds.
    pub const READY: &str = "Ready";
    /// The roll-out is under way.
    pub const PROGRESSING: &str = "Progressing";
    /// Pods run but too few of them are available.
    pub const UNAVAILABLE: &str = "Unavailable";
    /// The spec cannot be rendered; it must change.
    pub const INVALID_SPEC: &str = "InvalidSpec";
    /// An object of a child's name exists and belongs to somebody else.
    pub const NAME_CONFLICT: &str = "NameConflict";
    /// The API server refused an object of the endpoint; the message is its own.
    pub const APPLY_FAILED: &str = "ApplyFailed";
    /// All wanted pods are available.
    pub const PODS_AVAILABLE: &str = "PodsAvailable";
    /// A referenced SealedSecret does not exist yet.
    pub const CREDENTIAL_MISSING: &str = "CredentialMissing";
    /// A referenced SealedSecret is not unsealed yet.
    pub const CREDENTIAL_PENDING: &str = "CredentialPending";
    /// The sealed-secrets controller reported a failure.
    pub const UNSEAL_FAILED: &str = "UnsealFailed";
    /// An audit sidecar cannot use its keys, or cannot reach an issuer of tokens; the message is its own.
    pub const KEYS_UNUSABLE: &str = "KeysUnusable";
    /// All credentials are there.
    pub const CREDENTIALS_SYNCED: &str = "CredentialsSynced";
    /// A quota of the namespace leaves too little room.
    pub const QUOTA_EXCEEDED: &str = "QuotaExceeded";
    /// The quotas leave room.
    pub const QUOTA_AVAILABLE: &str = "QuotaAvailable";
    /// The API server refused to create pods; the message is its own.
    pub const FAILED_CREATE: &str = "FailedCreate";
    /// The roll-out made no progress within its deadline.
    pub const PROGRESS_DEADLINE_EXCEEDED: &str = "ProgressDeadlineExceeded";
    /// A container does not start; the message is the kubelet's.
    pub const CONTAINER_NOT_STARTING: &str = "ContainerNotStarting";
    /// The server behind the sidecar did not answer the MCP handshake.
    pub const HANDSHAKE_PENDING: &str = "HandshakePending";
    /// Every pod was refused every forbidden destination.
    pub const ENFORCED: &str = "Enforced";
    /// A pod reached a forbidden destination: its network policies are not enforced.
    pub const NOT_ENFORCED: &str = "NotEnforced";
    /// Not every pod was measured yet.
    pub const NOT_MEASURED: &str = "NotMeasured";
    /// The operator's canary does not answer the operator, so a refusal proves nothing.
    pub const CANARY_UNREACHABLE: &str = "CanaryUnreachable";
    /// Every hardening setting is rendered.
    pub const ALL_APPLIED: &str = "AllApplied";
    /// NetworkPolicies of others open more to or from the endpoint's pods than the endpoint says.
    pub const OTHER_POLICIES: &str = "OtherPolicies";
    /// The egress gateway lets through what the endpoint does not allow, because the endpoint says so.
    pub const AUDIT_MODE: &str = "AuditMode";
    /// Every pinned tool is as pinned.
    pub const AS_PINNED: &str = "AsPinned";
    /// Tools are not as pinned, and closed.
    pub const TOOLS_DRIFTED: &str = "ToolsDrifted";
    /// No audit sidecar has seen the tools yet.
    pub const TOOLS_UNSEEN: &str = "ToolsUnseen";
    /// The endpoint asks for something that hardening checks deviate from.
    pub const CHOSEN: &str = "Chosen";
    /// Some hardening settings are left out because the nodes do not support them.
    pub const NODE_SUPPORT_MISSING: &str = "NodeSupportMissing";
}

/// Status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Nobody can tell.
    Unknown,
}

impl Status {
    /// As Kubernetes writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Status {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

/// Sets the condition `type_`, moving `lastTransitionTime` only when its status changes.
///
/// Messages carry no clock and no counter: a status that differs on every reconcile would trigger the next one.
pub fn set(
    conditions: &mut Vec<Condition>,
    type_: &str,
    status: impl Into<Status>,
    reason: &str,
    message: impl Into<String>,
    generation: Option<i64>,
    now: Timestamp,
) {
    let status = status.into().as_str();
    let old = conditions.iter().position(|condition| condition.type_ == type_);
    let last_transition_time = old
        .map(|at| &conditions[at])
        .filter(|condition| condition.status == status)
        .map_or_else(
            || Time(truncated(now)),
            |condition| condition.last_transition_time.clone(),
        );
    let next = Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.into(),
        observed_generation: generation,
        last_transition_time,
    };
    match old {
        Some(at) => conditions[at] = next,
        None => conditions.push(next),
    }
}

/// Removes the condition `type_`; kstatus wants abnormal conditions absent when they are false.
pub fn clear(conditions: &mut Vec<Condition>, type_: &str) {
    conditions.retain(|condition| condition.type_ != type_);
}

/// Looks a condition up.
pub fn get<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whole seconds, so that memory and wire agree.
fn truncated(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_transition_time_moves_only_when_the_status_changes() {
        let mut conditions = vec![];
        set(
            &mut conditions,
            types::READY,
            false,
            reasons::PROGRESSING,
            "a",
            Some(1),
            at(1),
        );
        set(
            &mut conditions,
            types::READY,
            false,
            reasons::UNAVAILABLE,
            "b",
            Some(2),
            at(2),
        );
        assert_eq!(conditions[0].last_transition_time, Time(at(1)));
        set(&mut conditions, types::READY, true, reasons::READY, "c", Some(2), at(3));
        assert_eq!(conditions[0].last_transition_time, Time(at(3)));
        assert_eq!(conditions.len(), 1);
    }

    #[test]
    fn a_cleared_condition_is_absent() {
        let mut conditions = vec![];
        set(
            &mut conditions,
            types::STALLED,
            true,
            reasons::INVALID_SPEC,
            "",
            None,
            at(1),
        );
        clear(&mut conditions, types::STALLED);
        assert!(get(&conditions, types::STALLED).is_none());
    }
}
