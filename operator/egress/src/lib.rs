//! The egress gateway: the endpoint's own forward proxy, its only way out by host name.
//!
//! [`Gateway`] wires it. Connections come in by `proxy` (HTTP CONNECT and absolute-form HTTP) or by `transparent` (TLS
//! routed by its server name). Both ask the one `route` for the way out: it decides on the name, resolves it, checks
//! every address and dials one that passed. Then `tunnel` or `forward` moves the bytes within the `meter`'s bounds; or
//! `inject` ends TLS and adds a credential. Every connection leaves `event`s, whatever becomes of it.

mod admin;
mod alert;
mod clients;
mod dial;
mod event;
mod forward;
mod gateway;
pub mod hello;
mod inject;
mod meter;
mod metrics;
mod policy;
mod proxy;
mod rate;
mod refusal;
mod resolve;
mod route;
pub mod target;
mod telemetry;
mod transparent;
mod tunnel;

pub use dial::{Dial, Kernel};
pub use gateway::{Gateway, Place, StartError};
pub use policy::LoadError;
pub use sallyport_audit::journal::UnwrittenRecords;
