//! How callers prove who they are, and what the audit sidecar proves itself with.

use super::credentials::{CaBundle, CredentialSource};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How callers prove who they are. Every method that is written is offered; a credential that does not hold is refused, never
/// passed over.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.anonymous || has(self.apiKeys) || has(self.oauth) || has(self.clientCertificates)").message("authentication needs apiKeys, oauth or clientCertificates; or write anonymous: true, if the network alone shall decide who may call"))]
pub struct Authentication {
    /// Whether a caller without any credential is let in, as anonymous. The class may forbid it.
    #[serde(default)]
    pub anonymous: bool,
    /// Keys of callers, of which a Secret holds the hashes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_keys: Option<ApiKeys>,
    /// Access tokens of OAuth authorization servers: the endpoint is an OAuth 2.1 resource server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth: Option<OAuth>,
    /// Certificates that callers show in the TLS handshake. Needs spec.tls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificates: Option<ClientCertificates>,
}

/// Keys of callers. The Secret holds their hashes, never the keys: whoever reads it cannot call. The audit sidecar alone reads
/// it, and reads it again when it changes.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct ApiKeys {
    /// Where the Secret comes from: exactly one source.
    pub from: CredentialSource,
    /// Key of the Secret that holds the key file.
    #[serde(default = "ApiKeys::default_key")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$') && self != '.' && self != '..'").message("apiKeys.key is a key of the Secret: letters, digits and -._, as in keys.json"))]
    pub key: String,
}

/// The endpoint as an OAuth 2.1 resource server.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.issuers.filter(i, has(i.introspection)).size() <= 1").message("oauth.issuers: at most one issuer may use introspection, since a token without a readable issuer would be shown to all of them; verify the tokens of the others by jwks"))]
pub struct OAuth {
    /// The endpoint's identifier: the URL that clients call. Tokens have to be issued for it (RFC 8707).
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("self.matches('^https?://[-a-z0-9.]+(:[0-9]{1,5})?/[-A-Za-z0-9._~/]*$') && (self.startsWith('https://') || self.matches('^http://(localhost|127[.]0[.]0[.]1|[-a-z0-9.]+[.]svc([.][-a-z0-9.]+)?)[:/]'))").message("oauth.resource is the URL that clients call: https, host in lower case, the endpoint's path, no query, as in https://mcp.example.com/mcp; http for a host of this cluster alone, as in http://demo.team-a.svc:8080/mcp"))]
    pub resource: String,
    /// Name of the endpoint for people, in its metadata.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub resource_name: Option<String>,
    /// Scopes that clients are told of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 128)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new("self.all(s, s.matches('^[!#-)+-Z^-~\\\\[\\\\]]+$') && s != 'offline_access')").message("oauth.scopesSupported holds names of scopes without white space, quotes, '*' and '\\\\'; offline_access is not the endpoint's to give"))]
    pub scopes_supported: Vec<String>,
    /// Authorization servers whose tokens are taken.
    #[schemars(length(min = 1, max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["issuer"]))]
    pub issuers: Vec<Issuer>,
    /// Tokens issued before this time are refused, whoever issued them: moving it revokes all earlier ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Time>,
}

/// An authorization server whose tokens are taken. The audit sidecar reaches it through the endpoint's egress gateway.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.jwks) != has(self.introspection)").message("oauth.issuers[] needs exactly one of jwks and introspection, as in jwks: {url: https://login.example.com/jwks.json}")
)]
pub struct Issuer {
    /// Its identifier; the claim iss of a token has to be equal.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("self.matches('^https://[^ ?#]+$')").message("oauth.issuers[].issuer is the authorization server's https URL without query, as in https://login.example.com/"))]
    pub issuer: String,
    /// Tokens are signed: they are verified by the issuer's public keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<Jwks>,
    /// Tokens are opaque: the issuer is asked about each (RFC 7662).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub introspection: Option<Introspection>,
    /// Values of the claim aud that mean this endpoint. oauth.resource alone, if left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 512)), extend("x-kubernetes-list-type" = "set"))]
    pub audiences: Vec<String>,
    /// Names of the claims that say who calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims: Option<ClaimNames>,
    /// Its tokens issued before this time are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Time>,
    /// Certificate authorities of its servers. The public ones, if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<CaBundle>,
}

/// Signed tokens (RFC 9068).
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Jwks {
    /// URL of the issuer's key set. Redirects are not followed.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(
        validation = Rule::new("self.matches('^https://[a-z0-9][-a-z0-9.]*[.][a-z][-a-z0-9]*(:[0-9]{1,5})?(/[^ #]*)?$')").message("the url is https with a host name in lower case, as in https://login.example.com/jwks.json"),
        validation = Rule::new("!self.matches('^https://[-a-z0-9.]*[.](svc|local|localhost|arpa)(:[0-9]{1,5})?(/|$)')").message("the url must not name a host of this cluster: the audit sidecar reaches the issuer through the egress gateway, which leads out of the cluster alone; write the name that the issuer has outside")
    )]
    pub url: String,
    /// Signature algorithms that are taken. All of them, if left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3), extend("x-kubernetes-list-type" = "set"))]
    pub algorithms: Vec<Algorithm>,
    /// What a token's typ has to say. AtJwt: at+jwt, with every claim that RFC 9068 requires. Jwt: for issuers that do not
    /// know that RFC; at+jwt, JWT or nothing.
    #[serde(default)]
    pub token_type: TokenType,
}

/// A signature algorithm.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// RSA PKCS #1 v1.5 with SHA-256.
    RS256,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// Ed25519.
    EdDSA,
}

/// What the typ of a signed token has to say.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenType {
    /// at+jwt.
    #[default]
    AtJwt,
    /// at+jwt, JWT or nothing.
    Jwt,
}

/// An issuer that is asked about each token.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Introspection {
    /// URL of its introspection endpoint. Redirects are not followed.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(
        validation = Rule::new("self.matches('^https://[a-z0-9][-a-z0-9.]*[.][a-z][-a-z0-9]*(:[0-9]{1,5})?(/[^ #]*)?$')").message("the url is https with a host name in lower case, as in https://login.example.com/introspect"),
        validation = Rule::new("!self.matches('^https://[-a-z0-9.]*[.](svc|local|localhost|arpa)(:[0-9]{1,5})?(/|$)')").message("the url must not name a host of this cluster: the audit sidecar reaches the issuer through the egress gateway, which leads out of the cluster alone; write the name that the issuer has outside")
    )]
    pub url: String,
    /// The endpoint's client id at the issuer.
    #[schemars(length(min = 1, max = 256))]
    pub client_id: String,
    /// The endpoint's client secret at the issuer.
    pub client_secret: ClientSecret,
    /// Seconds for which an answer holds: a revoked token is good for as long.
    #[serde(default = "Introspection::default_cache")]
    #[schemars(range(min = 1, max = 300))]
    pub cache_seconds: i32,
}

/// A client secret. The audit sidecar alone reads it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct ClientSecret {
    /// Where the Secret comes from: exactly one source.
    pub from: CredentialSource,
    /// Key of the Secret that holds it.
    #[serde(default = "ClientSecret::default_key")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$') && self != '.' && self != '..'").message("clientSecret.key is a key of the Secret: letters, digits and -._, as in client-secret"))]
    pub key: String,
}

/// Names of claims. A name that begins with a slash is a JSON pointer (RFC 6901), as in /realm_access/roles.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimNames {
    /// Who the user is. Default: sub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub subject: Option<String>,
    /// Which client was given the token: client_id, or azp. Default: client_id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub client: Option<String>,
    /// Granted scopes, one string with spaces or a list: scope, or scp. Default: scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub scope: Option<String>,
    /// Roles of the user, a string or a list. Default: roles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub roles: Option<String>,
}

/// Certificates that callers show in the TLS handshake.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ClientCertificates {
    /// Authorities that vouch for callers.
    pub ca_bundle: CaBundle,
}

/// TLS on the port that callers reach. Without it, calls cross the cluster's network in the clear.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Tls {
    /// Where the Secret with tls.crt and tls.key comes from: exactly one source. The audit sidecar alone reads it, and reads it
    /// again when it changes.
    pub from: CredentialSource,
}

/// Keys with which replicas seal what they hand to clients and want back unchanged: session ids, task ids, states,
/// confirmations.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Sealing {
    /// Where the Secret comes from: exactly one source. The audit sidecar alone reads it, and reads it again when it changes.
    pub from: CredentialSource,
    /// Key of the Secret that holds the keys: one a line, 32 bytes in base64; the first seals, all open.
    #[serde(default = "Sealing::default_key")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$') && self != '.' && self != '..'").message("sealing.key is a key of the Secret: letters, digits and -._, as in keys"))]
    pub key: String,
}

impl ApiKeys {
    fn default_key() -> String {
        "keys.json".to_owned()
    }
}

impl ClientSecret {
    fn default_key() -> String {
        "client-secret".to_owned()
    }
}

impl Introspection {
    const fn default_cache() -> i32 {
        30
    }
}

impl Sealing {
    fn default_key() -> String {
        "keys".to_owned()
    }
}
