//! Records of what passed: what they hold, how they stay whole, where they go, and how to see that none is missing.
//!
//! A program takes a slot in the bounded [`journal`] before it lets anything happen, and fills a record. One thread links
//! the records into a [`chain`], gives them their form and writes them. [`verify`] finds in such lines what was removed,
//! reordered, edited or cut off.

mod canonical;
pub mod chain;
pub mod journal;
pub mod ocsf;
pub mod otlp;
mod record;
pub mod redact;
pub mod text;
pub mod verify;

pub use chain::{Anchor, ChainId};
pub use record::{
    Asked, CallArguments, Caller, ClosedBy, Confirmation, Era, Event, Outcome, Pin, Record, Target, Upstream,
};
