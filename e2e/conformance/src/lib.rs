//! The official conformance suite, through the sidecar.
