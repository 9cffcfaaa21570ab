//! The record of every request: what it holds, how it stays whole, where it goes.
//!
//! A request first takes a slot in the bounded journal; without one it is refused. Its [`Entry`] holds the slot
//! and sends exactly one [`Record`], on every way out, dropping included.

mod entry;
mod record;

pub use entry::Entry;
pub use record::{Outcome, Record, hex_digest};
