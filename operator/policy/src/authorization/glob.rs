//! Patterns of names.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The longest pattern in bytes.
const LONGEST: usize = 512;

/// A pattern of names: `*` stands for any text, the empty one and `/` included; everything else stands for itself.
///
/// Case counts. There is no escape, no `?` and no character class: what can be written can be read at a glance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Glob(String);

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseGlobError {
    /// Nothing.
    #[error("a pattern is empty: write * for every name")]
    Empty,
    /// Too much.
    #[error("a pattern has more than {LONGEST} bytes: shorten it with *")]
    TooLong,
    /// Characters that nobody sees.
    #[error("the pattern {0:?} has characters that cannot be seen: type it anew")]
    Hidden(String),
}

impl Glob {
    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the pattern fits every name.
    pub fn is_any(&self) -> bool {
        self.0.bytes().all(|byte| byte == b'*')
    }

    /// Whether the pattern fits `name`. Takes at most time proportional to the product of both lengths.
    pub fn fits(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut p, mut n) = (0, 0);
        // The last star met and the place in the name up to which it stands.
        let mut star: Option<(usize, usize)> = None;
        while n < name.len() {
            if pattern.get(p) == Some(&b'*') {
                star = Some((p, n));
                p += 1;
            } else if pattern.get(p) == Some(&name[n]) {
                p += 1;
                n += 1;
            } else if let Some((at, until)) = star {
                star = Some((at, until + 1));
                p = at + 1;
                n = until + 1;
            } else {
                return false;
            }
        }
        pattern[p..].iter().all(|&byte| byte == b'*')
    }
}

impl FromStr for Glob {
    type Err = ParseGlobError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            Err(ParseGlobError::Empty)
        } else if text.len() > LONGEST {
            Err(ParseGlobError::TooLong)
        } else if crate::tools::hidden::find(text).is_some() {
            Err(ParseGlobError::Hidden(text.to_owned()))
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

impl TryFrom<String> for Glob {
    type Error = ParseGlobError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Glob> for String {
    fn from(glob: Glob) -> Self {
        glob.0
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_star_stands_for_any_text_and_everything_else_for_itself() {
        for (pattern, name, fits) in [
            ("*", "", true),
            ("*", "a/b", true),
            ("**", "a", true),
            ("read_*", "read_", true),
            ("read_*", "read_file", true),
            ("read_*", "Read_file", false),
            ("read_*", "xread_file", false),
            ("*_file", "read_file", true),
            ("*_file", "read_file2", false),
            ("r*d*e", "read_file", true),
            ("r*d*e", "read_filer", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("file:///docs/*", "file:///docs/a/b", true),
            ("file:///docs/*", "file:///docsx", false),
            ("r?ad", "read", false),
            ("[rw]ead", "read", false),
            ("r.*d", "read", false),
            ("é*", "écran", true),
        ] {
            assert_eq!(pattern.parse::<Glob>().unwrap().fits(name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_that_cannot_be_read_is_refused() {
        assert_eq!("".parse::<Glob>(), Err(ParseGlobError::Empty));
        assert_eq!("a".repeat(513).parse::<Glob>(), Err(ParseGlobError::TooLong));
        for text in ["read\u{200b}", "a\0", "a\u{202e}b", "\u{e0041}"] {
            assert!(
                matches!(text.parse::<Glob>(), Err(ParseGlobError::Hidden(_))),
                "{text:?}"
            );
        }
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let pattern: Glob = format!("{}b", "a*".repeat(200)).parse().unwrap();
        assert!(!pattern.fits(&"a".repeat(20_000)));
    }

    fn fits_slowly(pattern: &[u8], name: &[u8]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), None) => fits_slowly(rest, name),
            (Some((b'*', rest)), Some((_, tail))) => fits_slowly(rest, name) || fits_slowly(pattern, tail),
            (Some((p, rest)), Some((n, tail))) => p == n && fits_slowly(rest, tail),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn the_fast_answer_is_the_plain_one(pattern in "[ab*]{1,8}", name in "[ab]{0,8}") {
            let glob: Glob = pattern.parse().unwrap();
            prop_assert_eq!(glob.fits(&name), fits_slowly(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
