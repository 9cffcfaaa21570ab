//! Attacks on the sidecar, and what they need: a client that sends any bytes, servers and a gateway that are careless in
//! the ways that attacks live on.
//!
//! Each attack is made twice. Against the careless it must succeed, or it is no attack; through the sidecar, in front of
//! the same careless server, it must fail.

mod careless;
mod gateway;
mod raw;
mod request;

pub use careless::{Beliefs, Careless, Framing, Keys, TOOLS};
pub use gateway::CarelessGateway;
pub use raw::{Answer, Connection};
pub use request::{Era, Message, Post};
