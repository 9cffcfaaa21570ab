//! TLS on a listening port: a certificate that is read again when its file changes, and optionally certificate
//! authorities that vouch for callers.

use crate::follow::{FollowError, Followed};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::server::TlsStream;

/// How long a handshake may take.
const HANDSHAKE_BOUND: Duration = Duration::from_secs(10);

/// The files that TLS is made of.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// PEM: the certificate and its chain, the leaf first.
    pub certificate: PathBuf,
    /// PEM: the certificate's private key.
    pub key: PathBuf,
    /// PEM: the certificate authorities that vouch for callers. With them callers are asked for a certificate; one that
    /// shows none is let through to what else may admit it, one that shows another's is refused.
    pub client_ca: Option<PathBuf>,
}

/// Why TLS files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate file.
    #[error("the certificate file holds no PEM certificate")]
    Certificate(#[source] pem::Error),
    /// The key file.
    #[error("the key file holds no PEM private key (PKCS #8, PKCS #1 or SEC 1)")]
    Key(#[source] pem::Error),
    /// The CA file.
    #[error("the CA file holds no PEM certificate")]
    Authorities(#[source] pem::Error),
    /// A certificate of the CA file.
    #[error("a certificate of the CA file cannot be a certificate authority")]
    Authority(#[source] rustls::Error),
    /// The CA file as a whole.
    #[error("the CA file cannot be used")]
    Verifier(#[source] VerifierBuilderError),
    /// Certificate and key together.
    #[error("certificate and key cannot be used: do they belong together?")]
    Pair(#[source] rustls::Error),
}

/// Why a connection did not come to be.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The peer was too slow.
    #[error("the TLS handshake took longer than 10 s")]
    Late,
    /// The peer broke off, or showed a certificate of an authority that is not trusted.
    #[error("the TLS handshake failed")]
    Failed(#[source] io::Error),
}

/// A certificate that a trusted authority vouches for and whose key the caller has.
#[derive(Clone)]
pub struct PeerCertificate {
    der: Arc<CertificateDer<'static>>,
    trust: Weak<Trust>,
}

/// The authorities that vouched. It lives as long as they are trusted.
struct Trust(Vec<u8>);

impl PeerCertificate {
    /// The certificate in DER.
    pub fn der(&self) -> &[u8] {
        self.der.as_ref()
    }

    /// SHA-256 of the certificate in DER, as `x5t#S256` means it (RFC 8705 section 3.1).
    pub fn thumbprint(&self) -> [u8; 32] {
        Sha256::digest(self.der()).into()
    }

    /// Whether the authorities that vouched for it at the handshake still are the trusted ones.
    pub fn is_trusted(&self) -> bool {
        self.trust.strong_count() > 0
    }
}

impl fmt::Debug for PeerCertificate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PeerCertificate({} bytes)", self.der.len())
    }
}

/// Bytes that TLS holds of what a client does not read.
const OUTGOING: usize = 16 * 1024;

/// Turns connections into TLS connections.
#[derive(Debug)]
pub struct TlsAcceptor(Followed<Loaded>);

/// What the files hold.
struct Loaded {
    config: Arc<ServerConfig>,
    trust: Option<Arc<Trust>>,
}

impl TlsAcceptor {
    /// Reads `files` and follows them.
    ///
    /// # Errors
    ///
    /// When the files are not usable now. Files that become unusable later leave TLS as it is.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub fn start(files: TlsFiles) -> Result<Self, FollowError<TlsError>> {
        let trusted = Mutex::new(Weak::new());
        let paths = [files.certificate, files.key]
            .into_iter()
            .chain(files.client_ca)
            .collect();
        Followed::start(paths, move |contents| {
            let mut trusted = trusted.lock().unwrap_or_else(PoisonError::into_inner);
            let loaded = load(contents, trusted.upgrade())?;
            *trusted = loaded.trust.as_ref().map_or_else(Weak::new, Arc::downgrade);
            Ok(loaded)
        })
        .map(Self)
    }

    /// Why the files as they are now are not used; `None` when they are.
    pub fn problem(&self) -> Option<String> {
        self.0.problem()
    }

    /// The TLS connection on `stream`, with the caller's certificate where it showed one.
    ///
    /// # Errors
    ///
    /// See [`HandshakeError`].
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> Result<(TlsStream<S>, Option<PeerCertificate>), HandshakeError> {
        let (config, trust) = {
            let loaded = self.0.get();
            (loaded.config.clone(), loaded.trust.as_ref().map(Arc::downgrade))
        };
        let shaking = tokio_rustls::TlsAcceptor::from(config).accept_with(stream, |connection| {
            connection.set_buffer_limit(Some(OUTGOING));
        });
        let stream = tokio::time::timeout(HANDSHAKE_BOUND, shaking)
            .await
            .map_err(|_| HandshakeError::Late)?
            .map_err(HandshakeError::Failed)?;
        let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let certificate = leaf.zip(trust).map(|(leaf, trust)| PeerCertificate {
            der: Arc::new(leaf.clone().into_owned()),
            trust,
        });
        Ok((stream, certificate))
    }
}

/// The configuration that `contents` (certificate, key and perhaps authorities) describe; it keeps `trusted` if the
/// authorities did not change.
fn load(contents: &[Vec<u8>], trusted: Option<Arc<Trust>>) -> Result<Loaded, TlsError> {
    let [certificate, key, authorities @ ..] = contents else {
        return Err(TlsError::Certificate(pem::Error::NoItemsFound));
    };
    let chain = certificates(certificate).map_err(TlsError::Certificate)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(TlsError::Key)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Pair)?;
    let (builder, trust) = match authorities.first() {
        None => (builder.with_no_client_auth(), None),
        Some(file) => {
            let verifier = verifier(file, provider)?;
            let kept = trusted.filter(|trust| trust.0 == *file);
            let trust = kept.unwrap_or_else(|| Arc::new(Trust(file.clone())));
            (builder.with_client_cert_verifier(verifier), Some(trust))
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(TlsError::Pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if trust.is_some() {
        // A resumed session would bring its certificate along without verifying it again.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Loaded {
        config: Arc::new(config),
        trust,
    })
}

fn verifier(
    file: &[u8],
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file).map_err(TlsError::Authorities)? {
        roots.add(certificate).map_err(TlsError::Authority)?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .allow_unauthenticated()
        .build()
        .map_err(TlsError::Verifier)
}

fn certificates(file: &[u8]) -> Result<Vec<CertificateDer<'static>>, pem::Error> {
    let found = CertificateDer::pem_slice_iter(file).collect::<Result<Vec<_>, _>>()?;
    if found.is_empty() {
        return Err(pem::Error::NoItemsFound);
    }
    Ok(found)
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
