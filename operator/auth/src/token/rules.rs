//! What a token must say to be taken, once it is known to be its issuer's.

use super::strict::StrictObject;
use crate::clock::Now;
use crate::metadata::canonical;
use crate::{PeerCertificate, Reason};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sallyport_policy::authentication::{ClaimNames, Issuer, OAuth};
use sallyport_policy::{Principal, PrincipalKind};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use subtle::ConstantTimeEq as _;

/// What tokens of one issuer must say.
#[derive(Clone, Debug)]
pub struct Rules {
    issuer: String,
    audiences: Vec<String>,
    names: ClaimNames,
    not_before: Option<i64>,
    leeway: i64,
}

/// What kind of statement the claims come from; it decides which of them must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A token of the type `at+jwt`, of an issuer that keeps to RFC 9068.
    Rfc9068,
    /// A token of the type `at+jwt`, of an issuer that may leave claims out.
    Typed,
    /// A token of the type `JWT`, or of none.
    Untyped,
    /// The issuer's answer about a token (RFC 7662 section 2.2).
    Introspected,
}

/// Claims by which some issuers tell kinds of tokens apart, and the value that means an access token, in lower case.
const KINDS: [(&str, &str); 2] = [("typ", "bearer"), ("token_use", "access")];

/// Claims of ID tokens (OpenID Connect Core section 2), logout and security event tokens: those are no access tokens, unless
/// the token says that it is one.
const OTHER_TOKENS: [&str; 5] = ["nonce", "at_hash", "c_hash", "s_hash", "events"];

impl Rules {
    /// The rules for the tokens of `issuer`, one of those of `oauth`.
    pub fn new(oauth: &OAuth, issuer: &Issuer) -> Self {
        let own = std::slice::from_ref(&oauth.resource);
        let audiences = if issuer.audiences.is_empty() {
            own
        } else {
            &issuer.audiences
        };
        Self {
            issuer: issuer.issuer.clone(),
            audiences: audiences.iter().map(|audience| canonical(audience)).collect(),
            names: issuer.claims.clone(),
            not_before: oauth.not_before.max(issuer.not_before),
            leeway: i64::from(oauth.leeway_seconds),
        }
    }

    /// Whose tokens these are for.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// How far clocks may be off, in seconds.
    pub const fn leeway(&self) -> i64 {
        self.leeway
    }

    /// The caller that `claims` describe.
    ///
    /// # Errors
    ///
    /// When the token is not to be taken now, here, or from this peer.
    pub fn admit(
        &self,
        form: Form,
        StrictObject(claims): StrictObject,
        now: Now,
        peer: Option<&PeerCertificate>,
    ) -> Result<Principal, Reason> {
        self.check_issuer(form, &claims)?;
        self.check_times(form, &claims, now)?;
        self.check_audience(&claims)?;
        check_kind(form, &claims)?;
        check_possession(&claims, peer)?;
        if form == Form::Rfc9068 && text(&claims, "jti")?.is_none() {
            return Err(Reason::MalformedToken);
        }
        let subject = Self::named(&claims, &self.names.subject)?;
        let client = Self::named(&claims, &self.names.client)?;
        let complete = match form {
            Form::Rfc9068 => subject.is_some() && client.is_some(),
            Form::Typed | Form::Untyped | Form::Introspected => subject.is_some() || client.is_some(),
        };
        if !complete {
            return Err(Reason::MalformedToken);
        }
        // RFC 9068 section 5: a client that calls on nobody's behalf is its own subject.
        let alone = subject == client || claims.get("idtyp").is_some_and(|kind| kind == "app");
        Ok(Principal {
            kind: match form {
                Form::Rfc9068 | Form::Typed | Form::Untyped => PrincipalKind::Jwt,
                Form::Introspected => PrincipalKind::Opaque,
            },
            issuer: Some(self.issuer.clone()),
            client: client.or_else(|| subject.clone().filter(|_| alone)),
            subject: subject.filter(|_| !alone),
            scopes: words(find(&claims, &self.names.scope), true)?,
            roles: words(find(&claims, &self.names.roles), false)?,
            acr: text(&claims, "acr")?,
            auth_time: time(&claims, "auth_time")?,
            expires: time(&claims, "exp")?,
            claims: claims.into_iter().collect(),
            credential: None,
        })
    }

    /// Whether the token of `principal`, which was taken once, is still in its time.
    ///
    /// # Errors
    ///
    /// [`Reason::Expired`], or [`Reason::Revoked`].
    pub fn recheck(&self, principal: &Principal, now: Now) -> Result<(), Reason> {
        let claims = principal.claims.clone().into_iter().collect();
        // The form that asks for least: what had to be there was.
        self.check_times(Form::Introspected, &claims, now)
    }

    fn check_issuer(&self, form: Form, claims: &Map<String, Value>) -> Result<(), Reason> {
        match text(claims, "iss")? {
            Some(issuer) if issuer == self.issuer => Ok(()),
            None if form == Form::Introspected => Ok(()),
            None => Err(Reason::MalformedToken),
            Some(_) => Err(Reason::UnknownIssuer),
        }
    }

    fn check_times(&self, form: Form, claims: &Map<String, Value>, now: Now) -> Result<(), Reason> {
        match time(claims, "exp")? {
            Some(end) if now.0 >= end.saturating_add(self.leeway) => return Err(Reason::Expired),
            None if form != Form::Introspected => return Err(Reason::MalformedToken),
            _ => {}
        }
        let soon = now.0.saturating_add(self.leeway);
        let issued = time(claims, "iat")?;
        if time(claims, "nbf")?.max(issued).is_some_and(|from| from > soon) {
            return Err(Reason::NotYetValid);
        }
        match (issued, self.not_before) {
            (None, _) if form == Form::Rfc9068 => Err(Reason::MalformedToken),
            // Nobody knows how old it is.
            (None, Some(_)) => Err(Reason::Revoked),
            (Some(issued), Some(not_before)) if issued < not_before => Err(Reason::Revoked),
            _ => Ok(()),
        }
    }

    fn check_audience(&self, claims: &Map<String, Value>) -> Result<(), Reason> {
        let fits = |audience: &Value| {
            let audience = audience.as_str().map(canonical);
            audience.is_some_and(|audience| self.audiences.contains(&audience))
        };
        let intended = match claims.get("aud") {
            Some(Value::Array(audiences)) => audiences.iter().any(fits),
            Some(audience) => fits(audience),
            None => false,
        };
        intended.then_some(()).ok_or(Reason::WrongAudience)
    }

    fn named(claims: &Map<String, Value>, name: &str) -> Result<Option<String>, Reason> {
        match find(claims, name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
            Some(_) => Err(Reason::MalformedToken),
        }
    }
}

/// Refuses tokens that are no access tokens. The type `at+jwt` says it all.
fn check_kind(form: Form, claims: &Map<String, Value>) -> Result<(), Reason> {
    if matches!(form, Form::Rfc9068 | Form::Typed) {
        return Ok(());
    }
    let said = KINDS.iter().filter_map(|(name, access)| {
        let said = claims.get(*name)?;
        Some(said.as_str().is_some_and(|said| said.eq_ignore_ascii_case(access)))
    });
    let is_access = said
        .reduce(|all, one| all && one)
        .unwrap_or_else(|| !OTHER_TOKENS.iter().any(|name| claims.contains_key(*name)));
    is_access.then_some(()).ok_or(Reason::WrongTokenType)
}

/// Refuses a token that is bound to a key (RFC 7800) unless `peer` proves to have it (RFC 8705 section 3). Bindings other
/// than to a certificate cannot be proven here.
fn check_possession(claims: &Map<String, Value>, peer: Option<&PeerCertificate>) -> Result<(), Reason> {
    let Some(confirmation) = claims.get("cnf") else {
        return Ok(());
    };
    let expected = match confirmation {
        Value::Object(methods) if methods.len() == 1 => methods.get("x5t#S256").and_then(Value::as_str),
        _ => None,
    };
    let shown = peer.map(|peer| URL_SAFE_NO_PAD.encode(peer.thumbprint()));
    let proven = expected
        .zip(shown)
        .is_some_and(|(expected, shown)| expected.as_bytes().ct_eq(shown.as_bytes()).into());
    proven.then_some(()).ok_or(Reason::UnprovenPossession)
}

/// The claim `name`, which is a JSON pointer if it begins with a slash.
fn find<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let Some(pointer) = name.strip_prefix('/') else {
        return claims.get(name);
    };
    let mut steps = pointer
        .split('/')
        .map(|step| step.replace("~1", "/").replace("~0", "~"));
    let first = claims.get(&steps.next()?)?;
    steps.try_fold(first, |value, step| value.get(step.as_str()))
}

fn text(claims: &Map<String, Value>, name: &str) -> Result<Option<String>, Reason> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Reason::MalformedToken),
    }
}

/// A `NumericDate` (RFC 7519 section 2) in whole seconds.
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<i64>, Reason> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    let whole = value.as_i64().or_else(|| {
        // 2^53: beyond it, seconds are not told apart.
        let fraction = value
            .as_f64()
            .filter(|seconds| (0.0..9_007_199_254_740_992.0).contains(seconds))?;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it is in range, and only whole seconds count"
        )]
        Some(fraction as i64)
    });
    whole
        .filter(|seconds| *seconds >= 0)
        .map(Some)
        .ok_or(Reason::MalformedToken)
}

/// A list of words: an array of strings, or one string, which spaces divide if `divided`.
fn words(value: Option<&Value>, divided: bool) -> Result<BTreeSet<String>, Reason> {
    match value {
        None | Some(Value::Null) => Ok(BTreeSet::new()),
        Some(Value::String(text)) if divided => Ok(text.split_ascii_whitespace().map(ToOwned::to_owned).collect()),
        Some(Value::String(text)) => Ok([text.clone()].into()),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.as_str().map(ToOwned::to_owned).ok_or(Reason::MalformedToken))
            .collect(),
        Some(_) => Err(Reason::MalformedToken),
    }
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
