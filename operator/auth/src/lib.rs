//! Who calls: API keys, OAuth 2.1 access tokens and client certificates, and the challenges to those who show none.
//!
//! [`Authenticator`] turns the head of a request into a [`Principal`] or a [`Rejection`]. It reads the files that its policy
//! names, follows them, and asks the issuers that its policy names, and nobody else.

mod attempts;
mod authenticator;
mod certificate;
mod challenge;
mod clock;
mod fetch;
pub mod keys;
mod metadata;
mod presented;
mod problem;
mod rejection;
mod secret;
mod token;

pub use attempts::{Attempts, TooManyFailures, Work};
pub use authenticator::{Authenticator, StartError};
pub use fetch::{AuthoritiesError, ProxyError, UrlError};
pub use metadata::ResourceError;
pub use rejection::{Reason, Rejection};
pub use sallyport_core::tls::PeerCertificate;
pub use sallyport_policy::Principal;
pub use secret::Secret;
pub use token::TokensError;

/// `bytes` in hexadecimal.
fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
