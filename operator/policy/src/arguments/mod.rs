//! What the arguments of a call may be.
//!
//! All of this goes by the text of the arguments alone. A path that looks harmless may still lead through a link that
//! the server's file system holds: that the server sees no other files is the pod's business.

mod bounds;
mod check;
mod path;
mod pointer;
mod room;
mod strict;

#[cfg(test)]
mod tests;

pub use bounds::{ArgumentBounds, ArrayBound, Bound, BoundError, NumberBound, PathBound, StringBound};
pub(crate) use check::is_same_but_for_case;
pub use check::{Arguments, Violation};
pub(crate) use path::looks_like_dots;
pub use path::{PathRoot, PathRootError};
pub use pointer::{ParsePointerError, Pointer};
pub use room::VALUES_BYTES;
pub(crate) use strict::members;
pub use strict::{StrictError, parse as parse_strictly};
