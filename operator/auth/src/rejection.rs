//! Why a request is not let in, and what its sender is told.

use crate::TooManyFailures;
use http::{HeaderValue, StatusCode};
use std::fmt;

/// Why a request is not let in. The text is for audit records and for the sender: it names no credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// No credential, and anonymous callers are not admitted.
    NoCredential,
    /// A credential in the query (RFC 6750 section 2.3 is not taken; OAuth 2.1 forbids it).
    CredentialInQuery,
    /// More than one `Authorization` header, or one that is not of the form `scheme credential`.
    MalformedAuthorization,
    /// A scheme other than `Bearer`.
    UnsupportedScheme,
    /// No method of this endpoint takes such a credential.
    UnsupportedCredential,
    /// An API key that is unknown, or whose secret is wrong.
    UnknownKey,
    /// A credential whose time is over.
    Expired,
    /// A credential whose time has not come, or that says it was issued in the future.
    NotYetValid,
    /// A token from before `notBefore`.
    Revoked,
    /// A token that is not of the form that its issuer's tokens must have.
    MalformedToken,
    /// A token whose `typ` or claims say that it is something else than an access token.
    WrongTokenType,
    /// A token of an issuer that this endpoint does not trust.
    UnknownIssuer,
    /// A token for somebody else.
    WrongAudience,
    /// A token with an algorithm that is not taken.
    UnsupportedAlgorithm,
    /// A token with a key that its issuer does not list.
    UnknownSigningKey,
    /// A token whose signature does not hold.
    BadSignature,
    /// A token that its issuer says is not active.
    Inactive,
    /// A token that is bound to a key (RFC 8705, RFC 9449) whose possession the request does not prove.
    UnprovenPossession,
    /// A client certificate without a usable name, outside its validity, or of an authority that is no longer trusted.
    UnusableCertificate,
    /// A scope is missing.
    InsufficientScope,
    /// The user must authenticate again, or better (RFC 9470).
    InsufficientAuthentication,
    /// The credential cannot be verified now: its issuer does not answer, or too many are being verified.
    Unavailable,
    /// The credential is not verified: too many of the same sender did not hold. Seconds until it may try again.
    TooManyFailures(u32),
}

impl From<TooManyFailures> for Reason {
    fn from(TooManyFailures(seconds): TooManyFailures) -> Self {
        Self::TooManyFailures(seconds)
    }
}

impl Reason {
    /// The reason as it stands in audit records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoCredential => "no credential",
            Self::CredentialInQuery => "credential in the query",
            Self::MalformedAuthorization => "malformed Authorization header",
            Self::UnsupportedScheme => "unsupported authorization scheme",
            Self::UnsupportedCredential => "unsupported kind of credential",
            Self::UnknownKey => "unknown API key",
            Self::Expired => "expired credential",
            Self::NotYetValid => "credential not yet valid",
            Self::Revoked => "token from before notBefore",
            Self::MalformedToken => "malformed token",
            Self::WrongTokenType => "not an access token",
            Self::UnknownIssuer => "unknown issuer",
            Self::WrongAudience => "token for another audience",
            Self::UnsupportedAlgorithm => "unsupported signature algorithm",
            Self::UnknownSigningKey => "unknown signing key",
            Self::BadSignature => "bad signature",
            Self::Inactive => "inactive token",
            Self::UnprovenPossession => "bound token without proof of possession",
            Self::UnusableCertificate => "unusable client certificate",
            Self::InsufficientScope => "insufficient scope",
            Self::InsufficientAuthentication => "insufficient user authentication",
            Self::Unavailable => "credential cannot be verified now",
            Self::TooManyFailures(_) => "too many failed credentials of one sender",
        }
    }

    /// The status of the answer (RFC 6750 section 3.1, RFC 9470 section 3, RFC 6585 section 4).
    pub const fn status(self) -> StatusCode {
        match self {
            Self::CredentialInQuery | Self::MalformedAuthorization => StatusCode::BAD_REQUEST,
            Self::InsufficientScope => StatusCode::FORBIDDEN,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooManyFailures(_) => StatusCode::TOO_MANY_REQUESTS,
            _ => StatusCode::UNAUTHORIZED,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A request that is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    reason: Reason,
    challenge: Option<HeaderValue>,
}

impl Rejection {
    pub(crate) const fn new(reason: Reason, challenge: Option<HeaderValue>) -> Self {
        Self { reason, challenge }
    }

    /// Why, for the audit record.
    pub const fn reason(&self) -> Reason {
        self.reason
    }

    /// Status of the answer: 400, 401, 403, 429 or 503.
    pub const fn status(&self) -> StatusCode {
        self.reason.status()
    }

    /// The answer's `WWW-Authenticate`, if it has one.
    pub const fn www_authenticate(&self) -> Option<&HeaderValue> {
        self.challenge.as_ref()
    }

    /// Seconds of the answer's `Retry-After`, if it has one.
    pub const fn retry_after(&self) -> Option<u32> {
        match self.reason {
            Reason::Unavailable => Some(5),
            Reason::TooManyFailures(seconds) => Some(seconds),
            _ => None,
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(formatter)
    }
}

impl std::error::Error for Rejection {}
