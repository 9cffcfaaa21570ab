//! A record under OpenTelemetry's names (semantic conventions for MCP, GenAI, JSON-RPC and HTTP). What they have no name for
//! stands under `sallyport`.

use super::{Confirmation, Era, Event, Outcome, Record, Target};
use crate::otlp::{Attribute, Attributes, Span, SpanContext, SpanKind, Telemetry};
use crate::text::CallerText;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

/// The record as a log record and, once the request has ended, as spans.
pub(super) fn of(record: &Record) -> Telemetry {
    let attributes = attributes(record);
    let server = server_context(record);
    let mut spans = Vec::new();
    if record.event != Event::StreamOpen
        && let Some(context) = server
    {
        spans.push(server_span(record, context, attributes.clone()));
        spans.extend(client_span(record, context));
    }
    Telemetry {
        time: record.timestamp,
        event: format!("sallyport.audit.{}", record.event.as_str()),
        warning: record.outcome.is_some_and(|outcome| !passed(outcome)),
        context: server,
        attributes,
        spans,
    }
}

const fn passed(outcome: Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Allowed | Outcome::Confirmed | Outcome::ConfirmationRequired
    )
}

/// The request's own span: in the caller's trace, or in one that has the request's identifier.
fn server_context(record: &Record) -> Option<SpanContext> {
    let id = record.request_id.as_bytes();
    let mut span_id = [0; 8];
    // The random half of the identifier.
    span_id.copy_from_slice(id.get(8..16)?);
    match record.asked.parent {
        Some(parent) => Some(parent.sibling(span_id)),
        None => SpanContext::new(*id, span_id),
    }
}

fn server_span(record: &Record, context: SpanContext, mut attributes: Attributes) -> Span {
    let error = error_type(record);
    if let Some(error) = &error {
        attributes.push(("error.type", Attribute::Text(error.clone())));
    }
    Span {
        name: name(record),
        kind: SpanKind::Server,
        context,
        parent: record.asked.parent,
        link: record.link,
        start: record.timestamp,
        end: after(record.timestamp, record.latency_ms),
        attributes,
        failed: is_servers_fault(record),
    }
}

/// The way to the server, if the request took it.
fn client_span(record: &Record, server: SpanContext) -> Option<Span> {
    let start = after(record.timestamp, record.upstream.forwarded_after_ms?);
    let digest = Sha256::digest(record.request_id.as_bytes());
    let mut span_id = [0; 8];
    span_id.copy_from_slice(digest.get(..8)?);
    let mut attributes = Attributes::new();
    text(&mut attributes, "mcp.method.name", record.asked.mcp_method.as_ref());
    target(&mut attributes, record);
    let error = error_type(record);
    if let Some(error) = &error {
        attributes.push(("error.type", Attribute::Text(error.clone())));
    }
    Some(Span {
        name: name(record),
        kind: SpanKind::Client,
        context: server.sibling(span_id),
        parent: Some(server),
        link: None,
        start,
        end: after(record.timestamp, record.latency_ms),
        attributes,
        failed: error.is_some(),
    })
}

/// The method and, with little variety, what it is about; never a URI.
fn name(record: &Record) -> String {
    let Some(method) = &record.asked.mcp_method else {
        return record.http_method.to_string();
    };
    match &record.asked.target {
        Some(target @ (Target::Tool(_) | Target::Prompt(_))) => format!("{method} {}", target.as_str()),
        _ => method.to_string(),
    }
}

/// The JSON-RPC code, `tool_error`, or the outcome where neither came to pass.
fn error_type(record: &Record) -> Option<String> {
    if let Some(code) = record.upstream.error_code {
        return Some(code.to_string());
    }
    if record.upstream.is_error == Some(true) {
        return Some("tool_error".to_owned());
    }
    let outcome = record.outcome?;
    (!passed(outcome)).then(|| outcome.as_str().to_owned())
}

/// Only what the server's side did wrong makes the server span an error.
fn is_servers_fault(record: &Record) -> bool {
    match record.upstream.error_code {
        Some(code) => code == -32603 || (-32099..=-32000).contains(&code),
        None => matches!(record.outcome, Some(Outcome::UpstreamFailed | Outcome::TimedOut)),
    }
}

fn after(time: Timestamp, milliseconds: u64) -> Timestamp {
    let bounded = i64::try_from(milliseconds).unwrap_or(i64::MAX);
    time.saturating_add(SignedDuration::from_millis(bounded))
        .unwrap_or(time)
}

fn attributes(record: &Record) -> Attributes {
    let mut all = Attributes::new();
    let asked = &record.asked;
    text(&mut all, "mcp.method.name", asked.mcp_method.as_ref());
    text(&mut all, "mcp.protocol.version", asked.protocol_version.as_ref());
    if asked.era != Some(Era::Modern) {
        text(&mut all, "mcp.session.id", record.session_id.as_ref());
    }
    target(&mut all, record);
    text(&mut all, "jsonrpc.request.id", asked.jsonrpc_id.as_ref());
    if let Some(code) = record.upstream.error_code {
        text(&mut all, "rpc.response.status_code", Some(&code));
    }
    if let Some(arguments) = &asked.arguments {
        text(&mut all, "sallyport.args.sha256", Some(&arguments.sha256()));
        integer(&mut all, "sallyport.args.size", arguments.bytes());
        text(&mut all, "gen_ai.tool.call.arguments", arguments.kept().as_ref());
    }
    text(&mut all, "network.transport", Some(&"tcp"));
    text(&mut all, "network.protocol.name", Some(&"http"));
    text(&mut all, "client.address", Some(&record.client_ip));
    text(&mut all, "http.request.method", Some(&record.http_method));
    text(&mut all, "url.path", Some(&record.path));
    integer(&mut all, "http.response.status_code", u64::from(record.status));
    integer(&mut all, "http.request.body.size", record.request_bytes);
    integer(&mut all, "http.response.body.size", record.response_bytes);
    caller(&mut all, record);
    text(&mut all, "sallyport.request.id", Some(&record.request_id.simple()));
    text(
        &mut all,
        "sallyport.endpoint",
        Some(&format_args!("{}/{}", record.endpoint.namespace, record.endpoint.name)),
    );
    all.push((
        "sallyport.policy.generation",
        Attribute::Integer(record.policy_generation),
    ));
    text(
        &mut all,
        "sallyport.decision",
        record.outcome.map(Outcome::as_str).as_ref(),
    );
    text(&mut all, "sallyport.decision.reason", record.reason.as_ref());
    text(&mut all, "sallyport.decision.rule", record.rule.as_ref());
    text(
        &mut all,
        "sallyport.confirmation",
        record.confirmation.map(Confirmation::as_str).as_ref(),
    );
    if let Some(pin) = &record.pin {
        text(&mut all, "sallyport.tool.pin.sha256", Some(&pin.sha256));
        all.push(("sallyport.tool.pin.matches", Attribute::Boolean(pin.matches)));
    }
    integer(&mut all, "sallyport.latency_ms", record.latency_ms);
    all
}

fn target(all: &mut Attributes, record: &Record) {
    match &record.asked.target {
        Some(Target::Tool(name)) => {
            text(all, "gen_ai.operation.name", Some(&"execute_tool"));
            text(all, "gen_ai.tool.name", Some(name));
        }
        Some(Target::Prompt(name)) => text(all, "gen_ai.prompt.name", Some(name)),
        Some(Target::Resource(uri)) => text(all, "mcp.resource.uri", Some(uri)),
        None => {}
    }
}

fn caller(all: &mut Attributes, record: &Record) {
    let Some(caller) = &record.caller else { return };
    text(all, "sallyport.principal.kind", Some(&caller.kind));
    text(all, "sallyport.principal.issuer", caller.issuer.as_ref());
    text(all, "sallyport.principal.client", caller.client.as_ref());
    text(all, "user.id", caller.subject.as_ref());
    if !caller.roles.is_empty() {
        let roles = caller.roles.iter().map(CallerText::to_string).collect();
        all.push(("user.roles", Attribute::Texts(roles)));
    }
}

fn text(all: &mut Attributes, name: &'static str, value: Option<&impl ToString>) {
    all.extend(value.map(|value| (name, Attribute::Text(value.to_string()))));
}

fn integer(all: &mut Attributes, name: &'static str, value: u64) {
    all.push((name, Attribute::Integer(i64::try_from(value).unwrap_or(i64::MAX))));
}
