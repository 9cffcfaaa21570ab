//! Asking an issuer about a token (RFC 7662).

use super::rules::{Form, Rules};
use super::strict::StrictObject;
use super::verdicts::{Verdict, Verdicts};
use crate::attempts::{Attempts, Work};
use crate::clock::Now;
use crate::fetch::{FetchError, Fetcher, HttpsUrl};
use crate::{PeerCertificate, Reason, Secret};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, Request};
use http_body_util::Full;
use sallyport_core::follow::Followed;
use sallyport_policy::Principal;
use sallyport_policy::authentication::Introspection;
use serde_json::Value;
use std::fmt;
use std::path::PathBuf;
use std::str::Utf8Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use zeroize::{Zeroize as _, Zeroizing};

/// Questions to an issuer at a time, and how long one may wait for its turn.
const QUESTIONS: usize = 32;
const TURN_WAIT: Duration = Duration::from_secs(2);

/// How long "no" is remembered: long enough to blunt a flood, too short to matter to who was just let in.
const NO_HOLDS: Duration = Duration::from_secs(2);

/// Longest time that "yes" may be remembered.
const MAX_YES: Duration = Duration::from_mins(5);

/// Asks one issuer.
pub struct Introspector {
    url: HttpsUrl,
    client_id: String,
    secret: Followed<Secret>,
    fetcher: Arc<Fetcher>,
    yes_holds: Duration,
    verdicts: Mutex<Verdicts>,
    turns: Semaphore,
    problem: Mutex<Option<String>>,
}

/// A token as a request presents it.
#[derive(Clone, Copy)]
pub struct Presented<'a> {
    /// The token.
    pub token: &'a Secret,
    /// Its SHA-256.
    pub digest: [u8; 32],
    /// When.
    pub now: Now,
    /// Over which connection.
    pub peer: Option<&'a PeerCertificate>,
}

/// The client's secret cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ClientSecretError {
    /// Not text.
    #[error("the client secret is not text")]
    Text(#[source] Utf8Error),
    /// Empty.
    #[error("the client secret is empty")]
    Empty,
}

#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("the client id or secret cannot be sent")]
    Credentials(#[source] http::header::InvalidHeaderValue),
    #[error("the client secret file is not usable")]
    NoSecret,
    // Without its cause, which may show a part of the answer.
    #[error("the answer is no JSON object with a boolean \"active\"")]
    Form,
}

impl Introspector {
    /// Asks `url`, which is that of `policy`.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub fn start(url: HttpsUrl, policy: &Introspection, fetcher: Arc<Fetcher>) -> Self {
        let file = vec![PathBuf::from(&policy.client_secret_file)];
        let secret = Followed::start_or(Secret::new(""), file, |contents| {
            let content = contents.first().map_or(&[][..], Vec::as_slice);
            let secret = std::str::from_utf8(content)
                .map_err(ClientSecretError::Text)?
                .trim_end();
            if secret.is_empty() {
                return Err(ClientSecretError::Empty);
            }
            Ok(Secret::new(secret))
        });
        Self {
            url,
            client_id: policy.client_id.clone(),
            secret,
            fetcher,
            yes_holds: Duration::from_secs(u64::from(policy.cache_seconds)).min(MAX_YES),
            verdicts: Mutex::default(),
            turns: Semaphore::new(QUESTIONS),
            problem: Mutex::default(),
        }
    }

    /// What does not work: the secret's file, or the last question.
    pub fn problem(&self) -> Option<String> {
        let last = || self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.secret.problem().or_else(last)
    }

    /// Who calls with this token.
    ///
    /// # Errors
    ///
    /// When the issuer says that the token is not active, or it is not what `rules` want, or the issuer does not answer, or
    /// is not asked for so many `attempts`.
    pub async fn verify(
        &self,
        presented: Presented<'_>,
        rules: &Rules,
        attempts: &dyn Attempts,
    ) -> Result<Principal, Reason> {
        // Every time: what was taken a moment ago may have expired, or come from another peer.
        let judge = |verdict| match verdict {
            Verdict::No => Err(Reason::Inactive),
            Verdict::Yes(claims) => rules.admit(Form::Introspected, claims, presented.now, presented.peer),
        };
        let known = self.verdicts().get(&presented.digest);
        if let Some(verdict) = known {
            return judge(verdict);
        }
        attempts.begin(Work::Question)?;
        let verdict = self.fresh_verdict(presented.token, presented.digest).await;
        let caller = verdict.and_then(judge);
        if matches!(caller, Ok(_) | Err(Reason::Unavailable)) {
            attempts.take_back(Work::Question);
        }
        caller
    }

    fn verdicts(&self) -> MutexGuard<'_, Verdicts> {
        self.verdicts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fresh_verdict(&self, token: &Secret, digest: [u8; 32]) -> Result<Verdict, Reason> {
        let turn = tokio::time::timeout(TURN_WAIT, self.turns.acquire()).await;
        let _turn = turn
            .map_err(|_| Reason::Unavailable)?
            .map_err(|_| Reason::Unavailable)?;
        let asked = self.ask(token).await;
        let problem = asked.as_ref().err().map(|error| crate::problem::text(error));
        if let Some(problem) = &problem {
            tracing::warn!("an issuer cannot be asked about a token: {problem}");
        }
        *self.problem.lock().unwrap_or_else(PoisonError::into_inner) = problem;
        let verdict = asked.map_err(|_| Reason::Unavailable)?;
        let holds = match verdict {
            Verdict::Yes(_) => self.yes_holds,
            Verdict::No => NO_HOLDS,
        };
        self.verdicts().put(digest, verdict.clone(), holds);
        Ok(verdict)
    }

    async fn ask(&self, token: &Secret) -> Result<Verdict, AskError> {
        let body = Zeroizing::new(format!(
            "token={}&token_type_hint=access_token",
            *form_encoded(token.expose())
        ));
        let request = Request::builder()
            .method(Method::POST)
            .header(AUTHORIZATION, self.client_credentials()?)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
            .map_err(FetchError::from)?;
        let answer = self.fetcher.ask(&self.url, request).await?;
        let claims: StrictObject = serde_json::from_slice(&answer).map_err(|_| AskError::Form)?;
        match claims.0.get("active") {
            // RFC 6749 section 7.1: a token of a type that is not understood must not be used.
            Some(Value::Bool(true)) if is_bearer(&claims) => Ok(Verdict::Yes(claims)),
            Some(Value::Bool(_)) => Ok(Verdict::No),
            _ => Err(AskError::Form),
        }
    }

    /// RFC 6749 section 2.3.1.
    fn client_credentials(&self) -> Result<HeaderValue, AskError> {
        let secret = self.secret.get();
        if secret.expose().is_empty() {
            return Err(AskError::NoSecret);
        }
        let pair = Zeroizing::new(format!(
            "{}:{}",
            *form_encoded(&self.client_id),
            *form_encoded(secret.expose())
        ));
        let mut text = format!("Basic {}", STANDARD.encode(pair.as_bytes()));
        let value = HeaderValue::try_from(text.as_str()).map_err(AskError::Credentials);
        text.zeroize();
        value.map(|mut value| {
            value.set_sensitive(true);
            value
        })
    }
}

impl fmt::Debug for Introspector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Introspector")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

fn is_bearer(claims: &StrictObject) -> bool {
    match claims.0.get("token_type") {
        None => true,
        // Some issuers name the kind of token here instead.
        Some(Value::String(kind)) => ["bearer", "access_token"].contains(&kind.to_ascii_lowercase().as_str()),
        Some(_) => false,
    }
}

/// `application/x-www-form-urlencoded`, with nothing but letters, digits and `-._~` left as it is.
fn form_encoded(text: &str) -> Zeroizing<String> {
    // Its final size, so that no copy stays behind when it grows.
    let mut encoded = Zeroizing::new(String::with_capacity(text.len() * 3));
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => {
                encoded.push('%');
                encoded.extend([byte >> 4, byte & 15].map(|half| char::from(b"0123456789ABCDEF"[usize::from(half)])));
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_token_adds_a_parameter() {
        assert_eq!(*form_encoded("a&active=true#ü %"), "a%26active%3Dtrue%23%C3%BC%20%25");
    }
}
