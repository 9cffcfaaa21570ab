//! The signer: what lets an egress gateway end TLS for hosts to which it adds a credential.
//!
//! Each of the server's pods has a certification authority of its own, whose key only the audit sidecar of that pod holds
//! and which only the server of that pod trusts. A gateway that is to end TLS for a host sends its public key to the
//! signer of the pod that called, and gets a certificate.

use crate::egress::HostName;
use serde::{Deserialize, Serialize};

/// Where a gateway asks for a certificate: `POST` to this path and the host's name. The body is an uncompressed point on
/// the curve P-256 (SEC 1 section 2.3.3), the answer a certificate in DER.
pub const CERTIFICATES_PATH: &str = "/certificates/";

/// Bytes of an uncompressed point on P-256.
pub const PUBLIC_KEY_BYTES: usize = 65;

/// Directory with the certificates that the server trusts, in its container.
pub const TRUST_PATH: &str = "/var/run/sallyport/trust";

/// Directory with the key of the pod's certification authority, in the audit sidecar's container and no other.
pub const KEY_PATH: &str = "/var/run/sallyport/signer";

/// File with the certificate of the pod's own certification authority alone.
pub const OWN_FILE: &str = "sallyport.pem";

/// File with that certificate and those of all public certification authorities.
pub const BUNDLE_FILE: &str = "bundle.pem";

/// What the signer is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SignerPolicy {
    /// Port of the signer.
    pub port: u16,
    /// Hosts for which it signs; its certification authority is constrained to them.
    pub hosts: Vec<HostName>,
    /// Directory that it writes the trusted certificates to: [`TRUST_PATH`].
    pub trust_directory: String,
    /// Directory that it keeps its key in: [`KEY_PATH`].
    pub key_directory: String,
}
