//! The sidecar between a real HTTP client and a real HTTP server, in one process.

// Helpers of tests may panic as tests do.
#![allow(clippy::unwrap_used, clippy::unwrap_in_result, clippy::panic)]

mod admin;
mod audit;
mod authentication;
mod bridge;
mod confirmation;
mod drain;
mod eras;
mod forwarding;
mod guard;
mod late;
mod limits;
mod lists;
mod ports;
mod refusals;
mod reload;
mod signer;
mod sink;
mod streams;
mod support;
