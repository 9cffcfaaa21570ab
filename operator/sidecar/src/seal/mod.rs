//! What the sidecar hands to a client and wants back from the same caller, unread and unchanged.
//!
//! MCP gives clients names of things that live in the server: session ids, task ids, request states. Whoever knows such a
//! name holds the thing. So clients get an envelope instead ([`Seal`]), which opens for the caller it was made for, at the
//! endpoint that made it, for the purpose it was made for, on every replica that has the sealing keys ([`keys`]), and
//! nothing needs to be stored. [`Session`] does so for the `Mcp-Session-Id` header, [`Exchange`] for what stands in the
//! messages, where all bytes but those of the names themselves stay as they are ([`json`]).

mod canonical;
mod envelope;
mod exchange;
mod json;
mod keys;
mod session;
mod state;
mod tasks;

#[cfg(test)]
pub(crate) mod testing;

pub use canonical::{CallDigest, canonical, readable};
pub use envelope::{Foreign, Owner, Purpose, Seal, SealError};
pub use exchange::{BindingError, Exchange, Opened};
pub use json::{Document, Edits, JsonError, Value};
pub use keys::KeysError;
pub use session::{Session, SessionError, elicits_forms};
pub use state::{Presented, ServerState};
