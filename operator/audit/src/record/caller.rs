//! Who calls, as far as it is kept.

use crate::text::{CallerText, hex_digest};
use sallyport_policy::Principal;
use serde::Serialize;
use serde_json::Value;

/// Scopes, roles, audiences and actors that are kept at most, each.
const MAX_LISTED: usize = 32;

/// Longest text of a kind that an issuer chose, in bytes.
const MAX_NAME: usize = 256;

/// Who calls, as authentication found. Never the credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Caller {
    /// What proved it: `anonymous`, `api-key`, `jwt`, `opaque`, `certificate`.
    pub kind: &'static str,
    /// Who vouches for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<CallerText>,
    /// Who it is, by the issuer's name for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<CallerText>,
    /// The client that acts for the subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<CallerText>,
    /// Audiences of the token.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub audience: Vec<CallerText>,
    /// What the token allows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<CallerText>,
    /// Roles of the subject.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<CallerText>,
    /// How the subject logged in, by the issuer's name for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acr: Option<CallerText>,
    /// Who acts for whom: the subjects of the token's `act` claims, the nearest first (RFC 8693 section 4.1).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub actors: Vec<CallerText>,
    /// Which credential it was: the key's id, or a SHA-256.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<CallerText>,
    /// SHA-256 of the token's `jti`, by which its issuer knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_id_sha256: Option<String>,
}

impl From<&Principal> for Caller {
    fn from(principal: &Principal) -> Self {
        let name = |text: &Option<String>| text.as_deref().map(text_of);
        let claim = |name| principal.claims.get(name);
        Self {
            kind: principal.kind.as_str(),
            issuer: name(&principal.issuer),
            subject: name(&principal.subject),
            client: name(&principal.client),
            audience: match claim("aud") {
                Some(Value::Array(audiences)) => listed(audiences.iter().filter_map(Value::as_str)),
                other => listed(other.and_then(Value::as_str)),
            },
            scopes: listed(principal.scopes.iter().map(String::as_str)),
            roles: listed(principal.roles.iter().map(String::as_str)),
            acr: name(&principal.acr),
            actors: listed(actors(claim("act"))),
            credential: name(&principal.credential),
            token_id_sha256: claim("jti").and_then(Value::as_str).map(|id| hex_digest(id.as_bytes())),
        }
    }
}

/// The subjects of nested `act` claims, outermost first.
fn actors(outermost: Option<&Value>) -> impl Iterator<Item = &str> {
    std::iter::successors(outermost, |actor| actor.get("act")).filter_map(|actor| actor.get("sub")?.as_str())
}

fn listed<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<CallerText> {
    texts.into_iter().take(MAX_LISTED).map(text_of).collect()
}

fn text_of(text: &str) -> CallerText {
    CallerText::new(text, MAX_NAME)
}
