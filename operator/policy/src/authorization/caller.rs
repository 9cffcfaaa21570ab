//! Which callers a rule is about.

use super::Glob;
use crate::{Principal, PrincipalKind};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Some callers. All conditions that are given must hold; a list of several of these fits where one of them does.
///
/// Subjects, clients and roles mean nothing without who vouches for them: where an endpoint trusts several issuers, name
/// the issuer too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Caller {
    /// What kind of caller; any of these.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub kinds: BTreeSet<CallerKind>,
    /// Who vouches for the caller; exactly one of these.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub issuers: BTreeSet<String>,
    /// The user or workload. Never fits a client that calls on nobody's behalf.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<Glob>,
    /// The software that calls.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<Glob>,
    /// Roles; the caller has at least one of these.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub roles: BTreeSet<String>,
    /// Scopes; the caller has all of these, or scopes that imply them. A caller without them is not one of these
    /// callers: it is not told which scopes it lacks. To tell it, use the rule's `requires.scopes`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub scopes: BTreeSet<String>,
    /// Claims of the token by name, or by JSON pointer where the name begins with `/`. Each is one of the values, or an
    /// array that holds one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, Vec<ClaimValue>>,
}

/// What kind of caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum CallerKind {
    /// One without a credential.
    Anonymous,
    /// One with an API key.
    ApiKey,
    /// One with a token of a user.
    User,
    /// One with a token of its own, on nobody's behalf, as of OAuth's client credentials grant.
    Client,
    /// One with a client certificate.
    Certificate,
}

/// The value of a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ClaimValue {
    /// `true` or `false`; never fits a string.
    Bool(bool),
    /// An integer; never fits a string.
    Integer(i64),
    /// A text, compared byte by byte.
    Text(String),
}

impl CallerKind {
    /// The kind of `principal`.
    pub fn of(principal: &Principal) -> Self {
        match principal.kind {
            PrincipalKind::Anonymous => Self::Anonymous,
            PrincipalKind::ApiKey => Self::ApiKey,
            PrincipalKind::Jwt | PrincipalKind::Opaque if principal.subject.is_some() => Self::User,
            PrincipalKind::Jwt | PrincipalKind::Opaque => Self::Client,
            PrincipalKind::Certificate => Self::Certificate,
        }
    }
}

impl ClaimValue {
    fn fits(&self, value: &Value) -> bool {
        match (self, value) {
            (_, Value::Array(items)) => items.iter().any(|item| !item.is_array() && self.fits(item)),
            (Self::Bool(wanted), Value::Bool(found)) => wanted == found,
            (Self::Integer(wanted), Value::Number(found)) => found.as_i64() == Some(*wanted),
            (Self::Text(wanted), Value::String(found)) => wanted == found,
            _ => false,
        }
    }
}

impl Caller {
    /// Whether no condition is given.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether `principal`, whose scopes with all that they imply are `scopes`, is one of these callers.
    pub(super) fn fits(&self, principal: &Principal, scopes: &BTreeSet<&str>) -> bool {
        let kind = self.kinds.is_empty() || self.kinds.contains(&CallerKind::of(principal));
        let issuer = self.issuers.is_empty()
            || principal
                .issuer
                .as_ref()
                .is_some_and(|issuer| self.issuers.contains(issuer));
        kind && issuer
            && one_fits(&self.subjects, principal.subject.as_deref())
            && one_fits(&self.clients, principal.client.as_deref())
            && (self.roles.is_empty() || !self.roles.is_disjoint(&principal.roles))
            && self.scopes.iter().all(|scope| scopes.contains(scope.as_str()))
            && self
                .claims
                .iter()
                .all(|(name, values)| has_claim(principal, name, values))
    }
}

/// Whether no pattern is given, or one fits the name that is there.
fn one_fits(patterns: &[Glob], name: Option<&str>) -> bool {
    patterns.is_empty() || name.is_some_and(|name| patterns.iter().any(|pattern| pattern.fits(name)))
}

fn has_claim(principal: &Principal, name: &str, values: &[ClaimValue]) -> bool {
    let claim = match name.strip_prefix('/') {
        None => principal.claims.get(name),
        Some(path) => {
            let (first, rest) = path.split_at(path.find('/').unwrap_or(path.len()));
            let first = first.replace("~1", "/").replace("~0", "~");
            principal.claims.get(&first).and_then(|claim| claim.pointer(rest))
        }
    };
    claim.is_some_and(|claim| values.iter().any(|value| value.fits(claim)))
}
