//! Which calls a person confirms before they reach the server.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which calls a person confirms before they reach the server, and how.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.destructive || !has(self.tools) || size(self.tools) == 0").message("confirmation.tools adds to the destructive tools; with destructive: false leave it out"))]
pub struct Confirmation {
    /// Whether calls of destructive tools are confirmed.
    #[serde(default = "yes")]
    pub destructive: bool,
    /// Tools that are confirmed too, * for any text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 128)), extend("x-kubernetes-list-type" = "set"))]
    pub tools: Vec<String>,
    /// Seconds within which a question can be answered.
    #[serde(default = "Confirmation::default_expiry")]
    #[schemars(range(min = 10, max = 3600))]
    pub expiry_seconds: i32,
    /// What happens to a client that cannot ask a person: a legacy one without elicitation. Deny: its call is denied. Token: the
    /// first call answers with a token, and a second one that carries it runs; the token comes back through the model, so no
    /// person needs to have seen it. The class has to allow Token.
    #[serde(default)]
    pub legacy: LegacyConfirmation,
}

/// What happens to a client that cannot ask a person.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LegacyConfirmation {
    /// Its call is denied.
    #[default]
    Deny,
    /// A second call with the token of the first runs.
    Token,
}

impl Confirmation {
    const fn default_expiry() -> i32 {
        300
    }
}

impl Default for Confirmation {
    fn default() -> Self {
        Self {
            destructive: true,
            tools: vec![],
            expiry_seconds: Self::default_expiry(),
            legacy: LegacyConfirmation::default(),
        }
    }
}

const fn yes() -> bool {
    true
}
