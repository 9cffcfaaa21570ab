//! What a record holds.

use super::*;
use crate::otlp::SpanKind;
use pretty_assertions::assert_eq;
use sallyport_policy::{ArgumentsMode, Principal, PrincipalKind};
use serde_json::json;

const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

pub fn record() -> Record {
    let endpoint = Arc::new(EndpointIdentity {
        namespace: "team-a".into(),
        name: "demo".into(),
        uid: "u".into(),
    });
    let mut record = Record::open(endpoint, 3, "::ffff:10.244.0.7".parse().unwrap(), "POST", "/mcp");
    record.timestamp = "2026-11-21T05:06:07.08912Z".parse().unwrap();
    record.request_id = Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0001);
    record.trace_id = hex(record.request_id.as_bytes());
    record
}

fn call(arguments: ArgumentsMode) -> Record {
    let mut asked = Asked::default();
    asked.method("tools/call");
    asked.id("7");
    asked.protocol_version("2026-07-28");
    asked.era = Some(Era::Modern);
    asked.target = Some(Target::tool("echo"));
    let raw = r#"{"text":"hello","password":"hunter2"}"#;
    asked.arguments = Some(CallArguments::new(raw, arguments));
    asked.traceparent(TRACEPARENT);
    let mut record = record();
    record.asked(asked);
    record.outcome = Some(Outcome::Allowed);
    record.status = 200;
    record.latency_ms = 12;
    record.upstream.forwarded_after_ms = Some(2);
    record
}

fn json_of(record: &Record) -> Value {
    Value::Object(record.render(AuditFormat::Json).unwrap())
}

#[test]
fn a_record_without_message_has_only_what_is_known() {
    assert_eq!(
        json_of(&record()),
        json!({
            "kind": "audit",
            "version": 1,
            "event": "request",
            "timestamp": "2026-11-21T05:06:07.089Z",
            "requestId": "01990000-0000-7000-8000-000000000001",
            "traceId": "01990000000070008000000000000001",
            "endpoint": {"namespace": "team-a", "name": "demo", "uid": "u"},
            "policyGeneration": 3,
            "clientIp": "10.244.0.7",
            "httpMethod": "POST",
            "path": "/mcp",
            "status": 499,
            "upstream": {},
            "latencyMs": 0,
            "requestBytes": 0,
            "responseBytes": 0,
        })
    );
}

#[test]
fn a_call_says_what_it_asks_for_under_the_names_of_the_guide() {
    let json = json_of(&call(ArgumentsMode::Digest));
    assert_eq!(
        (
            &json["mcpMethod"],
            &json["toolName"],
            &json["era"],
            &json["jsonrpcId"],
            &json["argumentsBytes"]
        ),
        (
            &json!("tools/call"),
            &json!("echo"),
            &json!("modern"),
            &json!("7"),
            &json!(37)
        )
    );
    assert_eq!(
        json["argumentsSha256"], "fec1eda9ec486be25557560b94715e3742220f70c880842f7157107f89168bb9",
        "as `printf ... | sha256sum` says"
    );
    assert_eq!(json["traceId"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert!(json.get("arguments").is_none());
    assert!(!json.to_string().contains("hunter2"));
}

#[test]
fn the_endpoint_says_what_is_kept_of_arguments() {
    let redacted = json_of(&call(ArgumentsMode::Redacted));
    assert_eq!(redacted["arguments"], r#"{"password":"[redacted]","text":"hello"}"#);
    assert_eq!(redacted["argumentsRedacted"], 1);
    let full = json_of(&call(ArgumentsMode::Full));
    assert_eq!(full["arguments"], r#"{"text":"hello","password":"hunter2"}"#);
}

#[test]
fn kept_arguments_are_bounded_and_cut_between_characters() {
    let raw = format!(r#"{{"text":"{}"}}"#, "ä".repeat(20_000));
    for mode in [ArgumentsMode::Redacted, ArgumentsMode::Full] {
        let mut record = record();
        record.asked.arguments = Some(CallArguments::new(&raw, mode));
        let json = json_of(&record);
        assert!(json["arguments"].as_str().unwrap().len() <= 8192);
        assert_eq!(json["argumentsTruncated"], true);
        assert_eq!(json["argumentsBytes"], raw.len());
    }
}

#[test]
fn a_secret_is_not_cut_in_two_by_the_bound() {
    let raw = format!(
        r#"{{"text":"{} ghp_abcdefghijklmnopqrstuvwxyz0123456789"}}"#,
        "a".repeat(8160)
    );
    let mut record = record();
    record.asked.arguments = Some(CallArguments::new(&raw, ArgumentsMode::Redacted));
    assert!(!json_of(&record).to_string().contains("ghp_"));
}

#[test]
fn the_record_and_the_metric_name_an_outcome_alike() {
    for outcome in Outcome::ALL {
        assert_eq!(serde_json::to_value(outcome).unwrap(), json!(outcome.as_str()));
    }
}

#[test]
fn callers_cannot_make_records_large_or_put_credentials_into_names() {
    assert_eq!(CallerText::new("abc", 3).as_str(), "abc");
    assert_eq!(
        CallerText::new("abc", 2).as_str(),
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    let path = "/mcp/ghp_abcdefghijklmnopqrstuvwxyz0123456789";
    assert_eq!(CallerText::new(path, 512).as_str(), "/mcp/[redacted]");
    assert_eq!(Target::resource("file:///a?token=b#c").as_str(), "file:///a");
}

#[test]
fn who_calls_is_kept_without_the_credential() {
    let mut principal = Principal::anonymous();
    principal.kind = PrincipalKind::Jwt;
    principal.issuer = Some("https://issuer.example".into());
    principal.subject = Some("alice".into());
    principal.client = Some("agent".into());
    principal.scopes = ["tools:read".to_owned()].into();
    principal.claims = serde_json::from_value(json!({
        "aud": ["https://a.example/mcp"],
        "jti": "token-1",
        "act": {"sub": "planner", "act": {"sub": "scheduler"}},
    }))
    .unwrap();
    assert_eq!(
        serde_json::to_value(Caller::from(&principal)).unwrap(),
        json!({
            "kind": "jwt",
            "issuer": "https://issuer.example",
            "subject": "alice",
            "client": "agent",
            "audience": ["https://a.example/mcp"],
            "scopes": ["tools:read"],
            "actors": ["planner", "scheduler"],
            "tokenIdSha256": crate::text::hex_digest(b"token-1"),
        })
    );
}

#[test]
fn a_record_is_an_ocsf_event_of_class_6003() {
    let mut record = call(ArgumentsMode::Digest);
    record.caller = Some(Caller::from(&Principal {
        kind: PrincipalKind::ApiKey,
        subject: Some("alice".into()),
        credential: Some("k1".into()),
        ..Principal::anonymous()
    }));
    record.outcome = Some(Outcome::Denied);
    record.reason = Some("tool_not_allowed");
    let event = Value::Object(record.render(AuditFormat::Ocsf).unwrap());
    // Required by API Activity and by the base event.
    for required in [
        "activity_id",
        "category_uid",
        "class_uid",
        "severity_id",
        "time",
        "type_uid",
        "metadata",
        "actor",
        "api",
        "src_endpoint",
    ] {
        assert!(event.get(required).is_some(), "{required}");
    }
    assert_eq!(
        (
            &event["class_uid"],
            &event["category_uid"],
            &event["type_uid"],
            &event["time"]
        ),
        (&json!(6003), &json!(6), &json!(600_399), &json!(1_795_237_567_089_i64))
    );
    assert_eq!(
        (
            &event["action_id"],
            &event["disposition_id"],
            &event["status_id"],
            &event["status_detail"]
        ),
        (&json!(2), &json!(2), &json!(2), &json!("tool_not_allowed"))
    );
    assert_eq!(event["api"]["operation"], "tools/call");
    assert_eq!(event["api"]["request"]["uid"], "7");
    assert_eq!(event["actor"]["user"]["uid"], "alice");
    assert_eq!(event["actor"]["session"], json!({"credential_uid": "k1"}));
    assert_eq!(
        event["resources"],
        json!([{"name": "echo", "type": "tool", "namespace": "team-a"}])
    );
    assert_eq!(event["unmapped"]["outcome"], "denied");
    assert!(event["unmapped"]["argumentsSha256"].is_string());
    assert!(event["unmapped"].get("timestamp").is_none(), "said once");
}

#[test]
fn spans_hang_below_the_caller_s_and_are_named_by_the_conventions() {
    let mut record = call(ArgumentsMode::Digest);
    record.link = SpanContext::parse("00-11111111111111111111111111111111-2222222222222222-00");
    let telemetry = record.telemetry().unwrap();
    let [server, client] = telemetry.spans.as_slice() else {
        panic!("{:?}", telemetry.spans)
    };
    assert_eq!(
        (server.name.as_str(), server.kind),
        ("tools/call echo", SpanKind::Server)
    );
    assert_eq!(server.parent, SpanContext::parse(TRACEPARENT));
    assert_eq!(server.link, record.link);
    assert_eq!(server.context.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!((client.kind, client.parent), (SpanKind::Client, Some(server.context)));
    assert_eq!(client.context.trace_id(), server.context.trace_id());
    assert_eq!(server.end.duration_since(server.start).as_millis(), 12);
    assert_eq!(client.start.duration_since(server.start).as_millis(), 2);
    assert!(!server.failed && !client.failed);
    assert!(!telemetry.attributes.iter().any(|(name, _)| *name == "mcp.session.id"));
}

#[test]
fn only_the_server_s_own_faults_make_its_span_an_error() {
    for (code, server_fails) in [(-32603, true), (-32020, true), (-32602, false), (-31001, false)] {
        let mut record = call(ArgumentsMode::Digest);
        record.upstream.error_code = Some(code);
        let spans = record.telemetry().unwrap().spans;
        assert_eq!((spans[0].failed, spans[1].failed), (server_fails, true), "{code}");
    }
}

#[test]
fn a_stream_that_opens_has_no_span_yet() {
    let mut record = call(ArgumentsMode::Digest);
    record.event = Event::StreamOpen;
    assert!(record.telemetry().unwrap().spans.is_empty());
}
