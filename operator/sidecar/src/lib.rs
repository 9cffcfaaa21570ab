//! The audit sidecar: the MCP-aware reverse proxy in the endpoint's pod, the only way in.
//!
//! [`Sidecar`] wires it: connections (`listener`) bring requests into the `pipeline`, which decides, forwards to the
//! `server` and leaves one `audit` record each. `admin` answers the kubelet, the operator and Prometheus.

mod admin;
mod audit;
mod drain;
mod headers;
mod listener;
mod metrics;
mod pipeline;
mod server;
mod sidecar;

pub use audit::UnwrittenRecords;
pub use sidecar::{Sidecar, StartError};
