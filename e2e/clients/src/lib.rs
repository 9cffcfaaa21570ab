//! The official clients, through the sidecar.
