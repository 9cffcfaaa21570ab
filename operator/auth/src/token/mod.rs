//! Access tokens of OAuth 2.1: signed ones (RFC 9068), and those that their issuer vouches for (RFC 7662).

mod introspector;
mod jwt;
mod key_cache;
mod key_set;
mod provider;
mod rules;
mod strict;
mod verdicts;

use crate::attempts::Attempts;
use crate::clock::Now;
use crate::fetch::{AuthoritiesError, Fetcher, HttpsUrl, Proxy, ProxyError, UrlError};
use crate::{PeerCertificate, Reason, Secret};
use introspector::{Introspector, Presented};
use jwt::{Expected, Unverified};
use key_cache::KeyCache;
use rules::Rules;
use sallyport_policy::Principal;
use sallyport_policy::authentication::{Issuer, OAuth, Verification};
use sha2::{Digest as _, Sha256};
use std::path::Path;
use std::sync::Arc;

/// Why no tokens can be taken as the policy says.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// No issuer.
    #[error("no issuer: name at least one authorization server")]
    NoIssuer,
    /// An issuer twice.
    #[error("the issuer {0:?} is named twice")]
    Duplicate(String),
    /// More than one to ask.
    #[error(
        "more than one issuer is asked by introspection: a token that names no issuer would be shown to more than one; \
         use jwks for the others"
    )]
    TwoIntrospections,
    /// No algorithm.
    #[error("the issuer {0:?} has no algorithm: name one, or leave the list out")]
    NoAlgorithm(String),
    /// A bad URL.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// A bad proxy.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// TLS cannot be set up.
    #[error("issuers cannot be asked")]
    Tls(#[from] AuthoritiesError),
}

/// Verifies the access tokens of an endpoint.
#[derive(Debug)]
pub struct Tokens(Vec<TrustedIssuer>);

#[derive(Debug)]
struct TrustedIssuer {
    rules: Rules,
    fetcher: Arc<Fetcher>,
    verifier: Verifier,
}

#[derive(Debug)]
enum Verifier {
    Keys { expected: Expected, keys: KeyCache },
    Introspector(Box<Introspector>),
}

impl Tokens {
    /// Takes the tokens that `oauth` describes.
    ///
    /// # Errors
    ///
    /// See [`TokensError`].
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub fn start(oauth: &OAuth) -> Result<Self, TokensError> {
        provider::install();
        let asked = |issuer: &&Issuer| matches!(issuer.verify, Verification::Introspection(_));
        if oauth.issuers.is_empty() {
            return Err(TokensError::NoIssuer);
        }
        if oauth.issuers.iter().filter(asked).count() > 1 {
            return Err(TokensError::TwoIntrospections);
        }
        let proxy: Option<Proxy> = oauth.egress_proxy.as_deref().map(str::parse).transpose()?;
        let mut issuers: Vec<TrustedIssuer> = vec![];
        for issuer in &oauth.issuers {
            if issuers.iter().any(|other| other.rules.issuer() == issuer.issuer) {
                return Err(TokensError::Duplicate(issuer.issuer.clone()));
            }
            issuers.push(TrustedIssuer::start(oauth, issuer, proxy.clone())?);
        }
        Ok(Self(issuers))
    }

    /// Who calls with `token`.
    ///
    /// Which issuer is asked is decided by what the token says of itself; whether it is true, by the issuer.
    ///
    /// # Errors
    ///
    /// When the token is not to be taken.
    pub async fn authenticate(
        &self,
        token: &Secret,
        now: Now,
        peer: Option<&PeerCertificate>,
        attempts: &dyn Attempts,
    ) -> Result<Principal, Reason> {
        let digest: [u8; 32] = Sha256::digest(token.expose().as_bytes()).into();
        let unverified = Unverified::read(token.expose())?;
        let issuer = match &unverified {
            Some(token) => self.0.iter().find(|issuer| issuer.rules.issuer() == token.issuer),
            None => self
                .0
                .iter()
                .find(|issuer| matches!(issuer.verifier, Verifier::Introspector(_))),
        };
        let Some(TrustedIssuer { rules, verifier, .. }) = issuer else {
            return Err(unverified.map_or(Reason::MalformedToken, |_| Reason::UnknownIssuer));
        };
        let mut principal = match (verifier, unverified) {
            (Verifier::Introspector(introspector), _) => {
                let presented = Presented {
                    token,
                    digest,
                    now,
                    peer,
                };
                introspector.verify(presented, rules, attempts).await?
            }
            (Verifier::Keys { expected, keys }, Some(unverified)) => {
                let signer = unverified.signer(expected)?;
                let keys = keys.keys_with(signer.key_id, signer.algorithm).await?;
                signer.verify(token.expose(), &keys, rules, now, peer)?
            }
            (Verifier::Keys { .. }, None) => return Err(Reason::MalformedToken),
        };
        principal.credential = Some(crate::hex(&digest));
        Ok(principal)
    }

    /// Whether the token that let `principal` in is still in its time, and its issuer trusted.
    ///
    /// # Errors
    ///
    /// Why it would not let it in any more.
    pub fn recheck(&self, principal: &Principal, now: Now) -> Result<(), Reason> {
        let issuer = principal.issuer.as_deref().unwrap_or_default();
        let trusted = self.0.iter().find(|trusted| trusted.rules.issuer() == issuer);
        trusted.ok_or(Reason::UnknownIssuer)?.rules.recheck(principal, now)
    }

    /// What does not work, for each issuer.
    pub fn problems(&self) -> impl Iterator<Item = String> + '_ {
        self.0.iter().filter_map(|issuer| {
            let own = match &issuer.verifier {
                Verifier::Keys { keys, .. } => keys.problem(),
                Verifier::Introspector(introspector) => introspector.problem(),
            };
            let problem = issuer.fetcher.problem().or(own)?;
            Some(format!("issuer {}: {problem}", issuer.rules.issuer()))
        })
    }
}

impl TrustedIssuer {
    fn start(oauth: &OAuth, issuer: &Issuer, proxy: Option<Proxy>) -> Result<Self, TokensError> {
        let fetcher = Arc::new(Fetcher::start(issuer.ca_file.as_deref().map(Path::new), proxy)?);
        let verifier = match &issuer.verify {
            Verification::Jwks(jwks) => {
                if jwks.algorithms.is_empty() {
                    return Err(TokensError::NoAlgorithm(issuer.issuer.clone()));
                }
                let url: HttpsUrl = jwks.url.parse()?;
                Verifier::Keys {
                    expected: Expected {
                        algorithms: jwks.algorithms.clone(),
                        token_type: jwks.token_type,
                    },
                    keys: KeyCache::start(url, jwks, fetcher.clone()),
                }
            }
            Verification::Introspection(introspection) => {
                let url: HttpsUrl = introspection.url.parse()?;
                Verifier::Introspector(Box::new(Introspector::start(url, introspection, fetcher.clone())))
            }
        };
        Ok(Self {
            rules: Rules::new(oauth, issuer),
            fetcher,
            verifier,
        })
    }
}
