//! Host names in one canonical form, and the patterns that rules are made of.

use idna::AsciiDenyList;
use idna::uts46::{DnsLength, Hyphens, Uts46};
use serde::{Deserialize, Serialize};
use std::{fmt, net::IpAddr, str::FromStr};

/// The longest host name in characters (RFC 1035 section 2.3.4, without the root's dot).
const LONGEST: usize = 253;

/// A fully qualified host name in canonical form: lower-case ASCII, international labels in Punycode (UTS #46), no
/// trailing dot, at least two labels, letters, digits and hyphens only, and nothing that a resolver or a URL parser
/// would read as an IP address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct HostName(String);

/// Which host names a rule is about.
///
/// `example.com` is that name alone. `*.example.com` is every name below it, at any depth, and not `example.com`
/// itself, as in ClusterNetworkPolicy's `domainNames`. A whole top-level domain cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum HostPattern {
    /// One name.
    Exact(HostName),
    /// Every name below one.
    Below(HostName),
}

/// Why a text is no host name or pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseHostError {
    /// An address.
    #[error("{0:?} is an IP address: allow addresses by a cidr rule, and call hosts by name")]
    Address(String),
    /// One label, or none.
    #[error("{0:?} has no domain: write the full name, as in api.example.com")]
    BareName(String),
    /// Odd bytes, empty or overlong labels, broken Punycode.
    #[error(
        "{0:?} is not a host name: it may have letters, digits, hyphens and dots, with labels of 1 to 63 characters, \
         253 in all"
    )]
    Malformed(String),
    /// A star elsewhere than as the first label.
    #[error("{0:?} has a * elsewhere than as its whole first label: write *.example.com, or list the names")]
    Star(String),
}

impl HostName {
    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this name lies below `parent`.
    pub fn is_below(&self, parent: &Self) -> bool {
        self.0
            .strip_suffix(parent.as_str())
            .is_some_and(|labels| labels.len() > 1 && labels.ends_with('.'))
    }
}

impl HostPattern {
    /// Whether the pattern is about `host`.
    pub fn fits(&self, host: &HostName) -> bool {
        match self {
            Self::Exact(name) => name == host,
            Self::Below(parent) => host.is_below(parent),
        }
    }

    /// The name, without the star.
    pub const fn name(&self) -> &HostName {
        match self {
            Self::Exact(name) | Self::Below(name) => name,
        }
    }
}

impl FromStr for HostName {
    type Err = ParseHostError;

    /// Canonicalises `text`. One trailing dot, the root's, is dropped.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || ParseHostError::Malformed(shortened(text));
        let rootless = text.strip_suffix('.').unwrap_or(text);
        if is_address(rootless) {
            return Err(ParseHostError::Address(shortened(text)));
        }
        // Bounds the work; canonical names only get shorter than this by mapping, never legitimately.
        if rootless.len() > 4 * LONGEST {
            return Err(malformed());
        }
        let name = Uts46::new()
            .to_ascii(
                rootless.as_bytes(),
                AsciiDenyList::STD3,
                Hyphens::CheckFirstLast,
                DnsLength::Verify,
            )
            .map_err(|_| malformed())?;
        // Mapping may have produced an address from full-width digits or other dots.
        if is_address(&name) {
            return Err(ParseHostError::Address(shortened(text)));
        }
        if !name.contains('.') {
            return Err(ParseHostError::BareName(shortened(text)));
        }
        Ok(Self(name.into_owned()))
    }
}

impl FromStr for HostPattern {
    type Err = ParseHostError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("*.") {
            Some(parent) if !parent.contains('*') => parent.parse().map(Self::Below).map_err(|error| match error {
                ParseHostError::BareName(_) => ParseHostError::BareName(shortened(text)),
                other => other,
            }),
            None if !text.contains('*') => text.parse().map(Self::Exact),
            _ => Err(ParseHostError::Star(shortened(text))),
        }
    }
}

/// Whether `text` is an IP address in any notation: an IPv6 literal, with or without brackets, or a name whose last
/// label is a number, which URL parsers read as an IPv4 address (WHATWG URL, "ends in a number").
fn is_address(text: &str) -> bool {
    let unbracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if unbracketed.unwrap_or(text).parse::<IpAddr>().is_ok() {
        return true;
    }
    let last = text.rsplit('.').next().unwrap_or_default();
    let hexadecimal = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    let decimal = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
    decimal || hexadecimal.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// The beginning of `text`, for messages.
fn shortened(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

impl TryFrom<String> for HostName {
    type Error = ParseHostError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<HostName> for String {
    fn from(host: HostName) -> Self {
        host.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl TryFrom<String> for HostPattern {
    type Error = ParseHostError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<HostPattern> for String {
    fn from(pattern: HostPattern) -> Self {
        pattern.to_string()
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => write!(formatter, "{name}"),
            Self::Below(parent) => write!(formatter, "*.{parent}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;
    use proptest::prelude::*;

    fn host(text: &str) -> HostName {
        text.parse().unwrap()
    }

    #[test]
    fn names_that_mean_the_same_have_one_form() {
        for (text, canonical) in [
            ("api.example.com", "api.example.com"),
            ("API.Example.COM", "api.example.com"),
            ("api.example.com.", "api.example.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER.example", "xn--bcher-kva.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("ｅxample.com", "example.com"),
            ("api。example.com", "api.example.com"),
            ("exam\u{ad}ple.com", "example.com"),
            ("a--b.example", "a--b.example"),
            ("1.example", "1.example"),
        ] {
            assert_eq!(host(text).as_str(), canonical, "{text}");
        }
    }

    #[test]
    fn addresses_in_any_notation_are_no_host_names() {
        for text in [
            "127.0.0.1",
            "127.0.0.1.",
            "127.1",
            "2130706433",
            "0x7f.1",
            "0x7f000001",
            "a.0x",
            "api.example.1",
            "::1",
            "[::1]",
            "[::ffff:169.254.169.254]",
            "１２７.0.0.1",
            "127。0。0。1",
        ] {
            assert!(
                matches!(text.parse::<HostName>(), Err(ParseHostError::Address(_))),
                "{text}"
            );
        }
    }

    #[test]
    fn odd_bytes_and_lengths_are_refused() {
        let long_label = format!("{}.example", "a".repeat(64));
        let long_name = format!("{}example.com", "a.".repeat(122));
        for text in [
            "",
            ".",
            "..",
            "a..example",
            ".example.com",
            "example.com..",
            "-a.example",
            "a-.example",
            "a_b.example",
            "a b.example",
            "a%62.example",
            "a/b.example",
            "a@b.example",
            "a:443",
            "a\0.example",
            "a\r\n.example",
            "xn--a.example",
            "xn--\u{fc}.example",
            "*.example.com",
            "[::1",
            "a.example]",
            "\u{200b}",
            &long_label,
            &long_name,
        ] {
            assert!(text.parse::<HostName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn bare_names_are_refused() {
        for text in ["localhost", "com", "kubernetes", "com."] {
            assert!(
                matches!(text.parse::<HostName>(), Err(ParseHostError::BareName(_))),
                "{text}"
            );
        }
        assert!(matches!(
            "*.com".parse::<HostPattern>(),
            Err(ParseHostError::BareName(_))
        ));
    }

    #[test]
    fn a_star_stands_only_first_and_alone() {
        for text in [
            "*",
            "*.",
            "a*.example.com",
            "*a.example.com",
            "a.*.example.com",
            "*.*.example.com",
            "**.example.com",
        ] {
            assert!(text.parse::<HostPattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_pattern_fits_names_below_at_any_depth_and_never_by_suffix_alone() {
        let below: HostPattern = "*.Example.com".parse().unwrap();
        assert_eq!(below.to_string(), "*.example.com");
        for (text, fits) in [
            ("a.example.com", true),
            ("a.b.example.com", true),
            ("example.com", false),
            ("badexample.com", false),
            ("a.example.com.evil.test", false),
        ] {
            assert_eq!(below.fits(&host(text)), fits, "{text}");
        }
        let exact: HostPattern = "example.com".parse().unwrap();
        assert!(exact.fits(&host("EXAMPLE.com.")) && !exact.fits(&host("a.example.com")));
    }

    proptest! {
        #[test]
        fn a_canonical_name_is_its_own_canonical_form(text in "\\PC{0,80}|[a-z0-9.-]{1,80}|[a-z]{1,5}\\.[a-z]{2,5}") {
            if let Ok(name) = text.parse::<HostName>() {
                prop_assert_eq!(&name.as_str().parse::<HostName>().unwrap(), &name);
                prop_assert!(name.as_str().len() <= LONGEST && name.as_str().contains('.'));
                prop_assert!(name.as_str().bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.')));
                prop_assert!(name.as_str().parse::<IpAddr>().is_err());
            }
        }
    }
}
