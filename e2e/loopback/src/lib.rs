//! The real sidecar in front of a real server, as processes on the loopback address: what the suites that need no cluster
//! share.
//!
//! - [`Sidecar`] is the program as it is shipped, with a policy file of the test's;
//! - [`Profile`] makes such policies;
//! - [`ApiKeys`] makes keys, and the file that a policy names;
//! - [`Issuer`] is an authorization server, [`Signer`] makes its tokens;
//! - [`Hop`] puts headers into requests on their way, for clients that cannot set them themselves;
//! - [`npm_ci`] and [`pip_install`] install what the lock files pin, once for each lock file, under the user's cache.

mod api_keys;
mod directory;
mod hop;
mod install;
mod issuer;
mod profile;
mod sidecar;
mod signer;

pub use api_keys::ApiKeys;
pub use directory::Directory;
pub use hop::Hop;
pub use install::{InstallError, npm_ci, pip_install};
pub use issuer::Issuer;
pub use profile::Profile;
pub use sidecar::{Sidecar, StartError};
pub use signer::Signer;
