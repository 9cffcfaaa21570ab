//! TLS to the host, which must show that it is the host.

use super::{HTTP_1_1, InjectError};
use crate::meter::Metered;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sallyport_policy::egress::HostName;
use std::io;
use std::sync::Arc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use webpki_root_certs::TLS_SERVER_ROOT_CERTS;

/// Why the host is not spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamError {
    /// Its certificate is not valid for it, or nobody who is trusted vouches for it.
    Untrusted,
    /// It broke off, or speaks no TLS that the gateway speaks.
    Handshake,
    /// The file with the authorities that vouch for it cannot be read.
    Authorities,
}

impl UpstreamError {
    /// As in events and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Untrusted => "upstream_untrusted",
            Self::Handshake => "upstream_tls_failed",
            Self::Authorities => "authorities_unavailable",
        }
    }
}

/// Begins TLS with hosts.
pub struct Upstream {
    public: Arc<ClientConfig>,
}

impl Upstream {
    /// Trusts the public certification authorities.
    ///
    /// # Errors
    ///
    /// When none of them can be read.
    pub fn new() -> Result<Self, InjectError> {
        let public = trusting(TLS_SERVER_ROOT_CERTS.iter().cloned());
        Ok(Self {
            public: public.ok_or_else(|| InjectError("no public root can be read".into()))?,
        })
    }

    /// TLS with `host` over `stream`. With `authorities`, a file of certificates, only those vouch for it.
    ///
    /// # Errors
    ///
    /// See [`UpstreamError`].
    pub async fn connect(
        &self,
        stream: Metered,
        host: &HostName,
        authorities: Option<&str>,
    ) -> Result<TlsStream<Metered>, UpstreamError> {
        let config = match authorities {
            None => self.public.clone(),
            Some(path) => of_file(path).await.map_err(|error| {
                tracing::error!(path, %error, "the authorities of a host cannot be read");
                UpstreamError::Authorities
            })?,
        };
        let name = ServerName::try_from(host.as_str().to_owned()).map_err(|_| UpstreamError::Handshake)?;
        TlsConnector::from(config).connect(name, stream).await.map_err(|error| {
            tracing::info!(%host, %error, "TLS with a host fails");
            let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
            match cause {
                Some(rustls::Error::InvalidCertificate(_)) => UpstreamError::Untrusted,
                _ => UpstreamError::Handshake,
            }
        })
    }
}

async fn of_file(path: &str) -> io::Result<Arc<ClientConfig>> {
    let text = tokio::fs::read(path).await?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let certificates = certificates.map_err(|error| io::Error::other(error.to_string()))?;
    trusting(certificates).ok_or_else(|| io::Error::other("it holds no certificate of an authority"))
}

/// `None` if none of `roots` can be read.
fn trusting(roots: impl IntoIterator<Item = CertificateDer<'static>>) -> Option<Arc<ClientConfig>> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots);
    if store.is_empty() {
        return None;
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .ok()?
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = vec![HTTP_1_1.to_vec()];
    Some(Arc::new(config))
}
