//! The gateway's own certificate for a host, which the server of the calling pod takes for the host's.

use super::{HTTP_1_1, InjectError};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring::{default_provider, sign};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use sallyport_policy::egress::HostName;
use sallyport_policy::signer::CERTIFICATES_PATH;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::net::TcpStream;

/// Bytes of a certificate at most.
const LONGEST: usize = 16 * 1024;

/// The gateway's key for all hosts and pods.
pub struct Key {
    public: Bytes,
    private: Arc<dyn SigningKey>,
}

impl Key {
    /// A new key.
    ///
    /// # Errors
    ///
    /// When there is no randomness.
    pub fn generate() -> Result<Self, InjectError> {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let failed = |error: &dyn std::fmt::Display| InjectError(error.to_string().into());
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).map_err(|error| failed(&error))?;
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).map_err(|error| failed(&error))?;
        let private = PrivatePkcs8KeyDer::from(pkcs8.as_ref().to_vec());
        Ok(Self {
            public: Bytes::copy_from_slice(pair.public_key().as_ref()),
            private: sign::any_ecdsa_type(&private.into()).map_err(|error| failed(&error))?,
        })
    }

    /// TLS as `host`, certified by the signer on `port` of the pod `peer`. `None` if that does not certify it.
    ///
    /// It is asked for every connection: an address may be another pod's by the next, which trusts another authority.
    pub async fn certified(&self, peer: IpAddr, port: u16, host: &HostName) -> Option<Arc<ServerConfig>> {
        let certificate = match self.certificate(peer, port, host).await {
            Ok(certificate) => CertificateDer::from(certificate),
            Err(error) => {
                tracing::warn!(%host, %peer, %error, "the signer of the calling pod certifies nothing");
                return None;
            }
        };
        let key = CertifiedKey::new(vec![certificate], self.private.clone());
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .ok()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        // Each connection has a configuration of its own, so there is nothing to come back to.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Some(Arc::new(config))
    }

    async fn certificate(
        &self,
        peer: IpAddr,
        port: u16,
        host: &HostName,
    ) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
        let stream = TcpStream::connect((peer.to_canonical(), port)).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let request = Request::post(format!("{CERTIFICATES_PATH}{host}"))
            .header(header::HOST, "signer")
            .body(Full::new(self.public.clone()))?;
        let exchange = async move {
            let response = sender.send_request(request).await?;
            match response.status() {
                // The server in that pod may have put itself in the signer's place: what it says is bounded.
                StatusCode::OK => Ok(Limited::new(response, LONGEST).collect().await?.to_bytes().to_vec()),
                status => Err(format!("it answers {status}").into()),
            }
        };
        tokio::join!(exchange, connection).0
    }
}
