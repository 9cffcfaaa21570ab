//! Who calls, as far as it is kept.

use serde::Serialize;

/// What proved who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    /// Nothing.
    Anonymous,
    /// An API key.
    ApiKey,
    /// A token that was checked by its signature.
    Jwt,
    /// A token that was checked by asking its issuer.
    Opaque,
    /// A client certificate.
    Certificate,
}

/// Who calls, as authentication found. Never the token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Caller {
    /// What proved it.
    pub kind: TokenKind,
    /// Who vouches for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Who it is, by the issuer's name for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The client that acts for the subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Audiences of the token.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub audience: Vec<String>,
    /// What the token allows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// Roles of the subject.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// How the subject logged in, by the issuer's name for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// Who acts for whom: the subjects of the token's `act` claims, the nearest first (RFC 8693 section 4.1).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub actors: Vec<String>,
    /// SHA-256 of the token's identifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_sha256: Option<String>,
}
