//! One JSON-RPC message as a line (MCP, transports, "stdio"), and the few edits that telling callers apart takes.
//!
//! An edit replaces one value in the text and leaves every other byte.

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// Key of the request that a notification belongs to, in `params._meta` (MCP 2026-07-28, subscriptions).
pub const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// Why a line or a body is no message.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Not UTF-8.
    #[error("the message is not UTF-8")]
    NotUtf8(#[from] std::str::Utf8Error),
    /// Not one JSON object, each key once.
    #[error("the message is not one JSON object with each key once")]
    NotAnObject(#[source] serde_json::Error),
    /// An object, but not JSON-RPC 2.0.
    #[error("the message is no JSON-RPC 2.0 request, notification or response")]
    NotJsonRpc,
}

/// What a message is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Wants an answer that carries `id`, which is kept as it was written.
    Request {
        /// JSON text of the id.
        id: String,
        /// What is asked for.
        method: String,
    },
    /// Wants none.
    Notification {
        /// What is told.
        method: String,
    },
    /// Answers the request `id`.
    Response {
        /// JSON text of the id.
        id: String,
    },
}

/// One message, without line breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    text: String,
    kind: Kind,
}

impl Frame {
    /// Reads a message. Line breaks between tokens, which a line cannot hold, become spaces.
    ///
    /// # Errors
    ///
    /// See [`FrameError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, FrameError> {
        let text = std::str::from_utf8(bytes)?.trim().replace(['\n', '\r'], " ");
        let members: Members<'_> = serde_json::from_str(&text).map_err(FrameError::NotAnObject)?;
        if members.string("jsonrpc").as_deref() != Some("2.0") {
            return Err(FrameError::NotJsonRpc);
        }
        let id = members.get("id").map(|id| id.get().to_owned());
        let answers = members.get("result").is_some() != members.get("error").is_some();
        let kind = match (members.get("method"), id, answers) {
            (Some(_), id, false) => {
                let method = members.string("method").ok_or(FrameError::NotJsonRpc)?.into_owned();
                match id {
                    Some(id) => Kind::Request { id, method },
                    None => Kind::Notification { method },
                }
            }
            (None, Some(id), true) => Kind::Response { id },
            _ => return Err(FrameError::NotJsonRpc),
        };
        Ok(Self { text, kind })
    }

    /// What it is.
    pub const fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The message, in one line.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// JSON text of the value at `path`.
    pub fn value(&self, path: &[&str]) -> Option<&str> {
        let mut text = self.text.as_str();
        for key in path {
            text = serde_json::from_str::<Members<'_>>(text).ok()?.get(key)?.get();
        }
        Some(text)
    }

    /// The message with the JSON text `value` at `path`, or as it is where there is no such path.
    #[must_use]
    pub fn with(&self, path: &[&str], value: &str) -> String {
        let Some(old) = self.value(path) else {
            return self.text.clone();
        };
        // `old` is a part of `text`.
        let start = old.as_ptr() as usize - self.text.as_ptr() as usize;
        let (before, rest) = self.text.split_at(start);
        format!("{before}{value}{}", &rest[old.len()..])
    }
}

/// An error response to the request `id`.
pub fn error(id: &str, code: i32, message: &str) -> String {
    let message = serde_json::Value::from(message);
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":{message}}}}}"#)
}

/// The members of one object, each key once, each value as it was written.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    fn get(&self, key: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| *value)
    }

    fn string(&self, key: &str) -> Option<Cow<'a, str>> {
        serde_json::from_str(self.get(key)?.get()).ok().map(|Text(text)| text)
    }
}

/// A JSON string, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::new();
                while let Some((Text(key), value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    if members.iter().any(|(known, _)| *known == key) {
                        return Err(A::Error::custom("a key comes twice"));
                    }
                    if members.len() == MAX_MEMBERS {
                        return Err(A::Error::custom("an object has too many members"));
                    }
                    members.push((key, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Read)
    }
}

/// Most members of an object on the way to what is read or edited.
const MAX_MEMBERS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;
    use proptest::prelude::*;

    fn parse(text: &str) -> Frame {
        Frame::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn messages_are_told_apart() {
        let request = Kind::Request {
            id: "\"a\"".into(),
            method: "tools/call".into(),
        };
        assert_eq!(
            *parse(r#"{"jsonrpc":"2.0","id":"a","method":"tools\/call"}"#).kind(),
            request
        );
        let notification = Kind::Notification { method: "n".into() };
        assert_eq!(*parse(r#"{"jsonrpc":"2.0","method":"n"}"#).kind(), notification);
        assert_eq!(
            *parse(r#"{"jsonrpc":"2.0","id":7,"result":{}}"#).kind(),
            Kind::Response { id: "7".into() }
        );
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for text in [
            "",
            "Listening on port 3000",
            "[]",
            r#"[{"jsonrpc":"2.0","method":"n"}]"#,
            r#"{"jsonrpc":"2.0"}"#,
            r#"{"jsonrpc":"1.0","method":"n"}"#,
            r#"{"jsonrpc":"2.0","method":7}"#,
            r#"{"jsonrpc":"2.0","result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"a","result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"a"}"#,
            r#"{"jsonrpc":"2.0","method":"n"} {}"#,
        ] {
            assert!(Frame::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Frame::parse(b"{\"jsonrpc\":\"2.0\",\"method\":\"\xff\"}").is_err());
    }

    #[test]
    fn an_edit_changes_one_value_and_no_other_byte() {
        let text =
            r#"{ "jsonrpc":"2.0", "id" : 1 ,"method":"m","params":{"x":[1.0, "id"],"_meta":{"progressToken":"t"}}}"#;
        let frame = parse(text);
        assert_eq!(frame.with(&["id"], "77"), text.replace(": 1 ", ": 77 "));
        assert_eq!(
            frame.with(&["params", "_meta", "progressToken"], "77"),
            text.replace("\"t\"", "77")
        );
        assert_eq!(frame.with(&["params", "absent"], "77"), text);
        assert_eq!(frame.value(&["params", "_meta", "progressToken"]), Some("\"t\""));
    }

    #[test]
    fn line_breaks_between_tokens_go_and_those_in_strings_stay_escaped() {
        let frame = parse("{\n \"jsonrpc\":\"2.0\",\r\n\"method\":\"n\",\"params\":{\"text\":\"a\\nb\"}}\n");
        assert!(!frame.text().contains(['\n', '\r']), "{}", frame.text());
        assert_eq!(frame.value(&["params", "text"]), Some("\"a\\nb\""));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Frame::parse(&bytes);
        }

        #[test]
        fn an_edited_message_is_read_as_edited(id in "[a-z]{1,8}", text in "\\PC{0,40}") {
            let original = serde_json::json!({"jsonrpc": "2.0", "id": id, "method": "m", "params": {"text": text}});
            let edited = parse(&original.to_string()).with(&["id"], "42");
            let mut expected = original;
            expected["id"] = 42.into();
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&edited).unwrap(), expected);
        }
    }
}
