//! `WWW-Authenticate` (RFC 6750 section 3, RFC 9728 section 5.1, RFC 9470 section 3).

use crate::{Reason, Rejection};
use http::HeaderValue;

/// What every challenge of an endpoint says.
#[derive(Clone, Debug, Default)]
pub struct Challenges {
    /// Whether callers can present bearer credentials at all.
    pub bearer: bool,
    /// URL of the resource metadata.
    pub resource_metadata: Option<String>,
    /// Scopes that a caller without a credential is told to ask for.
    pub scopes: Vec<String>,
}

impl Challenges {
    /// The rejection for `reason`.
    pub fn reject(&self, reason: Reason) -> Rejection {
        let error = match reason {
            Reason::Unavailable | Reason::TooManyFailures(_) => return Rejection::new(reason, None),
            Reason::NoCredential | Reason::UnsupportedScheme => None,
            Reason::CredentialInQuery | Reason::MalformedAuthorization => Some("invalid_request"),
            _ => Some("invalid_token"),
        };
        let scopes: Vec<&str> = match error {
            Some("invalid_request") => vec![],
            _ => self.scopes.iter().map(String::as_str).collect(),
        };
        let mut parameters = Parameters::new();
        if let Some(error) = error {
            parameters.add("error", error);
            parameters.add("error_description", reason.as_str());
        }
        self.finish(reason, parameters, &scopes)
    }

    /// The rejection of a caller who lacks some of `scopes`.
    pub fn insufficient_scope(&self, scopes: &[&str]) -> Rejection {
        let mut parameters = Parameters::new();
        parameters.add("error", "insufficient_scope");
        parameters.add("error_description", Reason::InsufficientScope.as_str());
        self.finish(Reason::InsufficientScope, parameters, scopes)
    }

    /// The rejection of a user who must authenticate again.
    pub fn insufficient_authentication(&self, acr_values: &[&str], max_age: Option<u32>) -> Rejection {
        let mut parameters = Parameters::new();
        parameters.add("error", "insufficient_user_authentication");
        parameters.add("error_description", Reason::InsufficientAuthentication.as_str());
        if !acr_values.is_empty() {
            parameters.add("acr_values", &acr_values.join(" "));
        }
        if let Some(seconds) = max_age {
            parameters.add("max_age", &seconds.to_string());
        }
        self.finish(Reason::InsufficientAuthentication, parameters, &[])
    }

    fn finish(&self, reason: Reason, mut parameters: Parameters, scopes: &[&str]) -> Rejection {
        if !self.bearer {
            return Rejection::new(reason, None);
        }
        if !scopes.is_empty() {
            parameters.add("scope", &scopes.join(" "));
        }
        if let Some(url) = &self.resource_metadata {
            parameters.add("resource_metadata", url);
        }
        Rejection::new(reason, Some(parameters.into_value()))
    }
}

/// The parameters of one challenge.
struct Parameters(String);

impl Parameters {
    const fn new() -> Self {
        Self(String::new())
    }

    /// Adds `name="value"`. Bytes that a quoted string cannot hold without escapes are left out: clients differ in how
    /// they read escapes.
    fn add(&mut self, name: &str, value: &str) {
        self.0.push_str(if self.0.is_empty() { " " } else { ", " });
        self.0.push_str(name);
        self.0.push_str("=\"");
        let safe = |byte: &char| matches!(byte, ' '..='~') && !matches!(byte, '"' | '\\');
        self.0.extend(value.chars().filter(safe));
        self.0.push('"');
    }

    fn into_value(self) -> HeaderValue {
        // Only visible ASCII and spaces were let in.
        HeaderValue::try_from(format!("Bearer{}", self.0)).unwrap_or(HeaderValue::from_static("Bearer"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;
    use pretty_assertions::assert_eq;

    fn challenges() -> Challenges {
        Challenges {
            bearer: true,
            resource_metadata: Some("https://a.example/.well-known/oauth-protected-resource/mcp".into()),
            scopes: vec!["read".into(), "write".into()],
        }
    }

    fn shown(rejection: &Rejection) -> (StatusCode, &str) {
        let value = rejection.www_authenticate().map_or("", |value| value.to_str().unwrap());
        (rejection.status(), value)
    }

    #[test]
    fn a_caller_without_a_credential_learns_where_to_get_one_and_of_no_error() {
        assert_eq!(
            shown(&challenges().reject(Reason::NoCredential)),
            (
                StatusCode::UNAUTHORIZED,
                "Bearer scope=\"read write\", \
                 resource_metadata=\"https://a.example/.well-known/oauth-protected-resource/mcp\""
            )
        );
    }

    #[test]
    fn a_bad_token_is_called_invalid() {
        let rejection = challenges().reject(Reason::Expired);
        let (status, value) = shown(&rejection);
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert!(
            value.starts_with("Bearer error=\"invalid_token\", error_description=\"expired credential\", scope="),
            "{value}"
        );
    }

    #[test]
    fn a_missing_scope_is_named_with_all_that_the_operation_needs() {
        let rejection = challenges().insufficient_scope(&["tool:delete", "read"]);
        let (status, value) = shown(&rejection);
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert!(
            value.contains("error=\"insufficient_scope\"") && value.contains("scope=\"tool:delete read\""),
            "{value}"
        );
        assert!(!value.contains("write"), "{value}");
    }

    #[test]
    fn step_up_names_the_classes_and_the_age() {
        let rejection = challenges().insufficient_authentication(&["gold", "silver"], Some(300));
        let (status, value) = shown(&rejection);
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        for part in [
            "error=\"insufficient_user_authentication\"",
            "acr_values=\"gold silver\"",
            "max_age=\"300\"",
            "resource_metadata=",
        ] {
            assert!(value.contains(part), "{part} in {value}");
        }
    }

    #[test]
    fn what_is_malformed_is_a_bad_request() {
        let rejection = challenges().reject(Reason::CredentialInQuery);
        let (status, value) = shown(&rejection);
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(value.starts_with("Bearer error=\"invalid_request\""), "{value}");
    }

    #[test]
    fn nothing_breaks_out_of_a_quoted_string() {
        let rejection = challenges().insufficient_scope(&["a\", error=\"x", "b\r\nSet-Cookie: c"]);
        let (_, value) = shown(&rejection);
        assert_eq!(value.matches('"').count(), 8, "{value}");
        assert!(!value.contains('\n'));
    }

    #[test]
    fn an_endpoint_without_bearer_credentials_challenges_nobody_to_show_one() {
        let rejection = Challenges::default().reject(Reason::NoCredential);
        assert_eq!(shown(&rejection), (StatusCode::UNAUTHORIZED, ""));
    }
}
