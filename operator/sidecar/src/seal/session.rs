//! The session of a legacy client (MCP 2025-11-25, transports, "Session Management").
//!
//! The server's id never leaves the sidecar. The client's is an envelope of it that no other principal and no other
//! endpoint can use, and that carries what `initialize` said and later requests do not repeat.

use super::envelope::{Foreign, Owner, Purpose, Seal, SealError};
use super::json::{JsonError, Value};
use http::HeaderValue;
use sha2::{Digest, Sha256};

/// Longest id of a server, in bytes.
const MAX_ID: usize = 1024;

const ELICITS_FORMS: u8 = 1;
const HAS_SERVER_ID: u8 = 2;

/// One session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Sets sessions of one principal apart, also where the server has none.
    own: [u8; 16],
    /// What the server calls it. `None` for a server without sessions: the header then goes no further than the sidecar.
    server_id: Option<String>,
    /// Whether the client can put a form before a person.
    elicits_forms: bool,
}

/// Why a server's session cannot be passed on.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The specification asks for visible ASCII.
    #[error("the server's Mcp-Session-Id is not of 1 to {MAX_ID} visible ASCII characters")]
    NotVisible,
    /// No random bytes.
    #[error(transparent)]
    Seal(#[from] SealError),
}

impl Session {
    /// The session that the server's answer to `initialize` begins. `server_id` is its `Mcp-Session-Id`, if it has one.
    ///
    /// # Errors
    ///
    /// When the server's id is none, or too long to be carried.
    pub fn begin(seal: &Seal, server_id: Option<&HeaderValue>, elicits_forms: bool) -> Result<Self, SessionError> {
        let server_id = server_id
            .map(|id| {
                id.to_str()
                    .ok()
                    .filter(|id| (1..=MAX_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()))
                    .map(ToOwned::to_owned)
                    .ok_or(SessionError::NotVisible)
            })
            .transpose()?;
        let mut own = [0; 16];
        seal.random(&mut own)?;
        Ok(Self {
            own,
            server_id,
            elicits_forms,
        })
    }

    /// What the client gets to see.
    ///
    /// # Errors
    ///
    /// When it cannot be sealed.
    pub fn wrap(&self, seal: &Seal, owner: Owner) -> Result<HeaderValue, SealError> {
        let mut flags = 0;
        if self.elicits_forms {
            flags |= ELICITS_FORMS;
        }
        if self.server_id.is_some() {
            flags |= HAS_SERVER_ID;
        }
        let id = self.server_id.as_deref().unwrap_or_default();
        let payload = [&[flags], self.own.as_slice(), id.as_bytes()].concat();
        let text = seal.seal(Purpose::Session, owner, &payload)?;
        HeaderValue::from_str(&text).map_err(|_| SealError::Crypto)
    }

    /// Reads what the client presents. A request whose header is [`Foreign`] is answered with 404, upon which clients begin
    /// a new session.
    ///
    /// # Errors
    ///
    /// When it was not made for this owner at this endpoint.
    pub fn open(seal: &Seal, owner: Owner, presented: &HeaderValue) -> Result<Self, Foreign> {
        let text = presented.to_str().map_err(|_| Foreign)?;
        let payload = seal.open(Purpose::Session, owner, text)?;
        let (flags, rest) = payload.split_first().ok_or(Foreign)?;
        let (own, id) = rest.split_first_chunk::<16>().ok_or(Foreign)?;
        let id = std::str::from_utf8(id).map_err(|_| Foreign)?;
        Ok(Self {
            own: *own,
            server_id: (flags & HAS_SERVER_ID != 0).then(|| id.to_owned()),
            elicits_forms: flags & ELICITS_FORMS != 0,
        })
    }

    /// What the server is to see in `Mcp-Session-Id`; without one, no header.
    pub fn server_id(&self) -> Option<HeaderValue> {
        // It was a header's value before it was sealed.
        HeaderValue::from_str(self.server_id.as_deref()?).ok()
    }

    /// Whether the client can put a form before a person.
    pub const fn elicits_forms(&self) -> bool {
        self.elicits_forms
    }

    /// Names the session in records and bindings without letting anybody use it.
    pub fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        digest.update(self.own);
        digest.update(self.server_id.as_deref().unwrap_or_default());
        digest.finalize().into()
    }
}

/// Whether client capabilities declare elicitation by forms: of `initialize`'s `params.capabilities` in the legacy era, of
/// `_meta["io.modelcontextprotocol/clientCapabilities"]` in the modern one. `{}` means forms (MCP, elicitation, "Capabilities").
///
/// # Errors
///
/// When a key comes twice.
pub fn elicits_forms(capabilities: &Value<'_>) -> Result<bool, JsonError> {
    let Some(elicitation) = capabilities.get("elicitation")?.filter(Value::is_object) else {
        return Ok(false);
    };
    let modes = elicitation.members()?;
    let form = modes.iter().any(|mode| mode.key == "form" && mode.value.is_object());
    let other = modes.iter().any(|mode| mode.key == "url" || mode.key == "form");
    Ok(form || !other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::json::Document;
    use crate::seal::testing::{KeyFile, owner, seal};
    use pretty_assertions::{assert_eq, assert_ne};

    fn header(text: &str) -> HeaderValue {
        HeaderValue::from_str(text).unwrap()
    }

    #[test]
    fn a_session_is_its_principals_at_its_endpoint_on_every_replica() {
        let file = KeyFile::new(&[1]);
        let here = Seal::new("uid-a", Some(file.path())).unwrap();
        let replica = Seal::new("uid-a", Some(file.path())).unwrap();
        let other_endpoint = Seal::new("uid-b", Some(file.path())).unwrap();
        let session = Session::begin(&here, Some(&header("server-id-1")), true).unwrap();
        let wrapped = session.wrap(&here, owner(1)).unwrap();
        for opener in [&here, &replica] {
            let opened = Session::open(opener, owner(1), &wrapped).unwrap();
            assert_eq!(opened, session);
            assert_eq!(opened.server_id().unwrap(), "server-id-1");
            assert!(opened.elicits_forms());
        }
        assert_eq!(Session::open(&here, owner(2), &wrapped), Err(Foreign));
        assert_eq!(Session::open(&other_endpoint, owner(1), &wrapped), Err(Foreign));
        // Nobody gets in by the server's own id either.
        assert_eq!(Session::open(&here, owner(1), &header("server-id-1")), Err(Foreign));
    }

    #[test]
    fn the_wrapped_id_is_visible_ascii_and_bounded_and_hides_the_servers() {
        let seal = seal();
        let longest = header(&"x".repeat(MAX_ID));
        let wrapped = Session::begin(&seal, Some(&longest), true)
            .unwrap()
            .wrap(&seal, owner(1))
            .unwrap();
        assert!(wrapped.as_bytes().iter().all(u8::is_ascii_graphic));
        assert!(wrapped.len() <= Purpose::Session.max_chars());
        for bad in [
            header(&"x".repeat(MAX_ID + 1)),
            header(""),
            header("a b"),
            HeaderValue::from_bytes(b"\xe9").unwrap(),
        ] {
            assert!(matches!(
                Session::begin(&seal, Some(&bad), true),
                Err(SessionError::NotVisible)
            ));
        }
    }

    #[test]
    fn a_server_without_sessions_sees_no_header_and_its_sessions_still_differ() {
        let seal = seal();
        let session = Session::begin(&seal, None, false).unwrap();
        let wrapped = session.wrap(&seal, owner(1)).unwrap();
        let opened = Session::open(&seal, owner(1), &wrapped).unwrap();
        assert_eq!(opened.server_id(), None);
        assert!(!opened.elicits_forms());
        assert_ne!(opened.digest(), Session::begin(&seal, None, false).unwrap().digest());
    }

    #[test]
    fn forms_are_declared_by_an_empty_object_or_by_name() {
        for (capabilities, expected) in [
            (r#"{"elicitation":{}}"#, true),
            (r#"{"elicitation":{"form":{}}}"#, true),
            (r#"{"elicitation":{"form":{},"url":{}}}"#, true),
            (r#"{"elicitation":{"form":{"applyDefaults":true}}}"#, true),
            (r#"{"elicitation":{"url":{}}}"#, false),
            (r#"{"elicitation":{"form":false}}"#, false),
            (r#"{"elicitation":null}"#, false),
            (r#"{"elicitation":true}"#, false),
            (r#"{"sampling":{}}"#, false),
            ("null", false),
        ] {
            let document = Document::read(capabilities.as_bytes()).unwrap();
            assert_eq!(elicits_forms(&document.root()).unwrap(), expected, "{capabilities}");
        }
    }
}
