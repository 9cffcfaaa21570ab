//! Leader election on a `coordination.k8s.io/v1` Lease.
//!
//! A lease is taken over only after it was seen unchanged for its whole duration on this replica's own monotonic clock,
//! so that clocks which disagree cannot make two leaders. Each write carries the `resourceVersion` that was read, so a
//! lost race is a conflict. The holder stops writing at two thirds of the duration after its last renewal.

use crate::{admin::Readiness, error::words, gate::Grant, metrics::Metrics};
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, ResourceExt,
    api::{ObjectMeta, PostParams},
};
use sallyport_api::labels;
use std::{future::Future, time::Duration};
use tokio::time::{Instant, sleep, timeout};

/// The lease was held and could not be renewed in time.
#[derive(Debug, thiserror::Error)]
#[error(
    "lost the lease {name}: it was not renewed within {deadline:?}; the process ends so that another replica can lead"
)]
pub struct Lost {
    name: String,
    deadline: Duration,
}

/// What to write given the stored lease; `None` when another holder's claim is still good.
///
/// `unchanged_for` is how long this replica has seen the lease as it is.
pub fn claim(stored: &Lease, holder: &str, ttl: Duration, unchanged_for: Duration, now: Timestamp) -> Option<Lease> {
    let spec = stored.spec.clone().unwrap_or_default();
    let holder_of_lease = spec.holder_identity.as_deref().filter(|identity| !identity.is_empty());
    let mine = holder_of_lease == Some(holder);
    let duration = spec
        .lease_duration_seconds
        .and_then(|seconds| u64::try_from(seconds).ok());
    let expired = unchanged_for >= duration.map_or(ttl, Duration::from_secs);
    if holder_of_lease.is_some() && !mine && !expired {
        return None;
    }
    let transitions = spec.lease_transitions.unwrap_or(0);
    Some(Lease {
        metadata: stored.metadata.clone(),
        spec: Some(LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: i32::try_from(ttl.as_secs()).ok(),
            acquire_time: if mine { spec.acquire_time } else { Some(MicroTime(now)) },
            renew_time: Some(MicroTime(now)),
            lease_transitions: Some(if mine {
                transitions
            } else {
                transitions.saturating_add(1)
            }),
            ..LeaseSpec::default()
        }),
    })
}

/// One replica's part in the election.
pub struct Elector {
    /// Leases of the operator's own namespace, through a client that is not gated.
    pub api: Api<Lease>,
    /// Name of the lease.
    pub name: String,
    /// Identity of this replica, unique among all that ever run at the same time.
    pub holder: String,
    /// How long a claim is good without renewal.
    pub ttl: Duration,
    /// Opens the gate for writes.
    pub grant: Grant,
    /// Told that a standby is ready.
    pub readiness: Readiness,
    /// Told who leads.
    pub metrics: Metrics,
}

/// The stored lease as this replica last saw it.
struct Seen {
    resource_version: Option<String>,
    since: Instant,
}

impl Elector {
    /// Waits for the lease, then runs `work` while holding it, and gives it back when `work` is done.
    ///
    /// # Errors
    ///
    /// [`Lost`] when the lease could not be renewed; `work` is dropped then.
    pub async fn lead(self, shutdown: impl Future<Output = ()>, work: impl Future<Output = ()>) -> Result<(), Lost> {
        tokio::select! {
            () = self.acquire() => {}
            () = shutdown => return Ok(()),
        }
        tracing::info!(lease = %self.name, holder = %self.holder, "leading");
        self.metrics.leader.set(1);
        let outcome = tokio::select! {
            lost = self.hold() => Err(lost),
            () = work => Ok(()),
        };
        self.grant.revoke();
        self.metrics.leader.set(0);
        if outcome.is_ok() {
            self.release().await;
        }
        outcome
    }

    async fn acquire(&self) {
        let mut seen = None;
        loop {
            match self.attempt(&mut seen).await {
                Ok(true) => return,
                Ok(false) => {
                    tracing::debug!(lease = %self.name, "another replica leads");
                    self.readiness.set();
                }
                Err(error) => tracing::warn!(lease = %self.name, %error, "cannot claim the lease; trying again"),
            }
            sleep(self.ttl / 6).await;
        }
    }

    async fn hold(&self) -> Lost {
        let deadline = self.ttl * 2 / 3;
        let mut renewed = Instant::now();
        let mut seen = None;
        while renewed.elapsed() < deadline {
            sleep(self.ttl / 3).await;
            while renewed.elapsed() < deadline {
                let sent = Instant::now();
                match self.attempt(&mut seen).await {
                    Ok(true) => {
                        renewed = sent;
                        break;
                    }
                    Ok(false) => {
                        tracing::error!(lease = %self.name, "another replica took the lease");
                        self.grant.revoke();
                        return self.lost(deadline);
                    }
                    Err(error) => {
                        tracing::warn!(lease = %self.name, %error, "cannot renew the lease; trying again");
                        sleep(self.ttl / 15).await;
                    }
                }
            }
        }
        self.lost(deadline)
    }

    fn lost(&self, deadline: Duration) -> Lost {
        Lost {
            name: self.name.clone(),
            deadline,
        }
    }

    /// One attempt to hold the lease; true when it is held, and then the gate is open.
    async fn attempt(&self, seen: &mut Option<Seen>) -> Result<bool, AttemptError> {
        let sent = Instant::now();
        let held = timeout(self.ttl / 3, self.exchange(seen))
            .await
            .map_err(|_| AttemptError::Timeout)??;
        if held {
            self.grant.until(sent + self.ttl * 2 / 3);
        }
        Ok(held)
    }

    async fn exchange(&self, seen: &mut Option<Seen>) -> Result<bool, kube::Error> {
        let stored = self.api.get_opt(&self.name).await?.unwrap_or_else(|| Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                ..ObjectMeta::default()
            },
            spec: None,
        });
        let resource_version = stored.resource_version();
        let known = seen.take().filter(|known| known.resource_version == resource_version);
        let known = known.unwrap_or_else(|| Seen {
            resource_version: resource_version.clone(),
            since: Instant::now(),
        });
        let unchanged_for = known.since.elapsed();
        *seen = Some(known);
        let Some(next) = claim(&stored, &self.holder, self.ttl, unchanged_for, Timestamp::now()) else {
            return Ok(false);
        };
        self.write(&next, resource_version.is_some()).await
    }

    /// Writes `lease`; false when another replica was faster.
    async fn write(&self, lease: &Lease, exists: bool) -> Result<bool, kube::Error> {
        let params = PostParams {
            field_manager: Some(labels::FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let written = if exists {
            self.api.replace(&self.name, &params, lease).await
        } else {
            self.api.create(&params, lease).await
        };
        match written {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Gives the lease back, so that the next replica need not wait. Failing to is harmless: it runs out.
    async fn release(&self) {
        let released = timeout(self.ttl / 3, async {
            let Some(mut lease) = self.api.get_opt(&self.name).await? else {
                return Ok(false);
            };
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() != Some(&self.holder) {
                return Ok(false);
            }
            spec.holder_identity = None;
            self.write(&lease, true).await
        });
        match released.await {
            Ok(Ok(_)) => tracing::info!(lease = %self.name, "released the lease"),
            Ok(Err(error)) => {
                tracing::warn!(lease = %self.name, error = words(&error), "the lease was not released; it runs out");
            }
            Err(_) => tracing::warn!(lease = %self.name, "the lease was not released in time; it runs out"),
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error("the API server did not answer in time")]
    Timeout,
    #[error("{}", words(.0))]
    Api(#[from] kube::Error),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{gate::gate, testing::ApiServer};

    const TTL: Duration = Duration::from_secs(15);

    fn lease(holder: Option<&str>, seconds: Option<i32>) -> Lease {
        Lease {
            metadata: ObjectMeta::default(),
            spec: Some(LeaseSpec {
                holder_identity: holder.map(ToOwned::to_owned),
                lease_duration_seconds: seconds,
                lease_transitions: Some(3),
                ..LeaseSpec::default()
            }),
        }
    }

    #[test]
    fn a_lease_is_claimed_only_when_it_is_free_own_or_seen_unchanged_for_its_duration() {
        let table = [
            ("new", Lease::default(), 0, Some(1)),
            ("released", lease(None, Some(15)), 0, Some(4)),
            ("released with an empty name", lease(Some(""), Some(15)), 0, Some(4)),
            ("own", lease(Some("me"), Some(15)), 0, Some(3)),
            ("fresh of another", lease(Some("other"), Some(15)), 14, None),
            ("expired of another", lease(Some("other"), Some(15)), 15, Some(4)),
            ("longer of another", lease(Some("other"), Some(60)), 59, None),
            ("without duration", lease(Some("other"), None), 14, None),
            ("without duration, expired", lease(Some("other"), None), 15, Some(4)),
        ];
        for (name, stored, unchanged, transitions) in table {
            let next = claim(
                &stored,
                "me",
                TTL,
                Duration::from_secs(unchanged),
                Timestamp::UNIX_EPOCH,
            );
            let spec = next.and_then(|lease| lease.spec);
            assert_eq!(
                spec.as_ref().and_then(|spec| spec.lease_transitions),
                transitions,
                "{name}"
            );
            let holder = spec.and_then(|spec| spec.holder_identity);
            assert_eq!(holder.as_deref(), transitions.map(|_| "me"), "{name}");
        }
    }

    fn elector(api: &ApiServer, holder: &str) -> (Elector, crate::gate::WriteGate) {
        let metrics = Metrics::default();
        let (grant, gate) = gate(metrics.writes.clone());
        let elector = Elector {
            api: Api::namespaced(api.client(), "sallyport-system"),
            name: "sallyport-operator".to_owned(),
            holder: holder.to_owned(),
            ttl: TTL,
            grant,
            readiness: Readiness::default(),
            metrics,
        };
        (elector, gate)
    }

    #[tokio::test(start_paused = true)]
    async fn a_released_lease_is_taken_at_once_and_a_crashed_one_after_its_duration() {
        let api = ApiServer::default();
        let (first, _gate) = elector(&api, "first");
        first
            .lead(std::future::pending(), std::future::ready(()))
            .await
            .unwrap();
        let begun = Instant::now();
        let (second, _gate) = elector(&api, "second");
        second.acquire().await;
        assert!(begun.elapsed() < Duration::from_secs(1));
        // `second` is gone without having released it.
        let (third, _gate) = elector(&api, "third");
        third.acquire().await;
        assert!(begun.elapsed() >= TTL, "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_cannot_renew_ends_before_another_may_lead() {
        let api = ApiServer::default();
        let (elector, _gate) = elector(&api, "first");
        let begun = Instant::now();
        let work = async {
            api.fail_everything(503);
            std::future::pending::<()>().await;
        };
        assert!(elector.lead(std::future::pending(), work).await.is_err());
        assert!(begun.elapsed() < TTL, "{:?}", begun.elapsed());
    }
}
