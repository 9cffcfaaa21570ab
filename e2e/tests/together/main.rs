//! Tests that stand each other: they share the cluster and the operator, each in namespaces of its own.

mod access;
mod admission;
mod bad_input;
mod callers;
mod certificates;
mod confirmation;
mod credentials;
mod deletion;
mod drift;
mod egress;
mod enforcement;
mod escape;
mod injection;
mod kstatus;
mod ports;
mod quota;
mod rollout;
mod stdio;
mod tokens;
