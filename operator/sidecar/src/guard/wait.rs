//! The guard: waits until everything is refused, for a bounded time.

use super::Probe;
use sallyport_policy::enforcement::{EnforcementReport, GUARD_INCONCLUSIVE, GUARD_REACHED, KubernetesApi, Verdict};
use std::time::Duration;
use tokio::time::Instant;

/// Rounds in a row that must be refused: a network that is still being set up may refuse once and open then.
const ROUNDS: u32 = 2;

/// Pause between two rounds.
const PAUSE: Duration = Duration::from_millis(500);

/// Why the pod cannot be shown to be closed.
#[derive(Debug, thiserror::Error)]
pub enum NotRefused {
    /// A forbidden destination was reached to the last.
    #[error(
        "this pod reaches what no rule allows, after {waited:?}: {seen}; the server must not start before its NetworkPolicies are enforced: does the cluster's network plugin enforce NetworkPolicy, and does another policy open more (condition EgressWidened)?"
    )]
    Reached {
        /// What was reached.
        seen: String,
        /// How long the guard waited.
        waited: Duration,
    },
    /// Nobody can tell.
    #[error("this pod cannot tell whether it is refused what no rule allows, after {waited:?}: {seen}")]
    Inconclusive {
        /// What was met instead of an answer.
        seen: String,
        /// How long the guard waited.
        waited: Duration,
    },
}

impl NotRefused {
    /// Exit code that tells the operator which it was.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Reached { .. } => GUARD_REACHED,
            Self::Inconclusive { .. } => GUARD_INCONCLUSIVE,
        }
    }

    fn of(report: &EnforcementReport, api: KubernetesApi, waited: Duration) -> Self {
        let seen = report.worst(api).map(ToString::to_string);
        match report.verdict(api) {
            Verdict::Reached => Self::Reached {
                seen: seen.unwrap_or_default(),
                waited,
            },
            Verdict::Refused | Verdict::Inconclusive => Self::Inconclusive {
                seen: missing(report, api).or(seen).unwrap_or_default(),
                waited,
            },
        }
    }
}

/// What a round that tried too little was not told of.
fn missing(report: &EnforcementReport, api: KubernetesApi) -> Option<String> {
    use sallyport_policy::enforcement::Destination::{Canary, KubernetesApi};
    let tried = |wanted| report.observations.iter().any(|seen| seen.destination == wanted);
    match (tried(Canary), tried(KubernetesApi) || !api.is_forbidden()) {
        (true, true) => None,
        (false, _) => Some(format!(
            "nothing names the address of {Canary}; does its Service exist?"
        )),
        (true, false) => Some(format!(
            "nothing names the address of {KubernetesApi} (KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT)"
        )),
    }
}

/// Returns once every destination was refused in two rounds in a row.
///
/// # Errors
///
/// What the last round met, when that did not come within `bound`.
pub async fn wait(probe: &Probe, bound: Duration) -> Result<EnforcementReport, NotRefused> {
    let begun = Instant::now();
    let mut refused = 0;
    loop {
        let report = probe.round().await;
        let verdict = report.verdict(probe.api());
        match verdict {
            Verdict::Refused => refused += 1,
            Verdict::Reached | Verdict::Inconclusive => refused = 0,
        }
        if refused == ROUNDS {
            return Ok(report);
        }
        // A round that was refused is always given its second, however late it came.
        if refused == 0 && begun.elapsed() >= bound {
            return Err(NotRefused::of(&report, probe.api(), bound));
        }
        let worst = report.worst(probe.api()).map(ToString::to_string);
        tracing::info!(?verdict, worst, "a round");
        tokio::time::sleep(PAUSE).await;
    }
}
