//! The policy in force, ready to decide by, and its replacement by another.

use super::limit::RateLimits;
use sallyport_auth::{Authenticator, StartError};
use sallyport_policy::authorization::Authorization;
use sallyport_policy::tools::Unpinned;
use sallyport_policy::{ConfirmedTools, EndpointIdentity, PolicyFile};
use std::sync::Arc;
use tokio::sync::watch;

/// A policy with what is made from it once.
#[derive(Clone)]
pub struct Rules {
    /// The policy as it was written.
    pub policy: PolicyFile,
    /// Whose policy it is.
    pub endpoint: Arc<EndpointIdentity>,
    /// Tells callers apart.
    pub authenticator: Arc<Authenticator>,
    /// The token buckets.
    pub rates: Arc<RateLimits>,
    binds: bool,
    guards: bool,
}

/// Sees the rules in force. Clones see the same.
pub type CurrentRules = watch::Receiver<Arc<Rules>>;

impl Rules {
    /// The rules of `policy`. What did not change since `before` goes on: callers' buckets stay as empty as they are.
    ///
    /// # Errors
    ///
    /// When callers cannot be told apart as the policy says.
    pub fn new(policy: PolicyFile, before: Option<&Self>) -> Result<Self, StartError> {
        let kept = before.filter(|before| before.policy.authentication == policy.authentication);
        let authenticator = match kept {
            Some(before) => before.authenticator.clone(),
            None => Arc::new(Authenticator::start(&policy.authentication, &policy.upstream.path)?),
        };
        let rates = before
            .map(|before| &before.rates)
            .filter(|rates| rates.are_of(&policy.limits.rates))
            .cloned()
            .unwrap_or_else(|| Arc::new(RateLimits::new(&policy.limits.rates)));
        let asks = policy.confirmation.tools != ConfirmedTools::Nothing;
        let binds = policy.authentication.has_method() || asks;
        let guards = binds
            || policy.tools.unpinned == Unpinned::Deny
            || !policy.tools.pins.is_empty()
            || policy.authorization != Authorization::of_everybody();
        Ok(Self {
            endpoint: Arc::new(policy.endpoint.clone()),
            policy,
            authenticator,
            rates,
            binds,
            guards,
        })
    }

    /// Whether sessions, tasks and request states are sealed: callers differ, or are asked something.
    pub const fn binds(&self) -> bool {
        self.binds
    }

    /// Whether anything is kept from anybody, so that no answer of the server may pass unread.
    pub const fn guards(&self) -> bool {
        self.guards
    }
}
