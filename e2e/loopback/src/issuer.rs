//! An authorization server for tests, as far as a resource server sees one: signed tokens, and the keys to verify them by.

use crate::directory::Directory;
use crate::signer::Signer;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use std::error::Error;
use std::net::Ipv4Addr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// The endpoint that tokens are issued for, unless a test says another.
const RESOURCE: &str = "https://mcp.example.com/mcp";

/// An issuer that serves its keys over HTTPS. It ends when this is dropped.
#[derive(Debug)]
pub struct Issuer {
    signer: Signer,
    directory: Directory,
    serving: JoinHandle<()>,
}

impl Issuer {
    /// A new one, with keys of its own.
    ///
    /// # Errors
    ///
    /// When there are no random numbers, no port or no folder.
    pub async fn start() -> Result<Self, Box<dyn Error>> {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        let directory = Directory::new()?;
        std::fs::write(directory.path().join("ca.pem"), own.cert.pem())?;
        let private = PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], private)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let signer = Signer::new(format!("https://localhost:{port}"), RESOURCE.to_owned())?;
        let keys = signer.key_set().to_string();
        let serving = tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(config)), keys));
        Ok(Self {
            signer,
            directory,
            serving,
        })
    }

    /// The `authentication` of a policy file: tokens of this issuer, and nobody else.
    pub fn authentication(&self) -> Value {
        let issuer = self.name();
        json!({"anonymous": false, "oauth": {
            "resource": RESOURCE,
            "issuers": [{
                "issuer": issuer,
                "verify": {"jwks": {"url": format!("{issuer}/keys")}},
                "caFile": self.directory.path().join("ca.pem"),
            }],
        }})
    }

    /// See [`Signer::token`].
    pub fn token(&self, claims: &Value) -> String {
        self.signer.token(claims)
    }

    /// See [`Signer::token_with`].
    pub fn token_with(&self, header: &Value, claims: &Value) -> String {
        self.signer.token_with(header, claims)
    }

    /// The public key, as anybody can fetch it.
    pub fn public_key(&self) -> &[u8] {
        self.signer.public_key()
    }

    /// Its identifier.
    pub fn name(&self) -> String {
        self.signer.issuer().to_owned()
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Answers whatever is asked with the keys.
async fn serve(listener: TcpListener, tls: TlsAcceptor, keys: String) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, keys) = (tls.clone(), keys.clone());
        tokio::spawn(async move {
            let Ok(mut stream) = tls.accept(stream).await else {
                return;
            };
            let mut request = vec![0; 16 * 1024];
            if stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                let length = keys.len();
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
                );
                // Who does not read it asks again.
                let _ = stream.write_all((head + &keys).as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
    }
}
