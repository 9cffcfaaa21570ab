//! Signed tokens (RFC 7515, RFC 7519, RFC 9068).

use super::key_set::KeySet;
use super::rules::{Form, Rules};
use super::strict::StrictObject;
use crate::clock::Now;
use crate::{PeerCertificate, Reason};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{DecodingKey, Validation};
use sallyport_policy::Principal;
use sallyport_policy::authentication::{Algorithm, TokenType};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Longest `kid` in bytes.
const MAX_KEY_ID: usize = 256;

/// Header parameters that change what a token means (RFC 7515 section 4.1.11, RFC 7797, RFC 7516), or that bring a key along.
/// Other ways to name a key (`jku`, `x5u`, `x5c`, `x5t`) are read by nobody.
const REFUSED_PARAMETERS: [&str; 5] = ["crit", "b64", "zip", "enc", "jwk"];

/// What a token says of itself. Nothing of it is true before [`Unverified::verify`].
#[derive(Debug)]
pub struct Unverified {
    header: Map<String, Value>,
    /// Whose token it says that it is.
    pub issuer: String,
}

/// What a token must be for its issuer.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Algorithms that are taken.
    pub algorithms: Vec<Algorithm>,
    /// What `typ` must say.
    pub token_type: TokenType,
}

/// Which key a token says it is signed by.
#[derive(Debug)]
pub struct Signer<'a> {
    /// Its id.
    pub key_id: Option<&'a str>,
    /// Its algorithm, one of those that are taken.
    pub algorithm: Algorithm,
    form: Form,
}

impl Unverified {
    /// Reads `token`; `None` if it has not the form of a signed token.
    ///
    /// # Errors
    ///
    /// [`Reason::MalformedToken`] if it has the form, and its parts are ambiguous or incomplete.
    pub fn read(token: &str) -> Result<Option<Self>, Reason> {
        let parts: Vec<&str> = token.split('.').collect();
        let [header, claims, _] = parts.as_slice() else {
            return Ok(None);
        };
        if decode::<Map<String, Value>>(header).is_none() {
            return Ok(None);
        }
        let StrictObject(header) = decode(header).ok_or(Reason::MalformedToken)?;
        let StrictObject(claims) = decode(claims).ok_or(Reason::MalformedToken)?;
        let issuer = claims
            .get("iss")
            .and_then(Value::as_str)
            .ok_or(Reason::MalformedToken)?;
        Ok(Some(Self {
            header,
            issuer: issuer.to_owned(),
        }))
    }

    /// By whom the token says it is signed.
    ///
    /// # Errors
    ///
    /// When the header says something that is not taken.
    pub fn signer(&self, expected: &Expected) -> Result<Signer<'_>, Reason> {
        if REFUSED_PARAMETERS.iter().any(|name| self.header.contains_key(*name)) {
            return Err(Reason::MalformedToken);
        }
        let named = self
            .header
            .get("alg")
            .and_then(Value::as_str)
            .ok_or(Reason::MalformedToken)?;
        let algorithm = expected.algorithms.iter().find(|algorithm| algorithm.as_str() == named);
        let key_id = match self.header.get("kid") {
            None => None,
            Some(Value::String(id)) if id.len() <= MAX_KEY_ID => Some(id.as_str()),
            Some(_) => return Err(Reason::MalformedToken),
        };
        Ok(Signer {
            key_id,
            algorithm: *algorithm.ok_or(Reason::UnsupportedAlgorithm)?,
            form: self.form(expected.token_type)?,
        })
    }

    /// RFC 8725 section 3.11: the type tells tokens of one issuer apart. Media types have no case, and lose `application/`.
    fn form(&self, expected: TokenType) -> Result<Form, Reason> {
        let named = match self.header.get("typ") {
            None => None,
            Some(Value::String(name)) => Some(name.to_ascii_lowercase()),
            Some(_) => return Err(Reason::MalformedToken),
        };
        let named = named
            .as_deref()
            .map(|name| name.strip_prefix("application/").unwrap_or(name));
        match (named, expected) {
            (Some("at+jwt"), TokenType::AtJwt) => Ok(Form::Rfc9068),
            (Some("at+jwt"), TokenType::Jwt) => Ok(Form::Typed),
            (None | Some("jwt"), TokenType::Jwt) => Ok(Form::Untyped),
            _ => Err(Reason::WrongTokenType),
        }
    }
}

impl Signer<'_> {
    /// Who calls with `token`, which must be the one that this was read from: signed by one of `keys`, and what `rules` want.
    ///
    /// # Errors
    ///
    /// When it is not.
    pub fn verify(
        &self,
        token: &str,
        keys: &KeySet,
        rules: &Rules,
        now: Now,
        peer: Option<&PeerCertificate>,
    ) -> Result<Principal, Reason> {
        let mut claims = Err(Reason::UnknownSigningKey);
        for key in keys.candidates(self.key_id, self.algorithm) {
            claims = self.verified_claims(token, key, rules);
            if claims != Err(Reason::BadSignature) {
                break;
            }
        }
        rules.admit(self.form, claims?, now, peer)
    }

    fn verified_claims(&self, token: &str, key: &DecodingKey, rules: &Rules) -> Result<StrictObject, Reason> {
        let mut validation = Validation::new(match self.algorithm {
            Algorithm::RS256 => jsonwebtoken::Algorithm::RS256,
            Algorithm::ES256 => jsonwebtoken::Algorithm::ES256,
            Algorithm::EdDSA => jsonwebtoken::Algorithm::EdDSA,
        });
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.set_issuer(&[rules.issuer()]);
        validation.validate_nbf = true;
        validation.leeway = rules.leeway().unsigned_abs();
        // `Rules` do, and know that two spellings are one audience.
        validation.validate_aud = false;
        jsonwebtoken::decode::<StrictObject>(token, key, &validation)
            .map(|token| token.claims)
            .map_err(|error| match error.kind() {
                ErrorKind::InvalidSignature => Reason::BadSignature,
                ErrorKind::InvalidAlgorithm => Reason::UnsupportedAlgorithm,
                ErrorKind::ExpiredSignature => Reason::Expired,
                ErrorKind::ImmatureSignature => Reason::NotYetValid,
                ErrorKind::InvalidIssuer => Reason::UnknownIssuer,
                _ => Reason::MalformedToken,
            })
    }
}

fn decode<T: DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}
