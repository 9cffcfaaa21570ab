//! Credentials that the gateway adds to requests, so that the server never holds them.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The longest name and prefix of a header that carries a credential.
const LONGEST: usize = 64;

/// Headers that say where a request goes, how it is framed or what becomes of its connection.
const FRAMING: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// What the gateway adds to every request to a host, inside TLS that it ends itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Injection {
    /// The header. Whatever the server sends under this name is removed first.
    pub header: CredentialHeader,
    /// What stands before the credential in the header's value.
    pub prefix: CredentialPrefix,
    /// The file that holds the credential, in the gateway's container. It is read for every request.
    pub file: String,
    /// The file with the certificates (PEM) that vouch for the host. Absent: the public certification authorities do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorities: Option<String>,
}

/// Name of a header that may carry a credential: a token of RFC 9110 in lower case, and none of those that frame a
/// request or lead it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct CredentialHeader(String);

/// What stands before a credential, as in `Bearer `: printable ASCII, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct CredentialPrefix(String);

/// Why a header cannot carry a credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InjectionError {
    /// Not a header's name.
    #[error("{0:?} is not the name of a header: write letters, digits and hyphens, at most 64, as in Authorization")]
    Header(String),
    /// A header that is not the user's to set.
    #[error("the header {0} frames a request or leads it, and cannot carry a credential")]
    Framing(String),
    /// Not a header's value.
    #[error("{0:?} cannot stand in a header: write at most 64 printable ASCII characters, as in \"Bearer \"")]
    Prefix(String),
}

impl CredentialHeader {
    /// The name in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CredentialHeader {
    type Err = InjectionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = text.to_ascii_lowercase();
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if name.is_empty() || name.len() > LONGEST || !name.bytes().all(valid) {
            return Err(InjectionError::Header(text.chars().take(LONGEST).collect()));
        }
        if FRAMING.contains(&name.as_str()) {
            return Err(InjectionError::Framing(name));
        }
        Ok(Self(name))
    }
}

impl CredentialPrefix {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CredentialPrefix {
    type Err = InjectionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > LONGEST || !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Err(InjectionError::Prefix(text.chars().take(LONGEST).collect()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for CredentialHeader {
    type Error = InjectionError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<CredentialHeader> for String {
    fn from(header: CredentialHeader) -> Self {
        header.0
    }
}

impl fmt::Display for CredentialHeader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl TryFrom<String> for CredentialPrefix {
    type Error = InjectionError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<CredentialPrefix> for String {
    fn from(prefix: CredentialPrefix) -> Self {
        prefix.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    #[test]
    fn a_header_is_known_by_its_name_in_lower_case() {
        let header: CredentialHeader = "X-Api-Key".parse().unwrap();
        assert_eq!(header.as_str(), "x-api-key");
        assert_eq!(header, "x-API-key".parse().unwrap());
    }

    #[test]
    fn a_header_that_frames_a_request_or_is_none_carries_no_credential() {
        for name in [
            "Host",
            "content-length",
            "Transfer-Encoding",
            "Connection",
            "Proxy-Authorization",
        ] {
            let error = name.parse::<CredentialHeader>();
            assert_eq!(error, Err(InjectionError::Framing(name.to_ascii_lowercase())));
        }
        for name in ["", "a b", "a:b", "a\r\nb", "ä", "x_y", &"a".repeat(65)] {
            assert!(
                matches!(name.parse::<CredentialHeader>(), Err(InjectionError::Header(_))),
                "{name:?}"
            );
        }
    }

    #[test]
    fn a_prefix_cannot_end_a_header() {
        for text in ["Bearer\r\nx: ", "\n", "\0", "ä", &"a".repeat(65)] {
            assert!(text.parse::<CredentialPrefix>().is_err(), "{text:?}");
        }
        for text in ["", "Bearer ", "token "] {
            assert_eq!(text.parse::<CredentialPrefix>().unwrap().as_str(), text);
        }
    }
}
