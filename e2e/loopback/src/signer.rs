//! The tokens of an authorization server, and the keys to verify them by.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Map, Value, json};
use std::error::Error;
use std::time::{SystemTime, UNIX_EPOCH};

const KEY_ID: &str = "1";

/// Signs tokens in the name of an issuer.
#[derive(Debug)]
pub struct Signer {
    issuer: String,
    audience: String,
    key: Ed25519KeyPair,
}

impl Signer {
    /// A new one, with a key of its own, whose tokens are for `audience` unless a test says another.
    ///
    /// # Errors
    ///
    /// When there are no random numbers.
    pub fn new(issuer: String, audience: String) -> Result<Self, Box<dyn Error>> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|error| error.to_string())?;
        let key = Ed25519KeyPair::from_pkcs8(document.as_ref()).map_err(|error| error.to_string())?;
        Ok(Self { issuer, audience, key })
    }

    /// The issuer's identifier.
    pub fn issuer(&self) -> &str {
        &self.issuer
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
            "iss": self.issuer, "aud": self.audience, "sub": "alice", "client_id": "tests", "jti": now.to_string(),
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

    /// The key set (RFC 7517) that the issuer publishes.
    pub fn key_set(&self) -> Value {
        json!({"keys": [{
            "kty": "OKP", "crv": "Ed25519", "kid": KEY_ID, "use": "sig", "alg": "EdDSA",
            "x": BASE64_URL_SAFE_NO_PAD.encode(self.key.public_key()),
        }]})
    }

    /// The public key, as anybody can fetch it.
    pub fn public_key(&self) -> &[u8] {
        self.key.public_key().as_ref()
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
