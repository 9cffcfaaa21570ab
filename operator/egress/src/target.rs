//! Where a request wants to go.

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, Method, Uri, request};
use sallyport_policy::egress::{HostName, ParseHostError};

/// Bytes of a request's head at most.
pub const MAX_HEAD_BYTES: usize = 32 * 1024;

/// The port of `http` URLs, and the one on which nothing but TLS is spoken.
const HTTP: u16 = 80;
const HTTPS: u16 = 443;

/// A host and its port, as a request names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The host, in canonical form.
    pub host: HostName,
    /// The TCP port.
    pub port: u16,
}

/// How a request is to be carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carriage {
    /// CONNECT: as a tunnel for TLS.
    Tunnel(Target),
    /// Absolute form: as one HTTP exchange.
    Exchange(Target),
}

/// Why a request has no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// What the client sent is not HTTP/1.
    #[error("this is not a well-formed HTTP/1.1 request, or its head is too large or too slow")]
    NotHttp,
    /// More bytes of headers than allowed.
    #[error("the request's head is larger than {MAX_HEAD_BYTES} bytes: send fewer or shorter headers")]
    HeadTooLarge,
    /// A request as for a web server.
    #[error("this is a proxy: send CONNECT host:port, or a request whose URL begins with http://")]
    NotForProxy,
    /// Absolute form with another scheme than `http`.
    #[error("only http:// URLs are forwarded; for https:// send CONNECT host:443")]
    Scheme,
    /// Plain HTTP to the port of TLS.
    #[error("port 443 is for TLS: call an https:// URL, by CONNECT")]
    PlainOnTlsPort,
    /// CONNECT without a port, or with one that is none.
    #[error("the port is missing or is none: write host:port")]
    Port,
    /// `user@host`.
    #[error("the URL carries user information: send credentials in a header")]
    UserInfo,
    /// Not a host name.
    #[error(transparent)]
    Host(ParseHostError),
    /// A `Host` header that names another target, or several.
    #[error("the Host header and the request line name different targets")]
    HostHeader,
    /// A CONNECT with a body.
    #[error("a CONNECT request has no body")]
    Body,
}

impl TargetError {
    /// As in events and metrics.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::NotHttp => "not_http",
            Self::HeadTooLarge => "head_too_large",
            Self::NotForProxy => "not_for_proxy",
            Self::Scheme => "bad_scheme",
            Self::PlainOnTlsPort => "not_tls",
            Self::Port => "bad_port",
            Self::UserInfo => "user_info",
            Self::Host(ParseHostError::Address(_)) => "host_is_address",
            Self::Host(_) => "bad_host",
            Self::HostHeader => "host_header_mismatch",
            Self::Body => "connect_with_body",
        }
    }
}

impl Carriage {
    /// Reads a request's head.
    ///
    /// # Errors
    ///
    /// See [`TargetError`].
    pub fn of(head: &request::Parts) -> Result<Self, TargetError> {
        // The parser's own bound is that of its buffer, which a single large read may exceed.
        if head_bytes(head) > MAX_HEAD_BYTES {
            return Err(TargetError::HeadTooLarge);
        }
        let carriage = if head.method == Method::CONNECT {
            let framed = head.headers.get_all(CONTENT_LENGTH).iter().any(|value| value != "0");
            if framed || head.headers.contains_key(TRANSFER_ENCODING) {
                return Err(TargetError::Body);
            }
            Self::Tunnel(connect_target(&head.uri)?)
        } else {
            Self::Exchange(absolute_target(&head.uri)?)
        };
        let (target, default_port) = match &carriage {
            // Clients leave the port out of Host now and then; the request line has it.
            Self::Tunnel(target) => (target, target.port),
            Self::Exchange(target) => (target, HTTP),
        };
        check_host_header(&head.headers, target, default_port)?;
        Ok(carriage)
    }
}

/// Bytes of the target and the headers, with what separates them.
fn head_bytes(head: &request::Parts) -> usize {
    let target = head.uri.path_and_query().map_or(0, |path| path.as_str().len());
    let headers = head
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4);
    target + headers.sum::<usize>()
}

fn connect_target(uri: &Uri) -> Result<Target, TargetError> {
    if uri.scheme().is_some() || uri.path_and_query().is_some() {
        return Err(TargetError::NotForProxy);
    }
    target(uri.authority().ok_or(TargetError::NotForProxy)?, None)
}

fn absolute_target(uri: &Uri) -> Result<Target, TargetError> {
    match uri.scheme() {
        None => return Err(TargetError::NotForProxy),
        Some(scheme) if *scheme == Scheme::HTTP => {}
        Some(_) => return Err(TargetError::Scheme),
    }
    let target = target(uri.authority().ok_or(TargetError::NotForProxy)?, Some(HTTP))?;
    if target.port == HTTPS {
        return Err(TargetError::PlainOnTlsPort);
    }
    Ok(target)
}

fn target(authority: &Authority, default_port: Option<u16>) -> Result<Target, TargetError> {
    if authority.as_str().contains('@') {
        return Err(TargetError::UserInfo);
    }
    let host: HostName = authority.host().parse().map_err(TargetError::Host)?;
    // `host:` has a port that is empty, which is not the same as none.
    let named = authority.as_str().len() > authority.host().len();
    let port = if named { authority.port_u16() } else { default_port };
    match port {
        Some(port) if port != 0 => Ok(Target { host, port }),
        _ => Err(TargetError::Port),
    }
}

/// A `Host` header must say what the request line says (RFC 9112 section 3.2.2 lets proxies ignore it; a server that does
/// not would be fooled).
fn check_host_header(headers: &HeaderMap, named: &Target, default_port: u16) -> Result<(), TargetError> {
    let mut values = headers.get_all(HOST).iter();
    let Some(value) = values.next() else { return Ok(()) };
    let authority = Authority::try_from(value.as_bytes()).map_err(|_| TargetError::HostHeader)?;
    match target(&authority, Some(default_port)) {
        Ok(header) if values.next().is_none() && header == *named => Ok(()),
        _ => Err(TargetError::HostHeader),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;
    use proptest::prelude::*;

    fn head(method: &str, uri: &str, headers: &[(&str, &str)]) -> request::Parts {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn target_of(method: &str, uri: &str, headers: &[(&str, &str)]) -> Result<String, &'static str> {
        match Carriage::of(&head(method, uri, headers)) {
            Ok(Carriage::Tunnel(target)) => Ok(format!("tunnel {}:{}", target.host, target.port)),
            Ok(Carriage::Exchange(target)) => Ok(format!("exchange {}:{}", target.host, target.port)),
            Err(error) => Err(error.as_str()),
        }
    }

    #[test]
    fn a_proxy_request_names_its_target() {
        for (method, uri, headers, expected) in [
            ("CONNECT", "api.example.com:443", &[][..], "tunnel api.example.com:443"),
            (
                "CONNECT",
                "API.Example.com.:443",
                &[("host", "api.example.com:443")],
                "tunnel api.example.com:443",
            ),
            (
                "CONNECT",
                "api.example.com:443",
                &[("host", "api.example.com")],
                "tunnel api.example.com:443",
            ),
            (
                "CONNECT",
                "api.example.com:443",
                &[("content-length", "0")],
                "tunnel api.example.com:443",
            ),
            (
                "GET",
                "http://api.example.com/x",
                &[("host", "api.example.com")],
                "exchange api.example.com:80",
            ),
            (
                "POST",
                "http://api.example.com:8080/",
                &[("host", "API.example.com:8080")],
                "exchange api.example.com:8080",
            ),
            ("GET", "HTTP://api.example.com", &[], "exchange api.example.com:80"),
        ] {
            assert_eq!(
                target_of(method, uri, headers),
                Ok(expected.to_owned()),
                "{method} {uri}"
            );
        }
    }

    #[test]
    fn everything_else_is_refused_with_its_reason() {
        for (method, uri, headers, expected) in [
            ("GET", "/", &[][..], "not_for_proxy"),
            ("OPTIONS", "*", &[], "not_for_proxy"),
            ("CONNECT", "http://api.example.com:443/", &[], "not_for_proxy"),
            ("GET", "https://api.example.com/", &[], "bad_scheme"),
            ("GET", "ftp://api.example.com/", &[], "bad_scheme"),
            ("GET", "http://api.example.com:443/", &[], "not_tls"),
            ("CONNECT", "api.example.com", &[], "bad_port"),
            ("CONNECT", "api.example.com:0", &[], "bad_port"),
            ("CONNECT", "api.example.com:99999", &[], "bad_port"),
            ("GET", "http://user@api.example.com/", &[], "user_info"),
            ("GET", "http://api.example.com@evil.test/", &[], "user_info"),
            ("CONNECT", "127.0.0.1:443", &[], "host_is_address"),
            ("CONNECT", "[::1]:443", &[], "host_is_address"),
            ("CONNECT", "2130706433:443", &[], "host_is_address"),
            ("CONNECT", "[::ffff:169.254.169.254]:443", &[], "host_is_address"),
            ("CONNECT", "localhost:443", &[], "bad_host"),
            ("CONNECT", "a_b.example.com:443", &[], "bad_host"),
            (
                "GET",
                "http://api.example.com/",
                &[("host", "evil.test")],
                "host_header_mismatch",
            ),
            (
                "GET",
                "http://api.example.com/",
                &[("host", "api.example.com:8080")],
                "host_header_mismatch",
            ),
            (
                "GET",
                "http://api.example.com/",
                &[("host", "")],
                "host_header_mismatch",
            ),
            (
                "GET",
                "http://api.example.com/",
                &[("host", "api.example.com"), ("host", "evil.test")],
                "host_header_mismatch",
            ),
            (
                "CONNECT",
                "api.example.com:443",
                &[("host", "evil.test:443")],
                "host_header_mismatch",
            ),
            (
                "CONNECT",
                "api.example.com:443",
                &[("content-length", "5")],
                "connect_with_body",
            ),
            (
                "CONNECT",
                "api.example.com:443",
                &[("transfer-encoding", "chunked")],
                "connect_with_body",
            ),
        ] {
            assert_eq!(target_of(method, uri, headers), Err(expected), "{method} {uri}");
        }
    }

    proptest! {
        #[test]
        fn a_target_is_always_canonical(authority in "[a-zA-Z0-9.:@%\\[\\]_-]{1,40}", connect: bool) {
            let (method, uri) = if connect { ("CONNECT", authority) } else { ("GET", format!("http://{authority}/")) };
            let Ok(request) = Request::builder().method(method).uri(uri).body(()) else { return Ok(()) };
            if let Ok(Carriage::Tunnel(target) | Carriage::Exchange(target)) = Carriage::of(&request.into_parts().0) {
                prop_assert_eq!(target.host.as_str().parse(), Ok(target.host.clone()));
                prop_assert!(target.port != 0);
            }
        }
    }
}
