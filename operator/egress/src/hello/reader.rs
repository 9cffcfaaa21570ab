//! Collecting a ClientHello from a stream.

use super::records::{ContentType, RecordReader};
use super::{ClientHello, HelloDenial};

/// Bytes of a ClientHello at most. Post-quantum key shares make it a few KiB.
const LONGEST_HELLO: usize = 16 * 1024;

/// Bytes of the stream that may be read for it, headers of records included: enough for the longest hello in records of 21
/// bytes or more, and for one of 3 KiB in records of a byte.
///
/// While a hello is under way, its stream and its message are kept: 44 KiB together, as each takes up to one [`STEP`] more.
/// The memory of a gateway's pod (`operator/render`, `gateway.rs`) is reckoned with that.
const LONGEST_READ: usize = 20 * 1024;

/// What is kept grows by this much at a time. Doubling would reserve up to twice what may come.
const STEP: usize = 4 * 1024;

/// Length of a handshake message's header.
const MESSAGE_HEADER: usize = 4;

/// A handshake message that is being put together from fragments.
#[derive(Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    /// Adds a fragment; the whole message once it is complete.
    fn add(&mut self, fragment: &[u8]) -> Result<Option<ClientHello>, HelloDenial> {
        append(&mut self.0, fragment);
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

fn append(kept: &mut Vec<u8>, more: &[u8]) {
    let needed = kept.len() + more.len();
    if needed > kept.capacity() {
        kept.reserve_exact(needed.next_multiple_of(STEP) - kept.len());
    }
    kept.extend_from_slice(more);
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
        append(&mut self.taken, bytes);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A hello without extensions but for one of this many bytes.
    fn hello(padding: usize) -> Vec<u8> {
        let u16 = |length: usize| u16::try_from(length).unwrap().to_be_bytes();
        let extension = [&[0x12, 0x34], u16(padding).as_slice(), &vec![0; padding]].concat();
        let fixed = [&[3, 3], [7; 32].as_slice(), &[0, 0, 2, 0x13, 0x01, 1, 0]].concat();
        let body = [fixed.as_slice(), &u16(extension.len()), &extension].concat();
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&[1], &length[1..], &body].concat()
    }

    fn in_records(message: &[u8], size: usize) -> Vec<u8> {
        let record = |part: &[u8]| {
            let length = u16::try_from(part.len()).unwrap().to_be_bytes();
            [&[22, 3, 1], length.as_slice(), part].concat()
        };
        message.chunks(size).flat_map(record).collect()
    }

    /// How a hello is taken that comes in pieces of `piece` bytes; what is kept of it never exceeds its bound.
    fn taken(stream: &[u8], piece: usize) -> Result<Option<ClientHello>, HelloDenial> {
        let mut reader = HelloReader::default();
        for piece in stream.chunks(piece) {
            let hello = reader.push(piece);
            let kept = reader.taken.capacity() + reader.message.0.capacity();
            assert!(kept <= 44 * 1024, "{kept} bytes are kept");
            if !matches!(hello, Ok(None)) {
                return hello;
            }
        }
        Ok(None)
    }

    #[test]
    fn the_longest_hello_passes_in_small_records_and_an_ordinary_one_in_records_of_a_byte() {
        let longest = hello(LONGEST_HELLO - 47);
        assert_eq!(longest.len(), MESSAGE_HEADER + LONGEST_HELLO);
        for piece in [1, 1000, 4096] {
            for size in [21, 100, 16 * 1024] {
                assert!(taken(&in_records(&longest, size), piece).unwrap().is_some(), "{size}");
            }
            assert!(taken(&in_records(&hello(3 * 1024), 1), piece).unwrap().is_some());
        }
    }

    #[test]
    fn what_is_longer_or_has_more_headers_than_content_is_refused() {
        for piece in [1, 1000, 4096] {
            let longer = in_records(&hello(LONGEST_HELLO - 46), 16 * 1024);
            assert_eq!(taken(&longer, piece), Err(HelloDenial::TooLong));
            let scattered = in_records(&hello(LONGEST_HELLO - 47), 1);
            assert_eq!(taken(&scattered, piece), Err(HelloDenial::TooLong));
        }
    }
}
