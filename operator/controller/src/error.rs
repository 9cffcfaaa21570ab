//! Why a reconcile failed.

use kube::core::error_boundary::InvalidObject;
use sallyport_render::ValidateError;
use std::time::Duration;

/// Why a reconcile failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The stored object does not fit the type; only an edit of the object helps.
    #[error("the stored McpEndpoint does not fit this operator's API; is its CRD of another release? {0}")]
    Undecodable(#[source] Box<InvalidObject>),
    /// The spec cannot be rendered; only an edit of the spec helps.
    #[error(transparent)]
    Invalid(#[from] ValidateError),
    /// An object of a child's name belongs to somebody else, and must not be taken over.
    #[error(
        "{kind} {name:?} exists in this namespace and is not the operator's; delete it, or if it bears the endpoint's name, give the endpoint another one"
    )]
    NameConflict {
        /// Kind of the object.
        kind: String,
        /// Name of the object.
        name: String,
    },
    /// A request failed.
    #[error("could not {verb} {kind} {name:?}: {source}")]
    Api {
        /// What was tried.
        verb: &'static str,
        /// Kind of the object.
        kind: String,
        /// Name of the object; empty for a list.
        name: String,
        /// Why it failed.
        source: Box<kube::Error>,
    },
    /// The whole reconcile took too long.
    #[error("the reconcile did not finish within {0:?}; is the API server overloaded?")]
    Timeout(Duration),
}

impl Error {
    /// Name of the error for metrics.
    pub const fn category(&self) -> &'static str {
        match self {
            Self::Undecodable(_) => "Undecodable",
            Self::Invalid(_) => "InvalidSpec",
            Self::NameConflict { .. } => "NameConflict",
            Self::Api { .. } => "Api",
            Self::Timeout(_) => "Timeout",
        }
    }

    /// Whether waiting does not help: the spec, or an object that it names, must change.
    pub const fn is_terminal(&self) -> bool {
        matches!(
            self,
            Self::Undecodable(_) | Self::Invalid(_) | Self::NameConflict { .. }
        )
    }

    /// The API server's own words, when it refused a request for what the request says; its being overloaded,
    /// unreachable or asked with an outdated version is no refusal.
    pub fn refusal(&self) -> Option<&str> {
        match self {
            Self::Api { source, .. } => match &**source {
                kube::Error::Api(status) if matches!(status.code, 400 | 403 | 422) => Some(&status.message),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether another write came in between; trying again at once is right.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Api { source, .. } if matches!(&**source, kube::Error::Api(status) if status.is_conflict()))
    }
}
