//! What a request must be to get a credential, and what it is made into.

use crate::forward;
use crate::target::Target;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery};
use http::{Method, Request, Response, Uri, Version};
use sallyport_policy::egress::{CredentialHeader, HostName};

/// Port of `https` URLs.
const HTTPS: u16 = 443;

/// Why a request gets no credential and is not forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestDenial {
    /// It is meant for another host than the connection, or does not say for which.
    #[error("the request's Host is not the host of the connection: open another connection for another host")]
    Host,
    /// It wants to speak something else than HTTP.
    #[error("connections into which a credential is injected cannot be upgraded, WebSocket included")]
    Upgrade,
    /// It asks for what was sent to be sent back, the credential included (RFC 9110 section 9.3.8).
    #[error("TRACE and CONNECT are not forwarded with a credential")]
    Method,
}

impl RequestDenial {
    /// As in events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host_header_mismatch",
            Self::Upgrade => "upgrade_refused",
            Self::Method => "method_refused",
        }
    }
}

/// The request as `target` gets it, but for the credential: origin form, its own `Host`, nothing of this hop.
///
/// # Errors
///
/// See [`RequestDenial`].
pub fn outgoing<B>(request: Request<B>, target: &Target) -> Result<Request<B>, RequestDenial> {
    let (mut head, body) = request.into_parts();
    if head.method == Method::TRACE || head.method == Method::CONNECT {
        return Err(RequestDenial::Method);
    }
    if head.headers.contains_key(header::UPGRADE) {
        return Err(RequestDenial::Upgrade);
    }
    let authority = head.uri.authority();
    if authority.is_some_and(|authority| !names(authority, target)) || !host_is(&head.headers, target) {
        return Err(RequestDenial::Host);
    }
    let path = head.uri.path_and_query().cloned();
    head.uri = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    head.version = Version::HTTP_11;
    forward::strip(&mut head.headers);
    // The body is passed on at once, so there is nothing to expect.
    head.headers.remove(header::EXPECT);
    let host = if target.port == HTTPS {
        target.host.to_string()
    } else {
        format!("{}:{}", target.host, target.port)
    };
    // A canonical host name is a header value.
    let host = HeaderValue::try_from(host).map_err(|_| RequestDenial::Host)?;
    head.headers.insert(header::HOST, host);
    head.headers.append(header::VIA, forward::VIA);
    Ok(Request::from_parts(head, body))
}

/// The request with the credential, and nothing else, under `header`.
pub fn with_credential<B>(mut request: Request<B>, header: &CredentialHeader, credential: HeaderValue) -> Request<B> {
    if let Ok(name) = HeaderName::try_from(header.as_str()) {
        request.headers_mut().insert(name, credential);
    }
    request
}

/// Whether the host ends the connection after `response`.
pub fn closes<B>(response: &Response<B>) -> bool {
    let named = response.headers().get_all(header::CONNECTION).iter();
    response.version() == Version::HTTP_10
        || named
            .filter_map(|value| value.to_str().ok())
            .flat_map(|list| list.split(','))
            .any(|option| option.trim().eq_ignore_ascii_case("close"))
}

/// Whether the only `Host` header names `target`.
fn host_is(headers: &HeaderMap, target: &Target) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return false;
    };
    let authority = Authority::try_from(host.as_bytes());
    authority.is_ok_and(|authority| names(&authority, target))
}

fn names(authority: &Authority, target: &Target) -> bool {
    let port = match authority.port_u16() {
        Some(port) => port,
        None if authority.as_str().ends_with(authority.host()) => HTTPS,
        // A port that is none.
        None => return false,
    };
    let host: Result<HostName, _> = authority.host().parse();
    !authority.as_str().contains('@') && port == target.port && host.as_ref() == Ok(&target.host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    fn target(port: u16) -> Target {
        Target {
            host: "api.example.com".parse().unwrap(),
            port,
        }
    }

    fn request(method: &str, uri: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    fn sent(port: u16, method: &str, uri: &str, headers: &[(&str, &str)]) -> Result<Request<()>, RequestDenial> {
        outgoing(request(method, uri, headers), &target(port))
    }

    #[test]
    fn only_the_host_of_the_connection_is_asked() {
        for (port, host) in [
            (443, "api.example.com"),
            (443, "API.example.com."),
            (443, "api.example.com:443"),
            (8443, "api.example.com:8443"),
        ] {
            let request = sent(port, "GET", "/a?b", &[("host", host)]).unwrap();
            let expected = if port == 443 {
                "api.example.com"
            } else {
                "api.example.com:8443"
            };
            assert_eq!(request.headers()[header::HOST], expected, "{host}");
            assert_eq!(request.uri(), "/a?b");
        }
        for (port, hosts) in [
            (443, &[][..]),
            (443, &["evil.test"]),
            (443, &["api.example.com", "evil.test"]),
            (443, &["api.example.com", "api.example.com"]),
            (443, &["api.example.com:8443"]),
            (443, &["api.example.com:x"]),
            (443, &["api.example.com:"]),
            (443, &["user@api.example.com"]),
            (443, &["api.example.com.evil.test"]),
            (443, &[""]),
            (8443, &["api.example.com"]),
        ] {
            let headers: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
            let denial = sent(port, "GET", "/", &headers).unwrap_err();
            assert_eq!(denial, RequestDenial::Host, "{port} {hosts:?}");
        }
    }

    #[test]
    fn an_absolute_url_must_name_the_same_host() {
        let host = [("host", "api.example.com")];
        assert_eq!(
            sent(443, "GET", "https://api.example.com/x", &host).unwrap().uri(),
            "/x"
        );
        let denial = sent(443, "GET", "https://evil.test/x", &host).unwrap_err();
        assert_eq!(denial, RequestDenial::Host);
    }

    #[test]
    fn nothing_is_upgraded_and_nothing_echoed() {
        let host = ("host", "api.example.com");
        let websocket = [host, ("upgrade", "websocket"), ("connection", "upgrade")];
        assert_eq!(sent(443, "GET", "/", &websocket).unwrap_err(), RequestDenial::Upgrade);
        assert_eq!(sent(443, "TRACE", "/", &[host]).unwrap_err(), RequestDenial::Method);
        assert_eq!(
            sent(443, "CONNECT", "evil.test:443", &[host]).unwrap_err(),
            RequestDenial::Method
        );
    }

    #[test]
    fn what_the_server_sends_under_the_name_is_gone_however_it_is_written() {
        let request = sent(
            443,
            "GET",
            "/",
            &[
                ("host", "api.example.com"),
                ("Authorization", "Bearer mine"),
                ("AUTHORIZATION", "Bearer other"),
                ("connection", "authorization, close"),
                ("x-kept", "1"),
            ],
        );
        let header = "Authorization".parse().unwrap();
        let request = with_credential(request.unwrap(), &header, HeaderValue::from_static("Bearer theirs"));
        let sent: Vec<_> = request.headers().get_all(header::AUTHORIZATION).iter().collect();
        assert_eq!(sent, ["Bearer theirs"]);
        assert_eq!(request.headers()["x-kept"], "1");
        assert!(!request.headers().contains_key(header::CONNECTION));
    }
}
