//! The contract between the operator and the data plane.
//!
//! The operator writes a [`PolicyFile`] into a ConfigMap; the audit sidecar reads it from a mounted file. Neither side
//! knows more of the other. The decisions in this crate are pure: no I/O, no clock, no Kubernetes.

mod authority;
mod file;

pub use authority::{Authority, allows_host, allows_origin};
pub use file::{
    ArgumentsMode, AuditPolicy, EndpointIdentity, FILE_NAME, Limits, Listen, MOUNT_PATH, ParseError, PolicyFile,
    SCHEMA, Upstream, short_hash,
};
