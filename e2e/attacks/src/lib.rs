//! Attacks on the sidecar, each with its negative control.
