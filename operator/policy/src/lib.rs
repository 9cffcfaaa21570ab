//! The contract between the operator and the data plane.
//!
//! The operator writes a [`PolicyFile`] into a ConfigMap; the audit sidecar reads it from a mounted file. The egress
//! gateway is told likewise by an [`egress::EgressFile`]. No side knows more of the other. The decisions in this crate are pure: no I/O, no clock, no Kubernetes.

mod authority;
pub mod egress;
pub mod enforcement;
mod file;
mod network;
pub mod signer;

pub use authority::{Authority, allows_host, allows_origin};
pub use file::{
    ArgumentsMode, AuditPolicy, EndpointIdentity, FILE_NAME, Limits, Listen, MOUNT_PATH, ParseError, PolicyFile,
    SCHEMA, Upstream, short_hash,
};
pub use network::{Network, ParseNetworkError};
