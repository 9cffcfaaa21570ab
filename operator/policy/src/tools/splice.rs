//! Changes to a text that leave all other bytes as they are.

use std::ops::Range;

/// `whole` with `part`, which must be a slice of it, replaced. `None`: it is no slice of it.
pub fn splice(whole: &str, part: &str, replacement: &str) -> Option<String> {
    let mut edits = Edits::new(whole);
    edits.replace(part, replacement.to_owned())?;
    Some(edits.apply())
}

/// Changes of one text that do not overlap.
pub(super) struct Edits<'a> {
    whole: &'a str,
    edits: Vec<(Range<usize>, String)>,
}

impl<'a> Edits<'a> {
    pub(super) const fn new(whole: &'a str) -> Self {
        Self { whole, edits: vec![] }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// Replaces `part`, which must be a slice of the whole. Nothing is noted where it is what it would become.
    pub(super) fn replace(&mut self, part: &str, replacement: String) -> Option<()> {
        let range = range_in(self.whole, part)?;
        if self.whole.get(range.clone())? != replacement {
            self.edits.push((range, replacement));
        }
        Some(())
    }

    /// Inserts members, each `"key":value`, at the beginning of the object that the whole is.
    pub(super) fn insert_members(&mut self, members: &[String]) -> Option<()> {
        if members.is_empty() {
            return Some(());
        }
        let at = self.whole.find('{')? + 1;
        let is_last = self.whole.get(at..)?.trim_start().starts_with('}');
        let text = members.join(",") + if is_last { "" } else { "," };
        self.edits.push((at..at, text));
        Some(())
    }

    /// The whole with all changes.
    pub(super) fn apply(mut self) -> String {
        self.edits.sort_by_key(|(range, _)| (range.start, range.end));
        let mut text = String::with_capacity(self.whole.len());
        let mut done = 0;
        for (range, replacement) in &self.edits {
            text.push_str(self.whole.get(done..range.start).unwrap_or_default());
            text.push_str(replacement);
            done = range.end;
        }
        text.push_str(self.whole.get(done..).unwrap_or_default());
        text
    }
}

/// Where in `whole` its slice `part` lies.
fn range_in(whole: &str, part: &str) -> Option<Range<usize>> {
    let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    let end = start.checked_add(part.len())?;
    (end <= whole.len()).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_slice_is_replaced() {
        let whole = String::from("a bb a bb");
        assert_eq!(splice(&whole, &whole[7..], "c").as_deref(), Some("a bb a c"));
        assert_eq!(splice(&whole, &whole[..1], "").as_deref(), Some(" bb a bb"));
        assert_eq!(splice(&whole, &String::from("bb"), "c"), None);
    }
}
