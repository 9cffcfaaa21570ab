//! The headers in which a modern request repeats parts of its body (MCP 2026-07-28, basic/transports/streamable-http).
//!
//! They are never believed; they must agree with the body, so that nobody on the way or behind it reads another request
//! than the one that was decided on.

use super::era::Era;
use super::message::Call;
use crate::headers::{MCP_METHOD, MCP_NAME, MCP_PARAM_PREFIX};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue};
use sallyport_policy::arguments::Arguments;
use sallyport_policy::tools::{Expected, MirroredArgument, says};
use std::borrow::Cow;

const PREFIX: &str = "=?base64?";
const SUFFIX: &str = "?=";

/// A header that does not say what the body says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MirrorError {
    /// Required in this era.
    #[error("the {0} header is missing: it must repeat the body")]
    Missing(&'static str),
    /// Another value than in the body.
    #[error("the {0} header differs from the body")]
    Differs(&'static str),
    /// The tool's definition asks for it, and the argument is there.
    #[error(
        "an Mcp-Param header is missing that the tool's definition asks for: list the tools again and repeat the argument"
    )]
    MissingArgument,
    /// Another value than the argument has.
    #[error("an Mcp-Param header differs from the argument that it repeats")]
    ArgumentDiffers,
    /// Not text, or base64 that does not decode.
    #[error("an Mcp-Param header is not valid text or base64")]
    Undecodable,
}

/// Whether the headers repeat what `call` says. In the legacy era they may be missing.
///
/// # Errors
///
/// The first that does not.
pub fn check(headers: &HeaderMap, era: Era, call: &Call) -> Result<(), MirrorError> {
    agree(headers.get(MCP_METHOD), era, "Mcp-Method", Some(&call.method))?;
    agree(headers.get(MCP_NAME), era, "Mcp-Name", call.mirrored_name())?;
    let params = headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with(MCP_PARAM_PREFIX));
    for (_, value) in params {
        decode(value).ok_or(MirrorError::Undecodable)?;
    }
    Ok(())
}

/// Whether the headers repeat those `arguments` that the tool's definition says are `mirrored`. In the legacy era they may
/// be missing. A header that no definition asks for means nothing here and is passed on.
///
/// # Errors
///
/// The first that does not.
pub fn check_arguments(
    headers: &HeaderMap,
    era: Era,
    mirrored: &[MirroredArgument],
    arguments: &Arguments,
) -> Result<(), MirrorError> {
    for argument in mirrored {
        let header = headers.get(format!("{MCP_PARAM_PREFIX}{}", argument.header));
        let agrees = match (header, argument.expected(arguments)) {
            (None, Expected::Value(_)) if era == Era::Modern => return Err(MirrorError::MissingArgument),
            (None, _) => true,
            (Some(header), Expected::Value(value)) => decode(header).is_some_and(|text| says(&text, value)),
            // Where the argument has no value, one of the header's would be believed by whoever routes by it.
            (Some(_), Expected::Nothing | Expected::Unsayable) => false,
        };
        if !agrees {
            return Err(MirrorError::ArgumentDiffers);
        }
    }
    Ok(())
}

fn agree(
    header: Option<&HeaderValue>,
    era: Era,
    name: &'static str,
    expected: Option<&str>,
) -> Result<(), MirrorError> {
    match (header.map(decode), expected) {
        (None, Some(_)) if era == Era::Modern => Err(MirrorError::Missing(name)),
        (None, _) => Ok(()),
        (Some(Some(value)), Some(expected)) if value == expected => Ok(()),
        // A name where the body has none would be believed by whoever routes by it.
        (Some(_), _) => Err(MirrorError::Differs(name)),
    }
}

/// The text that a header's value stands for; `None` when it is neither visible ASCII nor well-formed base64 of UTF-8.
pub fn decode(value: &HeaderValue) -> Option<Cow<'_, str>> {
    let text = value.to_str().ok()?;
    let Some(encoded) = text.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX)) else {
        return Some(Cow::Borrowed(text));
    };
    let bytes = STANDARD.decode(encoded).ok()?;
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::message::{self, Message};
    use pretty_assertions::assert_eq;
    use proptest::prelude::*;
    use sallyport_policy::tools::Tool;

    fn call(method: &str, params: &str) -> Call {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
        match message::parse(body.as_bytes(), 64).unwrap() {
            Message::Call(call) => *call,
            Message::Response(_) => panic!(),
        }
    }

    fn map(headers: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                http::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        map
    }

    fn verdict(era: Era, headers: &[(&str, &str)], method: &str, params: &str) -> Result<(), MirrorError> {
        check(&map(headers), era, &call(method, params))
    }

    #[test]
    fn method_and_name_are_repeated() {
        for (method, params, name) in [
            ("tools/call", r#"{"name":"echo"}"#, "echo"),
            ("prompts/get", r#"{"name":"p"}"#, "p"),
            ("resources/read", r#"{"uri":"file:///a"}"#, "file:///a"),
            ("tasks/cancel", r#"{"taskId":"t-1"}"#, "t-1"),
            ("tools/call", r#"{"name":"größe"}"#, "=?base64?Z3LDtsOfZQ==?="),
            ("tools/call", r#"{"name":"echo"}"#, "=?base64?ZWNobw==?="),
        ] {
            let good = [("mcp-method", method), ("mcp-name", name)];
            assert_eq!(verdict(Era::Modern, &good, method, params), Ok(()), "{method} {name}");
            assert_eq!(
                verdict(Era::Modern, &good[..1], method, params),
                Err(MirrorError::Missing("Mcp-Name"))
            );
            assert_eq!(
                verdict(Era::Modern, &good[1..], method, params),
                Err(MirrorError::Missing("Mcp-Method"))
            );
            assert_eq!(verdict(Era::Legacy, &[], method, params), Ok(()));
        }
    }

    #[test]
    fn a_header_that_says_something_else_is_found_in_both_eras() {
        for era in [Era::Legacy, Era::Modern] {
            for (headers, name) in [
                ([("mcp-method", "tools/list"), ("mcp-name", "echo")], "Mcp-Method"),
                ([("mcp-method", "TOOLS/CALL"), ("mcp-name", "echo")], "Mcp-Method"),
                ([("mcp-method", "tools/call"), ("mcp-name", "other")], "Mcp-Name"),
                ([("mcp-method", "tools/call"), ("mcp-name", "Echo")], "Mcp-Name"),
                (
                    [("mcp-method", "tools/call"), ("mcp-name", "=?base64?ZWNobw?=")],
                    "Mcp-Name",
                ),
                (
                    [("mcp-method", "tools/call"), ("mcp-name", "=?BASE64?ZWNobw==?=")],
                    "Mcp-Name",
                ),
                ([("mcp-method", "tools/call"), ("mcp-name", "echo\u{e9}")], "Mcp-Name"),
            ] {
                let verdict = verdict(era, &headers, "tools/call", r#"{"name":"echo"}"#);
                assert_eq!(verdict, Err(MirrorError::Differs(name)), "{headers:?}");
            }
            let stray = [("mcp-method", "tools/list"), ("mcp-name", "echo")];
            assert_eq!(
                verdict(era, &stray, "tools/list", "{}"),
                Err(MirrorError::Differs("Mcp-Name"))
            );
        }
    }

    #[test]
    fn parameter_headers_must_decode_and_only_whole_sentinels_are_base64() {
        let head = [("mcp-method", "tools/call"), ("mcp-name", "echo")];
        let with = |value: &'static str| {
            let mut headers = head.to_vec();
            headers.push(("mcp-param-region", value));
            verdict(Era::Modern, &headers, "tools/call", r#"{"name":"echo"}"#)
        };
        for good in ["eu", "", "=?base64?SGVsbG8=?=", "SGVsbG8=", "=?base64?SGVsbG8="] {
            assert_eq!(with(good), Ok(()), "{good}");
        }
        for bad in [
            "=?base64?SGVsbG8?=",
            "=?base64?SGVs!!!bG8=?=",
            "=?base64?/w==?=",
            "\u{e9}",
        ] {
            assert_eq!(with(bad), Err(MirrorError::Undecodable), "{bad}");
        }
    }

    /// How a client writes a text into a header.
    fn encoded(text: &str) -> String {
        let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~')) && text.trim() == text;
        let is_sentinel = text.starts_with(PREFIX) && text.ends_with(SUFFIX);
        if is_plain && !is_sentinel {
            text.to_owned()
        } else {
            format!("{PREFIX}{}{SUFFIX}", STANDARD.encode(text))
        }
    }

    /// The verdict on a call of a tool that has its argument `a` repeated in `Mcp-Param-A`.
    #[expect(
        clippy::unwrap_in_result,
        reason = "the verdict is the result; what comes before it cannot fail"
    )]
    fn repeated(era: Era, header: Option<&str>, arguments: &serde_json::Value) -> Result<(), MirrorError> {
        let definition = serde_json::json!({"name": "t", "inputSchema": {"type": "object", "properties": {
            "a": {"type": "string", "x-mcp-header": "A"}, "b": {"type": "string"},
        }}});
        let mirrored = Tool::read(&definition.to_string()).unwrap().mirrored;
        let raw = serde_json::value::to_raw_value(arguments).unwrap();
        let headers: Vec<_> = header.into_iter().map(|value| ("mcp-param-a", value)).collect();
        check_arguments(&map(&headers), era, &mirrored, &Arguments::parse(Some(&raw)).unwrap())
    }

    #[test]
    fn a_missing_parameter_header_is_missed_in_the_modern_era_and_a_stray_one_is_refused_in_both() {
        use serde_json::json;
        let there = json!({"a": "eu"});
        assert_eq!(repeated(Era::Modern, None, &there), Err(MirrorError::MissingArgument));
        assert_eq!(repeated(Era::Legacy, None, &there), Ok(()));
        for era in [Era::Legacy, Era::Modern] {
            assert_eq!(repeated(era, Some("us"), &there), Err(MirrorError::ArgumentDiffers));
            for absent in [json!({}), json!({"a": null}), json!({"b": "eu"})] {
                assert_eq!(repeated(era, None, &absent), Ok(()));
                assert_eq!(repeated(era, Some("eu"), &absent), Err(MirrorError::ArgumentDiffers));
            }
        }
    }

    #[test]
    fn a_header_that_no_definition_asks_for_means_nothing() {
        let headers = map(&[("mcp-param-other", "x")]);
        assert_eq!(
            check_arguments(&headers, Era::Modern, &[], &Arguments::default()),
            Ok(())
        );
    }

    fn value() -> impl Strategy<Value = serde_json::Value> {
        prop_oneof![
            "\\PC{0,12}".prop_map(Into::into),
            "[ -~\t\n]{0,12}".prop_map(Into::into),
            (-9_007_199_254_740_991_i64..=9_007_199_254_740_991).prop_map(Into::into),
            any::<bool>().prop_map(Into::into),
        ]
    }

    fn written(value: &serde_json::Value) -> String {
        encoded(&value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    }

    proptest! {
        #[test]
        fn what_a_client_repeats_agrees(value in value()) {
            let arguments = serde_json::json!({"a": value});
            prop_assert_eq!(repeated(Era::Modern, Some(&written(&value)), &arguments), Ok(()));
        }

        #[test]
        fn what_it_repeats_of_another_value_differs(value in value(), other in value()) {
            // The text "1" and the number 1 are one header: which of them it is, the body alone says.
            prop_assume!(written(&value) != written(&other));
            let arguments = serde_json::json!({"a": value});
            let verdict = repeated(Era::Modern, Some(&written(&other)), &arguments);
            prop_assert_eq!(verdict, Err(MirrorError::ArgumentDiffers));
        }

        #[test]
        fn what_is_encoded_decodes_to_itself(text in "\\PC{0,20}") {
            let encoded = format!("{PREFIX}{}{SUFFIX}", STANDARD.encode(&text));
            let encoded = HeaderValue::from_str(&encoded).unwrap();
            prop_assert_eq!(decode(&encoded).unwrap(), text);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let _ = decode(&value);
            }
        }
    }
}
