//! Whether the pod is refused what it must be: before the server starts ([`wait`], the guard) and while it runs
//! ([`EnforcementWatch`], in the sidecar).
//!
//! Both try to connect to the operator's canary and, unless a rule opens it, to the API server, from the network namespace
//! that the server shares. Nothing is sent; a connection that is accepted is closed at once.

mod probe;
mod wait;
mod watch;

pub use probe::Probe;
pub use wait::{NotRefused, wait};
pub use watch::{EnforcementWatch, NotClosed};
