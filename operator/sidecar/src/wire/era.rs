//! Which era a request is of, and which methods that era has.
//!
//! Legacy clients name a session and at most a version in a header; modern ones name version and capabilities in every
//! body and repeat the version in the header (MCP 2026-07-28, basic/versioning and basic/transports/streamable-http).

use super::message::Call;
use std::collections::BTreeSet;

/// The two forms of the protocol on HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// Up to 2025-11-25: `initialize`, sessions, streams in both directions.
    Legacy,
    /// From 2026-07-28: every request stands for itself.
    Modern,
}

/// Revisions of the modern era that are served.
pub const MODERN_VERSIONS: [&str; 1] = ["2026-07-28"];

/// Revisions of the legacy era that are served, the newest first.
pub const LEGACY_VERSIONS: [&str; 2] = ["2025-11-25", "2025-06-18"];

/// What a request without a version header is of (MCP 2025-06-18, transports). Nothing is negotiated to it any more.
const UNNAMED_VERSION: &str = "2025-03-26";

/// The extension whose methods are `tasks/*` in the modern era.
pub const TASKS_EXTENSION: &str = "io.modelcontextprotocol/tasks";

/// Why a request is of no era.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EraError {
    /// Header and body name different versions, or only one of them names one.
    #[error("the MCP-Protocol-Version header is not the version of the request's _meta: send the same in both")]
    VersionMismatch,
    /// Neither a legacy nor a modern version that is served.
    #[error("protocol version {requested:?} is not served here")]
    Unsupported {
        /// What the client named.
        requested: String,
        /// What it may name instead.
        supported: &'static [&'static str],
    },
    /// A modern request without what every one of them must carry.
    #[error("params._meta must carry {0:?}")]
    MissingMeta(&'static str),
    /// A modern client answers no requests, because it gets none.
    #[error("a client of this protocol version sends no responses")]
    ResponseOfModernClient,
    /// GET and DELETE are of the legacy era.
    #[error("this protocol version knows POST only")]
    PostOnly,
}

/// The key of `_meta` that names the version.
pub const META_PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";

/// The key of `_meta` that says what the client can do.
pub const META_CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

const ALL_VERSIONS: [&str; 3] = ["2026-07-28", "2025-11-25", "2025-06-18"];

impl Era {
    /// The era of a request or notification whose version header is `header`.
    ///
    /// # Errors
    ///
    /// See [`EraError`].
    pub fn of_call(header: Option<&str>, call: &Call) -> Result<Self, EraError> {
        let Some(body) = call.meta.protocol_version.as_deref() else {
            let modern_only = matches!(call.method.as_str(), "server/discover" | "subscriptions/listen");
            return match Self::of_header(header)? {
                Self::Legacy if !modern_only => Ok(Self::Legacy),
                _ if call.id.is_none() => Ok(Self::Modern),
                _ => Err(EraError::MissingMeta(META_PROTOCOL_VERSION)),
            };
        };
        if header != Some(body) {
            return Err(EraError::VersionMismatch);
        }
        if !MODERN_VERSIONS.contains(&body) {
            return Err(EraError::Unsupported {
                requested: body.to_owned(),
                supported: &MODERN_VERSIONS,
            });
        }
        if call.id.is_some() && call.meta.client_capabilities.is_none() {
            return Err(EraError::MissingMeta(META_CLIENT_CAPABILITIES));
        }
        Ok(Self::Modern)
    }

    /// The era of a response.
    ///
    /// # Errors
    ///
    /// See [`EraError`].
    pub fn of_response(header: Option<&str>) -> Result<Self, EraError> {
        match Self::of_header(header)? {
            Self::Legacy => Ok(Self::Legacy),
            Self::Modern => Err(EraError::ResponseOfModernClient),
        }
    }

    /// The era of a GET or DELETE.
    ///
    /// # Errors
    ///
    /// See [`EraError`].
    pub fn of_bodiless(header: Option<&str>) -> Result<Self, EraError> {
        match Self::of_header(header)? {
            Self::Legacy => Ok(Self::Legacy),
            Self::Modern => Err(EraError::PostOnly),
        }
    }

    /// Without a header, legacy: `initialize` has none, nor has a client of 2025-03-26, which sends nothing else that differs
    /// but batches. Some name that version all the same in a session of a newer one.
    fn of_header(header: Option<&str>) -> Result<Self, EraError> {
        match header {
            None => Ok(Self::Legacy),
            Some(version) if version == UNNAMED_VERSION || LEGACY_VERSIONS.contains(&version) => Ok(Self::Legacy),
            Some(version) if MODERN_VERSIONS.contains(&version) => Ok(Self::Modern),
            Some(version) => Err(EraError::Unsupported {
                requested: version.to_owned(),
                supported: &ALL_VERSIONS,
            }),
        }
    }

    /// Whether a client of this era sends `method`; `extensions` are those that the endpoint allows.
    pub fn knows(self, method: &str, is_notification: bool, extensions: &BTreeSet<String>) -> bool {
        if SHARED_REQUESTS.contains(&method) {
            return !is_notification;
        }
        match self {
            Self::Legacy if is_notification => LEGACY_NOTIFICATIONS.contains(&method),
            Self::Legacy => LEGACY_REQUESTS.contains(&method),
            Self::Modern if is_notification => false,
            Self::Modern => {
                MODERN_REQUESTS.contains(&method)
                    || (MODERN_TASKS_REQUESTS.contains(&method) && extensions.contains(TASKS_EXTENSION))
            }
        }
    }
}

const SHARED_REQUESTS: [&str; 8] = [
    "completion/complete",
    "prompts/get",
    "prompts/list",
    "resources/list",
    "resources/read",
    "resources/templates/list",
    "tools/call",
    "tools/list",
];

const MODERN_REQUESTS: [&str; 2] = ["server/discover", "subscriptions/listen"];

const MODERN_TASKS_REQUESTS: [&str; 3] = ["tasks/get", "tasks/update", "tasks/cancel"];

const LEGACY_REQUESTS: [&str; 9] = [
    "initialize",
    "ping",
    "logging/setLevel",
    "resources/subscribe",
    "resources/unsubscribe",
    "tasks/get",
    "tasks/list",
    "tasks/result",
    "tasks/cancel",
];

const LEGACY_NOTIFICATIONS: [&str; 5] = [
    "notifications/initialized",
    "notifications/cancelled",
    "notifications/progress",
    "notifications/roots/list_changed",
    "notifications/tasks/status",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::message::{self, Message};
    use pretty_assertions::assert_eq;

    fn call(params: &str, method: &str) -> Call {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
        match message::parse(body.as_bytes(), 64).unwrap() {
            Message::Call(call) => *call,
            Message::Response(_) => panic!(),
        }
    }

    fn era(header: Option<&str>, params: &str, method: &str) -> Result<Era, EraError> {
        Era::of_call(header, &call(params, method))
    }

    const META: &str = r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}"#;

    #[test]
    fn a_request_is_modern_if_header_and_body_say_so() {
        assert_eq!(era(Some("2026-07-28"), META, "tools/list"), Ok(Era::Modern));
        for header in [None, Some("2025-11-25"), Some("2026-07-28 "), Some("")] {
            assert_eq!(
                era(header, META, "tools/list"),
                Err(EraError::VersionMismatch),
                "{header:?}"
            );
        }
    }

    #[test]
    fn a_request_without_a_version_in_its_body_is_legacy_if_its_header_is() {
        for header in [None, Some("2025-11-25"), Some("2025-06-18")] {
            assert_eq!(era(header, "{}", "tools/list"), Ok(Era::Legacy), "{header:?}");
        }
        assert_eq!(
            era(Some("2026-07-28"), "{}", "tools/list"),
            Err(EraError::MissingMeta(META_PROTOCOL_VERSION))
        );
        assert_eq!(
            era(None, "{}", "server/discover"),
            Err(EraError::MissingMeta(META_PROTOCOL_VERSION))
        );
    }

    #[test]
    fn a_version_that_is_not_served_is_named_with_those_that_are() {
        for header in ["2024-11-05", "2027-01-01", "v999.0.0"] {
            assert!(
                matches!(era(Some(header), "{}", "tools/list"), Err(EraError::Unsupported { supported, .. }) if supported.len() == 3)
            );
            let params = META.replace("2026-07-28", header);
            assert!(
                matches!(era(Some(header), &params, "tools/list"), Err(EraError::Unsupported { supported, .. }) if supported == MODERN_VERSIONS)
            );
        }
    }

    #[test]
    fn a_modern_request_says_what_its_client_can_do() {
        let params = r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}"#;
        assert_eq!(
            era(Some("2026-07-28"), params, "tools/list"),
            Err(EraError::MissingMeta(META_CLIENT_CAPABILITIES))
        );
    }

    #[test]
    fn a_method_of_the_other_era_or_of_an_extension_that_is_not_allowed_is_unknown() {
        let none = BTreeSet::new();
        let tasks = BTreeSet::from([TASKS_EXTENSION.to_owned()]);
        for (method, legacy, modern, with_tasks) in [
            ("tools/call", true, true, true),
            ("initialize", true, false, false),
            ("ping", true, false, false),
            ("server/discover", false, true, true),
            ("subscriptions/listen", false, true, true),
            ("tasks/get", true, false, true),
            ("tasks/list", true, false, false),
            ("tasks/update", false, false, true),
            ("skills/list", false, false, false),
            ("Tools/call", false, false, false),
            ("tools/call ", false, false, false),
        ] {
            assert_eq!(Era::Legacy.knows(method, false, &none), legacy, "{method}");
            assert_eq!(Era::Modern.knows(method, false, &none), modern, "{method}");
            assert_eq!(Era::Modern.knows(method, false, &tasks), with_tasks, "{method}");
            assert!(!Era::Legacy.knows(method, true, &tasks), "{method}");
        }
        assert!(Era::Legacy.knows("notifications/cancelled", true, &none));
        assert!(!Era::Modern.knows("notifications/cancelled", true, &none));
    }

    #[test]
    fn responses_gets_and_deletes_are_of_the_legacy_era() {
        assert_eq!(Era::of_response(Some("2025-11-25")), Ok(Era::Legacy));
        assert_eq!(
            Era::of_response(Some("2026-07-28")),
            Err(EraError::ResponseOfModernClient)
        );
        assert_eq!(Era::of_bodiless(None), Ok(Era::Legacy));
        assert_eq!(Era::of_bodiless(Some("2026-07-28")), Err(EraError::PostOnly));
    }
}
