//! Third stage: a strict view of the JSON-RPC message.
//!
//! The server's own parser may believe the first of two equal keys, the last, or one in another case. So a message on
//! which two parsers could disagree is refused, the view is read from the very bytes that are forwarded, and the
//! forwarded bytes are never written anew.

use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

/// Deepest nesting of objects and arrays.
const MAX_DEPTH: usize = 64;

/// Longest method and tool name in bytes; the specification's tool names end at 128.
const MAX_NAME: usize = 256;

/// Keys of the message and of its `params` that decide something, now or in a later stage. A key that differs from one
/// of these only in case is refused.
const DECISIVE_KEYS: [&str; 15] = [
    "jsonrpc",
    "id",
    "method",
    "params",
    "result",
    "error",
    "name",
    "arguments",
    "uri",
    "taskId",
    "cursor",
    "_meta",
    "inputResponses",
    "requestState",
    "notifications",
];

/// What a message says, as far as it decides something.
#[derive(Clone, Debug)]
pub enum Message {
    /// A request or, without `id`, a notification.
    Call {
        /// Exactly as sent.
        id: Option<Box<RawValue>>,
        /// At most 256 bytes.
        method: String,
        /// Of a `tools/call`.
        tool: Option<Tool>,
    },
    /// The answer to a request of the server (legacy era).
    Response,
}

/// What a `tools/call` calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tool {
    /// At most 256 bytes.
    pub name: String,
    /// The arguments as sent.
    pub arguments: Option<String>,
}

/// Why a body is not a message that can be decided on.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// Not JSON.
    #[error("the body is not JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    /// Not UTF-8, which RFC 8259 asks for.
    #[error("the body is not UTF-8")]
    NotUtf8(#[from] std::str::Utf8Error),
    /// Too deep.
    #[error("the message is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// A batch.
    #[error("JSON-RPC batches are not accepted: send each message in a request of its own")]
    Batch,
    /// A number, a string...
    #[error("the body must be one JSON-RPC object")]
    NotAnObject,
    /// The same key twice.
    #[error("a key comes twice in the message or its params")]
    DuplicateKey,
    /// `Method` beside or instead of `method`.
    #[error("a key differs from one of the protocol's only in case")]
    CaseVariantKey,
    /// An object, but not JSON-RPC 2.0.
    #[error("not a JSON-RPC 2.0 message: {0}")]
    Invalid(&'static str),
}

impl MessageError {
    /// The JSON-RPC code (JSON-RPC 2.0 section 5.1).
    pub const fn code(&self) -> i32 {
        match self {
            Self::NotJson(_) | Self::NotUtf8(_) => -32700,
            _ => -32600,
        }
    }

    /// One word for the record.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NotJson(_) | Self::NotUtf8(_) => "not_json",
            Self::TooDeep => "too_deep",
            Self::Batch => "batch",
            Self::NotAnObject => "not_an_object",
            Self::DuplicateKey => "duplicate_key",
            Self::CaseVariantKey => "case_variant_key",
            Self::Invalid(_) => "not_json_rpc",
        }
    }
}

impl Message {
    /// The method, unless it is a response.
    pub fn method(&self) -> Option<&str> {
        match self {
            Self::Call { method, .. } => Some(method),
            Self::Response => None,
        }
    }

    /// The tool that it calls, if it calls one.
    pub fn tool(&self) -> Option<&Tool> {
        match self {
            Self::Call { tool, .. } => tool.as_ref(),
            Self::Response => None,
        }
    }

    /// The `id` that an answer must carry, exactly as sent.
    pub fn id(&self) -> Option<&RawValue> {
        match self {
            Self::Call { id, .. } => id.as_deref(),
            Self::Response => None,
        }
    }
}

/// Reads one message.
///
/// # Errors
///
/// When two parsers could disagree about it, or when it is no JSON-RPC 2.0 message.
pub fn parse(body: &[u8]) -> Result<Message, MessageError> {
    let text = std::str::from_utf8(body)?;
    check_depth(text)?;
    match text.trim_start_matches([' ', '\t', '\n', '\r']).as_bytes().first() {
        Some(b'{') => {}
        Some(b'[') => {
            // A broken array is no batch.
            serde_json::from_str::<&RawValue>(text)?;
            return Err(MessageError::Batch);
        }
        _ => {
            serde_json::from_str::<&RawValue>(text)?;
            return Err(MessageError::NotAnObject);
        }
    }
    let root = Members::read(text)?;
    if root.string("jsonrpc").as_deref() != Some("2.0") {
        return Err(MessageError::Invalid("jsonrpc must be \"2.0\""));
    }
    let id = root.get("id");
    if id.is_some_and(|id| !is_id(id)) {
        return Err(MessageError::Invalid("id must be a string or an integer"));
    }
    let answers = root.get("result").is_some() || root.get("error").is_some();
    match (root.get("method"), answers) {
        (Some(_), false) => call(&root, id),
        (None, true) if id.is_some() => Ok(Message::Response),
        (Some(_), true) => Err(MessageError::Invalid("method stands beside result or error")),
        (None, true) => Err(MessageError::Invalid("a response needs the id that it answers")),
        (None, false) => Err(MessageError::Invalid("method is missing")),
    }
}

fn call(root: &Members<'_>, id: Option<&RawValue>) -> Result<Message, MessageError> {
    let method = root
        .string("method")
        .filter(|method| !method.is_empty() && method.len() <= MAX_NAME)
        .ok_or(MessageError::Invalid("method must be a string of 1 to 256 bytes"))?
        .into_owned();
    let params = match root.get("params") {
        None => None,
        Some(params) if params.get().starts_with('{') => Some(Members::read(params.get())?),
        Some(_) => return Err(MessageError::Invalid("params must be an object")),
    };
    let tool = if method == "tools/call" {
        let params = params.ok_or(MessageError::Invalid("tools/call needs params"))?;
        Some(tool(&params)?)
    } else {
        None
    };
    Ok(Message::Call {
        id: id.map(ToOwned::to_owned),
        method,
        tool,
    })
}

fn tool(params: &Members<'_>) -> Result<Tool, MessageError> {
    let name = params
        .string("name")
        .filter(|name| !name.is_empty() && name.len() <= MAX_NAME)
        .ok_or(MessageError::Invalid("params.name must be a string of 1 to 256 bytes"))?
        .into_owned();
    let arguments = params.get("arguments");
    if arguments.is_some_and(|arguments| !arguments.get().starts_with('{')) {
        return Err(MessageError::Invalid("params.arguments must be an object"));
    }
    Ok(Tool {
        name,
        arguments: arguments.map(|arguments| arguments.get().to_owned()),
    })
}

/// A string or an integer (MCP, basic, "Requests"; null is not allowed there).
fn is_id(id: &RawValue) -> bool {
    let text = id.get();
    let integer = || {
        let digits = text.strip_prefix('-').unwrap_or(text);
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    text.starts_with('"') || integer()
}

/// Counts brackets outside of strings. Runs before any parser that recurses.
fn check_depth(text: &str) -> Result<(), MessageError> {
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    for byte in text.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(MessageError::TooDeep);
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// The members of one object, each key once, each value as it was sent.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    fn read(text: &'a str) -> Result<Self, MessageError> {
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let members = deserializer.deserialize_map(MembersVisitor)?;
        deserializer.end()?;
        let mut seen = BTreeSet::new();
        for (key, _) in &members {
            if !seen.insert(key.as_ref()) {
                return Err(MessageError::DuplicateKey);
            }
            if is_case_variant(key) {
                return Err(MessageError::CaseVariantKey);
            }
        }
        Ok(Self(members))
    }

    fn get(&self, key: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| *value)
    }

    fn string(&self, key: &str) -> Option<Cow<'a, str>> {
        serde_json::from_str(self.get(key)?.get()).ok().map(|Text(text)| text)
    }
}

/// Upper case first: it is what folds U+017F and U+212A, which Go's `encoding/json` takes for `s` and `k`.
fn is_case_variant(key: &str) -> bool {
    if DECISIVE_KEYS.contains(&key) {
        return false;
    }
    let folded: String = key
        .chars()
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .collect();
    DECISIVE_KEYS
        .iter()
        .any(|decisive| decisive.eq_ignore_ascii_case(&folded))
}

/// A JSON string, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((Text(key), value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
            if members.len() == MAX_MEMBERS {
                return Err(A::Error::custom("an object has more than 1024 members"));
            }
            members.push((key, value));
        }
        Ok(members)
    }
}

/// Most members of the message and of its params.
const MAX_MEMBERS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;
    use proptest::prelude::*;

    fn reason(body: &str) -> &'static str {
        match parse(body.as_bytes()) {
            Ok(_) => "accepted",
            Err(error) => error.reason(),
        }
    }

    #[test]
    fn a_tool_call_is_seen_with_its_arguments_as_sent() {
        let body =
            br#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"echo","arguments":{ "b":1,"a":2 }}}"#;
        let message = parse(body).unwrap();
        assert_eq!(message.method(), Some("tools/call"));
        assert_eq!(message.id().map(RawValue::get), Some("\"a\""));
        assert_eq!(
            message.tool(),
            Some(&Tool {
                name: "echo".into(),
                arguments: Some(r#"{ "b":1,"a":2 }"#.to_owned()),
            })
        );
    }

    #[test]
    fn escapes_in_keys_and_names_are_read() {
        let body = r#"{"jsonrpc":"2.0","id":1,"\u006dethod":"tools\/call","params":{"name":"\u0065cho"}}"#;
        let message = parse(body.as_bytes()).unwrap();
        assert_eq!(message.tool().map(|tool| tool.name.as_str()), Some("echo"));
    }

    #[test]
    fn what_mcp_sends_is_accepted() {
        for body in [
            r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":-7,"method":"tools/list","params":{}}"#,
            r#" {"jsonrpc":"2.0","id":1,"result":{"content":[]}} "#,
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"no"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","_meta":{"progressToken":1}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"y":[{"a":{"Name":1}}]}}"#,
        ] {
            assert_eq!(reason(body), "accepted", "{body}");
        }
    }

    #[test]
    fn what_two_parsers_could_read_differently_is_refused() {
        for (body, expected) in [
            (r#"{"jsonrpc":"2.0","id":1,"method":"a","method":"b"}"#, "duplicate_key"),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"a","\u006dethod":"b"}"#,
                "duplicate_key",
            ),
            (r#"{"jsonrpc":"2.0","id":1,"method":"a","x":1,"x":2}"#, "duplicate_key"),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","name":"b"}}"#,
                "duplicate_key",
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"a","Method":"b"}"#,
                "case_variant_key",
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","Name":"b"}}"#,
                "case_variant_key",
            ),
            (
                "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\",\"param\u{17f}\":{}}",
                "case_variant_key",
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"TaskID":1}}"#,
                "case_variant_key",
            ),
            (r#"[{"jsonrpc":"2.0","id":1,"method":"a"}]"#, "batch"),
            ("[]", "batch"),
            ("[", "not_json"),
            ("", "not_json"),
            ("\u{feff}{}", "not_json"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"a"} {}"#, "not_json"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"a",}"#, "not_json"),
            (r#"{"jsonrpc":"2.0","id":1,"method":NaN}"#, "not_json"),
            ("null", "not_an_object"),
            ("7", "not_an_object"),
            (r#"{"id":1,"method":"a"}"#, "not_json_rpc"),
            (r#"{"jsonrpc":"1.0","id":1,"method":"a"}"#, "not_json_rpc"),
            (r#"{"jsonrpc":"2.0","id":null,"method":"a"}"#, "not_json_rpc"),
            (r#"{"jsonrpc":"2.0","id":1.5,"method":"a"}"#, "not_json_rpc"),
            (r#"{"jsonrpc":"2.0","id":{},"method":"a"}"#, "not_json_rpc"),
            (r#"{"jsonrpc":"2.0","id":1}"#, "not_json_rpc"),
            (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, "not_json_rpc"),
            (r#"{"jsonrpc":"2.0","id":1,"method":""}"#, "not_json_rpc"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"a","result":{}}"#, "not_json_rpc"),
            (r#"{"jsonrpc":"2.0","result":{}}"#, "not_json_rpc"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"a","params":[1]}"#, "not_json_rpc"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#, "not_json_rpc"),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}"#,
                "not_json_rpc",
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":["a"]}}"#,
                "not_json_rpc",
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":[]}}"#,
                "not_json_rpc",
            ),
        ] {
            assert_eq!(reason(body), expected, "{body}");
        }
        assert_eq!(
            parse(b"{\"jsonrpc\":\"2.0\",\"method\":\"\xff\"}")
                .unwrap_err()
                .reason(),
            "not_json"
        );
    }

    #[test]
    fn nesting_ends_at_64_levels_and_brackets_in_strings_do_not_count() {
        let nested = |levels: usize| {
            let (open, close) = ("[".repeat(levels), "]".repeat(levels));
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"a","params":{{"x":{open}{close}}}}}"#)
        };
        assert_eq!(reason(&nested(62)), "accepted");
        assert_eq!(reason(&nested(63)), "too_deep");
        assert_eq!(reason(&nested(100_000)), "too_deep");
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"a","params":{{"x":"\"{}"}}}}"#,
            "[".repeat(200)
        );
        assert_eq!(reason(&text), "accepted");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&body);
        }

        #[test]
        fn what_is_accepted_is_read_alike_by_another_parser(
            keys in proptest::collection::vec("(jsonrpc|id|method|params|name|arguments|Method|x)", 0..6),
            values in proptest::collection::vec(r#"("2\.0"|1|"tools/call"|\{"name":"a"\}|\{\}|null)"#, 6),
        ) {
            let members: Vec<String> = keys.iter().zip(&values).map(|(key, value)| format!("\"{key}\":{value}")).collect();
            let body = format!("{{\"jsonrpc\":\"2.0\",{}}}", members.join(",")).replace(",}", "}");
            if let Ok(message) = parse(body.as_bytes()) {
                let value: serde_json::Value = serde_json::from_str(&body).unwrap();
                prop_assert_eq!(message.method(), value["method"].as_str());
                prop_assert_eq!(message.tool().map(|tool| tool.name.as_str()), message.tool().and(value["params"]["name"].as_str()));
            }
        }
    }
}
