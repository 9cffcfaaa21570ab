//! The one way out: whoever wants to reach a host, by whatever kind of request, comes through here.

use crate::dial::{self, Dial};
use crate::event::Entry;
use crate::meter::{Bounds, Meter, Metered};
use crate::metrics::Metrics;
use crate::policy::{Policy, PolicyWatch};
use crate::rate::Rate;
use crate::refusal::Refusal;
use crate::resolve::Resolver;
use crate::target::Target;
use sallyport_core::drain::Drain;
use sallyport_policy::egress::{AddressDenial, Decision, EgressMode, Injection};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Finds ways out.
pub struct Router {
    /// What is allowed.
    pub policy: PolicyWatch,
    /// Who knows addresses.
    pub resolver: Resolver,
    /// Who connects.
    pub dialer: Arc<dyn Dial>,
    /// How many connections may be open.
    pub places: Arc<Semaphore>,
    /// How many may begin.
    pub rate: Rate,
    /// Whether the gateway stops.
    pub drain: Drain,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// A way out: a connection to an allowed host at a checked address.
pub struct Route {
    /// The host's end.
    pub upstream: Metered,
    /// Counts what passes.
    pub meter: Arc<Meter>,
    /// What ends it.
    pub bounds: Bounds,
    /// Where it goes.
    pub passage: Passage,
    /// The policy that allowed it.
    pub policy: Arc<Policy>,
    /// Counts as open until it is dropped.
    pub place: OwnedSemaphorePermit,
}

/// A host and port, and the address that was dialled.
pub struct Passage {
    /// Where the client wanted to go.
    pub target: Target,
    /// Where it went.
    pub address: IpAddr,
    /// What is added to its requests.
    pub inject: Option<Injection>,
}

impl Router {
    /// Opens a way to `target`, under the policy in force, and notes in `entry` what was decided.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub async fn open(&self, policy: Arc<Policy>, target: Target, entry: &mut Entry) -> Result<Route, Refusal> {
        entry.target(&target);
        let place = self.admit(&policy)?;
        self.lead(policy, target, place, entry).await
    }

    /// Takes a place for one connection.
    ///
    /// # Errors
    ///
    /// When connections begin too fast, or too many are there.
    pub fn admit(&self, policy: &Policy) -> Result<OwnedSemaphorePermit, Refusal> {
        if !self
            .rate
            .take(policy.file.limits.connections_per_second, Instant::now())
        {
            return Err(Refusal::TooFast);
        }
        let place = self.places.clone().try_acquire_owned();
        place.map_err(|_| Refusal::TooManyConnections)
    }

    /// As [`Router::open`], for a connection that has its place.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub async fn lead(
        &self,
        policy: Arc<Policy>,
        target: Target,
        place: OwnedSemaphorePermit,
        entry: &mut Entry,
    ) -> Result<Route, Refusal> {
        let limits = policy.file.limits.clone();
        decide(&policy, &target, entry)?;
        let started = Instant::now();
        let candidates = self.resolver.addresses(&target.host).await;
        self.metrics.resolved(started.elapsed());
        let addresses = check(&policy, &candidates?, entry)?;
        let started = Instant::now();
        let dialling = dial::first(self.dialer.as_ref(), &addresses, target.port);
        let dialled = tokio::time::timeout(Duration::from_secs(limits.connect_seconds), dialling).await;
        self.metrics.dialled(started.elapsed());
        let (upstream, address) = match dialled {
            Err(_) => return Err(Refusal::ConnectTimedOut),
            Ok(Err(error)) => {
                tracing::info!(host = %target.host, port = target.port, %error, "a host does not accept connections");
                return Err(Refusal::ConnectFailed);
            }
            Ok(Ok(dialled)) => dialled,
        };
        if let Err(error) = upstream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY is refused");
        }
        entry.address(address);
        let meter = Meter::new(limits.bytes);
        Ok(Route {
            upstream: Metered::new(upstream, meter.clone()),
            meter,
            bounds: Bounds {
                limits,
                policy: self.policy.clone(),
                drain: self.drain.clone(),
            },
            passage: Passage {
                inject: policy.file.injection(&target.host, target.port).cloned(),
                target,
                address,
            },
            policy,
            place,
        })
    }
}

impl Passage {
    /// Whether `policy` allows it; asked when a new one comes into force.
    pub fn is_allowed_by(&self, policy: &Policy) -> bool {
        let audit = policy.file.mode == EgressMode::Audit;
        let host = matches!(
            policy.file.decide(&self.target.host, self.target.port),
            Decision::Allowed { .. }
        );
        let address = match policy.file.decide_address(self.address) {
            Ok(_) => true,
            Err(denial) => audit && denial.is_overridable(),
        };
        // What is a tunnel must not stay one when a credential is to be added, nor the other way round.
        let inject = policy.file.injection(&self.target.host, self.target.port) == self.inject.as_ref();
        (host || audit) && address && inject
    }
}

/// Lets pass what would be refused, if the mode says so.
pub fn enforce(policy: &Policy, refusal: Refusal, entry: &mut Entry) -> Result<(), Refusal> {
    match policy.file.mode {
        EgressMode::Enforce => Err(refusal),
        EgressMode::Audit => {
            entry.would_deny(&refusal);
            Ok(())
        }
    }
}

fn decide(policy: &Policy, target: &Target, entry: &mut Entry) -> Result<(), Refusal> {
    match policy.file.decide(&target.host, target.port) {
        Decision::Allowed { rule } => {
            entry.rule(rule.to_string());
            Ok(())
        }
        Decision::Denied(denial) => enforce(policy, Refusal::Host(denial), entry),
    }
}

/// The addresses of `candidates` that may be dialled, at least one.
fn check(policy: &Policy, candidates: &[IpAddr], entry: &mut Entry) -> Result<Vec<IpAddr>, Refusal> {
    let mut passed = Vec::new();
    let mut denied: Vec<(IpAddr, AddressDenial)> = Vec::new();
    for &candidate in candidates {
        match policy.file.decide_address(candidate) {
            Ok(ip) => passed.push(ip),
            Err(denial) => {
                entry.refused_address(candidate);
                denied.push((candidate, denial));
            }
        }
    }
    let Some(&(_, first)) = denied.first().filter(|_| passed.is_empty()) else {
        return Ok(passed);
    };
    let overridable = denied.iter().filter(|(_, denial)| denial.is_overridable());
    let private: Vec<IpAddr> = overridable.map(|(ip, _)| ip.to_canonical()).collect();
    if private.is_empty() {
        return Err(Refusal::Address(first));
    }
    enforce(policy, Refusal::Address(first), entry)?;
    Ok(private)
}
