//! Request states (MCP 2026-07-28, "Multi Round-Trip Requests"): what a server wants to be reminded of when a call is
//! tried again with the input that it asked for.
//!
//! The client holds it as an envelope that fits the same caller's same call only, for a bounded time.

use super::canonical::CallDigest;
use super::envelope::{Foreign, Owner, Purpose, Seal, SealError};
use std::time::{Duration, SystemTime};

/// How long a client may take to come back.
pub const LIFETIME: Duration = Duration::from_hours(1);

/// By how much the clocks of two replicas may differ.
pub const CLOCK_SKEW: Duration = Duration::from_secs(30);

/// What a client presented as its request state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presented {
    /// Nothing.
    Nothing,
    /// Our own question; the payload of a [`Purpose::Confirmation`].
    Question(Vec<u8>),
    /// The server's.
    Server(ServerState),
}

/// A request state of the server's, and what of our own goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerState {
    /// Seconds since 1970.
    expires: u64,
    /// Which call it belongs to.
    call: CallDigest,
    /// What the server said; `None` when it said nothing and the envelope is there for `confirmed` only.
    pub state: Option<String>,
    /// That the call was confirmed before the server asked for more: a ticket that is used up when it asks. Empty when the
    /// call needs no confirmation.
    pub confirmed: Vec<u8>,
}

/// Why a request state is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Tampered with, of another principal or endpoint.
    #[error("the requestState was not issued to this caller: call again without it")]
    Foreign,
    /// Of another call.
    #[error("the requestState belongs to another call: send it with the call that it was issued for, unchanged")]
    OtherCall,
    /// Too old.
    #[error("the requestState has expired: call again without it")]
    Expired,
}

impl From<Foreign> for StateError {
    fn from(Foreign: Foreign) -> Self {
        Self::Foreign
    }
}

impl ServerState {
    /// The state that the server gave in answer to `call`.
    pub fn new(call: CallDigest, state: Option<String>, confirmed: Vec<u8>, now: SystemTime) -> Self {
        Self {
            expires: seconds(now + LIFETIME),
            call,
            state,
            confirmed,
        }
    }

    /// What the client gets to see.
    ///
    /// # Errors
    ///
    /// When the server's state is too large.
    pub fn wrap(&self, seal: &Seal, owner: Owner) -> Result<String, SealError> {
        let confirmed = u16::try_from(self.confirmed.len()).map_err(|_| SealError::TooLarge {
            purpose: Purpose::RequestState,
            bytes: self.confirmed.len(),
        })?;
        let mut payload = Vec::with_capacity(64 + self.confirmed.len() + self.state.as_ref().map_or(0, String::len));
        payload.extend_from_slice(&self.expires.to_be_bytes());
        payload.extend_from_slice(self.call.as_bytes());
        payload.extend_from_slice(&confirmed.to_be_bytes());
        payload.extend_from_slice(&self.confirmed);
        if let Some(state) = &self.state {
            payload.push(1);
            payload.extend_from_slice(state.as_bytes());
        }
        seal.seal(Purpose::RequestState, owner, &payload)
    }

    fn read(payload: &[u8]) -> Option<Self> {
        let (expires, rest) = payload.split_first_chunk::<8>()?;
        let (call, rest) = rest.split_first_chunk::<32>()?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let (confirmed, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        let state = match rest.split_first() {
            None => None,
            Some((1, state)) => Some(String::from_utf8(state.to_vec()).ok()?),
            Some(_) => return None,
        };
        Some(Self {
            expires: u64::from_be_bytes(*expires),
            call: (*call).into(),
            state,
            confirmed: confirmed.to_vec(),
        })
    }
}

impl Presented {
    /// Reads what a client presents with `call`.
    ///
    /// # Errors
    ///
    /// When it is not this caller's, not of this call, or too old. Of our own question the caller checks the latter two.
    pub fn open(seal: &Seal, owner: Owner, text: &str, call: CallDigest, now: SystemTime) -> Result<Self, StateError> {
        if let Ok(question) = seal.open(Purpose::Confirmation, owner, text) {
            return Ok(Self::Question(question));
        }
        let payload = seal.open(Purpose::RequestState, owner, text)?;
        let state = ServerState::read(&payload).ok_or(StateError::Foreign)?;
        if state.call != call {
            return Err(StateError::OtherCall);
        }
        if seconds(now) > state.expires + CLOCK_SKEW.as_secs() {
            return Err(StateError::Expired);
        }
        Ok(Self::Server(state))
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::testing::{owner, seal};
    use pretty_assertions::assert_eq;

    fn call(arguments: &str) -> CallDigest {
        CallDigest::of("tools/call", "book", Some(arguments)).unwrap()
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
    }

    #[test]
    fn a_state_comes_back_with_the_same_call_of_the_same_principal_only() {
        let seal = seal();
        let state = ServerState::new(call(r#"{"a":1,"b":2}"#), Some("theirs".into()), vec![], at(0));
        let text = state.wrap(&seal, owner(1)).unwrap();
        let open =
            |principal, arguments, now| Presented::open(&seal, owner(principal), &text, call(arguments), at(now));
        assert_eq!(open(1, r#"{"b":2, "a":1}"#, 10).unwrap(), Presented::Server(state));
        assert_eq!(open(2, r#"{"a":1,"b":2}"#, 10), Err(StateError::Foreign));
        assert_eq!(open(1, r#"{"a":1,"b":3}"#, 10), Err(StateError::OtherCall));
        let other = CallDigest::of("prompts/get", "book", Some(r#"{"a":1,"b":2}"#)).unwrap();
        assert_eq!(
            Presented::open(&seal, owner(1), &text, other, at(10)),
            Err(StateError::OtherCall)
        );
        assert_eq!(
            Presented::open(&seal, owner(1), "theirs", call("{}"), at(10)),
            Err(StateError::Foreign)
        );
    }

    #[test]
    fn a_state_ends_after_an_hour_and_clocks_may_differ_by_half_a_minute() {
        let seal = seal();
        let text = ServerState::new(call("{}"), None, b"ticket".to_vec(), at(0))
            .wrap(&seal, owner(1))
            .unwrap();
        let open = |now: SystemTime| Presented::open(&seal, owner(1), &text, call("{}"), now);
        assert!(open(at(3600)).is_ok());
        assert!(open(at(3630)).is_ok());
        assert_eq!(open(at(3631)), Err(StateError::Expired));
        assert!(open(at(0) - CLOCK_SKEW).is_ok());
    }

    #[test]
    fn a_state_of_eleven_kib_fits() {
        let seal = seal();
        let state = |length| ServerState::new(call("{}"), Some("x".repeat(length)), vec![0; 256], at(0));
        state(11 << 10).wrap(&seal, owner(1)).unwrap();
        let over = state(12 << 10).wrap(&seal, owner(1));
        assert!(matches!(over, Err(SealError::TooLarge { .. })));
    }
}
