//! Which calls a person confirms before they reach the server.

use crate::authorization::Glob;
use serde::{Deserialize, Serialize};

/// Which calls are confirmed, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Confirmation {
    /// Which tools ask before they run.
    pub tools: ConfirmedTools,
    /// Seconds within which a question can be answered.
    pub expiry_seconds: u32,
    /// What happens to legacy clients that cannot ask a person.
    pub legacy: LegacyConfirmation,
}

/// Which tools ask before they run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConfirmedTools {
    /// Those whose declared side effect is destructive.
    #[default]
    Destructive,
    /// Those, and the ones that a pattern names.
    DestructiveAnd(Vec<Glob>),
    /// None at all.
    Nothing,
}

/// What happens to a call that must be confirmed when its client, of the legacy era, did not declare elicitation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LegacyConfirmation {
    /// It is denied: nobody can be asked.
    #[default]
    Deny,
    /// The first call answers with a token, a second one that carries the token runs. The token comes back through the
    /// model, so no person needs to have seen it.
    Token,
}

/// How long a question can be answered unless the endpoint says otherwise, in seconds.
pub const DEFAULT_EXPIRY_SECONDS: u32 = 300;

/// The longest time that an endpoint may give, in seconds. What was answered is remembered for as long.
pub const MAX_EXPIRY_SECONDS: u32 = 3600;

impl Default for Confirmation {
    fn default() -> Self {
        Self {
            tools: ConfirmedTools::default(),
            expiry_seconds: DEFAULT_EXPIRY_SECONDS,
            legacy: LegacyConfirmation::default(),
        }
    }
}

impl Confirmation {
    /// Whether a call of `tool` is confirmed first; `destructive` is what is declared of it.
    pub fn asks_for(&self, tool: &str, destructive: bool) -> bool {
        match &self.tools {
            ConfirmedTools::Nothing => false,
            ConfirmedTools::Destructive => destructive,
            ConfirmedTools::DestructiveAnd(patterns) => {
                destructive || patterns.iter().any(|pattern| pattern.fits(tool))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    #[test]
    fn unless_told_otherwise_destructive_tools_ask_for_five_minutes_and_nobody_is_passed_over() {
        let confirmation: Confirmation = serde_json::from_str("{}").unwrap();
        assert_eq!(confirmation, Confirmation::default());
        assert_eq!(confirmation.expiry_seconds, 300);
        assert_eq!(confirmation.legacy, LegacyConfirmation::Deny);
        assert!(confirmation.asks_for("drop_table", true));
        assert!(!confirmation.asks_for("list_tables", false));
    }

    #[test]
    fn named_tools_ask_beside_the_destructive_ones() {
        let confirmation: Confirmation =
            serde_json::from_str(r#"{"tools": {"DestructiveAnd": ["send_*", "pay"]}, "legacy": "Token"}"#).unwrap();
        assert!(confirmation.asks_for("send_mail", false));
        assert!(confirmation.asks_for("pay", false));
        assert!(!confirmation.asks_for("payee", false));
        assert!(!confirmation.asks_for("resend_mail", false));
        assert!(confirmation.asks_for("drop_table", true));
    }

    #[test]
    fn an_unknown_rule_is_refused() {
        serde_json::from_str::<Confirmation>(r#"{"skipFor": ["admin"]}"#).unwrap_err();
        serde_json::from_str::<Confirmation>(r#"{"tools": {"DestructiveAnd": [""]}}"#).unwrap_err();
    }
}
