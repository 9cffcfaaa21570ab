//! Secrets that the server or the audit sidecar needs: where they come from.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A token that the server needs.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Credential {
    /// Name of the directory under /var/run/secrets/sallyport/ that holds one file per key of the Secret.
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("credentials[].name must be a-z, 0-9 and '-', as in upstream"))]
    pub name: String,
    /// Where the token comes from: exactly one source.
    pub from: CredentialSource,
}

/// Where a token comes from: exactly one source.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.sealedSecret) != has(self.secret)").message("from needs exactly one of sealedSecret and secret, as in from: {sealedSecret: {name: upstream-token}}"))]
pub struct CredentialSource {
    /// A SealedSecret of the same namespace. The operator waits until it is unsealed, reports the controller's own
    /// message when that fails, and rolls out when its ciphertext changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed_secret: Option<SecretRef>,
    /// A Secret of the same namespace. The operator never reads it, so a change of its content rolls out nothing: the
    /// kubelet updates the file within about a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretRef>,
}

/// Name of an object in the endpoint's namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct SecretRef {
    /// Name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message("the name of a secret is a-z, 0-9, '-' and '.', as in upstream-token"))]
    pub name: String,
}

/// Certificates of authorities, in PEM.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CaBundle {
    /// ConfigMap of the endpoint's namespace.
    pub config_map: ConfigMapKey,
}

/// One key of a ConfigMap in the endpoint's namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct ConfigMapKey {
    /// Name of the ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message("the name of a ConfigMap is a-z, 0-9, '-' and '.', as in corporate-ca"))]
    pub name: String,
    /// Key that holds the certificates.
    #[serde(default = "ca_key")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$') && self != '.' && self != '..'").message("the key of a ConfigMap is letters, digits and -._, as in ca.crt"))]
    pub key: String,
}

fn ca_key() -> String {
    "ca.crt".to_owned()
}
