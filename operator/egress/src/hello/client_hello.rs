//! The ClientHello message (RFC 8446 section 4.1.2).

use sallyport_policy::egress::HostName;
use std::collections::BTreeSet;

/// `client_hello`, the type of the handshake message.
const CLIENT_HELLO: u8 = 1;

/// Extension `server_name` (RFC 6066 section 3) and its only type of name.
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;

/// Extension `encrypted_client_hello` (RFC 9849), and the draft `encrypted_server_name` that came before it.
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;
const ENCRYPTED_SERVER_NAME: u16 = 0xffce;

/// What a ClientHello says about where it wants to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHello {
    /// The server name. Absent when the client named none.
    pub server_name: Option<HostName>,
    /// Whether there is, or seems to be, another hello inside that only the server can read. Clients that always send
    /// this extension, with random content if need be (GREASE), cannot be told from those that hide a name in it.
    pub encrypted: bool,
}

/// Why the beginning of a tunnel is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HelloDenial {
    /// The first bytes are no TLS handshake.
    NotTls,
    /// TLS, but not a well-formed ClientHello.
    Malformed,
    /// More bytes than a ClientHello may have.
    TooLong,
    /// It did not come in time.
    TimedOut,
    /// The client closed before it was complete.
    Closed,
    /// It names no server.
    NoServerName,
    /// It names something that is no host name.
    BadServerName,
    /// It names another server than the one that was asked for.
    ServerNameMismatch,
    /// It carries an encrypted ClientHello.
    Encrypted,
}

impl HelloDenial {
    /// As in events and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotTls => "not_tls",
            Self::Malformed => "hello_malformed",
            Self::TooLong => "hello_too_long",
            Self::TimedOut => "hello_timed_out",
            Self::Closed => "hello_incomplete",
            Self::NoServerName => "no_server_name",
            Self::BadServerName => "bad_server_name",
            Self::ServerNameMismatch => "server_name_mismatch",
            Self::Encrypted => "encrypted_client_hello",
        }
    }
}

impl ClientHello {
    /// Reads a whole handshake message, header included.
    ///
    /// # Errors
    ///
    /// When it is no ClientHello, or not well-formed to its last byte.
    pub fn parse(message: &[u8]) -> Result<Self, HelloDenial> {
        let mut message = Reader(message);
        if message.u8()? != CLIENT_HELLO {
            return Err(HelloDenial::Malformed);
        }
        let mut body = message.vector24()?;
        message.end()?;
        // legacy_version and random.
        body.take(2 + 32)?;
        let session = body.vector8()?;
        let suites = body.vector16()?;
        let compressions = body.vector8()?;
        if session.0.len() > 32 || suites.0.is_empty() || suites.0.len() % 2 != 0 || compressions.0.is_empty() {
            return Err(HelloDenial::Malformed);
        }
        let mut hello = Self {
            server_name: None,
            encrypted: false,
        };
        // TLS 1.2 allows a hello without extensions.
        if body.0.is_empty() {
            return Ok(hello);
        }
        let mut extensions = body.vector16()?;
        body.end()?;
        let mut seen = BTreeSet::new();
        while !extensions.0.is_empty() {
            let kind = extensions.u16()?;
            let content = extensions.vector16()?;
            // Which of two a server believes is anybody's guess.
            if !seen.insert(kind) {
                return Err(HelloDenial::Malformed);
            }
            match kind {
                SERVER_NAME => hello.server_name = Some(server_name(content)?),
                ENCRYPTED_CLIENT_HELLO | ENCRYPTED_SERVER_NAME => hello.encrypted = true,
                // Everything else, GREASE (RFC 8701) included, says nothing of the way.
                _ => {}
            }
        }
        Ok(hello)
    }

    /// Which server the client wants.
    ///
    /// # Errors
    ///
    /// When it does not say, or may say something else where only the server can read it.
    pub fn destination(&self) -> Result<&HostName, HelloDenial> {
        if self.encrypted {
            return Err(HelloDenial::Encrypted);
        }
        self.server_name.as_ref().ok_or(HelloDenial::NoServerName)
    }

    /// Whether the client wants exactly `host`.
    ///
    /// # Errors
    ///
    /// See [`Self::destination`]; and when it wants another.
    pub fn check(&self, host: &HostName) -> Result<(), HelloDenial> {
        if self.destination()? == host {
            Ok(())
        } else {
            Err(HelloDenial::ServerNameMismatch)
        }
    }
}

/// The content of extension `server_name`: a list with exactly one host name, in ASCII and without trailing dot.
fn server_name(mut content: Reader<'_>) -> Result<HostName, HelloDenial> {
    let mut list = content.vector16()?;
    content.end()?;
    if list.u8()? != HOST_NAME {
        return Err(HelloDenial::BadServerName);
    }
    let name = list.vector16()?;
    list.end()?;
    let text = std::str::from_utf8(name.0).map_err(|_| HelloDenial::BadServerName)?;
    let host: HostName = text.parse().map_err(|_| HelloDenial::BadServerName)?;
    // What had to be mapped is not what the server will read.
    if host.as_str().eq_ignore_ascii_case(text) {
        Ok(host)
    } else {
        Err(HelloDenial::BadServerName)
    }
}

/// Takes fields off a message.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], HelloDenial> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(HelloDenial::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self, width: usize) -> Result<usize, HelloDenial> {
        let bytes = self.take(width)?;
        Ok(bytes.iter().fold(0, |number, &byte| number << 8 | usize::from(byte)))
    }

    fn u8(&mut self) -> Result<u8, HelloDenial> {
        Ok(self.take(1)?[0])
    }

    fn u16(&mut self) -> Result<u16, HelloDenial> {
        let bytes = self.take(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn vector(&mut self, width: usize) -> Result<Self, HelloDenial> {
        let length = self.number(width)?;
        self.take(length).map(Self)
    }

    fn vector8(&mut self) -> Result<Self, HelloDenial> {
        self.vector(1)
    }

    fn vector16(&mut self) -> Result<Self, HelloDenial> {
        self.vector(2)
    }

    fn vector24(&mut self) -> Result<Self, HelloDenial> {
        self.vector(3)
    }

    fn end(&self) -> Result<(), HelloDenial> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(HelloDenial::Malformed)
        }
    }
}
