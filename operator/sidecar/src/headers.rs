//! Which headers may come twice, and which go no further than the sidecar, in either direction.

use http::header::{self, HeaderMap, HeaderName};

/// The session of the legacy era (MCP 2025-11-25, transports, "Session Management").
pub const MCP_SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

/// The protocol version that a request is written in.
pub const MCP_PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// The method of a modern request, mirrored from its body.
pub const MCP_METHOD: HeaderName = HeaderName::from_static("mcp-method");

/// What a modern request is about, mirrored from its body.
pub const MCP_NAME: HeaderName = HeaderName::from_static("mcp-name");

/// Who calls, for the bridge of a stdio server alone: a digest. Nobody but the sidecar says it.
pub const CALLER: HeaderName = HeaderName::from_static("sallyport-caller");

/// How the headers begin that mirror arguments of a tool call.
pub const MCP_PARAM_PREFIX: &str = "mcp-param-";

/// Headers of which two readers could each believe another one. All that begin with `mcp-` are of this kind too.
const SINGLETONS: [HeaderName; 12] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::TRANSFER_ENCODING,
    header::ORIGIN,
    header::AUTHORIZATION,
    header::ACCESS_CONTROL_REQUEST_METHOD,
    header::ACCESS_CONTROL_REQUEST_HEADERS,
    HeaderName::from_static("dpop"),
    HeaderName::from_static("last-event-id"),
    HeaderName::from_static("traceparent"),
];

/// Headers that speak of one connection only (RFC 9110 section 7.6.1).
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("http2-settings"),
];

/// Headers that are the sidecar's business and never the server's: it decides on them, or nothing in the pod may
/// believe them, or (credentials) they were not issued for the server.
const STOPPED_HERE: [HeaderName; 10] = [
    header::HOST,
    header::ORIGIN,
    header::AUTHORIZATION,
    header::COOKIE,
    HeaderName::from_static("dpop"),
    header::FORWARDED,
    HeaderName::from_static("x-real-ip"),
    header::ACCEPT_ENCODING,
    header::EXPECT,
    header::CONTENT_LENGTH,
];

/// The last is the sidecar's own: see [`CALLER`].
const STOPPED_PREFIXES: [&str; 3] = ["proxy-", "x-forwarded-", "sallyport-"];

/// Headers of an answer that clients have a use for, beside all that begin with `mcp-`. Every other one stays here: a
/// hostile server could otherwise set cookies, send clients and their tokens elsewhere (`Location`, `Alt-Svc`), let them log
/// in elsewhere (`WWW-Authenticate`) or open itself to other origins (`Access-Control-*`).
const PASSED_BACK: [HeaderName; 13] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CONTENT_LANGUAGE,
    header::CACHE_CONTROL,
    header::EXPIRES,
    header::PRAGMA,
    header::DATE,
    header::LAST_MODIFIED,
    header::ETAG,
    header::ALLOW,
    header::RETRY_AFTER,
    header::X_CONTENT_TYPE_OPTIONS,
    HeaderName::from_static("x-accel-buffering"),
];

/// The first header that comes more than once although it must not.
pub fn duplicate_singleton(headers: &HeaderMap) -> Option<HeaderName> {
    headers
        .keys()
        .filter(|name| name.as_str().starts_with("mcp-") || SINGLETONS.contains(name))
        .find(|name| headers.get_all(*name).iter().nth(1).is_some())
        .cloned()
}

/// Removes the headers that speak of one connection only, those that `Connection` names included.
fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in HOP_BY_HOP.into_iter().chain(named) {
        headers.remove(name);
    }
}

/// Removes what the server must not see of a request.
pub fn strip_request(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    for name in STOPPED_HERE {
        headers.remove(name);
    }
    let by_prefix: Vec<HeaderName> = headers
        .keys()
        .filter(|name| STOPPED_PREFIXES.iter().any(|prefix| name.as_str().starts_with(prefix)))
        .cloned()
        .collect();
    for name in by_prefix {
        headers.remove(name);
    }
}

/// Leaves of an answer's headers what clients have a use for.
pub fn strip_answer(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    let stays = |name: &HeaderName| name.as_str().starts_with("mcp-") || PASSED_BACK.contains(name);
    let gone: Vec<HeaderName> = headers.keys().filter(|name| !stays(name)).cloned().collect();
    for name in gone {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use pretty_assertions::assert_eq;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn only_what_the_server_may_see_is_left() {
        let mut request = headers(&[
            ("host", "demo"),
            ("origin", "https://app.example"),
            ("authorization", "Bearer x"),
            ("cookie", "a=b"),
            ("dpop", "x"),
            ("proxy-authorization", "Basic x"),
            ("proxy-anything", "x"),
            ("forwarded", "for=1.2.3.4"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-host", "evil"),
            ("sallyport-caller", "another's"),
            ("x-real-ip", "1.2.3.4"),
            ("connection", "close, X-Secret-Hop"),
            ("x-secret-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABk"),
            ("expect", "100-continue"),
            ("content-length", "5"),
            ("accept-encoding", "gzip"),
            ("accept", "application/json"),
            ("content-type", "application/json"),
            ("mcp-session-id", "s"),
            ("mcp-protocol-version", "2025-11-25"),
            ("last-event-id", "7"),
            ("mcp-param-region", "eu"),
            ("traceparent", "00-0-0-00"),
        ]);
        strip_request(&mut request);
        let mut left: Vec<&str> = request.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(
            left,
            [
                "accept",
                "content-type",
                "last-event-id",
                "mcp-param-region",
                "mcp-protocol-version",
                "mcp-session-id",
                "traceparent"
            ]
        );
    }

    #[test]
    fn a_singleton_that_comes_twice_is_found() {
        let mirrored = [
            "mcp-method",
            "mcp-name",
            "mcp-session-id",
            "mcp-protocol-version",
            "mcp-param-region",
        ];
        for name in SINGLETONS.into_iter().chain(mirrored.map(HeaderName::from_static)) {
            let mut twice = HeaderMap::new();
            twice.append(name.clone(), HeaderValue::from_static("a"));
            assert_eq!(duplicate_singleton(&twice), None);
            twice.append(name.clone(), HeaderValue::from_static("a"));
            assert_eq!(duplicate_singleton(&twice), Some(name));
        }
        assert_eq!(duplicate_singleton(&headers(&[("accept", "a"), ("accept", "b")])), None);
    }

    #[test]
    fn a_server_cannot_steer_the_client_by_headers() {
        let mut answer = headers(&[
            ("content-type", "application/json"),
            ("cache-control", "no-store"),
            ("mcp-session-id", "s"),
            ("x-accel-buffering", "no"),
            ("retry-after", "1"),
            ("set-cookie", "a=b"),
            ("location", "https://evil.example"),
            ("alt-svc", "h3=\":443\""),
            ("www-authenticate", "Bearer resource_metadata=\"https://evil.example\""),
            ("access-control-allow-origin", "*"),
            ("link", "<https://evil.example>"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("trailer", "x"),
        ]);
        strip_answer(&mut answer);
        let mut left: Vec<&str> = answer.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(
            left,
            [
                "cache-control",
                "content-type",
                "mcp-session-id",
                "retry-after",
                "x-accel-buffering"
            ]
        );
    }
}
