//! Who calls: what authentication found out, and all that later decisions know of the caller.

use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// How a caller proved who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PrincipalKind {
    /// Not at all; the endpoint admits callers without a credential.
    Anonymous,
    /// An API key of the endpoint's key file.
    ApiKey,
    /// A signed access token (RFC 9068).
    Jwt,
    /// An access token that its issuer vouched for (RFC 7662).
    Opaque,
    /// A client certificate of a certificate authority that the endpoint trusts.
    Certificate,
}

impl PrincipalKind {
    /// The kind as it stands in audit records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::ApiKey => "api-key",
            Self::Jwt => "jwt",
            Self::Opaque => "opaque",
            Self::Certificate => "certificate",
        }
    }
}

/// A caller that authentication let in.
///
/// Holds no credential: it may be logged, and nobody can call with what it says.
#[derive(Clone, Debug, PartialEq)]
pub struct Principal {
    /// How the caller proved who it is.
    pub kind: PrincipalKind,
    /// Who vouches for the subject: the token's `iss`, or the distinguished name of the certificate's issuer. `None` where
    /// the endpoint itself does.
    pub issuer: Option<String>,
    /// The user or workload: the token's `sub`, the key's subject, the certificate's alternative name. `None` for
    /// anonymous callers, and for a client that calls on nobody's behalf (client credentials): a rule that asks for
    /// a subject never fits those.
    pub subject: Option<String>,
    /// The software that calls: the token's `client_id`, the key's client.
    pub client: Option<String>,
    /// Granted scopes, as the credential lists them; implied scopes are not added here.
    pub scopes: BTreeSet<String>,
    /// Roles of the caller.
    pub roles: BTreeSet<String>,
    /// All claims of the token, or `san` with the names of the certificate.
    pub claims: BTreeMap<String, Value>,
    /// How the user was authenticated (`acr`, RFC 9470).
    pub acr: Option<String>,
    /// When the user was authenticated (`auth_time`), in seconds since the Unix epoch.
    pub auth_time: Option<i64>,
    /// When the credential ends, in seconds since the Unix epoch.
    pub expires: Option<i64>,
    /// Which credential it was, for the audit record: the key's id, or a SHA-256 of the token or the certificate in
    /// hexadecimal. Nobody can call with it.
    pub credential: Option<String>,
}

impl Principal {
    /// A caller without a credential.
    pub fn anonymous() -> Self {
        Self {
            kind: PrincipalKind::Anonymous,
            issuer: None,
            subject: None,
            client: None,
            scopes: BTreeSet::new(),
            roles: BTreeSet::new(),
            claims: BTreeMap::new(),
            acr: None,
            auth_time: None,
            expires: None,
            credential: None,
        }
    }

    /// Whether a client calls on nobody's behalf, as with OAuth's client credentials grant.
    pub const fn is_client_alone(&self) -> bool {
        self.subject.is_none() && self.client.is_some()
    }

    /// What sessions, tasks and sealed states of this caller are bound to: SHA-256 over kind, issuer, subject and client,
    /// each with its length, so that no two callers share one. The same for each of a caller's tokens.
    pub fn binding(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"sallyport principal 1\0");
        for part in [
            Some(self.kind.as_str()),
            self.issuer.as_deref(),
            self.subject.as_deref(),
            self.client.as_deref(),
        ] {
            match part {
                None => hash.update([0]),
                Some(text) => {
                    hash.update([1]);
                    // usize is at most 64 bits wide on every target.
                    hash.update((text.len() as u64).to_be_bytes());
                    hash.update(text.as_bytes());
                }
            }
        }
        hash.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn caller(kind: PrincipalKind, issuer: Option<&str>, subject: Option<&str>, client: Option<&str>) -> Principal {
        Principal {
            kind,
            issuer: issuer.map(Into::into),
            subject: subject.map(Into::into),
            client: client.map(Into::into),
            ..Principal::anonymous()
        }
    }

    #[test]
    fn text_that_moves_from_one_part_to_the_next_changes_the_binding() {
        let kind = PrincipalKind::Jwt;
        let bindings: BTreeSet<_> = [
            caller(kind, Some("ab"), Some("c"), None),
            caller(kind, Some("a"), Some("bc"), None),
            caller(kind, Some("a"), None, Some("bc")),
            caller(kind, Some("a"), Some(""), Some("bc")),
            caller(PrincipalKind::Opaque, Some("a"), Some("bc"), None),
            Principal::anonymous(),
        ]
        .iter()
        .map(Principal::binding)
        .collect();
        assert_eq!(bindings.len(), 6);
    }

    #[test]
    fn a_new_token_of_the_same_caller_has_the_same_binding() {
        let before = caller(PrincipalKind::Jwt, Some("i"), Some("s"), Some("c"));
        let after = Principal {
            scopes: ["more".to_owned()].into(),
            expires: Some(7),
            credential: Some("other".into()),
            ..before.clone()
        };
        assert_eq!(before.binding(), after.binding());
    }

    #[test]
    fn a_client_alone_is_not_the_user_of_that_name() {
        let alone = caller(PrincipalKind::Jwt, Some("i"), None, Some("robot"));
        let user = caller(PrincipalKind::Jwt, Some("i"), Some("robot"), Some("robot"));
        assert!(alone.is_client_alone() && !user.is_client_alone());
        assert_ne!(alone.binding(), user.binding());
    }

    proptest! {
        #[test]
        fn equal_bindings_mean_equal_callers(
            one in proptest::array::uniform3(proptest::option::of("[ab]{0,3}")),
            two in proptest::array::uniform3(proptest::option::of("[ab]{0,3}")),
        ) {
            let make = |parts: &[Option<String>; 3]| {
                caller(PrincipalKind::Jwt, parts[0].as_deref(), parts[1].as_deref(), parts[2].as_deref()).binding()
            };
            prop_assert_eq!(make(&one) == make(&two), one == two);
        }
    }
}
