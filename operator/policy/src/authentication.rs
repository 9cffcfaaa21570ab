//! Who may call at all: the `authentication` and `listen.tls` of the policy file.
//!
//! Secrets are not in the policy file; it names the mounted files that hold them.

use serde::{Deserialize, Serialize};

/// TLS on the traffic port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tls {
    /// PEM file with the certificate and its chain, the leaf first. Read again when it changes.
    pub certificate_file: String,
    /// PEM file with the certificate's private key.
    pub key_file: String,
}

/// How callers are told apart. The default admits nobody.
///
/// The order is fixed: a request with an `Authorization` header is decided by it alone, one without by its client
/// certificate, one with neither is anonymous. A credential that does not hold is refused, never passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Authentication {
    /// Whether callers without a credential are admitted.
    pub anonymous: bool,
    /// API keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_keys: Option<ApiKeys>,
    /// OAuth 2.1 access tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oauth: Option<OAuth>,
    /// Client certificates. Needs `listen.tls`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificates: Option<ClientCertificates>,
}

impl Authentication {
    /// Admits every caller as anonymous, and nobody as anyone else.
    pub fn anonymous() -> Self {
        Self {
            anonymous: true,
            ..Self::default()
        }
    }

    /// Whether any kind of credential can be verified.
    pub const fn has_method(&self) -> bool {
        self.api_keys.is_some() || self.oauth.is_some() || self.client_certificates.is_some()
    }
}

/// API keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApiKeys {
    /// The key file (docs/contracts/key-file.md). Read again when it changes.
    pub file: String,
}

/// Client certificates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClientCertificates {
    /// PEM file with the certificate authorities that vouch for callers. Read again when it changes; connections of
    /// authorities that are gone are no longer served.
    pub ca_file: String,
}

/// The endpoint as an OAuth 2.1 resource server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OAuth {
    /// The endpoint's own identifier, the URL that clients call (RFC 8707, RFC 9728): `https://mcp.example.com/mcp`.
    /// Tokens must be issued for it.
    pub resource: String,
    /// Name of the endpoint for people, in the metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_name: Option<String>,
    /// Scopes that clients are told of. No wildcard, no `offline_access`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes_supported: Vec<String>,
    /// Whose tokens are taken. At most one is asked by introspection: a token without a readable issuer would otherwise
    /// be shown to more than one.
    pub issuers: Vec<Issuer>,
    /// Tokens issued before this time, in seconds since the Unix epoch, are refused, whoever issued them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<i64>,
    /// How far the clocks of issuers may be off, in seconds.
    #[serde(default = "OAuth::default_leeway")]
    pub leeway_seconds: u32,
    /// HTTP proxy through which issuers are reached, as `http://host:port`: the endpoint's egress gateway. Absent: directly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress_proxy: Option<String>,
}

impl OAuth {
    const fn default_leeway() -> u32 {
        30
    }

    /// Tokens of `issuers` for `resource`, everything else at its default.
    pub fn new(resource: impl Into<String>, issuers: Vec<Issuer>) -> Self {
        Self {
            resource: resource.into(),
            resource_name: None,
            scopes_supported: vec![],
            issuers,
            not_before: None,
            leeway_seconds: Self::default_leeway(),
            egress_proxy: None,
        }
    }
}

/// An authorization server whose tokens are taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Issuer {
    /// Its identifier; `iss` of a token must be equal.
    pub issuer: String,
    /// How its tokens are verified.
    pub verify: Verification,
    /// Values of `aud` that mean this endpoint. Empty: only `resource`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audiences: Vec<String>,
    /// Names of claims.
    #[serde(default)]
    pub claims: ClaimNames,
    /// Its tokens issued before this time, in seconds since the Unix epoch, are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<i64>,
    /// PEM file with the certificate authorities of its HTTPS servers. Absent: those of the sidecar's image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
}

/// How the tokens of an issuer are verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Verification {
    /// By their signature.
    Jwks(Jwks),
    /// By asking the issuer (RFC 7662).
    Introspection(Introspection),
}

/// Signed tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Jwks {
    /// HTTPS URL of the issuer's key set. Redirects are not followed.
    pub url: String,
    /// Signature algorithms that are taken.
    #[serde(default = "Algorithm::all")]
    pub algorithms: Vec<Algorithm>,
    /// What the token's `typ` must say.
    #[serde(default)]
    pub token_type: TokenType,
    /// Age in seconds at which keys are fetched again while they are in use.
    #[serde(default = "Jwks::default_refresh")]
    pub refresh_seconds: u32,
    /// Seconds between two fetches at least, whatever tokens ask for.
    #[serde(default = "Jwks::default_cool_down")]
    pub cool_down_seconds: u32,
    /// Age in seconds up to which keys hold while the issuer cannot be reached.
    #[serde(default = "Jwks::default_stale")]
    pub stale_seconds: u32,
}

impl Jwks {
    const fn default_refresh() -> u32 {
        300
    }

    const fn default_cool_down() -> u32 {
        10
    }

    const fn default_stale() -> u32 {
        3600
    }

    /// Keys at `url`, everything else at its default.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            algorithms: Algorithm::all(),
            token_type: TokenType::default(),
            refresh_seconds: Self::default_refresh(),
            cool_down_seconds: Self::default_cool_down(),
            stale_seconds: Self::default_stale(),
        }
    }
}

/// A signature algorithm (RFC 7518, RFC 8037). There is none here that a public key could be the secret of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    /// RSA PKCS #1 v1.5 with SHA-256, keys of 2048 to 8192 bits.
    RS256,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// Ed25519.
    EdDSA,
}

impl Algorithm {
    /// Every algorithm.
    pub fn all() -> Vec<Self> {
        vec![Self::RS256, Self::ES256, Self::EdDSA]
    }

    /// The name in a token's `alg`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::ES256 => "ES256",
            Self::EdDSA => "EdDSA",
        }
    }
}

/// What the `typ` of a signed token must say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenType {
    /// `at+jwt` (RFC 9068 section 2.1); every claim that the RFC requires must be there.
    #[default]
    AtJwt,
    /// `at+jwt`, `JWT` or nothing, for issuers that do not know RFC 9068. `client_id`, `iat` and `jti` may be missing. ID
    /// tokens are refused by their claims.
    Jwt,
}

/// An issuer that is asked about each token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Introspection {
    /// HTTPS URL of its introspection endpoint. Redirects are not followed.
    pub url: String,
    /// This endpoint's client id there.
    pub client_id: String,
    /// File with the client's secret; white space at its end is not part of it. Read again when it changes.
    pub client_secret_file: String,
    /// Seconds for which an answer holds, at most until the token expires. A revoked token is good for as long.
    #[serde(default = "Introspection::default_cache")]
    pub cache_seconds: u32,
}

impl Introspection {
    const fn default_cache() -> u32 {
        30
    }

    /// Asks `url` as `client_id`, everything else at its default.
    pub fn new(url: impl Into<String>, client_id: impl Into<String>, client_secret_file: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            client_id: client_id.into(),
            client_secret_file: client_secret_file.into(),
            cache_seconds: Self::default_cache(),
        }
    }
}

/// Names of claims. A name that begins with a slash is a JSON pointer (RFC 6901), as in `/realm_access/roles`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ClaimNames {
    /// Who the user is.
    pub subject: String,
    /// Which client was given the token: `client_id`, or `azp`.
    pub client: String,
    /// Granted scopes, one string with spaces or a list: `scope`, or `scp`.
    pub scope: String,
    /// Roles of the user, a string or a list.
    pub roles: String,
}

impl Default for ClaimNames {
    fn default() -> Self {
        Self {
            subject: "sub".into(),
            client: "client_id".into(),
            scope: "scope".into(),
            roles: "roles".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    #[test]
    fn what_is_left_out_admits_nobody() {
        let left_out: Authentication = serde_json::from_str("{}").unwrap();
        assert_eq!(left_out, Authentication::default());
        assert!(!left_out.anonymous && !left_out.has_method());
    }

    #[test]
    fn a_short_issuer_gets_the_strict_defaults() {
        let text = r#"{"oauth": {"resource": "https://a.example/mcp", "issuers": [
            {"issuer": "https://i.example", "verify": {"jwks": {"url": "https://i.example/jwks"}}}]}}"#;
        let read: Authentication = serde_json::from_str(text).unwrap();
        let issuer = Issuer {
            issuer: "https://i.example".into(),
            verify: Verification::Jwks(Jwks::new("https://i.example/jwks")),
            audiences: vec![],
            claims: ClaimNames::default(),
            not_before: None,
            ca_file: None,
        };
        let expected = Authentication {
            oauth: Some(OAuth::new("https://a.example/mcp", vec![issuer])),
            ..Authentication::default()
        };
        assert_eq!(read, expected);
        let written = serde_json::to_string(&expected).unwrap();
        assert_eq!(serde_json::from_str::<Authentication>(&written).unwrap(), expected);
    }

    #[test]
    fn symmetric_and_unknown_algorithms_cannot_be_written_down() {
        for name in ["HS256", "none", "RS1", "PS256", "rs256"] {
            let text = format!("{{\"url\": \"https://i.example\", \"algorithms\": [{name:?}]}}");
            assert!(serde_json::from_str::<Jwks>(&text).is_err(), "{name}");
        }
    }

    #[test]
    fn an_unknown_field_is_refused() {
        for text in [r#"{"anonymus": true}"#, r#"{"apiKeys": {"file": "f", "keys": []}}"#] {
            assert!(serde_json::from_str::<Authentication>(text).is_err(), "{text}");
        }
    }
}
