//! What a pod must be refused, and what it tells of having tried: the two halves of the proof that its network policies
//! are enforced.
//!
//! A pod alone cannot tell a refusal from an absence: a connection that fails looks the same. So the pod reports what
//! it met, and the operator, which reaches the canary itself, says whether there was something to be refused.

use serde::{Deserialize, Serialize};
use std::{fmt, net::SocketAddr};

/// Exit code of the guard when a forbidden destination was reached.
pub const GUARD_REACHED: u8 = 3;
/// Exit code of the guard when it could not be told whether the destinations are refused.
pub const GUARD_INCONCLUSIVE: u8 = 4;
/// The line that the canary sends to whoever connects.
pub const CANARY_LINE: &[u8] = b"sallyport canary\n";

/// What the pod must be refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Enforcement {
    /// What happens while it is not refused.
    pub mode: EnforcementMode,
    /// Seconds that the guard gives the network until everything is refused.
    pub wait_seconds: u64,
    /// Addresses of the operator's canary, one of each address family of the cluster. The API server is where the kubelet
    /// says.
    pub canaries: Vec<SocketAddr>,
    /// Whether the API server must be refused too.
    #[serde(default, skip_serializing_if = "KubernetesApi::is_forbidden")]
    pub kubernetes_api: KubernetesApi,
}

/// Whether the API server is among what a pod must be refused. The canary always is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum KubernetesApi {
    /// It is.
    #[default]
    Forbidden,
    /// A rule of the endpoint opens it, as its class allows.
    Allowed,
}

impl KubernetesApi {
    /// Whether it must be refused.
    pub fn is_forbidden(&self) -> bool {
        *self == Self::Forbidden
    }
}

/// What happens while a forbidden destination is not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnforcementMode {
    /// The guard does not let the server start; the sidecar of a running one is not ready and forwards nothing.
    Required,
    /// It is reported.
    Warn,
}

/// A forbidden destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Destination {
    /// The operator's canary.
    Canary,
    /// The API server of the cluster.
    KubernetesApi,
}

/// What a connection attempt to one address met.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Observation {
    /// What was tried.
    pub destination: Destination,
    /// Where.
    pub address: SocketAddr,
    /// What came of it.
    pub verdict: Verdict,
    /// In words: the kernel's answer, or that there was none.
    pub detail: String,
}

/// What came of a connection attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It was turned down or dropped on the way, or nothing was there.
    Refused,
    /// It could not be made, for a reason of the pod's own.
    Inconclusive,
    /// It was accepted.
    Reached,
}

/// What one round of attempts met; what the sidecar answers on `/enforcement`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnforcementReport {
    /// What each attempt met.
    pub observations: Vec<Observation>,
}

impl EnforcementReport {
    /// The worst of the verdicts on what must be refused. A round that tried nothing, or not every kind of destination that
    /// must be, shows nothing.
    pub fn verdict(&self, api: KubernetesApi) -> Verdict {
        let tried = |wanted| self.observations.iter().any(|seen| seen.destination == wanted);
        let all_tried = tried(Destination::Canary) && (tried(Destination::KubernetesApi) || !api.is_forbidden());
        match self.worst(api).map(|seen| seen.verdict) {
            Some(Verdict::Refused) if !all_tried => Verdict::Inconclusive,
            Some(worst) => worst,
            None => Verdict::Inconclusive,
        }
    }

    /// The first observation with the worst verdict on what must be refused, if any was made.
    pub fn worst(&self, api: KubernetesApi) -> Option<&Observation> {
        let counts = |seen: &&Observation| seen.destination == Destination::Canary || api.is_forbidden();
        let worst = self.observations.iter().filter(counts).map(|seen| seen.verdict).max()?;
        self.observations
            .iter()
            .filter(counts)
            .find(|seen| seen.verdict == worst)
    }
}

/// As in `the canary of the operator (10.96.0.7:15070)`.
impl fmt::Display for Observation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({}): {}", self.destination, self.address, self.detail)
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Canary => "the operator's canary",
            Self::KubernetesApi => "the Kubernetes API",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    fn report(seen: &[(Destination, Verdict)]) -> EnforcementReport {
        let observations = seen.iter().map(|&(destination, verdict)| Observation {
            destination,
            address: SocketAddr::from(([10, 96, 0, 7], 15070)),
            verdict,
            detail: "connection refused".to_owned(),
        });
        EnforcementReport {
            observations: observations.collect(),
        }
    }

    #[test]
    fn only_a_refusal_of_every_kind_of_destination_is_a_refusal() {
        use Destination::{Canary, KubernetesApi};
        use Verdict::{Inconclusive, Reached, Refused};
        for (seen, expected) in [
            (vec![], Inconclusive),
            (vec![(Canary, Refused)], Inconclusive),
            (vec![(KubernetesApi, Refused)], Inconclusive),
            (vec![(Canary, Refused), (KubernetesApi, Refused)], Refused),
            (vec![(Canary, Refused), (KubernetesApi, Inconclusive)], Inconclusive),
            (vec![(Canary, Refused), (KubernetesApi, Reached)], Reached),
            (vec![(Canary, Reached), (KubernetesApi, Inconclusive)], Reached),
            (
                vec![(Canary, Refused), (Canary, Reached), (KubernetesApi, Refused)],
                Reached,
            ),
        ] {
            assert_eq!(
                report(&seen).verdict(super::KubernetesApi::Forbidden),
                expected,
                "{seen:?}"
            );
        }
    }

    #[test]
    fn an_api_server_that_is_allowed_counts_for_nothing_and_the_canary_counts_on() {
        use Destination::{Canary, KubernetesApi};
        use Verdict::{Inconclusive, Reached, Refused};
        for (seen, expected) in [
            (vec![], Inconclusive),
            (vec![(Canary, Refused)], Refused),
            (vec![(KubernetesApi, Refused)], Inconclusive),
            (vec![(Canary, Refused), (KubernetesApi, Reached)], Refused),
            (vec![(Canary, Reached), (KubernetesApi, Refused)], Reached),
        ] {
            let report = report(&seen);
            assert_eq!(report.verdict(super::KubernetesApi::Allowed), expected, "{seen:?}");
            let worst = report.worst(super::KubernetesApi::Allowed);
            assert!(worst.is_none_or(|worst| worst.destination == Canary));
        }
    }

    #[test]
    fn the_worst_observation_is_the_one_to_tell_of() {
        let report = report(&[
            (Destination::Canary, Verdict::Refused),
            (Destination::KubernetesApi, Verdict::Reached),
        ]);
        assert_eq!(
            report.worst(KubernetesApi::Forbidden).unwrap().destination,
            Destination::KubernetesApi
        );
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<EnforcementReport>(&text).unwrap(), report);
        assert!(text.contains(r#""destination":"kubernetes-api","address":"10.96.0.7:15070","verdict":"reached""#));
    }
}
