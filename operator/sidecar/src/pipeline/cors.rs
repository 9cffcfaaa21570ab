//! What browsers ask before and after a call from a page of another origin (Fetch, "HTTP CORS protocol").
//!
//! Only listed origins get this far; what they are told is that their page may call and read the answer.

use super::answer::Answer;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use sallyport_policy::{PolicyFile, allows_origin};

/// How long a browser may remember the answer, in seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

const METHODS: HeaderValue = HeaderValue::from_static("POST, GET, DELETE");

/// Headers that a page may send, beside all that begin with `mcp-`.
const SENT: [HeaderName; 8] = [
    header::ACCEPT,
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    HeaderName::from_static("dpop"),
    HeaderName::from_static("last-event-id"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("baggage"),
];

/// Headers that a page may read, beside those that Fetch always shows.
const READ: HeaderValue =
    HeaderValue::from_static("mcp-session-id, mcp-protocol-version, retry-after, www-authenticate");

/// The origin of the request, if it has one that is listed.
pub fn listed_origin(headers: &HeaderMap, policy: &PolicyFile) -> Option<HeaderValue> {
    let origin = headers.get(header::ORIGIN)?;
    let listed = origin
        .to_str()
        .is_ok_and(|origin| allows_origin(&policy.origins, origin));
    listed.then(|| origin.clone())
}

/// Whether a request with these headers, an OPTIONS, asks whether another may be sent.
pub fn is_preflight(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ORIGIN) && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to a preflight.
pub fn preflight(headers: &HeaderMap) -> Response<Answer> {
    let mut response = Response::new(Answer::whole(http_body_util::Full::default()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    let asked: Vec<HeaderName> = headers
        .get(header::ACCESS_CONTROL_REQUEST_HEADERS)
        .and_then(|value| value.to_str().ok())
        .into_iter()
        .flat_map(|names| names.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .filter(|name: &HeaderName| SENT.contains(name) || name.as_str().starts_with("mcp-"))
        .collect();
    let answer = response.headers_mut();
    let allowed: Vec<&str> = asked.iter().map(HeaderName::as_str).collect();
    if let Ok(allowed) = HeaderValue::from_str(&allowed.join(", ")) {
        answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    }
    answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    answer.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    answer.insert(
        header::VARY,
        HeaderValue::from_static("Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
    );
    response
}

/// Lets the page at `origin` read the answer.
pub fn allow(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, READ);
    if !headers.contains_key(header::VARY) {
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    }
}
