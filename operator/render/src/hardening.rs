//! Hardening checks as data.
//!
//! One chain judges every rendered pod: in the tests, on the command line, and in the `posture` of an endpoint's status.
//! Two parts: the restricted Pod Security Standard, check by check, and what goes beyond it.

mod beyond;
mod containers;
mod restricted;

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

/// What a check says of a pod.
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

/// Checks that speak of a server's pod alone: an egress gateway resolves names, starts without waiting, and is an
/// entrance of its own.
const SERVER_ALONE: &[&str] = &["no-dns", "guarded-start", "audited-entrance"];

/// Runs every check on a server's pod.
pub fn judge(pod: &PodSpec) -> Posture {
    posture(CHECKS.iter(), pod)
}

/// Runs every check that is not about servers alone on an egress gateway's pod.
pub fn judge_gateway(pod: &PodSpec) -> Posture {
    posture(CHECKS.iter().filter(|check| !SERVER_ALONE.contains(&check.id)), pod)
}

fn posture<'a>(checks: impl Iterator<Item = &'a Check>, pod: &PodSpec) -> Posture {
    let mut posture = Posture::default();
    for check in checks {
        posture.total += 1;
        match check.deviation(pod) {
            None => posture.passed += 1,
            Some(deviation) => posture.deviations.push(deviation),
        }
    }
    posture
}

impl Check {
    /// The check's name and why `pod` does not pass; `None` if it passes.
    pub fn deviation(&self, pod: &PodSpec) -> Option<String> {
        match (self.check)(pod) {
            Verdict::Pass => None,
            Verdict::Deviates { reason } => Some(format!("{}: {reason}", self.id)),
        }
    }
}

impl Verdict {
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
