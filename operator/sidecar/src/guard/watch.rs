//! The guard's question asked again and again while the server runs.

use super::Probe;
use crate::metrics::Metrics;
use sallyport_policy::enforcement::{EnforcementMode, EnforcementReport, Verdict};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, watch};

/// Time between two rounds while all is refused.
const EVERY: Duration = Duration::from_secs(30);

/// Time between two rounds otherwise.
const SOON: Duration = Duration::from_secs(5);

/// How long a call waits for the first round that can tell.
const FIRST_ROUND: Duration = Duration::from_secs(5);

/// Why no calls may be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotClosed {
    /// The last round that could tell reached something.
    #[error("this pod reaches what no rule allows: its NetworkPolicies are not enforced")]
    Open,
    /// No round could tell.
    #[error("whether this pod is closed is not known yet")]
    Unknown,
}

/// Sees what the rounds met. Clones see the same.
#[derive(Clone)]
pub struct EnforcementWatch(Arc<Inner>);

struct Inner {
    probe: Probe,
    mode: EnforcementMode,
    /// Of the last round that could tell: trouble in the pod does not excuse what was seen before.
    conclusive: watch::Sender<Option<Verdict>>,
    metrics: Arc<Metrics>,
    /// One round at a time, whoever asks.
    turn: Mutex<()>,
}

impl EnforcementWatch {
    /// Starts probing, for as long as the runtime lives.
    pub fn start(probe: Probe, mode: EnforcementMode, metrics: Arc<Metrics>) -> Self {
        let inner = Inner {
            probe,
            mode,
            conclusive: watch::Sender::new(None),
            metrics,
            turn: Mutex::new(()),
        };
        let watch = Self(Arc::new(inner));
        let probing = watch.clone();
        tokio::spawn(async move {
            loop {
                let refused = probing.round().await.verdict(probing.0.probe.api()) == Verdict::Refused;
                tokio::time::sleep(jittered(if refused { EVERY } else { SOON })).await;
            }
        });
        watch
    }

    /// What a round meets that begins now: what the operator compares with what it met at the same time.
    pub async fn round(&self) -> EnforcementReport {
        let Inner {
            probe,
            conclusive,
            metrics,
            turn,
            ..
        } = &*self.0;
        let _turn = turn.lock().await;
        let report = probe.round().await;
        for seen in &report.observations {
            metrics.probed(seen.destination, seen.verdict);
        }
        let verdict = report.verdict(probe.api());
        metrics.enforced.set(i64::from(verdict == Verdict::Refused));
        let worst = report.worst(probe.api()).map(ToString::to_string);
        if verdict == Verdict::Inconclusive {
            tracing::warn!(worst, "whether this pod is closed cannot be told");
        } else if conclusive.send_replace(Some(verdict)) != Some(verdict) {
            if verdict == Verdict::Reached {
                tracing::error!(worst, "this pod reaches what no rule allows");
            } else {
                tracing::info!("this pod is refused what no rule allows");
            }
        }
        report
    }

    /// Whether calls may be served: not before the first round that could tell, and not while a forbidden destination is
    /// reached, unless that is only to be reported.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn permits_calls(&self) -> Result<(), NotClosed> {
        if self.0.mode == EnforcementMode::Warn {
            return Ok(());
        }
        match *self.0.conclusive.borrow() {
            Some(Verdict::Refused) => Ok(()),
            Some(Verdict::Reached) => Err(NotClosed::Open),
            Some(Verdict::Inconclusive) | None => Err(NotClosed::Unknown),
        }
    }

    /// Whether a call may be served now. One that came before the first round that could tell waits for it, for a while: a
    /// sidecar that was started again is called at once.
    ///
    /// # Errors
    ///
    /// Why not, as [`permits_calls`](Self::permits_calls) says.
    pub async fn permits_call(&self) -> Result<(), NotClosed> {
        match self.permits_calls() {
            Err(NotClosed::Unknown) => {
                let mut conclusive = self.0.conclusive.subscribe();
                // Told or not in time, what is known then decides.
                let _ = tokio::time::timeout(FIRST_ROUND, conclusive.wait_for(Option::is_some)).await;
                self.permits_calls()
            }
            known => known,
        }
    }
}

/// `duration` and up to a fifth of it more or less, so that the pods of a cluster do not probe in step.
fn jittered(duration: Duration) -> Duration {
    // A hasher with random keys is as random as this needs.
    let random = u32::try_from(RandomState::new().hash_one(()) % 401).unwrap_or_default();
    duration * (800 + random) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_spread_around_their_time() {
        for _ in 0..100 {
            let pause = jittered(EVERY);
            assert!(
                (Duration::from_secs(24)..=Duration::from_secs(36)).contains(&pause),
                "{pause:?}"
            );
        }
    }
}
