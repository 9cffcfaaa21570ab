//! Which `Host` and `Origin` a request may carry.
//!
//! A browser that was lured to a rebound name sends that name as `Host` and its page's origin as `Origin`; the MCP
//! specification (transports, "Security Warning") asks servers to refuse both. Absent `Origin` means: not a browser.

/// A host name or address with an optional port, as in the `Host` header (RFC 9110 section 7.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    host: String,
    port: Option<u16>,
}

impl Authority {
    /// Reads `host[:port]`; host names are case-insensitive and lose one trailing dot. `None` when it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = split_port(text)?;
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let bracketed = host.starts_with('[') && host.ends_with(']') && host.len() > 2;
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        let inside = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
        let fits = if bracketed {
            host[1..host.len() - 1].bytes().all(inside)
        } else {
            !host.is_empty() && host.bytes().all(valid)
        };
        fits.then_some(Self { host, port })
    }

    fn fits(&self, allowed: &Self) -> bool {
        self.host == allowed.host && (allowed.port.is_none() || self.port == allowed.port)
    }
}

fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    let port_at = match text.rfind(']') {
        Some(end) => text[end..].find(':').map(|at| end + at),
        None => text.rfind(':'),
    };
    match port_at {
        None => Some((text, None)),
        Some(at) => {
            let port = &text[at + 1..];
            let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
            digits
                .then(|| port.parse().ok())
                .flatten()
                .map(|port| (&text[..at], Some(port)))
        }
    }
}

/// Whether `host`, the value of a `Host` header, is one of `allowed`.
pub fn allows_host(allowed: &[String], host: &str) -> bool {
    let Some(host) = Authority::parse(host) else {
        return false;
    };
    allowed
        .iter()
        .filter_map(|text| Authority::parse(text))
        .any(|allowed| host.fits(&allowed))
}

/// Whether `origin`, the value of an `Origin` header, is one of `allowed`, with scheme, host and port equal.
///
/// An empty list refuses every origin, `null` included.
pub fn allows_origin(allowed: &[String], origin: &str) -> bool {
    let Some(origin) = parse_origin(origin) else {
        return false;
    };
    allowed
        .iter()
        .filter_map(|text| parse_origin(text))
        .any(|allowed| allowed == origin)
}

/// Scheme, host and effective port of an origin (RFC 6454 section 4).
fn parse_origin(text: &str) -> Option<(String, String, u16)> {
    let (scheme, rest) = text.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let default_port = match scheme.as_str() {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let authority = Authority::parse(rest)?;
    Some((scheme, authority.host, authority.port.unwrap_or(default_port)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(items: &[&str]) -> Vec<String> {
        items.iter().map(|&item| item.to_owned()).collect()
    }

    #[test]
    fn a_host_fits_by_name_whatever_its_case_and_port() {
        let allowed = list(&["demo.team-a.svc"]);
        for host in ["demo.team-a.svc", "DEMO.team-a.svc:8080", "demo.team-a.svc."] {
            assert!(allows_host(&allowed, host), "{host}");
        }
    }

    #[test]
    fn a_host_that_only_looks_alike_is_refused() {
        let allowed = list(&["demo.team-a.svc", "127.0.0.1:8080", "[::1]"]);
        for host in [
            "evil.example",
            "demo.team-a.svc.evil.example",
            "demo.team-a.svc@evil.example",
            "demo.team-a.svc:",
            "demo.team-a.svc:80:80",
            "demo.team-a.svc:99999",
            "127.0.0.1:9090",
            "127.0.0.1",
            "",
            "[::2]",
            "demo.team-a.svc/x",
        ] {
            assert!(!allows_host(&allowed, host), "{host}");
        }
        assert!(allows_host(&allowed, "[::1]:8080"));
    }

    #[test]
    fn an_origin_fits_only_with_scheme_host_and_port() {
        let allowed = list(&["https://app.example"]);
        assert!(allows_origin(&allowed, "https://app.example:443"));
        for origin in [
            "http://app.example",
            "https://app.example:8443",
            "null",
            "https://app.example.evil",
            "app.example",
        ] {
            assert!(!allows_origin(&allowed, origin), "{origin}");
        }
    }

    #[test]
    fn an_empty_list_refuses_every_origin() {
        assert!(!allows_origin(&[], "https://app.example"));
        assert!(!allows_origin(&[], "null"));
    }

    proptest! {
        #[test]
        fn no_text_panics_and_only_the_listed_host_passes(text in ".*") {
            let passes = allows_host(&["only.example".to_owned()], &text);
            let host = text.to_ascii_lowercase();
            prop_assert!(!passes || host.starts_with("only.example"));
            let _ = allows_origin(&[], &text);
        }
    }
}
