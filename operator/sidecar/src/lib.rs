//! The audit sidecar: the MCP-aware reverse proxy in the endpoint's pod, the only way in.
//!
//! [`Sidecar`] wires it: connections ([`listener`]) bring requests into the [`pipeline`], which decides, forwards to the
//! [`server`] and leaves one [`audit`] record each. [`admin`] answers the kubelet, the operator and Prometheus.

pub mod admin;
pub mod audit;
pub mod drain;
pub mod headers;
pub mod listener;
pub mod metrics;
pub mod pipeline;
pub mod server;
mod sidecar;

pub use sidecar::{Sidecar, StartError};
