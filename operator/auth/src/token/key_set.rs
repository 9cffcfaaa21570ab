//! An issuer's keys (RFC 7517), as far as tokens may be verified with them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use sallyport_policy::authentication::Algorithm;
use serde::Deserialize;
use serde_json::Value;

/// Keys of one set at most.
const MAX_KEYS: usize = 64;

/// The keys of one issuer.
#[derive(Debug, Default)]
pub struct KeySet(Vec<SigningKey>);

/// A public key with the one algorithm that it is used with.
#[derive(Debug)]
struct SigningKey {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// Why a document is no usable key set.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// Not a key set.
    #[error("the document is no JSON Web Key Set")]
    Json(#[source] serde_json::Error),
    /// Too large.
    #[error("the key set has more than 64 keys")]
    TooMany,
    /// No key that may be used.
    #[error("the key set has no public signing key for RS256 (2048 to 8192 bits), ES256 or EdDSA (Ed25519)")]
    Empty,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

/// The members that matter (RFC 7517 section 4, RFC 7518 section 6, RFC 8037).
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    d: Option<String>,
}

impl KeySet {
    /// Reads a key set. Keys that may not be used are left out: symmetric ones, those for encryption, those whose private
    /// part is shown, those of other algorithms.
    ///
    /// # Errors
    ///
    /// See [`KeySetError`].
    pub fn parse(document: &[u8]) -> Result<Self, KeySetError> {
        let document: Document = serde_json::from_slice(document).map_err(KeySetError::Json)?;
        if document.keys.len() > MAX_KEYS {
            return Err(KeySetError::TooMany);
        }
        let usable = |value| serde_json::from_value::<Jwk>(value).ok().and_then(signing_key);
        let keys: Vec<_> = document.keys.into_iter().filter_map(usable).collect();
        if keys.is_empty() {
            return Err(KeySetError::Empty);
        }
        Ok(Self(keys))
    }

    /// The keys that a token with this `kid` and `alg` may be signed by. A token without `kid` fits only where there is
    /// no choice.
    pub fn candidates(&self, id: Option<&str>, algorithm: Algorithm) -> Vec<&DecodingKey> {
        let of_algorithm = self.0.iter().filter(|key| key.algorithm == algorithm);
        let named = of_algorithm.filter(|key| id.is_none() || key.id.as_deref() == id);
        let keys: Vec<_> = named.map(|key| &key.key).collect();
        if id.is_none() && keys.len() > 1 { vec![] } else { keys }
    }
}

fn signing_key(jwk: Jwk) -> Option<SigningKey> {
    let for_signatures = jwk.purpose.as_deref().is_none_or(|purpose| purpose == "sig")
        && jwk
            .key_ops
            .as_ref()
            .is_none_or(|operations| operations.iter().any(|one| one == "verify"))
        && jwk.d.is_none();
    if !for_signatures {
        return None;
    }
    let decode = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_deref()?).ok();
    let (algorithm, key) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) => {
            let (modulus, exponent) = (decode(&jwk.n)?, decode(&jwk.e)?);
            let modulus = modulus.strip_prefix(&[0]).unwrap_or(&modulus);
            if !(256..=1024).contains(&modulus.len()) {
                return None;
            }
            (
                Algorithm::RS256,
                DecodingKey::from_rsa_raw_components(modulus, &exponent),
            )
        }
        ("EC", Some("P-256")) => {
            let (x, y) = (decode(&jwk.x)?, decode(&jwk.y)?);
            if x.len() != 32 || y.len() != 32 {
                return None;
            }
            let point = [&[4][..], &x, &y].concat();
            (Algorithm::ES256, DecodingKey::from_ec_der(&point))
        }
        ("OKP", Some("Ed25519")) => {
            let x = decode(&jwk.x).filter(|x| x.len() == 32)?;
            (Algorithm::EdDSA, DecodingKey::from_ed_der(&x))
        }
        _ => return None,
    };
    // RFC 9864 names EdDSA with Ed25519 so.
    let named = |name: &str| name == algorithm.as_str() || (algorithm == Algorithm::EdDSA && name == "Ed25519");
    jwk.alg.as_deref().is_none_or(named).then_some(SigningKey {
        id: jwk.kid,
        algorithm,
        key,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(keys: &Value) -> Result<KeySet, KeySetError> {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    fn ed(extra: &Value) -> Value {
        let mut key = json!({"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": URL_SAFE_NO_PAD.encode([7; 32])});
        for (name, value) in extra.as_object().unwrap() {
            key[name] = value.clone();
        }
        key
    }

    fn rsa(bytes: usize) -> Value {
        json!({"kty": "RSA", "kid": "a", "n": URL_SAFE_NO_PAD.encode(vec![0xff; bytes]), "e": "AQAB"})
    }

    #[test]
    fn keys_that_may_not_verify_are_left_out() {
        for key in [
            json!({"kty": "oct", "kid": "a", "k": "c2VjcmV0", "alg": "HS256"}),
            ed(&json!({"use": "enc"})),
            ed(&json!({"key_ops": ["sign"]})),
            ed(&json!({"alg": "HS256"})),
            ed(&json!({"alg": "none"})),
            ed(&json!({"d": "AAAA"})),
            ed(&json!({"x": "AAAA"})),
            ed(&json!({"crv": "Ed448"})),
            ed(&json!({"crv": "X25519"})),
            rsa(128),
            rsa(2048),
            json!({"kty": "EC", "crv": "P-384", "x": "AAAA", "y": "AAAA"}),
            json!({"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"}),
            json!("a"),
        ] {
            assert!(matches!(set(&json!([key])), Err(KeySetError::Empty)), "{key}");
            let kept = set(&json!([key, ed(&json!({"kid": "b"}))])).unwrap();
            assert!(kept.candidates(Some("a"), Algorithm::EdDSA).is_empty());
            assert_eq!(kept.candidates(Some("b"), Algorithm::EdDSA).len(), 1);
        }
    }

    #[test]
    fn keys_that_say_what_they_are_for_are_taken() {
        for key in [
            ed(&json!({})),
            ed(&json!({"use": "sig", "alg": "EdDSA"})),
            ed(&json!({"alg": "Ed25519", "key_ops": ["verify"]})),
        ] {
            assert_eq!(
                set(&json!([key]))
                    .unwrap()
                    .candidates(Some("a"), Algorithm::EdDSA)
                    .len(),
                1,
                "{key}"
            );
        }
        assert_eq!(
            set(&json!([rsa(256)]))
                .unwrap()
                .candidates(Some("a"), Algorithm::RS256)
                .len(),
            1
        );
    }

    #[test]
    fn a_key_is_found_by_its_exact_id_and_its_own_algorithm_only() {
        let keys = set(&json!([ed(&json!({})), ed(&json!({"kid": "b"}))])).unwrap();
        assert_eq!(keys.candidates(Some("a"), Algorithm::EdDSA).len(), 1);
        assert!(keys.candidates(Some("a"), Algorithm::RS256).is_empty());
        for id in ["", "A", "a ", "../a", "a' OR '1'='1", "a\0"] {
            assert!(keys.candidates(Some(id), Algorithm::EdDSA).is_empty(), "{id}");
        }
        assert!(keys.candidates(None, Algorithm::EdDSA).is_empty(), "there is a choice");
        assert_eq!(
            set(&json!([ed(&json!({}))]))
                .unwrap()
                .candidates(None, Algorithm::EdDSA)
                .len(),
            1
        );
    }

    #[test]
    fn what_is_no_key_set_or_too_many_is_refused() {
        assert!(matches!(KeySet::parse(b"<html>"), Err(KeySetError::Json(_))));
        assert!(matches!(KeySet::parse(b"{}"), Err(KeySetError::Json(_))));
        let many = vec![ed(&json!({})); MAX_KEYS + 1];
        assert!(matches!(set(&json!(many)), Err(KeySetError::TooMany)));
    }
}
