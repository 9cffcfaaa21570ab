//! From the head of a request to its principal.

use crate::{PeerCertificate, Reason, Rejection};
use bytes::Bytes;
use http::request::Parts;
use sallyport_policy::{Authentication, Principal};

/// Why an endpoint's authentication cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum StartError {}

/// Tells callers apart, as a policy says. One per policy.
#[derive(Debug)]
pub struct Authenticator {}

impl Authenticator {
    /// Reads the files that `policy` names and follows them.
    ///
    /// # Errors
    ///
    /// When the policy cannot be followed. Files that are missing or broken are no such error: nobody is admitted by
    /// them, and [`Authenticator::problems`] says so.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub fn start(policy: &Authentication) -> Result<Self, StartError> {
        let _ = policy;
        Ok(Self {})
    }

    /// Who sent the request with this head over a connection with this client certificate.
    ///
    /// # Errors
    ///
    /// When the request is not to be let in.
    pub async fn authenticate(&self, head: &Parts, peer: Option<&PeerCertificate>) -> Result<Principal, Rejection> {
        let _ = (head, peer);
        Err(Rejection::new(Reason::Unavailable, None))
    }

    /// The refusal of a request whose principal lacks some of `scopes`, all that the request needs (RFC 6750 section 3.1).
    pub fn insufficient_scope(&self, scopes: &[&str]) -> Rejection {
        let _ = scopes;
        Rejection::new(Reason::InsufficientScope, None)
    }

    /// The refusal of a request whose user must authenticate as one of `acr_values`, or no longer ago than `max_age`
    /// seconds (RFC 9470 section 3).
    pub fn insufficient_authentication(&self, acr_values: &[&str], max_age: Option<u32>) -> Rejection {
        let _ = (acr_values, max_age);
        Rejection::new(Reason::InsufficientAuthentication, None)
    }

    /// The metadata document (RFC 9728) if `path` is one of its places and the endpoint takes access tokens. It is served
    /// to GET and HEAD without authentication, as `application/json`.
    pub fn protected_resource_metadata(&self, path: &str) -> Option<Bytes> {
        let _ = path;
        None
    }

    /// What does not work as the policy wants it: broken files, issuers out of reach. Empty when all is well.
    pub fn problems(&self) -> Vec<String> {
        vec![]
    }
}
