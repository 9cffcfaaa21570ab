//! What rendering promises, by the public interface alone.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    clippy::too_many_lines,
    reason = "helpers and tables of tests"
)]

mod cilium;
mod common;
mod golden;
mod hardening;
mod inputs;
mod properties;
mod validate;
