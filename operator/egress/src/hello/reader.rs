//! Collecting a ClientHello from a stream.

use super::records::{ContentType, RecordReader};
use super::{ClientHello, HelloDenial};

/// Bytes of a ClientHello at most. Post-quantum key shares make it a few KiB.
const LONGEST_HELLO: usize = 16 * 1024;

/// Bytes of the stream that may be read for it: many small records have more headers than content.
const LONGEST_READ: usize = 64 * 1024;

/// Length of a handshake message's header.
const MESSAGE_HEADER: usize = 4;

/// A handshake message that is being put together from fragments.
#[derive(Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    /// Adds a fragment; the whole message once it is complete.
    fn add(&mut self, fragment: &[u8]) -> Result<Option<ClientHello>, HelloDenial> {
        self.0.extend_from_slice(fragment);
        let Some(&[kind, high, middle, low]) = self.0.first_chunk::<MESSAGE_HEADER>() else {
            return Ok(None);
        };
        if kind != 1 {
            return Err(HelloDenial::Malformed);
        }
        let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        if length > LONGEST_HELLO {
            return Err(HelloDenial::TooLong);
        }
        match self.0.len().cmp(&(MESSAGE_HEADER + length)) {
            std::cmp::Ordering::Less => Ok(None),
            std::cmp::Ordering::Equal => ClientHello::parse(&self.0).map(Some),
            // Nothing may share a record with it.
            std::cmp::Ordering::Greater => Err(HelloDenial::Malformed),
        }
    }
}

/// Reads the first ClientHello and keeps every byte for the server.
#[derive(Debug, Default)]
pub struct HelloReader {
    taken: Vec<u8>,
    /// How many of the taken bytes came after the hello.
    surplus: usize,
    records: RecordReader,
    message: Message,
}

impl HelloReader {
    /// Takes bytes of the client. The hello once it is complete; more bytes may have come after it.
    ///
    /// # Errors
    ///
    /// When this is no ClientHello.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<ClientHello>, HelloDenial> {
        self.taken.extend_from_slice(bytes);
        let mut rest = bytes;
        while let Some((content, fragment)) = self.records.next(&mut rest)? {
            if content != ContentType::Handshake {
                return Err(HelloDenial::Malformed);
            }
            if let Some(hello) = self.message.add(fragment)? {
                return if self.records.is_between_records() {
                    self.surplus = rest.len();
                    Ok(Some(hello))
                } else {
                    Err(HelloDenial::Malformed)
                };
            }
        }
        if self.taken.len() > LONGEST_READ {
            return Err(HelloDenial::TooLong);
        }
        Ok(None)
    }

    /// Every byte that was taken: first those of the hello, or all if it is not complete, then what came after it.
    pub fn into_bytes(mut self) -> (Vec<u8>, Vec<u8>) {
        let surplus = self.taken.split_off(self.taken.len() - self.surplus);
        (self.taken, surplus)
    }
}

/// Reads on after a HelloRetryRequest until the second ClientHello (RFC 8446 section 4.1.4) is complete. Early data and
/// the meaningless ChangeCipherSpec may come before it.
#[derive(Debug, Default)]
pub struct SecondHelloReader {
    records: RecordReader,
    message: Message,
}

impl SecondHelloReader {
    /// Takes bytes of the client. The second hello once it is complete.
    ///
    /// # Errors
    ///
    /// When something else comes in its place.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<ClientHello>, HelloDenial> {
        let mut rest = bytes;
        while let Some((content, fragment)) = self.records.next(&mut rest)? {
            if content == ContentType::Handshake
                && let Some(hello) = self.message.add(fragment)?
            {
                return Ok(Some(hello));
            }
        }
        Ok(None)
    }
}
