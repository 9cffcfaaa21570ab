//! The one line that every program prints.

use serde::{Deserialize, Serialize};

/// What became of one call, as the client saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Report {
    /// Protocol version that was negotiated.
    pub protocol: Option<String>,
    /// The tools that the server offered.
    pub tools: Vec<String>,
    /// What the client's user was asked.
    pub asked: Vec<String>,
    /// Whether the tool itself failed.
    pub is_error: bool,
    /// Text of the result.
    pub text: Option<String>,
    /// What the client raised instead.
    pub error: Option<Failure>,
}

/// What a client raised.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Failure {
    /// Name of the exception's class, or of the error's variant.
    pub class: String,
    /// Code of the JSON-RPC error; some clients use codes of their own.
    pub code: Option<serde_json::Value>,
    /// Status of HTTP.
    pub status: Option<u16>,
    /// What a user reads.
    pub message: String,
    /// The scopes that are wanted.
    pub scope: Option<String>,
}

impl Report {
    /// Whether the tool ran and said this.
    pub fn said(&self, text: &str) -> bool {
        self.error.is_none() && !self.is_error && self.text.as_deref() == Some(text)
    }

    /// What was raised; empty if nothing was.
    pub fn failure(&self) -> Failure {
        self.error.clone().unwrap_or_default()
    }

    /// Whether the caller can read `word` in what came back, be it a result or an error.
    pub fn mentions(&self, word: &str) -> bool {
        let error = self.error.as_ref().map(|error| error.message.as_str());
        [error, self.text.as_deref()]
            .into_iter()
            .flatten()
            .any(|said| said.contains(word))
    }
}
