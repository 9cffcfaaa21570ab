//! OTLP's messages as JSON (opentelemetry-proto, "JSON Protobuf Encoding": 64-bit integers are strings, identifiers are
//! hexadecimal, enumerations are numbers).

use super::telemetry::{Attribute, Attributes, Span, SpanKind};
use super::{Item, Telemetry};
use jiff::Timestamp;
use serde_json::{Value, json};

/// `SEVERITY_NUMBER_INFO` and `SEVERITY_NUMBER_WARN`.
const INFO: (u32, &str) = (9, "INFO");
const WARN: (u32, &str) = (13, "WARN");

/// `STATUS_CODE_ERROR`.
const ERROR: u32 = 2;

/// Where records are from.
pub type Resource = [(&'static str, String)];

/// An `ExportLogsServiceRequest`.
pub fn logs(resource: &Resource, items: &[Item]) -> Value {
    let records: Vec<_> = items.iter().map(log_record).collect();
    json!({"resourceLogs": [{
        "resource": {"attributes": resource_attributes(resource)},
        "scopeLogs": [{"scope": scope(), "logRecords": records}],
    }]})
}

/// An `ExportTraceServiceRequest`; none if there is no span.
pub fn traces(resource: &Resource, items: &[Item]) -> Option<Value> {
    let spans: Vec<_> = items.iter().flat_map(|item| &item.telemetry.spans).map(span).collect();
    (!spans.is_empty()).then(|| {
        json!({"resourceSpans": [{
            "resource": {"attributes": resource_attributes(resource)},
            "scopeSpans": [{"scope": scope(), "spans": spans}],
        }]})
    })
}

fn scope() -> Value {
    json!({"name": "sallyport.audit", "version": env!("CARGO_PKG_VERSION")})
}

fn log_record(item: &Item) -> Value {
    let Telemetry {
        time,
        event,
        warning,
        context,
        attributes,
        ..
    } = &item.telemetry;
    let (number, text) = if *warning { WARN } else { INFO };
    let mut record = json!({
        "timeUnixNano": nanoseconds(*time),
        "observedTimeUnixNano": nanoseconds(Timestamp::now()),
        "severityNumber": number,
        "severityText": text,
        "eventName": event,
        "body": {"stringValue": item.line},
        "attributes": self::attributes(attributes),
    });
    if let (Some(context), Some(record)) = (context, record.as_object_mut()) {
        record.insert("traceId".into(), json!(context.trace_id()));
        record.insert("spanId".into(), json!(context.span_id()));
    }
    record
}

fn span(span: &Span) -> Value {
    let kind = match span.kind {
        SpanKind::Server => 2,
        SpanKind::Client => 3,
    };
    let links: Vec<_> = span
        .link
        .iter()
        .map(|link| json!({"traceId": link.trace_id(), "spanId": link.span_id()}))
        .collect();
    json!({
        "traceId": span.context.trace_id(),
        "spanId": span.context.span_id(),
        "parentSpanId": span.parent.map_or_else(String::new, |parent| parent.span_id()),
        "name": span.name,
        "kind": kind,
        "startTimeUnixNano": nanoseconds(span.start),
        "endTimeUnixNano": nanoseconds(span.end),
        "attributes": attributes(&span.attributes),
        "links": links,
        "status": {"code": if span.failed { ERROR } else { 0 }},
    })
}

fn resource_attributes(resource: &Resource) -> Vec<Value> {
    let text = |(key, value): &(&str, String)| json!({"key": key, "value": {"stringValue": value}});
    resource.iter().map(text).collect()
}

fn attributes(attributes: &Attributes) -> Vec<Value> {
    let pair = |(key, value): &(&str, Attribute)| json!({"key": key, "value": any_value(value)});
    attributes.iter().map(pair).collect()
}

fn any_value(value: &Attribute) -> Value {
    match value {
        Attribute::Text(text) => json!({"stringValue": text}),
        Attribute::Integer(number) => json!({"intValue": number.to_string()}),
        Attribute::Boolean(truth) => json!({"boolValue": truth}),
        Attribute::Texts(texts) => {
            let values: Vec<_> = texts.iter().map(|text| json!({"stringValue": text})).collect();
            json!({"arrayValue": {"values": values}})
        }
    }
}

fn nanoseconds(time: Timestamp) -> String {
    time.as_nanosecond().to_string()
}
