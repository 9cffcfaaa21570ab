//! URIs that rules can be relied on for.

/// Whether `uri` has one reading only, so that a pattern that fits its text fits what the server opens.
///
/// Refused: what has no lower-case scheme, an upper-case host, user information, `.` and `..` segments, empty segments
/// within the path, backslashes, control and other unseen characters, a fragment, and percent-encoding of anything
/// that need not be encoded or that means something in a path (`%2e`, `%2f`, `%5c`, `%00`, `%25`, letters, digits).
/// By text only: what the server makes of a name beyond this, links included, is not seen here.
pub(super) fn has_one_reading(uri: &str) -> bool {
    let Some((scheme, rest)) = uri.split_once(':') else {
        return false;
    };
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme
            .bytes()
            .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'+' | b'-' | b'.'));
    let unclear = |text: char| matches!(text, '\\' | '#' | ' ') || text.is_control();
    if !is_scheme || uri.contains(unclear) || crate::tools::hidden::find(uri).is_some() || !has_plain_escapes(rest) {
        return false;
    }
    let path = match rest.strip_prefix("//") {
        Some(hierarchy) => {
            let (authority, path) = hierarchy.split_at(hierarchy.find(['/', '?']).unwrap_or(hierarchy.len()));
            if authority.contains('@') || authority.bytes().any(|byte| byte.is_ascii_uppercase() || byte == b'%') {
                return false;
            }
            path
        }
        None => rest,
    };
    let path = path.split('?').next().unwrap_or(path);
    let path = path.strip_prefix('/').unwrap_or(path);
    let mut segments = path.split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        if matches!(segment, "." | "..")
            || (segment.is_empty() && !is_last)
            || crate::arguments::looks_like_dots(segment)
        {
            return false;
        }
    }
    true
}

/// Whether every `%` begins the encoding, in upper case, of a byte that must be encoded and means nothing in a path.
fn has_plain_escapes(text: &str) -> bool {
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        let Some(digits) = rest.get(at + 1..at + 3) else {
            return false;
        };
        let upper = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'A'..=b'F'));
        match u8::from_str_radix(digits, 16) {
            Ok(byte) if upper && !means_something(byte) => rest = &rest[at + 3..],
            _ => return false,
        }
    }
    true
}

/// Unreserved characters (RFC 3986 section 2.3), controls, and `%`, `/`, `\`, `:`, `?`, `#`.
const fn means_something(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~')
        || matches!(byte, 0..=0x1f | 0x7f | b'%' | b'/' | b'\\' | b':' | b'?' | b'#')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_that_can_be_read_in_two_ways_is_found_out() {
        for uri in [
            "file:///docs/../etc/passwd",
            "file:///docs/./a",
            "file:///docs/..",
            "file:///docs/%2e%2e/etc",
            "file:///docs/%2E%2E/etc",
            "file:///docs/%2fetc",
            "file:///docs/%252e",
            "file:///docs/%61",
            "file:///docs/%c3%a9",
            "file:///docs/%",
            "file:///docs/%4",
            "file:///docs/%zz",
            "file:///docs//etc",
            "file:////etc",
            "file:///docs\\..\\etc",
            "file:///docs/a%00.txt",
            "file:///docs/a\0",
            "file:///docs/a\u{200b}",
            "file:///docs/\u{ff0e}\u{ff0e}/etc",
            "file:///docs/\u{2025}/etc",
            "file:///docs/a#b",
            "FILE:///docs/a",
            "File:/docs/a",
            "file://HOST/docs",
            "https://user@host/a",
            "https://h%6fst/a",
            "docs/a",
            "",
            ":a",
            "file:/docs/ a",
        ] {
            assert!(!has_one_reading(uri), "{uri:?}");
        }
    }

    #[test]
    fn plain_uris_have_one_reading() {
        for uri in [
            "file:///docs/a.txt",
            "file:/docs/a.txt",
            "file:///docs/",
            "file:///docs/%C3%A9cran%20plat",
            "file:///docs/écran",
            "test://static-text",
            "test://template/1/data",
            "https://example.com",
            "https://example.com/a?b=c/../d",
            "urn:isbn:1",
            "postgres://db.example:5432/table/schema",
            "a:b/...",
        ] {
            assert!(has_one_reading(uri), "{uri:?}");
        }
    }
}
