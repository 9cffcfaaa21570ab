//! Why a reconcile failed.

use kube::core::error_boundary::InvalidObject;
use sallyport_render::ValidateError;
use std::time::Duration;

/// Cause that the API server gives when it creates nothing in a namespace any more.
const NAMESPACE_TERMINATING: &str = "NamespaceTerminating";

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
    #[error("could not {verb} {kind} {name:?}: {}", words(source))]
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

    /// Whether the API server refused a request for what the request says; its being overloaded, unreachable or asked with
    /// an outdated version is no refusal.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Api { source, .. } if !self.is_namespace_going() => {
                matches!(&**source, kube::Error::Api(status) if matches!(status.code, 400 | 403 | 422))
            }
            _ => false,
        }
    }

    /// Whether the namespace is going away, and with it all that could be applied.
    pub fn is_namespace_going(&self) -> bool {
        let Self::Api { source, .. } = self else {
            return false;
        };
        let kube::Error::Api(status) = &**source else {
            return false;
        };
        let causes = status.details.iter().flat_map(|details| &details.causes);
        causes.into_iter().any(|cause| cause.reason == NAMESPACE_TERMINATING)
            || status.is_not_found()
                && status
                    .details
                    .as_ref()
                    .is_some_and(|details| details.kind == "namespaces")
    }
}

/// Whether an object, or its whole kind, is not there.
///
/// The code is asked: of a kind that is not served the API server says so in plain text, which has no reason.
pub fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// The API server's own words, or else the whole chain of what went wrong.
pub fn words(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return status.message.clone();
    }
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        let text = next.to_string();
        if !words.contains(&text) {
            words.push_str(": ");
            words.push_str(&text);
        }
        cause = next.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;
    use serde_json::json;

    fn refused(status: &serde_json::Value) -> Error {
        let status: Status = serde_json::from_value(status.clone()).unwrap();
        Error::Api {
            verb: "apply",
            kind: "Service".to_owned(),
            name: "demo".to_owned(),
            source: Box::new(kube::Error::Api(Box::new(status))),
        }
    }

    #[test]
    fn a_refusal_is_told_in_the_api_servers_words() {
        let error = refused(&json!({"code": 403, "reason": "Forbidden", "message": "exceeded quota: team-a"}));
        assert_eq!(
            error.to_string(),
            "could not apply Service \"demo\": exceeded quota: team-a"
        );
        assert!(error.is_refusal() && !error.is_namespace_going());
        assert!(!refused(&json!({"code": 503, "message": "overloaded"})).is_refusal());
        assert!(!refused(&json!({"code": 409, "reason": "Conflict"})).is_refusal());
    }

    #[test]
    fn a_namespace_that_goes_away_is_no_refusal_of_the_endpoint() {
        let causes = json!([{"reason": "NamespaceTerminating", "field": "metadata.namespace"}]);
        let going = refused(&json!({"code": 403, "reason": "Forbidden", "details": {"causes": causes}}));
        assert!(going.is_namespace_going() && !going.is_refusal());
        let gone =
            refused(&json!({"code": 404, "reason": "NotFound", "details": {"kind": "namespaces", "name": "team-a"}}));
        assert!(gone.is_namespace_going());
    }
}
