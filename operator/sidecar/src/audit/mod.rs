//! The record of every request: one on every way out, and two for an event stream.
//!
//! A request first takes its places in the bounded journal; without them it is refused. Its [`Entry`] holds them and sends
//! exactly one [`Record`] of the request's end, dropping included, and one more when an event stream opens.

mod entry;

pub use entry::{Admission, Entry};
pub use sallyport_audit::{Asked, CallArguments, ClosedBy, Outcome, Record, Target};
