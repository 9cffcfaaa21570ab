//! The authenticator against real peers over TCP and TLS on the loopback interface.
//!
//! Each attack is one change to a request that is let in, or has a reader beside it that falls for it.

// Helpers of tests may panic as tests do.
#![allow(clippy::unwrap_used, clippy::unwrap_in_result, clippy::expect_used, clippy::panic)]

mod api_keys;
mod certificates;
mod introspection;
mod key_sets;
mod precedence;
mod proxy;
mod support;
mod tokens;
