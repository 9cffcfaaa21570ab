//! Paths that stay inside directories, by their text.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A directory that paths may lie in: absolute, or `.` for the directory that the server runs in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct PathRoot(String);

/// Why a text is no root.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no directory that paths can be kept in: write an absolute path in plain form, as in /data/in, or .")]
pub struct PathRootError(String);

impl PathRoot {
    /// Whether `path` lies in this directory or is it.
    ///
    /// Refused, wherever they stand: `.` and `..` segments, in ASCII or in characters that decompose to dots; empty
    /// segments; backslashes and characters that look like slashes; control and unseen characters; percent-encoded
    /// bytes; in a relative path a `~` at the beginning and a colon in the first segment; segments that end with a dot or a space, or begin
    /// with a space. By text only: links are not followed.
    pub fn holds(&self, path: &str) -> bool {
        let within = match self.0.as_str() {
            "." => return path == "." || is_plain_relative(path),
            "/" => path.strip_prefix('/'),
            root => path
                .strip_prefix(root)
                .and_then(|rest| rest.strip_prefix('/').or((rest.is_empty()).then_some(""))),
        };
        within.is_some_and(|rest| rest.is_empty() || is_plain(rest))
    }
}

/// Whether `path` is made of plain segments, and begins with none that names a home directory, a drive or a scheme.
fn is_plain_relative(path: &str) -> bool {
    let first = path.split('/').next().unwrap_or_default();
    is_plain(path) && !first.starts_with('~') && !first.contains(':')
}

/// Whether `path`, without the slash that it may begin with, is made of plain segments. One slash may end it.
fn is_plain(path: &str) -> bool {
    let path = path.strip_suffix('/').unwrap_or(path);
    let clear = !path.contains(|text| matches!(text, '\\' | '\u{7f}') || text.is_control() || is_slash_like(text));
    clear && crate::tools::hidden::find(path).is_none() && !has_escape(path) && path.split('/').all(is_plain_segment)
}

fn is_plain_segment(segment: &str) -> bool {
    !segment.is_empty() && !segment.starts_with(' ') && !segment.ends_with(['.', ' ']) && !looks_like_dots(segment)
}

/// Whether `segment` has characters that decompose to dots (NFKC), or is of dots alone.
pub(crate) fn looks_like_dots(segment: &str) -> bool {
    let dotty = |text| {
        matches!(
            text,
            '\u{2024}' | '\u{2025}' | '\u{fe30}' | '\u{fe52}' | '\u{ff0e}' | '\u{3002}' | '\u{ff61}'
        )
    };
    matches!(segment, "." | "..") || segment.contains(dotty)
}

/// Characters that decompose to `/` or `\`, alone or among others (NFKC), or that look the same.
const fn is_slash_like(text: char) -> bool {
    matches!(
        text,
        '\u{2044}'
            | '\u{2215}'
            | '\u{2216}'
            | '\u{29f5}'
            | '\u{29f8}'
            | '\u{29f9}'
            | '\u{fe68}'
            | '\u{ff0f}'
            | '\u{ff3c}'
            | '\u{2100}'
            | '\u{2101}'
            | '\u{2105}'
            | '\u{2106}'
    )
}

/// Whether a percent sign begins an encoded byte.
fn has_escape(path: &str) -> bool {
    path.split('%').skip(1).any(|after| {
        let digits = after.as_bytes();
        digits.len() >= 2 && digits[0].is_ascii_hexdigit() && digits[1].is_ascii_hexdigit()
    })
}

impl FromStr for PathRoot {
    type Err = PathRootError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let inner = text.strip_prefix('/');
        if matches!(text, "." | "/") || inner.is_some_and(|inner| !inner.ends_with('/') && is_plain(inner)) {
            Ok(Self(text.to_owned()))
        } else {
            Err(PathRootError(text.to_owned()))
        }
    }
}

impl TryFrom<String> for PathRoot {
    type Error = PathRootError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<PathRoot> for String {
    fn from(root: PathRoot) -> Self {
        root.0
    }
}

impl fmt::Display for PathRoot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn root(text: &str) -> PathRoot {
        text.parse().unwrap()
    }

    #[test]
    fn a_path_stays_inside_its_root() {
        let data = root("/data/in");
        for path in [
            "/data/in",
            "/data/in/",
            "/data/in/a.txt",
            "/data/in/a/b/",
            "/data/in/..a",
            "/data/in/a..b",
            "/data/in/é",
            "/data/in/50%",
            "/data/in/a:b",
        ] {
            assert!(data.holds(path), "{path:?}");
        }
        for path in [
            "",
            "/",
            "/data",
            "/data/input",
            "/data/in2/a",
            "data/in/a",
            "/Data/in/a",
            "/data/in/../out",
            "/data/in/..",
            "/data/in/./a",
            "/data/in//a",
            "//data/in/a",
            "/data/in/a/../../..",
            "/data/in/..\\out",
            "/data/in/a\\..\\b",
            "/data/in/%2e%2e/out",
            "/data/in/%2E%2E/out",
            "/data/in/..%2fout",
            "/data/in/%252e",
            "/data/in/a\0.txt",
            "/data/in/a\n",
            "/data/in/\u{ff0e}\u{ff0e}/out",
            "/data/in/\u{2025}/out",
            "/data/in/\u{2024}\u{2024}/out",
            "/data/in/a\u{2215}b",
            "/data/in/a\u{ff0f}..\u{ff0f}b",
            "/data/in/a\u{ff3c}b",
            "/data/in/.\u{200b}./out",
            "/data/in/\u{202e}a",
            "/data/in/... ",
            "/data/in/.. /out",
            "/data/in/. ./out/.",
            "/data/in/.../out",
            "/data/in/ ..",
            "/data/in/a.",
            "file:///data/in/a",
            "~/data/in/a",
            " /data/in/a",
            "C:/data/in/a",
            "\\\\host\\data\\in",
        ] {
            assert!(!data.holds(path), "{path:?}");
        }
    }

    #[test]
    fn relative_paths_are_held_by_the_dot_alone() {
        for (path, held) in [
            ("a/b.txt", true),
            (".", true),
            (".git/config", true),
            ("../a", false),
            ("a/../../b", false),
            ("/etc/passwd", false),
            ("~root", false),
            ("C:a", false),
            ("file:a", false),
            ("", false),
        ] {
            assert_eq!(root(".").holds(path), held, "{path}");
            assert!(!root("/data").holds(path), "{path}");
        }
        assert!(root("/").holds("/etc/passwd") && root("/").holds("/") && !root("/").holds("/../etc"));
    }

    #[test]
    fn a_root_is_written_in_plain_form() {
        for text in [
            "",
            "data",
            "./data",
            "/data/",
            "/data/../etc",
            "//",
            "/data//in",
            "~",
            "/a\\b",
            "/%41",
        ] {
            assert!(text.parse::<PathRoot>().is_err(), "{text:?}");
        }
    }

    proptest! {
        /// Resolved as POSIX does, without links, a path that is held lies under the root.
        #[test]
        fn a_path_that_is_held_resolves_to_one_under_the_root(path in "(/|a|in|data|\\.|%2e|\\\\|~| ){0,12}") {
            if root("/data/in").holds(&path) {
                let mut resolved: Vec<&str> = vec![];
                for segment in path.split('/') {
                    match segment {
                        "" | "." => {}
                        ".." => { resolved.pop(); }
                        name => resolved.push(name),
                    }
                }
                prop_assert!(path.starts_with('/'));
                prop_assert_eq!(&resolved[..2], &["data", "in"]);
            }
        }
    }
}
