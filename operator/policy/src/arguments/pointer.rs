//! Places in the arguments.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A place in the arguments: a JSON pointer (RFC 6901) in which the token `*` stands for every item of an array.
///
/// `/paths/*/name` is the member `name` of each item of the array `paths`. A member that is called `*` cannot be named.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Pointer(Vec<Token>);

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Token {
    /// To the member of an object, or to the item of an array with this number.
    Name(String),
    /// To every item of an array.
    Items,
}

/// Why a text is no pointer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParsePointerError {
    /// Does not begin with a slash.
    #[error("{0:?} is no place in the arguments: write it as a JSON pointer, as in /query or /paths/*")]
    Slash(String),
    /// A tilde that escapes nothing.
    #[error("{0:?} has a ~ that is followed by neither 0 nor 1: write ~0 for ~ and ~1 for /")]
    Escape(String),
}

impl Pointer {
    pub(super) fn tokens(&self) -> &[Token] {
        &self.0
    }
}

impl FromStr for Pointer {
    type Err = ParsePointerError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err(ParsePointerError::Slash(text.to_owned()));
        };
        let tokens = rest.split('/').map(|token| {
            let escapes = token.split('~').skip(1);
            if escapes.into_iter().any(|after| !after.starts_with(['0', '1'])) {
                Err(ParsePointerError::Escape(text.to_owned()))
            } else if token == "*" {
                Ok(Token::Items)
            } else {
                Ok(Token::Name(token.replace("~1", "/").replace("~0", "~")))
            }
        });
        tokens.collect::<Result<_, _>>().map(Self)
    }
}

impl TryFrom<String> for Pointer {
    type Error = ParsePointerError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Pointer> for String {
    fn from(pointer: Pointer) -> Self {
        pointer.to_string()
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|token| match token {
            Token::Items => formatter.write_str("/*"),
            Token::Name(name) => write!(formatter, "/{}", name.replace('~', "~0").replace('/', "~1")),
        })
    }
}
