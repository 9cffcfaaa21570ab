//! An authorization server for tests, as far as a resource server sees one: signed tokens, and the keys to verify them by.

use crate::directory::Directory;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Map, Value, json};
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// The endpoint that tokens are issued for, unless a test says another.
const RESOURCE: &str = "https://mcp.example.com/mcp";

const KEY_ID: &str = "1";

/// An issuer that serves its keys over HTTPS. It ends when this is dropped.
#[derive(Debug)]
pub struct Issuer {
    address: SocketAddr,
    key: Ed25519KeyPair,
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
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|error| error.to_string())?;
        let key = Ed25519KeyPair::from_pkcs8(document.as_ref()).map_err(|error| error.to_string())?;
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
        let address = listener.local_addr()?;
        let keys = json!({"keys": [{
            "kty": "OKP", "crv": "Ed25519", "kid": KEY_ID, "use": "sig", "alg": "EdDSA",
            "x": BASE64_URL_SAFE_NO_PAD.encode(key.public_key()),
        }]});
        let serving = tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(config)), keys.to_string()));
        Ok(Self {
            address,
            key,
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

    /// A good token for ten minutes (RFC 9068), with `claims` added or changed; those that are null are left out.
    pub fn token(&self, claims: &Value) -> String {
        self.token_with(&json!({}), claims)
    }

    /// The same, with `header` added to its header or changed.
    pub fn token_with(&self, header: &Value, claims: &Value) -> String {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let mut payload = json!({
            "iss": self.name(), "aud": RESOURCE, "sub": "alice", "client_id": "tests", "jti": now.to_string(),
            "iat": now, "exp": now + 600, "auth_time": now,
        });
        change(&mut payload, claims);
        let mut head = json!({"typ": "at+jwt", "alg": "EdDSA", "kid": KEY_ID});
        change(&mut head, header);
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&head), part(&payload));
        let signature = BASE64_URL_SAFE_NO_PAD.encode(self.key.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    /// The public key, as anybody can fetch it.
    pub fn public_key(&self) -> &[u8] {
        self.key.public_key().as_ref()
    }

    /// Its identifier.
    pub fn name(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }
}

/// Sets the members of `changes` in `object`, and removes those that are null.
fn change(object: &mut Value, changes: &Value) {
    for (name, value) in changes.as_object().unwrap_or(&Map::new()) {
        object[name] = value.clone();
    }
    if let Some(object) = object.as_object_mut() {
        object.retain(|_, value| !value.is_null());
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
