use super::*;
use pretty_assertions::assert_eq;
use proptest::prelude::*;

fn reason(body: &str) -> &'static str {
    let complete = |message| match &message {
        Message::Call(call) => call.require_target(),
        Message::Response(_) => Ok(()),
    };
    match parse(body.as_bytes(), 64).and_then(complete) {
        Ok(()) => "accepted",
        Err(error) => error.reason(),
    }
}

fn call(body: &str) -> Call {
    match parse(body.as_bytes(), 64).unwrap() {
        Message::Call(call) => *call,
        Message::Response(_) => panic!("{body}"),
    }
}

#[test]
fn a_tool_call_is_seen_with_its_arguments_as_sent() {
    let call = call(
        r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"echo","arguments":{ "b":1,"a":2 }}}"#,
    );
    assert_eq!(call.method, "tools/call");
    assert_eq!(call.id.as_deref().map(RawValue::get), Some("\"a\""));
    assert_eq!(call.name.as_deref(), Some("echo"));
    assert_eq!(call.arguments.as_deref().map(RawValue::get), Some(r#"{ "b":1,"a":2 }"#));
}

#[test]
fn what_later_stages_decide_on_is_seen() {
    let call = call(
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","requestState":"s","inputResponses":{"q":{"action":"accept"}},
        "_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"elicitation":{}},
        "io.modelcontextprotocol/clientInfo":{"name":"c","version":"1"},"io.modelcontextprotocol/related-task":{"taskId":"t"},"traceparent":"00-a-b-01"}}}"#,
    );
    assert_eq!(call.request_state.as_deref(), Some("s"));
    assert_eq!(call.meta.protocol_version.as_deref(), Some("2026-07-28"));
    assert_eq!(
        call.meta.client_capabilities.as_deref().map(RawValue::get),
        Some(r#"{"elicitation":{}}"#)
    );
    assert_eq!(call.meta.related_task.as_deref(), Some("t"));
    assert_eq!(
        call.client_info,
        Some(ClientInfo {
            name: "c".into(),
            version: "1".into()
        })
    );
}

#[test]
fn what_a_method_is_called_on_is_seen() {
    let of = |method: &str, params: &str| {
        call(&format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#
        ))
    };
    assert_eq!(
        of("resources/read", r#"{"uri":"file:///a"}"#).mirrored_name(),
        Some("file:///a")
    );
    assert_eq!(of("tasks/get", r#"{"taskId":"t"}"#).mirrored_name(), Some("t"));
    assert_eq!(of("tools/list", r#"{"cursor":"c"}"#).mirrored_name(), None);
    assert_eq!(
        of(
            "completion/complete",
            r#"{"ref":{"type":"ref/resource","uri":"u"},"argument":{}}"#
        )
        .reference,
        Some(Reference::Resource("u".into()))
    );
    assert_eq!(
        of("subscriptions/listen", r#"{"notifications":{"taskIds":["a","b"]}}"#).task_ids,
        ["a", "b"]
    );
}

#[test]
fn escapes_in_keys_and_names_are_read() {
    let body = r#"{"jsonrpc":"2.0","id":1,"\u006dethod":"tools\/call","params":{"name":"\u0065cho"}}"#;
    assert_eq!(call(body).name.as_deref(), Some("echo"));
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
        parse(b"{\"jsonrpc\":\"2.0\",\"method\":\"\xff\"}", 64)
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
        let _ = parse(&body, 64);
    }

    #[test]
    fn what_is_accepted_is_read_alike_by_another_parser(
        keys in proptest::collection::vec("(jsonrpc|id|method|params|name|arguments|Method|x)", 0..6),
        values in proptest::collection::vec(r#"("2\.0"|1|"tools/call"|\{"name":"a"\}|\{\}|null)"#, 6),
    ) {
        let members: Vec<String> = keys.iter().zip(&values).map(|(key, value)| format!("\"{key}\":{value}")).collect();
        let body = format!("{{\"jsonrpc\":\"2.0\",{}}}", members.join(",")).replace(",}", "}");
        if let Ok(Message::Call(call)) = parse(body.as_bytes(), 64) {
            let value: serde_json::Value = serde_json::from_str(&body).unwrap();
            prop_assert_eq!(Some(call.method.as_str()), value["method"].as_str());
            prop_assert_eq!(call.name.as_deref(), value["params"]["name"].as_str());
        }
    }
}
