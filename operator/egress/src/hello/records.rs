//! The record layer (RFC 8446 section 5.1).

use super::HelloDenial;

/// A record's header: type, version, length.
const HEADER: usize = 5;

/// The longest fragment that may be sent in the clear.
const LONGEST_FRAGMENT: usize = 1 << 14;

/// Longest fragment of a protected record (RFC 5246 section 6.2.3, the larger bound).
const LONGEST_PROTECTED: usize = LONGEST_FRAGMENT + 2048;

/// What a record carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentType {
    ChangeCipherSpec,
    Alert,
    Handshake,
    ApplicationData,
}

/// Cuts a stream into records, however it is chopped.
#[derive(Debug, Default)]
pub struct RecordReader {
    header: Vec<u8>,
    /// Type of the record under way and how much of it is still to come.
    body: Option<(ContentType, usize)>,
}

impl RecordReader {
    /// Whether the stream is between two records.
    pub fn is_between_records(&self) -> bool {
        self.header.is_empty() && self.body.is_none()
    }

    /// Takes the next piece off `bytes`: part of a record's fragment with its type. `None` when `bytes` is used up.
    ///
    /// # Errors
    ///
    /// When `bytes` is not TLS.
    pub fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Result<Option<(ContentType, &'a [u8])>, HelloDenial> {
        loop {
            let (content, left) = match self.body {
                Some(body) => body,
                None => match self.header(bytes)? {
                    Some(body) => body,
                    None => return Ok(None),
                },
            };
            let (piece, rest) = bytes.split_at(left.min(bytes.len()));
            *bytes = rest;
            let left = left - piece.len();
            self.body = (left > 0).then_some((content, left));
            if !piece.is_empty() {
                return Ok(Some((content, piece)));
            }
            if bytes.is_empty() {
                return Ok(None);
            }
        }
    }

    fn header(&mut self, bytes: &mut &[u8]) -> Result<Option<(ContentType, usize)>, HelloDenial> {
        let (piece, rest) = bytes.split_at((HEADER - self.header.len()).min(bytes.len()));
        self.header.extend_from_slice(piece);
        *bytes = rest;
        // The first byte tells most other protocols apart; nobody waits for more of them.
        let content = match self.header.first() {
            None => return Ok(None),
            Some(20) => ContentType::ChangeCipherSpec,
            Some(21) => ContentType::Alert,
            Some(22) => ContentType::Handshake,
            Some(23) => ContentType::ApplicationData,
            Some(_) => return Err(HelloDenial::NotTls),
        };
        if self.header.get(1).is_some_and(|&major| major != 3) {
            return Err(HelloDenial::NotTls);
        }
        let &[_, _, _, high, low] = self.header.as_slice() else {
            return Ok(None);
        };
        let length = usize::from(u16::from_be_bytes([high, low]));
        let longest = match content {
            ContentType::ApplicationData => LONGEST_PROTECTED,
            _ => LONGEST_FRAGMENT,
        };
        // Only application data may be empty.
        if length > longest || (length == 0 && content != ContentType::ApplicationData) {
            return Err(HelloDenial::Malformed);
        }
        self.header.clear();
        Ok(Some((content, length)))
    }
}
