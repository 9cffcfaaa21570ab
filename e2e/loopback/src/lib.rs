//! The real sidecar in front of a real server, as processes on the loopback address.
