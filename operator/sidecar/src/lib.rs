//! The audit sidecar.
