//! From the head of a request to its principal.

use crate::attempts::Attempts;
use crate::challenge::Challenges;
use crate::clock::Now;
use crate::keys::{KeyRing, NoRandomness, PREFIX};
use crate::metadata::{Metadata, ResourceError, advertised};
use crate::token::{Tokens, TokensError};
use crate::{PeerCertificate, Reason, Rejection, Secret, certificate, presented};
use bytes::Bytes;
use http::request::Parts;
use sallyport_policy::{Authentication, Principal, PrincipalKind};
use std::path::PathBuf;

/// Why an endpoint's callers cannot be told apart as its policy says.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The endpoint's identifier.
    #[error(transparent)]
    Resource(#[from] ResourceError),
    /// Access tokens.
    #[error(transparent)]
    Tokens(#[from] TokensError),
    /// API keys.
    #[error(transparent)]
    Keys(#[from] NoRandomness),
}

/// Tells callers apart, as a policy says. One per policy: it is dropped with it, and with it the files and issuers that it
/// follows.
#[derive(Debug)]
pub struct Authenticator {
    anonymous: bool,
    keys: Option<KeyRing>,
    tokens: Option<Tokens>,
    certificates: bool,
    metadata: Option<Metadata>,
    challenges: Challenges,
}

impl Authenticator {
    /// Reads the files that `policy` names and follows them. `path` is where the endpoint is served.
    ///
    /// # Errors
    ///
    /// When the policy cannot be followed. Files that are missing or broken are no such error: nobody is admitted by
    /// them, and [`Authenticator::problems`] says so.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub fn start(policy: &Authentication, path: &str) -> Result<Self, StartError> {
        let certificates = policy.client_certificates.is_some();
        let oauth = policy.oauth.as_ref();
        let metadata = oauth
            .map(|oauth| Metadata::new(oauth, path, certificates))
            .transpose()?;
        let keys = policy
            .api_keys
            .as_ref()
            .map(|keys| KeyRing::start(PathBuf::from(&keys.file)));
        let scopes = oauth.map_or(&[][..], |oauth| &oauth.scopes_supported);
        Ok(Self {
            anonymous: policy.anonymous,
            keys: keys.transpose()?,
            tokens: oauth.map(Tokens::start).transpose()?,
            certificates,
            challenges: Challenges {
                bearer: oauth.is_some() || policy.api_keys.is_some(),
                resource_metadata: metadata.as_ref().map(|metadata| metadata.url().to_owned()),
                scopes: advertised(scopes).map(ToOwned::to_owned).collect(),
            },
            metadata,
        })
    }

    /// Who sent the request with this head over a connection with this client certificate. `attempts` are those of the
    /// sender, as far as senders can be told apart by anything but their credentials.
    ///
    /// An `Authorization` header decides alone; without one, the certificate does; without both, the caller is anonymous. A
    /// credential that does not hold is never passed over. Only where the endpoint knows no credentials at all is a header
    /// ignored, as it would be by a server without authentication.
    ///
    /// # Errors
    ///
    /// When the request is not to be let in.
    pub async fn authenticate(
        &self,
        head: &Parts,
        peer: Option<&PeerCertificate>,
        attempts: &dyn Attempts,
    ) -> Result<Principal, Rejection> {
        self.identify(head, peer, attempts)
            .await
            .map_err(|reason| self.challenges.reject(reason))
    }

    async fn identify(
        &self,
        head: &Parts,
        peer: Option<&PeerCertificate>,
        attempts: &dyn Attempts,
    ) -> Result<Principal, Reason> {
        let now = Now::read();
        let bearer = presented::bearer(head);
        if self.ignores_credentials() && !matches!(bearer, Err(Reason::CredentialInQuery)) {
            return Ok(Principal::anonymous());
        }
        let peer = peer.filter(|_| self.certificates);
        match (bearer?, peer) {
            (Some(credential), peer) => self.identify_bearer(&credential, now, peer, attempts).await,
            (None, Some(peer)) => certificate::principal(peer, now),
            (None, None) if self.anonymous => Ok(Principal::anonymous()),
            (None, None) => Err(Reason::NoCredential),
        }
    }

    const fn ignores_credentials(&self) -> bool {
        self.anonymous && self.keys.is_none() && self.tokens.is_none() && !self.certificates
    }

    async fn identify_bearer(
        &self,
        credential: &Secret,
        now: Now,
        peer: Option<&PeerCertificate>,
        attempts: &dyn Attempts,
    ) -> Result<Principal, Reason> {
        // A certificate that would not do alone proves no possession either.
        let peer = peer.filter(|peer| peer.is_trusted());
        if credential.expose().starts_with(PREFIX) {
            // Never shown to an issuer, whether or not keys are taken here.
            let keys = self.keys.as_ref().ok_or(Reason::UnsupportedCredential)?;
            return keys.authenticate(credential, now, attempts).await;
        }
        let tokens = self.tokens.as_ref().ok_or(Reason::UnsupportedCredential)?;
        tokens.authenticate(credential, now, peer, attempts).await
    }

    /// Whether what let `principal` in still holds, as far as that can be told without the credential: it is in its time, and
    /// its key or issuer is still taken. For what happens long after a request was let in.
    ///
    /// # Errors
    ///
    /// When the principal would not be let in any more.
    pub fn recheck(&self, principal: &Principal) -> Result<(), Rejection> {
        let now = Now::read();
        let holds = match principal.kind {
            PrincipalKind::Anonymous if self.anonymous => Ok(()),
            PrincipalKind::Anonymous => Err(Reason::NoCredential),
            PrincipalKind::ApiKey => match &self.keys {
                Some(keys) => keys.recheck(principal, now),
                None => Err(Reason::UnsupportedCredential),
            },
            PrincipalKind::Jwt | PrincipalKind::Opaque => match &self.tokens {
                Some(tokens) => tokens.recheck(principal, now),
                None => Err(Reason::UnsupportedCredential),
            },
            PrincipalKind::Certificate if !self.certificates => Err(Reason::UnsupportedCredential),
            PrincipalKind::Certificate => match principal.expires {
                Some(end) if now.0 > end => Err(Reason::UnusableCertificate),
                _ => Ok(()),
            },
        };
        holds.map_err(|reason| self.challenges.reject(reason))
    }

    /// The refusal of a request whose principal lacks some of `scopes`, all that the request needs (RFC 6750 section 3.1).
    pub fn insufficient_scope(&self, scopes: &[&str]) -> Rejection {
        self.challenges.insufficient_scope(scopes)
    }

    /// The refusal of a request whose user must authenticate as one of `acr_values`, or no longer ago than `max_age`
    /// seconds (RFC 9470 section 3).
    pub fn insufficient_authentication(&self, acr_values: &[&str], max_age: Option<u32>) -> Rejection {
        self.challenges.insufficient_authentication(acr_values, max_age)
    }

    /// The metadata document (RFC 9728) if `path` is one of its places and the endpoint takes access tokens. It is served
    /// to GET and HEAD without authentication, as `application/json`.
    pub fn protected_resource_metadata(&self, path: &str) -> Option<Bytes> {
        self.metadata.as_ref()?.at(path)
    }

    /// What does not work as the policy wants it: broken files, issuers out of reach. Empty when all is well.
    pub fn problems(&self) -> Vec<String> {
        self.key_problem().into_iter().chain(self.issuer_problems()).collect()
    }

    /// Of these, what is wrong with the file of API keys.
    pub fn key_problem(&self) -> Option<String> {
        let problem = self.keys.as_ref().and_then(KeyRing::problem);
        problem.map(|problem| format!("API keys: {problem}"))
    }

    /// Of these, what is wrong with issuers: at most one problem for each that the policy names.
    pub fn issuer_problems(&self) -> impl Iterator<Item = String> + '_ {
        self.tokens.iter().flat_map(Tokens::problems)
    }
}
