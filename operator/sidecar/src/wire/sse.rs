//! Splits a stream of server-sent events (HTML, "Server-sent events", section 9.2.6) into pieces without changing a byte.
//!
//! The pieces, one after the other, are the stream. Comments that stand alone come as soon as their line is whole, so that
//! keep-alives are not held back.

use bytes::{Bytes, BytesMut};
use std::borrow::Cow;

/// A part of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Lines that carry no data: comments, and what is left of line ends.
    Filler(Bytes),
    /// One event with all its lines, the blank one at its end included.
    Event(Event),
}

/// One event as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event(Bytes);

/// An event is larger than allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event is larger than {limit} bytes")]
pub struct EventTooLarge {
    /// In bytes.
    pub limit: usize,
}

/// Collects bytes until a piece is whole. Holds less than `limit` bytes.
#[derive(Debug)]
pub struct Splitter {
    buffer: BytesMut,
    limit: usize,
    /// How much of the buffer was looked at and holds no end of a line.
    scanned: usize,
    /// Where the line under way begins.
    line: usize,
    /// Whether the buffer begins at a line that is no comment.
    in_event: bool,
    /// Whether the last byte was a CR whose LF may still come.
    after_cr: bool,
}

impl Splitter {
    /// A splitter at the beginning of a stream, for events of `limit` bytes at most.
    pub fn new(limit: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            limit,
            scanned: 0,
            line: 0,
            in_event: false,
            after_cr: false,
        }
    }

    /// Takes bytes of the stream.
    ///
    /// # Errors
    ///
    /// When the event under way is too large. The splitter is of no use after that.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Piece>, EventTooLarge> {
        let mut pieces = Vec::new();
        let mut rest = bytes;
        // In parts, so that not even one push makes the buffer larger than two events.
        while !rest.is_empty() {
            let (part, later) = rest.split_at(rest.len().min(self.limit.max(1)));
            rest = later;
            self.buffer.extend_from_slice(part);
            self.split(&mut pieces)?;
            if self.buffer.len() > self.limit {
                return Err(EventTooLarge { limit: self.limit });
            }
        }
        if !pieces.is_empty() {
            // What is left is little, and must not keep the memory of what went before.
            self.buffer = BytesMut::from(&self.buffer[..]);
        }
        Ok(pieces)
    }

    /// What is left at the end of the stream: an event without its blank line, which some clients take for whole.
    pub fn finish(&mut self) -> Option<Event> {
        (!self.buffer.is_empty()).then(|| Event(self.buffer.split().freeze()))
    }

    /// Bytes that wait for the rest of their piece.
    pub fn held(&self) -> usize {
        self.buffer.len()
    }

    fn split(&mut self, pieces: &mut Vec<Piece>) -> Result<(), EventTooLarge> {
        if self.after_cr && !self.buffer.is_empty() {
            self.after_cr = false;
            if self.buffer[0] == b'\n' {
                pieces.push(Piece::Filler(self.buffer.split_to(1).freeze()));
            }
        }
        while let Some(end) = self.line_end() {
            if end.next > self.limit {
                return Err(EventTooLarge { limit: self.limit });
            }
            let line = &self.buffer[self.line..end.content];
            let blank = line.is_empty();
            let comment = line.first() == Some(&b':');
            if blank || (comment && !self.in_event) {
                let whole = self.buffer.split_to(end.next).freeze();
                pieces.push(if self.in_event {
                    Piece::Event(Event(whole))
                } else {
                    Piece::Filler(whole)
                });
                self.in_event = false;
                self.line = 0;
                self.scanned = 0;
                // Nothing is left after it then: its LF, should it come, is the first byte of what comes next.
                self.after_cr = end.open;
            } else {
                self.in_event = true;
                self.line = end.next;
                self.scanned = end.next;
            }
        }
        Ok(())
    }

    /// The end of the line under way, if it is there.
    fn line_end(&mut self) -> Option<LineEnd> {
        let found = self.buffer[self.scanned..]
            .iter()
            .position(|byte| matches!(byte, b'\r' | b'\n'));
        let Some(offset) = found else {
            self.scanned = self.buffer.len();
            return None;
        };
        let content = self.scanned + offset;
        let first = self.buffer[content];
        let second = self.buffer.get(content + 1);
        let (next, open) = match (first, second) {
            (b'\r', Some(b'\n')) => (content + 2, false),
            // The last byte so far: an LF may follow. An event must not wait for it.
            (b'\r', None) => {
                if self.content_ends_piece(content) {
                    (content + 1, true)
                } else {
                    self.scanned = content;
                    return None;
                }
            }
            _ => (content + 1, false),
        };
        Some(LineEnd { content, next, open })
    }

    fn content_ends_piece(&self, content: usize) -> bool {
        let line = &self.buffer[self.line..content];
        line.is_empty() || (line.first() == Some(&b':') && !self.in_event)
    }
}

struct LineEnd {
    /// Where the line's text ends.
    content: usize,
    /// Where the next line begins.
    next: usize,
    /// Whether an LF that belongs to it may follow.
    open: bool,
}

/// An event that carries `data`.
pub fn event(data: &[u8]) -> Bytes {
    let mut event = BytesMut::with_capacity(data.len() + 16);
    write_data(&mut event, data);
    event.freeze()
}

fn write_data(event: &mut BytesMut, data: &[u8]) {
    for line in data.split(|byte| *byte == b'\n') {
        event.extend_from_slice(b"data: ");
        event.extend_from_slice(line);
        event.extend_from_slice(b"\n");
    }
    event.extend_from_slice(b"\n");
}

impl Event {
    /// Its bytes as they were sent.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// What it carries: its `data` lines, joined by line feeds. `None` without one.
    pub fn data(&self) -> Option<Cow<'_, [u8]>> {
        let mut data: Option<Cow<'_, [u8]>> = None;
        for line in lines(&self.0) {
            let Some(value) = data_of(line) else { continue };
            data = Some(match data {
                None => Cow::Borrowed(value),
                Some(before) => {
                    let mut joined = before.into_owned();
                    joined.push(b'\n');
                    joined.extend_from_slice(value);
                    Cow::Owned(joined)
                }
            });
        }
        data
    }

    /// Whether the lines without data are visible ASCII. Some clients end lines at other characters than the standard does,
    /// and would find data in them.
    pub fn fields_are_plain(&self) -> bool {
        lines(&self.0).all(|line| data_of(line).is_some() || is_plain(line))
    }

    /// The same event with `data` in place of what it carries. Lines that are not plain go.
    pub fn with_data(&self, data: &[u8]) -> Bytes {
        let mut event = BytesMut::with_capacity(self.0.len() + data.len());
        for line in lines(&self.0) {
            let is_field = !line.is_empty() && data_of(line).is_none();
            if is_field && is_plain(line) {
                event.extend_from_slice(line);
                event.extend_from_slice(b"\n");
            }
        }
        write_data(&mut event, data);
        event.freeze()
    }
}

/// The lines of an event without their ends.
fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = without_mark(bytes);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest
            .iter()
            .position(|byte| matches!(byte, b'\r' | b'\n'))
            .unwrap_or(rest.len());
        let (line, after) = rest.split_at(end);
        rest = match after {
            [b'\r', b'\n', next @ ..] | [_, next @ ..] => next,
            [] => after,
        };
        Some(line)
    })
}

/// A byte order mark may stand before the first line of a stream.
fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes)
}

fn is_plain(line: &[u8]) -> bool {
    line.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'))
}

fn data_of(line: &[u8]) -> Option<&[u8]> {
    match line.strip_prefix(b"data")? {
        [] => Some(&[]),
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        _ => None,
    }
}

#[cfg(test)]
#[path = "sse_tests.rs"]
mod tests;
