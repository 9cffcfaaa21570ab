//! Where the values of a JSON text are, byte for byte, and edits that leave all other bytes alone.

use bytes::Bytes;
use std::borrow::Cow;
use std::ops::Range;

/// A JSON text that is read without being rebuilt.
#[derive(Clone, Copy, Debug)]
pub struct Document<'a>(&'a str);

/// One value of a [`Document`] and where it is.
#[derive(Clone, Copy, Debug)]
pub struct Value<'a> {
    document: &'a str,
    start: usize,
    end: usize,
}

/// One member of an object.
#[derive(Clone, Debug)]
pub struct Member<'a> {
    /// Its name, unescaped.
    pub key: Cow<'a, str>,
    /// Where the name's opening quote is.
    key_start: usize,
    /// Its value.
    pub value: Value<'a>,
}

/// Why a text cannot be read or edited.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// RFC 8259 asks for it.
    #[error("the message is not UTF-8")]
    NotUtf8(#[from] std::str::Utf8Error),
    /// Not JSON, or a string with half a surrogate pair.
    #[error("the message is not JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    /// Two readers could believe different ones.
    #[error("the key {0:?} comes twice in one object")]
    DuplicateKey(String),
    /// Deeper than any call needs.
    #[error("the value is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// An exponent of more than nine digits.
    #[error("the number {0:?} is out of every range")]
    NumberOutOfRange(String),
    /// An edit of something else than what it is for.
    #[error("{0} is expected where the message has something else")]
    Unexpected(&'static str),
}

/// Deepest nesting that is read.
pub const MAX_DEPTH: usize = 128;

impl<'a> Document<'a> {
    /// Reads `bytes`, which must be one JSON value and nothing else.
    ///
    /// # Errors
    ///
    /// When they are not UTF-8 or not JSON.
    pub fn read(bytes: &'a [u8]) -> Result<Self, JsonError> {
        let text = std::str::from_utf8(bytes)?;
        serde_json::from_str::<serde::de::IgnoredAny>(text)?;
        Ok(Self(text))
    }

    /// The whole value.
    pub fn root(self) -> Value<'a> {
        let start = skip_whitespace(self.0.as_bytes(), 0);
        Value {
            document: self.0,
            start,
            end: value_end(self.0.as_bytes(), start),
        }
    }
}

impl<'a> Value<'a> {
    /// Its bytes as they are in the document.
    pub fn raw(&self) -> &'a str {
        &self.document[self.start..self.end]
    }

    /// Where it is in the document.
    pub const fn span(&self) -> Range<usize> {
        self.start..self.end
    }

    /// Whether it is an object.
    pub fn is_object(&self) -> bool {
        self.raw().starts_with('{')
    }

    /// The text of a string; `None` for any other value.
    ///
    /// # Errors
    ///
    /// When the string has half a surrogate pair.
    pub fn string(&self) -> Result<Option<Cow<'a, str>>, JsonError> {
        if !self.raw().starts_with('"') {
            return Ok(None);
        }
        unescape(self.raw()).map(Some)
    }

    /// The members of an object, in their order; none for any other value.
    ///
    /// # Errors
    ///
    /// When a key comes twice.
    pub fn members(&self) -> Result<Vec<Member<'a>>, JsonError> {
        let bytes = self.document.as_bytes();
        let mut members: Vec<Member<'a>> = Vec::new();
        if !self.is_object() {
            return Ok(members);
        }
        let mut seen = std::collections::BTreeSet::new();
        let mut at = skip_whitespace(bytes, self.start + 1);
        while at < self.end - 1 {
            let key_start = at;
            let key_end = string_end(bytes, at);
            let key = unescape(&self.document[key_start..key_end])?;
            let start = skip_whitespace(bytes, skip_whitespace(bytes, key_end) + 1);
            let value = Value {
                document: self.document,
                start,
                end: value_end(bytes, start),
            };
            if !seen.insert(key.clone()) {
                return Err(JsonError::DuplicateKey(key.into_owned()));
            }
            at = after_comma(bytes, value.end);
            members.push(Member { key, key_start, value });
        }
        Ok(members)
    }

    /// The elements of an array, in their order; none for any other value.
    pub fn elements(&self) -> impl Iterator<Item = Self> + use<'a> {
        let (document, bytes) = (self.document, self.document.as_bytes());
        // One by one: all of them at once would take many times what the text does.
        let end = if self.raw().starts_with('[') { self.end - 1 } else { 0 };
        let mut at = skip_whitespace(bytes, self.start + 1);
        std::iter::from_fn(move || {
            let element = Self {
                document,
                start: at,
                end: value_end(bytes, (at < end).then_some(at)?),
            };
            at = after_comma(bytes, element.end);
            Some(element)
        })
    }

    /// The member `key` of an object.
    ///
    /// # Errors
    ///
    /// When any key of the object comes twice.
    pub fn get(&self, key: &str) -> Result<Option<Self>, JsonError> {
        let members = self.members()?;
        Ok(members
            .into_iter()
            .find(|member| member.key == key)
            .map(|member| member.value))
    }

    /// The value that a path of keys leads to.
    ///
    /// # Errors
    ///
    /// When any key of an object on the way comes twice.
    pub fn at(&self, path: &[&str]) -> Result<Option<Self>, JsonError> {
        let mut value = *self;
        for key in path {
            match value.get(key)? {
                Some(next) => value = next,
                None => return Ok(None),
            }
        }
        Ok(Some(value))
    }
}

/// Changes to a text that leave every byte outside of them as it is. Changes do not overlap.
#[derive(Debug, Default)]
pub struct Edits(Vec<(Range<usize>, String)>);

impl Edits {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Replaces one string, quotes included, by another text.
    ///
    /// # Errors
    ///
    /// When `value` is not a string.
    pub fn replace_string(&mut self, value: &Value<'_>, text: &str) -> Result<(), JsonError> {
        if !value.raw().starts_with('"') {
            return Err(JsonError::Unexpected("a string"));
        }
        self.0.push((value.span(), serde_json::to_string(text)?));
        Ok(())
    }

    /// Removes the members of `object` that `keys` name, each with the comma that it needs no more.
    ///
    /// # Errors
    ///
    /// When any key of the object comes twice.
    pub fn remove_members(&mut self, object: &Value<'_>, keys: &[&str]) -> Result<(), JsonError> {
        let members = object.members()?;
        let goes = |member: &Member<'_>| keys.contains(&member.key.as_ref());
        for (index, member) in members.iter().enumerate().filter(|(_, member)| goes(member)) {
            // A member goes with the comma before it, unless it is the first: then with the one after it.
            let stays_before = members[..index].iter().rfind(|before| !goes(before));
            let span = match (stays_before, members.get(index + 1)) {
                (Some(_), _) => members[index - 1].value.end..member.value.end,
                (None, Some(next)) => member.key_start..next.key_start,
                (None, None) => member.key_start..member.value.end,
            };
            self.0.push((span, String::new()));
        }
        Ok(())
    }

    /// Adds a member with a string as its value as the first of `object`.
    ///
    /// # Errors
    ///
    /// When `object` is none.
    pub fn add_string(&mut self, object: &Value<'_>, key: &str, text: &str) -> Result<(), JsonError> {
        if !object.is_object() {
            return Err(JsonError::Unexpected("an object"));
        }
        let comma = if object.members()?.is_empty() { "" } else { "," };
        let member = format!(
            "{}:{}{comma}",
            serde_json::to_string(key)?,
            serde_json::to_string(text)?
        );
        self.0.push((object.start + 1..object.start + 1, member));
        Ok(())
    }

    /// `document`, with the changes made; the very same bytes when there are none.
    pub fn apply_to(self, document: &Bytes) -> Bytes {
        match std::str::from_utf8(document) {
            Ok(text) if !self.is_empty() => Bytes::from(self.apply(text)),
            _ => document.clone(),
        }
    }

    /// The text with the changes made.
    pub fn apply(mut self, document: &str) -> String {
        self.0.sort_by_key(|(span, _)| span.start);
        let mut edited = String::with_capacity(document.len() + 256);
        let mut at = 0;
        for (span, text) in &self.0 {
            edited.push_str(&document[at..span.start]);
            edited.push_str(text);
            at = span.end;
        }
        edited.push_str(&document[at..]);
        edited
    }
}

fn unescape(raw: &str) -> Result<Cow<'_, str>, JsonError> {
    let inner = &raw[1..raw.len() - 1];
    if inner.contains('\\') {
        Ok(Cow::Owned(serde_json::from_str(raw)?))
    } else {
        Ok(Cow::Borrowed(inner))
    }
}

// The four below run over a text that is known to be JSON; over any other they end at its end.

fn skip_whitespace(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

fn after_comma(bytes: &[u8], at: usize) -> usize {
    let at = skip_whitespace(bytes, at);
    if bytes.get(at) == Some(&b',') {
        skip_whitespace(bytes, at + 1)
    } else {
        at
    }
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn value_end(bytes: &[u8], start: usize) -> usize {
    match bytes.get(start) {
        Some(b'"') => string_end(bytes, start),
        Some(b'{' | b'[') => {
            let mut depth = 0_usize;
            let mut at = start;
            while let Some(byte) = bytes.get(at) {
                match byte {
                    b'"' => {
                        at = string_end(bytes, at);
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => {
                        depth -= 1;
                        if depth == 0 {
                            return at + 1;
                        }
                    }
                    _ => {}
                }
                at += 1;
            }
            bytes.len()
        }
        _ => {
            let mut at = start;
            while bytes
                .get(at)
                .is_some_and(|byte| !matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r'))
            {
                at += 1;
            }
            at
        }
    }
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
