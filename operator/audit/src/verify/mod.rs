//! Finds in lines what was removed, reordered, edited, inserted or cut off.
//!
//! Within a chain every line follows from the one before, so whoever changes a line must write all later ones anew. Who can do
//! that is found by an [`Anchor`] that was kept elsewhere, and so is a missing end.

mod lines;
mod report;

pub use lines::{Content, Verifier, content};
pub use report::{ChainReport, Finding, Report, Sequence};

use crate::Anchor;

/// What the way of the lines to here may have done to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leniency {
    /// The beginning of a chain may be missing, as when old logs were deleted.
    pub partial: bool,
    /// Lines may come again, in another order, and written anew with equal content, as from a log store.
    pub collected: bool,
}

/// Verifies `text`, one file.
pub fn verify(text: &[u8], anchors: &[Anchor], leniency: Leniency) -> Report {
    let mut verifier = Verifier::new(leniency);
    verifier.file();
    for line in text.split(|byte| *byte == b'\n') {
        verifier.line(line);
    }
    verifier.finish(anchors)
}
