//! The contract between the operator and the data plane.
//!
//! The operator writes a [`PolicyFile`] into a ConfigMap; the audit sidecar reads it from a mounted file. The egress
//! gateway is told likewise by an [`egress::EgressFile`]. No side knows more of the other. The decisions in this crate are pure: no I/O, no clock, no Kubernetes.

mod anchor;
pub mod arguments;
mod audit;
pub mod authentication;
mod authority;
pub mod authorization;
mod confirmation;
pub mod egress;
pub mod enforcement;
mod file;
mod limits;
mod network;
mod principal;
mod sealing;
pub mod signer;
pub mod tools;
mod upstream;

pub use anchor::{AnchorReport, LastWord};
pub use audit::{ArgumentsMode, AuditFormat, AuditPolicy, AuditPolicyError, AuditSinks, OnSinkFailure, OtlpSink};
pub use authentication::{Authentication, Tls};
pub use authority::{Authority, allows_host, allows_origin};
pub use confirmation::{Confirmation, ConfirmedTools, DEFAULT_EXPIRY_SECONDS, LegacyConfirmation, MAX_EXPIRY_SECONDS};
pub use file::{EndpointIdentity, FILE_NAME, Listen, MOUNT_PATH, ParseError, PolicyFile, SCHEMA, short_hash};
pub use limits::{Limits, Rate, Rates, ToolRate};
pub use network::{Network, ParseNetworkError};
pub use principal::{Principal, PrincipalKind};
pub use sealing::{PEER_PORT, Sealing};
pub use upstream::{ServerAddress, Upstream};
