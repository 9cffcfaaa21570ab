//! Hardening checks as data.
//!
//! One chain judges every rendered pod: in the tests, on the command line, and in the `posture` of an endpoint's status.
//! Three parts: the restricted Pod Security Standard, check by check, what goes beyond it, and what is of the endpoint itself.

mod beyond;
mod containers;
mod entrance;
mod exit;
mod restricted;

use crate::ValidatedEndpoint;
use k8s_openapi::api::core::v1::PodSpec;
use sallyport_api::v1alpha1::Posture;
use std::sync::LazyLock;

/// One hardening check.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Stable name, as it appears in `status.posture.deviations`.
    pub id: &'static str,
    /// What a pod that passes has or has not, as a sentence.
    pub title: &'static str,
    /// Standards that ask for it.
    pub source: &'static str,
    /// Judges a pod.
    pub check: fn(&PodSpec) -> Verdict,
}

/// One hardening check of an endpoint itself.
#[derive(Clone, Copy, Debug)]
pub struct EndpointCheck {
    /// Stable name, as it appears in `status.posture.deviations`.
    pub id: &'static str,
    /// What holds of an endpoint that passes, as a sentence.
    pub title: &'static str,
    /// Standards that ask for it.
    pub source: &'static str,
    /// Judges an endpoint.
    pub check: fn(&ValidatedEndpoint) -> Verdict,
}

/// What a check says of a pod or an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The pod passes.
    Pass,
    /// The pod does not pass.
    Deviates {
        /// What deviates, and where.
        reason: String,
    },
}

/// Every check: the restricted Pod Security Standard first.
pub static CHECKS: LazyLock<Vec<Check>> = LazyLock::new(|| [restricted::CHECKS, beyond::CHECKS].concat());

/// Every check of an endpoint itself.
pub const ENDPOINT_CHECKS: &[EndpointCheck] = &[entrance::CALLERS, exit::KUBERNETES_API, exit::HOSTS_BY_NAME];

/// Checks that speak of a server's pod alone: an egress gateway resolves names, starts without waiting, and is an
/// entrance of its own.
const SERVER_ALONE: &[&str] = &["no-dns", "guarded-start", "audited-entrance", "held-ports"];

/// Runs every check on an endpoint and its server's pod.
pub fn judge_endpoint(endpoint: &ValidatedEndpoint, pod: &PodSpec) -> Posture {
    let own = ENDPOINT_CHECKS.iter().map(|check| check.deviation(endpoint));
    posture(CHECKS.iter().map(|check| check.deviation(pod)).chain(own))
}

/// Runs every check on a server's pod.
pub fn judge(pod: &PodSpec) -> Posture {
    posture(CHECKS.iter().map(|check| check.deviation(pod)))
}

/// Runs every check that is not about servers alone on an egress gateway's pod.
pub fn judge_gateway(pod: &PodSpec) -> Posture {
    let judged = CHECKS.iter().filter(|check| !SERVER_ALONE.contains(&check.id));
    posture(judged.map(|check| check.deviation(pod)))
}

fn posture(verdicts: impl Iterator<Item = Option<String>>) -> Posture {
    let mut posture = Posture::default();
    for deviation in verdicts {
        posture.total += 1;
        match deviation {
            None => posture.passed += 1,
            Some(deviation) => posture.deviations.push(deviation),
        }
    }
    posture
}

impl Check {
    /// The check's name and why `pod` does not pass; `None` if it passes.
    pub fn deviation(&self, pod: &PodSpec) -> Option<String> {
        (self.check)(pod).of(self.id)
    }
}

impl EndpointCheck {
    /// The check's name and why `endpoint` does not pass; `None` if it passes.
    pub fn deviation(&self, endpoint: &ValidatedEndpoint) -> Option<String> {
        (self.check)(endpoint).of(self.id)
    }
}

impl Verdict {
    fn of(self, id: &str) -> Option<String> {
        match self {
            Self::Pass => None,
            Self::Deviates { reason } => Some(format!("{id}: {reason}")),
        }
    }

    fn pass_if(passes: bool, reason: &str) -> Self {
        if passes {
            Self::Pass
        } else {
            Self::Deviates {
                reason: reason.to_owned(),
            }
        }
    }

    /// Passes if nothing offends; otherwise lists what does.
    fn none(offenders: impl IntoIterator<Item = String>, reason: &str) -> Self {
        let offenders: Vec<_> = offenders.into_iter().collect();
        if offenders.is_empty() {
            Self::Pass
        } else {
            Self::Deviates {
                reason: format!("{reason} ({})", offenders.join(", ")),
            }
        }
    }
}
