//! The pod's certification authority.

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P256_SHA256, PublicKeyData,
    SanType, SignatureAlgorithm,
};
use sallyport_policy::egress::HostName;
use sallyport_policy::signer::PUBLIC_KEY_BYTES;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use time::{Duration, OffsetDateTime};

/// File of the key, as PKCS #8 in DER.
const KEY_FILE: &str = "key.p8";

/// How long before now certificates are valid: a clock may be set back.
const BEFORE: Duration = Duration::hours(1);

/// How long the authority lasts: longer than any pod. Its key ends with the pod.
const AUTHORITY_LIFE: Duration = Duration::days(3650);

/// How long a certificate lasts: longer than any connection. Gateways ask for one for each.
const CERTIFICATE_LIFE: Duration = Duration::days(1);

/// First byte of an uncompressed point (SEC 1 section 2.3.3).
const UNCOMPRESSED: u8 = 4;

/// Why there is no authority, or no certificate.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The key cannot be kept.
    #[error("cannot read or write the signer's key {path}")]
    Key {
        /// Where it is kept.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The key is none, or a certificate cannot be made.
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
    /// A host for which it must not sign.
    #[error("credentials are not injected for this host")]
    Host,
    /// Not a public key.
    #[error("the body is not an uncompressed point on P-256")]
    PublicKey,
}

/// A certification authority that is constrained to some hosts (RFC 5280 section 4.2.1.10).
pub struct Authority {
    hosts: Vec<HostName>,
    certificate: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// The authority whose key is in `directory`; a new one, if there is no key yet. A sidecar that is started again so
    /// finds the authority that the server trusts already.
    ///
    /// # Errors
    ///
    /// See [`AuthorityError`].
    pub fn of(directory: &Path, hosts: Vec<HostName>) -> Result<Self, AuthorityError> {
        let key = key(&directory.join(KEY_FILE))?;
        let params = params(&hosts);
        let certificate = params.self_signed(&key)?.der().to_vec();
        Ok(Self {
            hosts,
            certificate,
            issuer: Issuer::new(params, key),
        })
    }

    /// The authority's own certificate in DER.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// A certificate in DER, with which the holder of `public_key` may end TLS for `host`.
    ///
    /// # Errors
    ///
    /// When it must not.
    pub fn sign(&self, host: &HostName, public_key: &[u8]) -> Result<Vec<u8>, AuthorityError> {
        if !self.hosts.contains(host) {
            return Err(AuthorityError::Host);
        }
        let point = <[u8; PUBLIC_KEY_BYTES]>::try_from(public_key).map_err(|_| AuthorityError::PublicKey)?;
        if point[0] != UNCOMPRESSED {
            return Err(AuthorityError::PublicKey);
        }
        let mut params = CertificateParams::default();
        params.distinguished_name = named("Sallyport egress gateway");
        params.subject_alt_names = vec![SanType::DnsName(host.as_str().try_into()?)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = valid_for(CERTIFICATE_LIFE);
        Ok(params.signed_by(&Point(point), &self.issuer)?.der().to_vec())
    }
}

/// A point on P-256.
struct Point([u8; PUBLIC_KEY_BYTES]);

impl PublicKeyData for Point {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

/// The key at `path`; a new one is put there if there is none.
fn key(path: &Path) -> Result<KeyPair, AuthorityError> {
    let failed = |source| AuthorityError::Key {
        path: path.to_owned(),
        source,
    };
    match fs::read(path) {
        Ok(kept) => Ok(KeyPair::try_from(kept)?),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let key = KeyPair::generate()?;
            // Whole or not at all: a sidecar that ends here must not find half a key.
            let unfinished = path.with_extension("new");
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&unfinished)
                .map_err(failed)?;
            file.write_all(key.serialized_der()).map_err(failed)?;
            fs::rename(&unfinished, path).map_err(failed)?;
            Ok(key)
        }
        Err(error) => Err(failed(error)),
    }
}

fn params(hosts: &[HostName]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named("Sallyport signer");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    // A subtree of names leaves addresses free, so those are closed by name.
    let addresses = [
        CidrSubnet::from_v4_prefix([0; 4], 0),
        CidrSubnet::from_v6_prefix([0; 16], 0),
    ];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: hosts
            .iter()
            .map(|host| GeneralSubtree::DnsName(host.as_str().to_owned()))
            .collect(),
        excluded_subtrees: addresses.map(GeneralSubtree::IpAddress).to_vec(),
    });
    (params.not_before, params.not_after) = valid_for(AUTHORITY_LIFE);
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

fn valid_for(life: Duration) -> (OffsetDateTime, OffsetDateTime) {
    let now = OffsetDateTime::now_utc();
    (now - BEFORE, now + life)
}
