//! The operator: everything that needs a Kubernetes client.

pub mod access;
