//! The gateway as its clients, its hosts, its name servers and its sink see it.
//!
//! Hosts have public addresses here, which a test network leads to the loopback. Each attack has its negative control: the
//! same attack succeeds when it is not the gateway that stands in its way.

// Helpers of tests may panic as tests do.
#![allow(clippy::unwrap_used, clippy::unwrap_in_result, clippy::expect_used, clippy::panic)]

mod addresses;
mod audit;
mod checks;
mod handshakes;
mod http;
mod inject;
mod lifecycle;
mod limits;
mod properties;
mod records;
mod support;
mod transparent;
mod tunnels;
