//! What MCP looks like on the wire: messages, their headers, event streams. Pure; decides nothing.

pub mod era;
pub mod message;
pub mod mirror;
pub mod sse;
pub mod strict;

pub use era::EraError;
pub use message::{Call, Message, MessageError};
