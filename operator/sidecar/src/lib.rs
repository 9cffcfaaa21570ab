//! The audit sidecar: the MCP-aware reverse proxy in the endpoint's pod, the only way in.
//!
//! [`Sidecar`] wires it: connections (`listener`) bring requests into the `pipeline`, which decides, forwards to the
//! `server` and leaves one `audit` record each. `admin` answers the kubelet, the operator and Prometheus. The `guard`
//! runs before all of that, and goes on measuring beside it. Where the egress gateway adds credentials, the `signer` lets it
//! end TLS.

mod admin;
mod audit;
pub mod confirm;
pub mod guard;
mod headers;
mod metrics;
mod pipeline;
pub mod ports;
mod reload;
pub mod seal;
mod server;
mod sidecar;
pub mod signer;
pub mod wire;

pub use sallyport_audit::journal::UnwrittenRecords;
pub use sidecar::{Place, Sidecar, StartError};
