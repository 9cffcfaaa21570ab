//! The names that a caller holds: sessions, tasks, request states. They are its own and nobody else's.

use super::denial::Denial;
use crate::headers::{MCP_NAME, MCP_SESSION_ID};
use crate::seal::{Document, Owner, Seal, Session, elicits_forms};
use crate::wire::Call;
use http::header::HeaderMap;
use http::{HeaderValue, StatusCode};

/// Replaces the session that the client presents by the server's.
///
/// # Errors
///
/// When it is not this caller's. Clients begin a new one then.
pub fn open_session(seal: &Seal, owner: Owner, headers: &mut HeaderMap) -> Result<Option<Session>, Denial> {
    let Some(presented) = headers.remove(MCP_SESSION_ID) else {
        return Ok(None);
    };
    let session = Session::open(seal, owner, &presented).map_err(|_| Denial::NoSession)?;
    if let Some(id) = session.server_id() {
        headers.insert(MCP_SESSION_ID, id);
    }
    Ok(Some(session))
}

/// Makes `Mcp-Name` say what the message says now.
pub fn rename(headers: &mut HeaderMap, name: Option<&HeaderValue>) {
    if let (Some(name), true) = (name, headers.contains_key(MCP_NAME)) {
        headers.insert(MCP_NAME, name.clone());
    }
}

/// Replaces the session that an answer names. Only the answer to `initialize` begins one; others have nothing to say. A
/// server without sessions gets one in front of it if `always`, so that a client's capabilities are known later on.
///
/// # Errors
///
/// When the server's session cannot be carried.
pub fn wrap_session(
    seal: &Seal,
    owner: Owner,
    initialize: Option<&Call>,
    always: bool,
    status: StatusCode,
    headers: &mut HeaderMap,
) -> Result<Option<HeaderValue>, Denial> {
    let theirs = headers.remove(MCP_SESSION_ID);
    let begins = status.is_success() && (theirs.is_some() || always);
    let Some(initialize) = initialize.filter(|_| begins) else {
        return Ok(None);
    };
    let failed = Denial::AnswerRefused("session_not_sealable");
    let Ok(session) = Session::begin(seal, theirs.as_ref(), declares_forms(initialize)) else {
        return Err(failed);
    };
    let wrapped = session.wrap(seal, owner).map_err(|_| failed)?;
    headers.insert(MCP_SESSION_ID, wrapped.clone());
    Ok(Some(wrapped))
}

/// Whether the client of `call` can put a form before a person, as `initialize` or every modern request says.
pub fn declares_forms(call: &Call) -> bool {
    let capabilities = call.meta.client_capabilities.as_ref().or(call.capabilities.as_ref());
    capabilities
        .and_then(|capabilities| {
            Document::read(capabilities.get().as_bytes())
                .ok()
                .map(|read| elicits_forms(&read.root()))
        })
        .is_some_and(|forms| forms.unwrap_or(false))
}
