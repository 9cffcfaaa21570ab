//! Who calls: API keys, OAuth 2.1 access tokens and client certificates, and the challenges to those who show none.
//!
//! [`Authenticator`] turns the head of a request into a [`Principal`] or a [`Rejection`]. It reads the files that its policy
//! names, follows them, and asks the issuers that its policy names, and nobody else.

mod authenticator;
mod rejection;

pub use authenticator::{Authenticator, StartError};
pub use rejection::{Reason, Rejection};
pub use sallyport_core::tls::PeerCertificate;
pub use sallyport_policy::Principal;
