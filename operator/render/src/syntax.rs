//! The forms of names and texts that Kubernetes accepts. Pure predicates, no regular expressions.

/// A DNS label (RFC 1123): a-z, 0-9 and '-', 1 to 63 characters.
pub(crate) fn is_dns_label(text: &str) -> bool {
    text.len() <= 63 && is_dashed(text, |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit(), b"-")
}

/// A DNS subdomain (RFC 1123): labels joined by '.', at most 253 characters.
pub(crate) fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_label)
}

/// A label key: an optional DNS subdomain and '/', then a name.
pub(crate) fn is_label_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_dns_subdomain(prefix) && is_label_name(name),
        None => is_label_name(text),
    }
}

/// A label value: empty, or a name.
pub(crate) fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_label_name(text)
}

fn is_label_name(text: &str) -> bool {
    text.len() <= 63 && is_dashed(text, |byte| byte.is_ascii_alphanumeric(), b"-_.")
}

/// An image reference that is pinned by digest.
pub(crate) fn is_pinned_image(text: &str) -> bool {
    let name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/:".contains(&byte);
    text.len() <= 512
        && text.split_once("@sha256:").is_some_and(|(reference, digest)| {
            digest.len() == 64
                && digest
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
                && reference.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
                && reference.ends_with(|last: char| last.is_ascii_alphanumeric())
                && reference.bytes().all(name)
        })
}

/// An absolute directory without '.', '..' or empty parts.
pub(crate) fn is_absolute_dir(text: &str) -> bool {
    let part = |part: &str| {
        !matches!(part, "" | "." | "..")
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    text.len() <= 256 && text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(part))
}

/// The path of a URL without query, '..' or '//'.
pub(crate) fn is_url_path(text: &str) -> bool {
    is_url_path_of(text, 256)
}

/// As [`is_url_path`], of at most `longest` bytes.
pub(crate) fn is_url_path_of(text: &str, longest: usize) -> bool {
    let parts = text.len() <= longest && text.starts_with('/');
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    parts
        && text.bytes().all(allowed)
        && !text.contains("//")
        && text.split('/').all(|part| !matches!(part, "." | ".."))
}

/// The parts of an http or https URL without user, query and fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Url<'a> {
    /// Whether it is https.
    pub tls: bool,
    /// Host name or IPv4 address in lower case, or IPv6 address without its brackets.
    pub host: &'a str,
    /// Port, if it is written.
    pub port: Option<u16>,
    /// Everything from the first '/' on; empty if there is none.
    pub path: &'a str,
    authority: &'a str,
}

impl<'a> Url<'a> {
    /// Host and port as they are written.
    pub fn authority(&self) -> &'a str {
        self.authority
    }
}

/// Reads `https://host[:port][/path]`; `None` if it has any other part, or a host in upper case.
pub(crate) fn url(text: &str) -> Option<Url<'_>> {
    let (tls, rest) = match text.strip_prefix("https://") {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix("http://")?),
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, port.strip_prefix(':').or((!port.is_empty()).then_some("")))
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port = match port {
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(port.parse().ok().filter(|port| *port > 0)?)
        }
        Some(_) => return None,
        None => None,
    };
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.:".contains(&byte);
    let clean = !host.is_empty() && host.bytes().all(plain) && text.len() <= 512;
    let printable = |byte: u8| byte.is_ascii_graphic() && !b"?#\\\"<>@".contains(&byte);
    (clean && path.bytes().all(printable)).then_some(Url {
        tls,
        host,
        port,
        path,
        authority,
    })
}

/// An https URL that names an authorization server.
pub(crate) fn is_https_url(text: &str) -> bool {
    url(text).is_some_and(|url| url.tls)
}

/// The key of a Secret or ConfigMap.
pub(crate) fn is_data_key(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !text.is_empty() && text.len() <= 253 && text.bytes().all(allowed) && !matches!(text, "." | "..")
}

/// Name of an environment variable that every shell can read.
pub(crate) fn is_env_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= 128
        && !text.starts_with(|first: char| first.is_ascii_digit())
        && !text.is_empty()
        && text.bytes().all(inner)
}

/// Non-empty, starts and ends with a byte of the alphabet, `joiners` allowed in between.
fn is_dashed(text: &str, alphabet: impl Fn(u8) -> bool, joiners: &[u8]) -> bool {
    let bytes = text.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    ends.into_iter().all(|end| end.is_some_and(|&byte| alphabet(byte)))
        && bytes.iter().all(|&byte| alphabet(byte) || joiners.contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(predicate: fn(&str) -> bool, accepted: &[&str], refused: &[&str]) {
        for text in accepted {
            assert!(predicate(text), "{text:?} must be accepted");
        }
        for text in refused {
            assert!(!predicate(text), "{text:?} must be refused");
        }
    }

    #[test]
    fn names_are_read_as_kubernetes_reads_them() {
        holds(
            is_dns_label,
            &["a", "a-1", "0a"],
            &["", "-a", "a-", "A", "a.b", &"a".repeat(64)],
        );
        holds(is_dns_subdomain, &["a.b", "a"], &["", ".a", "a.", "a..b", "a/b"]);
        holds(
            is_label_key,
            &["app", "example.com/App_1"],
            &["", "/a", "a/", "a/b/c", "-a", &"a".repeat(64)],
        );
        holds(is_label_value, &["", "A.b-c_d"], &["-a", "a b", &"a".repeat(64)]);
        holds(is_env_name, &["A", "_a1"], &["", "1A", "A-B", "A=B"]);
    }

    #[test]
    fn only_a_digest_pins_an_image() {
        let digest = "a".repeat(64);
        let pinned = |name: &str| format!("{name}@sha256:{digest}");
        for name in ["a", "registry.example:5000/a/b", "registry.example/a:v1.2"] {
            assert!(is_pinned_image(&pinned(name)), "{name}");
        }
        for text in [
            "",
            "a",
            "a:latest",
            &pinned(""),
            &pinned("a b"),
            "a@sha256:aa",
            &format!("a@sha256:{}", "A".repeat(64)),
        ] {
            assert!(!is_pinned_image(text), "{text}");
        }
    }

    #[test]
    fn a_url_has_a_host_and_nothing_that_hides() {
        let read = |text| url(text).map(|url| (url.tls, url.host, url.port, url.path));
        assert_eq!(read("https://a.example/b"), Some((true, "a.example", None, "/b")));
        assert_eq!(read("http://10.0.0.1:4318"), Some((false, "10.0.0.1", Some(4318), "")));
        assert_eq!(
            read("http://[2001:db8::1]:1/"),
            Some((false, "2001:db8::1", Some(1), "/"))
        );
        for text in [
            "",
            "a.example",
            "ftp://a.example",
            "https://",
            "https://A.example",
            "https://a.example:0",
            "https://a.example:",
            "https://a.example:99999",
            "https://a@b.example",
            "https://a.example?b",
            "https://a.example/b#c",
            "https://a.example/b c",
            "https://[::1]x",
            "https://[a.example]",
        ] {
            assert_eq!(url(text), None, "{text}");
        }
    }

    #[test]
    fn paths_that_climb_are_refused() {
        holds(
            is_absolute_dir,
            &["/data", "/a/.b/c-d"],
            &["", "/", "data", "/a/", "/a//b", "/a/../b", "/a/.", "/a b"],
        );
        holds(
            is_url_path,
            &["/", "/mcp", "/a/b.c~d"],
            &["", "mcp", "/a//b", "/a/../b", "/a?b", "/a/..", "/a%2e"],
        );
    }
}
