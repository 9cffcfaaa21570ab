//! The policy file while the sidecar runs: a new one replaces the old one at once and whole, or not at all.

use crate::pipeline::{CurrentRules, Rules};
use sallyport_auth::StartError;
use sallyport_core::follow::Followed;
use sallyport_policy::{ParseError, PolicyFile, short_hash};
use serde::Serialize;
use std::path::PathBuf;
use std::str::Utf8Error;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// The rules in force, and why the file as it is now is not, if it is not.
pub struct PolicyInForce {
    rules: CurrentRules,
    followed: Option<Followed<Rules>>,
}

/// Why a new policy file is not followed.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error("it is not UTF-8")]
    Text(#[from] Utf8Error),
    #[error(transparent)]
    Policy(#[from] ParseError),
    #[error(transparent)]
    Authentication(#[from] StartError),
    #[error("it has another {0} than the sidecar was started with: the pod must be replaced")]
    Fixed(&'static str),
}

/// What the operator is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyReport {
    /// Generation of the spec that the policy in force was written from.
    pub generation: i64,
    /// First 16 hexadecimal digits of the SHA-256 of its text.
    pub sha256: String,
    /// Why the file as it is now is not in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// What keeps callers from being told apart: broken key files and certificates, issuers out of reach.
    pub authentication: Vec<String>,
}

impl PolicyInForce {
    /// `rules`, replaced by those of `file` whenever it changes.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub fn follow(rules: Rules, file: Option<PathBuf>) -> Self {
        let Some(file) = file else {
            let (_, rules) = watch::channel(Arc::new(rules));
            return Self { rules, followed: None };
        };
        let last = Mutex::new(rules.clone());
        let followed = Followed::start_or(rules, vec![file], move |contents| {
            let text = std::str::from_utf8(contents.first().map_or(&[][..], Vec::as_slice))?;
            let policy = PolicyFile::parse(text)?;
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            check_fixed(&last.policy, &policy)?;
            *last = Rules::new(policy, Some(&last))?;
            Ok::<_, ReloadError>(last.clone())
        });
        Self {
            rules: followed.subscribe(),
            followed: Some(followed),
        }
    }

    /// The rules in force, as they change.
    pub fn rules(&self) -> CurrentRules {
        self.rules.clone()
    }

    /// Why the file as it is now is not in force; `None` when it is.
    pub fn problem(&self) -> Option<String> {
        self.followed.as_ref().and_then(Followed::problem)
    }

    /// What the operator is told; `tls`: what is wrong with the certificates.
    pub fn report(&self, tls: Option<String>) -> PolicyReport {
        let rules = self.rules.borrow().clone();
        PolicyReport {
            generation: rules.policy.generation,
            sha256: short_hash(rules.policy.to_text().unwrap_or_default().as_bytes()),
            problem: self.problem(),
            authentication: rules.authenticator.problems().into_iter().chain(tls).collect(),
        }
    }
}

/// What a running sidecar cannot change.
fn check_fixed(old: &PolicyFile, new: &PolicyFile) -> Result<(), ReloadError> {
    let audit = |policy: &PolicyFile| {
        (
            policy.audit.sinks.clone(),
            policy.audit.format,
            policy.audit.on_sink_failure,
        )
    };
    let fixed = [
        ("endpoint", old.endpoint == new.endpoint),
        ("listen", old.listen == new.listen),
        ("upstream", old.upstream == new.upstream),
        ("sealing", old.sealing == new.sealing),
        ("enforcement", old.enforcement == new.enforcement),
        ("audit sink", audit(old) == audit(new)),
        ("limits.connections", old.limits.connections == new.limits.connections),
        (
            "limits.responseHeaderSeconds",
            old.limits.response_header_seconds == new.limits.response_header_seconds,
        ),
        (
            "limits.drainSeconds",
            old.limits.drain_seconds == new.limits.drain_seconds,
        ),
    ];
    match fixed.into_iter().find(|(_, same)| !same) {
        Some((what, _)) => Err(ReloadError::Fixed(what)),
        None => Ok(()),
    }
}
