//! Which calls a person confirms before they reach the server.

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
    /// Those, and the ones that a pattern names, `*` for any text.
    DestructiveAnd(Vec<String>),
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
                destructive || patterns.iter().any(|pattern| matches(pattern, tool))
            }
        }
    }
}

/// Whether `text` is of the form of `pattern`, in which `*` stands for any text. Linear in the product of the lengths.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut read) = (0, 0);
    // Where to go on when what follows the last star does not fit.
    let mut retry = None;
    while read < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                retry = Some((at, read));
                at += 1;
            }
            Some(byte) if *byte == text[read] => {
                at += 1;
                read += 1;
            }
            _ => match retry {
                Some((star, skipped)) => {
                    retry = Some((star, skipped + 1));
                    at = star + 1;
                    read = skipped + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
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
    fn a_star_stands_for_any_text() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "a", true),
            ("", "", true),
            ("", "a", false),
            ("a*c", "abbc", true),
            ("a*c", "abcb", false),
            ("*a*b*", "xxaxxbxx", true),
            ("a**b", "ab", true),
            ("*ab", "aab", true),
            ("A", "a", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn an_unknown_rule_is_refused() {
        serde_json::from_str::<Confirmation>(r#"{"skipFor": ["admin"]}"#).unwrap_err();
    }
}
