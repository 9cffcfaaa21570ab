//! The record of every request: what it holds, how it stays whole, where it goes.
//!
//! A request first takes a [`Slot`] in the bounded [`Journal`]; without one it is refused. Its [`Entry`] holds the slot
//! and sends exactly one [`Record`], on every way out, dropping included. One thread of its own writes the records.

mod entry;
mod journal;
mod record;

pub use entry::Entry;
pub use journal::{Journal, JournalThread, Slot, UnwrittenRecords};
pub use record::{Outcome, Record, hex_digest};
