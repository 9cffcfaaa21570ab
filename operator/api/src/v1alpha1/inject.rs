//! Credentials that the egress gateway adds to requests.

use super::CaBundle;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A credential that the egress gateway adds to every request to the host, so that the server never holds it. TLS is ended
/// in the gateway, with a certificate that this pod's server alone trusts, and begun anew with the host.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct CredentialInjection {
    /// Name of the credential under spec.credentials. It is mounted into the gateway and no longer into the server.
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("inject.credential is the name of a credential under spec.credentials: a-z, 0-9 and '-', as in upstream"))]
    pub credential: String,
    /// Key of the Secret that holds the token.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$') && !self.startsWith('..') && self != '.'").message("inject.key is a key of the Secret: letters, digits, '-', '_' and '.', as in token"))]
    pub key: String,
    /// Header that carries the token. Whatever the server sends under this name is removed.
    #[serde(default = "CredentialInjection::default_header")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(
        validation = Rule::new("self.matches('^[-A-Za-z0-9]+$')").message("inject.header is the name of a header: letters, digits and '-', as in Authorization"),
        validation = Rule::new("!(self.lowerAscii() in ['connection', 'content-length', 'expect', 'host', 'keep-alive', 'proxy-authenticate', 'proxy-authorization', 'proxy-connection', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'via'])").message("inject.header must not be a header that frames a request or leads it; write Authorization, or the header that the host's documentation names")
    )]
    pub header: String,
    /// What stands before the token in the header's value. For a header that holds the token alone, as X-Api-Key does, write
    /// an empty text.
    #[serde(default = "CredentialInjection::default_prefix")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[ -~]*$')").message("inject.prefix holds printable ASCII characters, as in 'Bearer '"))]
    pub prefix: String,
    /// The authorities that vouch for the host, instead of the public ones: for a host with a certificate of your own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorities: Option<CaBundle>,
}

impl CredentialInjection {
    fn default_header() -> String {
        "Authorization".to_owned()
    }

    fn default_prefix() -> String {
        "Bearer ".to_owned()
    }
}
