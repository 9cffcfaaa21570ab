//! The operator: everything that needs a Kubernetes client.
//!
//! [`reconcile`] holds the six steps of one reconcile; [`controller`] says what triggers it; [`run`] starts all tasks.
//! Below them, one module a concern; those named `status`, `quota`, `pods`, `drift` decide without I/O.

pub mod access;
pub mod admin;
pub mod anchors;
pub mod api_servers;
pub mod apply;
pub mod args;
pub mod backoff;
pub mod callers;
pub mod canary;
pub mod cilium;
pub mod classes;
pub mod context;
pub mod controller;
pub mod credentials;
pub mod dereference;
pub mod drift;
pub mod endpoints;
pub mod enforcement;
pub mod error;
pub mod events;
pub mod gate;
pub mod handshake;
pub mod last_words;
pub mod lease;
pub mod ledger;
pub mod metrics;
pub mod namespace;
pub mod nodes;
pub mod pods;
pub mod quota;
pub mod reconcile;
pub mod run;
pub mod scope;
pub mod sidecar;
pub mod status;
pub mod telemetry;
pub mod tools;
pub mod watch;
pub mod widening;

#[cfg(test)]
mod operator_tests;
#[cfg(test)]
mod testing;
