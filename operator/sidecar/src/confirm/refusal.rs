//! Why a call is not confirmed.

use serde_json::{Value, json};

/// The JSON-RPC code of every refusal to confirm: outside of what JSON-RPC and MCP reserve.
pub const CODE: i32 = -31003;

/// Why a call is not confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The client did not declare elicitation by forms, or cannot take a question on this request.
    #[error(
        "this call must be confirmed by a person, and the client cannot ask one: use a client that declares the elicitation \
         capability with forms"
    )]
    NobodyToAsk,
    /// A person said no, or nothing.
    #[error("this call was not confirmed")]
    Declined,
    /// The answer came too late.
    #[error("the confirmation has expired: call again")]
    Expired,
    /// The answer was used before.
    #[error("the confirmation was already used: call again")]
    AlreadyUsed,
    /// It belongs to another tool or other arguments.
    #[error(
        "the confirmation is for another call: a call with other arguments needs its own, so call again without it"
    )]
    OtherCall,
    /// Not of this caller, or not of ours at all.
    #[error("the confirmation was not issued to this caller: call again without it")]
    Foreign,
    /// Who asked is gone or cannot be reached.
    #[error("the confirmation can no longer be checked: call again")]
    HomeUnreachable,
    /// Too many questions and answers are remembered.
    #[error("too many calls wait for a confirmation: try again later")]
    Busy,
    /// Two readers could read different arguments.
    #[error("the arguments of this call are ambiguous, so it cannot be confirmed")]
    Ambiguous,
    /// The sidecar's own cryptography failed.
    #[error("this call cannot be confirmed at the moment: try again later")]
    Internal,
}

impl Refusal {
    /// One word for the record.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NobodyToAsk => "confirmation_impossible",
            Self::Declined => "confirmation_declined",
            Self::Expired => "confirmation_expired",
            Self::AlreadyUsed => "confirmation_already_used",
            Self::OtherCall => "confirmation_of_another_call",
            Self::Foreign => "foreign_confirmation",
            Self::HomeUnreachable => "confirmation_home_unreachable",
            Self::Busy => "confirmations_full",
            Self::Ambiguous => "ambiguous_message",
            Self::Internal => "confirmation_failed",
        }
    }

    /// The JSON-RPC code.
    pub const fn code(self) -> i32 {
        CODE
    }

    /// The `data` of the JSON-RPC error.
    pub fn data(self) -> Value {
        match self {
            // As -32021 says it (MCP 2026-07-28, basic, "Error Codes").
            Self::NobodyToAsk => {
                json!({"reason": self.reason(), "requiredCapabilities": {"elicitation": {"form": {}}}})
            }
            _ => json!({"reason": self.reason()}),
        }
    }
}
