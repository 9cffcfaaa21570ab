//! Records as OCSF 1.8.0 has them, and what other programs' events begin with: a request as API Activity (6003), what the journal says of itself as Application
//! Lifecycle (6002) or Application Error (6008). What OCSF has no attribute for stands in `unmapped` under the names of the
//! own form, as does the whole place in the chain.

use crate::record::{Outcome, Record, Target};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// Of the schema that these events keep to.
const VERSION: &str = "1.8.0";

const LIFECYCLE: u32 = 6002;
const API_ACTIVITY: u32 = 6003;
const ERROR: u32 = 6008;

/// Members of the own form that OCSF has no attribute for.
const UNMAPPED: [&str; 23] = [
    "event",
    "endpoint",
    "policyGeneration",
    "era",
    "protocolVersion",
    "argumentsSha256",
    "argumentsBytes",
    "arguments",
    "argumentsRedacted",
    "argumentsTruncated",
    "taskSha256",
    "requestStateSha256",
    "clientInfo",
    "rule",
    "outcome",
    "requiredScopes",
    "confirmation",
    "pin",
    "upstream",
    "closedBy",
    "caller",
    "latencyMs",
    "kind",
];

/// A request. `own` is its own form.
pub(crate) fn api_activity(record: &Record, mut own: Map<String, Value>) -> Map<String, Value> {
    own.retain(|key, _| UNMAPPED.contains(&key.as_str()));
    let activity = activity(record);
    let (action, disposition, status, severity) = verdict(record.outcome);
    let mut event = self::event(API_ACTIVITY, activity, record.timestamp, severity, own);
    let mut set = |key: &str, value: Value| event.insert(key.to_owned(), value);
    set(
        "metadata",
        metadata(
            &json!(["ai_operation", "security_control", "trace"]),
            Some(&record.request_id.to_string()),
        ),
    );
    set("action_id", json!(action));
    set("disposition_id", json!(disposition));
    set("status_id", json!(status));
    if let Some(outcome) = record.outcome {
        set("status_detail", json!(record.reason.unwrap_or(outcome.as_str())));
    }
    set("status_code", json!(record.status.to_string()));
    set("actor", actor(record));
    set("api", api(record));
    set("resources", resources(record));
    set("src_endpoint", json!({"ip": record.client_ip}));
    set(
        "dst_endpoint",
        json!({"name": format!("{}/{}", record.endpoint.namespace, record.endpoint.name), "uid": record.endpoint.uid}),
    );
    set(
        "http_request",
        json!({
            "http_method": record.http_method,
            "url": {"path": record.path},
            "body_length": record.request_bytes,
        }),
    );
    set(
        "http_response",
        json!({"code": record.status, "latency": record.latency_ms, "body_length": record.response_bytes}),
    );
    set("trace", json!({"uid": record.trace_id}));
    // The caller's credential stands for an agent; tools answer in the role that MCP gives them.
    if let Some(client) = record.caller.as_ref().and_then(|caller| caller.client.as_ref()) {
        set("ai_agent", json!({"uid": client, "type_id": 0}));
    }
    set(
        "message_context",
        json!({"ai_role_id": 3, "service": {"name": record.endpoint.name, "uid": record.endpoint.uid}}),
    );
    event
}

/// What the journal says of itself. `own` is its own form.
pub(crate) fn lifecycle(kind: &str, time: Timestamp, own: Map<String, Value>) -> Map<String, Value> {
    let (class, activity, severity) = match kind {
        "chain_start" => (LIFECYCLE, 3, 1),
        "chain_end" => (LIFECYCLE, 4, 1),
        _ => (ERROR, 1, 4),
    };
    let message = format!("audit: {kind}");
    let mut event = self::event(class, activity, time, severity, own);
    event.insert("metadata".to_owned(), metadata(&json!([]), None));
    event.insert("message".to_owned(), json!(message));
    if class == LIFECYCLE {
        event.insert(
            "app".to_owned(),
            json!({"name": "sallyport", "vendor_name": "Sallyport"}),
        );
    }
    event
}

/// What every event of `class` has. Members of its `own` form that OCSF has no attribute for are `unmapped`.
pub fn event(class: u32, activity: u32, time: Timestamp, severity: u32, own: Map<String, Value>) -> Map<String, Value> {
    let members = [
        // Of a category's classes, the thousands are the category (OCSF, "Attribute Enum: class_uid").
        ("category_uid", json!(class / 1000)),
        ("class_uid", json!(class)),
        ("activity_id", json!(activity)),
        ("type_uid", json!(class * 100 + activity)),
        ("time", json!(time.as_millisecond())),
        ("severity_id", json!(severity)),
        ("unmapped", Value::Object(own)),
    ];
    members
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

/// Who says so, and by which profiles; `uid` is the same in all events of one request or connection.
pub fn metadata(profiles: &Value, uid: Option<&str>) -> Value {
    let mut metadata = json!({
        "version": VERSION,
        "product": {"name": "Sallyport", "vendor_name": "Sallyport", "version": env!("CARGO_PKG_VERSION")},
        "profiles": profiles,
    });
    if let (Some(uid), Some(metadata)) = (uid, metadata.as_object_mut()) {
        metadata.insert("correlation_uid".to_owned(), json!(uid));
    }
    metadata
}

/// Create, Read, Update, Delete or Other, by the method.
fn activity(record: &Record) -> u32 {
    const READ: u32 = 2;
    const DELETE: u32 = 4;
    const OTHER: u32 = 99;
    match record.asked.mcp_method.as_ref().map(ToString::to_string).as_deref() {
        Some(method) if method.ends_with("/list") || method.ends_with("/get") || method.ends_with("/read") => READ,
        None if record.http_method.as_str() == "DELETE" => DELETE,
        None if record.http_method.as_str() == "GET" => READ,
        Some(_) | None => OTHER,
    }
}

/// `action_id`, `disposition_id`, `status_id` and `severity_id`.
const fn verdict(outcome: Option<Outcome>) -> (u32, u32, u32, u32) {
    const ALLOWED: u32 = 1;
    const DENIED: u32 = 2;
    match outcome {
        // A stream that has opened.
        None | Some(Outcome::Allowed) => (ALLOWED, 1, 1, 1),
        Some(Outcome::Confirmed) => (ALLOWED, 8, 1, 1),
        Some(Outcome::ConfirmationRequired) => (DENIED, 23, 2, 1),
        Some(Outcome::Unauthenticated) => (DENIED, 26, 2, 2),
        Some(Outcome::Denied) => (DENIED, 2, 2, 3),
        Some(Outcome::Limited) => (DENIED, 25, 2, 2),
        Some(Outcome::Malformed | Outcome::TooLarge) => (DENIED, 25, 2, 3),
        Some(Outcome::UpstreamFailed | Outcome::TimedOut) => (ALLOWED, 27, 2, 2),
        Some(Outcome::ClientGone | Outcome::Drained) => (ALLOWED, 99, 99, 1),
    }
}

fn actor(record: &Record) -> Value {
    let mut actor = Map::new();
    match &record.caller {
        Some(caller) => {
            let user = json!({"uid": caller.subject, "type_id": 1, "groups": groups(caller)});
            if caller.subject.is_some() {
                actor.insert("user".to_owned(), user);
            }
            actor.insert("app_uid".to_owned(), json!(caller.client));
            actor.insert(
                "session".to_owned(),
                json!({"uid": record.session_id, "issuer": caller.issuer, "credential_uid": caller.credential}),
            );
            actor.insert("app_name".to_owned(), json!(caller.kind));
        }
        // An actor must have something; who calls is not known.
        None => {
            actor.insert("app_name".to_owned(), json!("unknown"));
        }
    }
    prune(Value::Object(actor))
}

fn groups(caller: &crate::record::Caller) -> Value {
    let role = |role| json!({"name": role, "type": "role"});
    Value::Array(caller.roles.iter().map(role).collect())
}

fn api(record: &Record) -> Value {
    let operation = match &record.asked.mcp_method {
        Some(method) => method.as_str(),
        None => record.http_method.as_str(),
    };
    let uid = match &record.asked.jsonrpc_id {
        Some(id) => id.to_string(),
        None => record.request_id.to_string(),
    };
    prune(json!({
        "operation": operation,
        "service": {"name": record.endpoint.name, "uid": record.endpoint.uid},
        "version": record.asked.protocol_version,
        "request": {"uid": uid},
        "response": {
            "code": record.status,
            "error": record.upstream.error_code.map(|code| code.to_string()),
            "error_message": record.reason,
        },
    }))
}

fn resources(record: &Record) -> Value {
    let kind = match &record.asked.target {
        Some(Target::Tool(_)) => "tool",
        Some(Target::Prompt(_)) => "prompt",
        Some(Target::Resource(_)) => "resource",
        None => return json!([]),
    };
    let name = record.asked.target.as_ref().map(Target::as_str);
    json!([{"name": name, "type": kind, "namespace": record.endpoint.namespace}])
}

/// Without members that are null or empty, which OCSF has no place for.
fn prune(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let members = members.into_iter().map(|(key, value)| (key, prune(value)));
            Value::Object(members.filter(|(_, value)| !is_nothing(value)).collect())
        }
        other => other,
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}
