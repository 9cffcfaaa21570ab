//! How much memory the values of a JSON text take, counted before they take it.
//!
//! A member of an object takes a hundred times what it takes in the text: `{"a":0}` is a node with room for eleven members.

use serde::de;
use serde_json::Value;
use std::cell::Cell;

/// Most bytes that the values of a text take beside what they repeat of it: enough for a mebibyte of the shortest numbers there
/// are. Part of [`Limits::BASE_BYTES`](crate::Limits::BASE_BYTES).
pub const VALUES_BYTES: usize = 18 << 20;

/// What an allocation takes beside what was asked for.
const ALLOCATION: usize = 16;

/// A node of the tree that an object is: up to eleven members and where it hangs, and its share of the nodes above it, which
/// have at least five below them.
const NODE: usize = (11 * (size_of::<String>() + size_of::<Value>()) + ALLOCATION) * 5 / 4;

/// The fewest members that a node has, unless it is the only one.
const MEMBERS_OF_NODE: usize = 5;

/// The memory that is left.
pub struct Room(Cell<Option<usize>>);

impl Room {
    /// For the values of one text. What they repeat of it takes no more than it does, and is not counted: a long string is one
    /// value.
    pub const fn new() -> Self {
        Self(Cell::new(Some(VALUES_BYTES)))
    }

    /// Whether more was asked for than there was.
    pub const fn is_exceeded(&self) -> bool {
        self.0.get().is_none()
    }

    fn take<E: de::Error>(&self, bytes: usize) -> Result<(), E> {
        let left = self.0.get().and_then(|left| left.checked_sub(bytes));
        self.0.set(left);
        left.map(drop).ok_or_else(|| E::custom("there are too many values"))
    }

    /// Takes the room of a string.
    pub fn string<E: de::Error>(&self, string: &str) -> Result<(), E> {
        self.take(if string.is_empty() { 0 } else { ALLOCATION })
    }

    /// Makes room in `array` for one more item. Large arrays grow without being copied, so what they grow out of counts once.
    pub fn item<E: de::Error>(&self, array: &mut Vec<Value>) -> Result<(), E> {
        if array.len() == array.capacity() {
            let more = array.len().max(4);
            self.take(more * size_of::<Value>() + ALLOCATION)?;
            array.reserve_exact(more);
        }
        Ok(())
    }

    /// Takes the room of a member called `key` of an object that has `before` others.
    pub fn member<E: de::Error>(&self, before: usize, key: &str) -> Result<(), E> {
        let node = if before.is_multiple_of(MEMBERS_OF_NODE) {
            NODE
        } else {
            0
        };
        self.take(node)?;
        self.string(key)
    }
}
