//! Who may do what: rules over the caller, the method, the name that is called and its side effect.
//!
//! A call is allowed if a rule with the effect `Allow` fits it and none with the effect `Deny` does. While there is a
//! rule, what no rule allows is denied. The order of rules never matters. See ADR 0008.

mod caller;
mod decide;
mod glob;
mod method;
mod resource;
mod rule;

#[cfg(test)]
mod tests;

pub use caller::{Caller, CallerKind, ClaimValue};
pub use decide::{Call, Decision, Denial, Target, TargetKind};
pub use glob::{Glob, ParseGlobError};
pub use method::{Method, Subject};
pub use rule::{Authorization, AuthorizationError, Effect, Requirements, Rule, StepUp, WithoutRules};
