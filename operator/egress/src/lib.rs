//! The egress gateway.
