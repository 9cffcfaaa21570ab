//! Whether the server asks for a second ClientHello.

use super::HelloDenial;
use super::records::{ContentType, RecordReader};

/// `server_hello`, the type of the handshake message.
const SERVER_HELLO: u8 = 2;

/// Where the random of a ServerHello begins and ends: after the message's header and the version.
const RANDOM: std::ops::Range<usize> = 6..38;

/// The random that makes a ServerHello a HelloRetryRequest: SHA-256 of "HelloRetryRequest" (RFC 8446 section 4.1.3).
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// How a server answers a ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerAnswer {
    /// It wants another ClientHello.
    Retry,
    /// It goes on, or ends.
    Other,
}

/// Reads the beginning of the server's answer.
#[derive(Debug, Default)]
pub struct ServerHelloReader {
    records: RecordReader,
    message: Vec<u8>,
}

impl ServerHelloReader {
    /// Takes bytes of the server. Its answer once that can be told.
    ///
    /// # Errors
    ///
    /// When this is not TLS.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<ServerAnswer>, HelloDenial> {
        let mut rest = bytes;
        while let Some((content, fragment)) = self.records.next(&mut rest)? {
            if content != ContentType::Handshake {
                return Ok(Some(ServerAnswer::Other));
            }
            self.message.extend_from_slice(fragment);
            if self.message.first().is_some_and(|&kind| kind != SERVER_HELLO) {
                return Ok(Some(ServerAnswer::Other));
            }
            if let Some(random) = self.message.get(RANDOM) {
                let retry = random == RETRY;
                return Ok(Some(if retry {
                    ServerAnswer::Retry
                } else {
                    ServerAnswer::Other
                }));
            }
        }
        Ok(None)
    }
}
