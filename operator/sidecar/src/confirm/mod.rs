//! Confirmation: a person is asked before a destructive call reaches the server.
//!
//! A question is a [`ticket`](Ticket) in an envelope that the client carries: bound to the caller, the call and its
//! arguments, usable once, for a bounded time. The replica that asks is the ticket's [`home`](Home): there, and only there,
//! a ticket is used up, so that nothing needs to be stored elsewhere. Another replica that receives the answer asks the
//! home ([`peer`]), and asks the person again when the home does not answer.
//!
//! [`Confirmations`] is all that the pipeline needs: [`receive`](Confirmations::receive) takes our own answers out of a
//! request, [`gate`](Confirmations::gate) decides, [`wrap`](Confirmations::wrap) prepares what the server says.

mod gate;
mod home;
mod peer;
mod question;
mod refusal;
mod ticket;

pub use gate::{Answered, Asked, Client, Confirmations, Decision, Elicitation, Proof, Received};
pub use peer::PeerError;
pub use refusal::Refusal;
#[cfg(test)]
mod legacy_tests;
#[cfg(test)]
mod modern_tests;
#[cfg(test)]
mod replica_tests;
#[cfg(test)]
mod testing;
