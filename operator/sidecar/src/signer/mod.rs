//! The signer: certifies to the endpoint's egress gateway that it may end TLS, for the hosts to which the gateway adds a
//! credential that this pod must not hold.
//!
//! The pod has a certification [`Authority`] of its own. Its key is kept where no other container of the pod looks, its
//! certificate is written into the [`trust`] of the server, and [`Signer`] answers the gateway. Whoever gets at a
//! certificate can deceive this pod's server alone.

mod authority;
mod service;
mod trust;

pub use authority::{Authority, AuthorityError};
pub use service::Signer;
pub use trust::TrustError;

use sallyport_policy::signer::SignerPolicy;
use std::path::Path;

/// Why there is no signer.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// No authority.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The server cannot be told whom to trust.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

impl Signer {
    /// Makes or finds the pod's authority and has the server trust it.
    ///
    /// # Errors
    ///
    /// See [`SignerError`].
    pub fn start(policy: &SignerPolicy) -> Result<Self, SignerError> {
        let authority = Authority::of(Path::new(&policy.key_directory), policy.hosts.clone())?;
        trust::write(Path::new(&policy.trust_directory), authority.certificate())?;
        tracing::info!(hosts = ?policy.hosts, "the server trusts this pod's authority for these hosts");
        Ok(Self::new(authority))
    }
}
