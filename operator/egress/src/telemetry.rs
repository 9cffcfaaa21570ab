//! An event as collectors know it: under OpenTelemetry's names (semantic conventions for network attributes), and as Network
//! Activity (4001) of OCSF 1.8.0. What they have no name for stands under `sallyport`, or in `unmapped`.

use crate::event::{Event, Moment, Verdict};
use sallyport_audit::ocsf;
use sallyport_audit::otlp::{Attribute, Attributes, Telemetry};
use serde_json::{Map, Value, json};

const NETWORK_ACTIVITY: u32 = 4001;

/// Members of the own form that OCSF has no attribute for.
const UNMAPPED: [&str; 10] = [
    "kind",
    "event",
    "endpoint",
    "policy",
    "via",
    "refusedAddresses",
    "injected",
    "decision",
    "reason",
    "end",
];

/// The event as a log record. A connection is no span: nobody tells the gateway which call it belongs to.
pub fn of(event: &Event) -> Telemetry {
    let failed = matches!(event.moment, Moment::Refused | Moment::Failed);
    Telemetry {
        time: event.timestamp,
        event: format!("sallyport.egress.{}", event.moment.as_str()),
        warning: failed || event.decision != Verdict::Allowed,
        context: None,
        attributes: attributes(event),
        spans: Vec::new(),
    }
}

fn attributes(event: &Event) -> Attributes {
    let text = |value: &str| Attribute::Text(value.to_owned());
    let number = |value: u64| Attribute::Integer(i64::try_from(value).unwrap_or(i64::MAX));
    let optional = [
        ("sallyport.client.pod", event.client_pod.as_deref().map(text)),
        ("server.address", event.host.as_deref().map(text)),
        ("server.port", event.port.map(|port| number(port.into()))),
        ("network.peer.address", event.address.map(|ip| text(&ip.to_string()))),
        ("sallyport.decision.rule", event.rule.as_deref().map(text)),
        ("sallyport.decision.reason", event.reason.map(text)),
        ("sallyport.egress.end", event.end.map(text)),
    ];
    let always = [
        (
            "sallyport.connection.id",
            Attribute::Text(event.connection_id.to_string()),
        ),
        (
            "sallyport.endpoint",
            Attribute::Text(format!("{}/{}", event.endpoint.namespace, event.endpoint.name)),
        ),
        ("client.address", Attribute::Text(event.client_ip.to_string())),
        ("network.transport", text("tcp")),
        ("sallyport.egress.via", text(event.via.as_str())),
        ("sallyport.decision", text(event.decision.as_str())),
        ("sallyport.egress.bytes_sent", number(event.bytes_sent)),
        ("sallyport.egress.bytes_received", number(event.bytes_received)),
        ("sallyport.latency_ms", number(event.duration_ms)),
    ];
    let optional = optional.into_iter().filter_map(|(name, value)| Some((name, value?)));
    always.into_iter().chain(optional).collect()
}

/// The event as Network Activity. `own` is its own form.
pub fn network_activity(event: &Event, mut own: Map<String, Value>) -> Map<String, Value> {
    own.retain(|key, _| UNMAPPED.contains(&key.as_str()));
    let (activity, status, severity) = match (event.moment, event.decision) {
        (Moment::Open, Verdict::Allowed) => (1, 1, 1),
        (Moment::Open, _) => (1, 1, 2),
        (Moment::Close, _) => (2, 1, 1),
        (Moment::Failed, _) => (4, 2, 2),
        (Moment::Refused, _) => (5, 2, 3),
    };
    // What is only observed is logged (17); what failed after it was allowed is an error (27).
    let (action, disposition) = match (event.decision, event.moment) {
        (Verdict::Allowed, Moment::Failed) => (1, 27),
        (Verdict::Allowed, _) => (1, 1),
        (Verdict::Denied, _) => (2, 2),
        (Verdict::WouldDeny, _) => (3, 17),
    };
    let connection = event.connection_id.to_string();
    let mut activity = ocsf::event(NETWORK_ACTIVITY, activity, event.timestamp, severity, own);
    let mut set = |key: &str, value: Value| activity.insert(key.to_owned(), value);
    set(
        "metadata",
        ocsf::metadata(&json!(["security_control"]), Some(&connection)),
    );
    set("action_id", json!(action));
    set("disposition_id", json!(disposition));
    set("status_id", json!(status));
    if let Some(detail) = event.reason.or(event.end) {
        set("status_detail", json!(detail));
    }
    if let Some(rule) = &event.rule {
        set("firewall_rule", json!({"name": rule}));
    }
    set("duration", json!(event.duration_ms));
    // Outbound, TCP.
    set(
        "connection_info",
        json!({"uid": connection, "direction_id": 2, "protocol_num": 6, "protocol_name": "tcp"}),
    );
    set(
        "traffic",
        json!({
            "bytes_out": event.bytes_sent,
            "bytes_in": event.bytes_received,
            "bytes": event.bytes_sent.saturating_add(event.bytes_received),
        }),
    );
    set(
        "src_endpoint",
        named(&[("ip", json!(event.client_ip)), ("name", json!(event.client_pod))]),
    );
    let target = named(&[
        ("hostname", json!(event.host)),
        ("port", json!(event.port)),
        ("ip", json!(event.address)),
    ]);
    if target.as_object().is_some_and(|target| !target.is_empty()) {
        set("dst_endpoint", target);
    }
    activity
}

/// An object without members that are null.
fn named(members: &[(&str, Value)]) -> Value {
    let known = members.iter().filter(|(_, value)| !value.is_null());
    Value::Object(known.map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
}
