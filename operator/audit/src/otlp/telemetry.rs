//! What a collector is told of a record beside its line.

use crate::text::hex;
use jiff::Timestamp;

/// A value in OpenTelemetry's sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// A string.
    Text(String),
    /// A number.
    Integer(i64),
    /// Yes or no.
    Boolean(bool),
    /// Strings.
    Texts(Vec<String>),
}

/// Attributes by their OpenTelemetry names.
pub type Attributes = Vec<(&'static str, Attribute)>;

/// A record as a log record and, if it is of a call that has ended, as spans.
#[derive(Clone, Debug)]
pub struct Telemetry {
    /// When it happened.
    pub time: Timestamp,
    /// What it is, as in `sallyport.audit.request`.
    pub event: String,
    /// Whether something was refused, failed or got lost.
    pub warning: bool,
    /// The trace that it belongs to.
    pub context: Option<SpanContext>,
    /// What is known of it.
    pub attributes: Attributes,
    /// The call itself, and its way to the server.
    pub spans: Vec<Span>,
}

/// A place in a trace (W3C Trace Context).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanContext {
    trace_id: [u8; 16],
    span_id: [u8; 8],
}

/// Which side of an exchange a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// A request that was received.
    Server,
    /// A request that was made.
    Client,
}

/// A span that has ended.
#[derive(Clone, Debug)]
pub struct Span {
    /// As OpenTelemetry's conventions for MCP name it: the method and what it is about.
    pub name: String,
    /// Which side it is.
    pub kind: SpanKind,
    /// Where it is.
    pub context: SpanContext,
    /// The span that caused it.
    pub parent: Option<SpanContext>,
    /// Another span that has to do with it.
    pub link: Option<SpanContext>,
    /// When it began.
    pub start: Timestamp,
    /// When it ended.
    pub end: Timestamp,
    /// What is known of it.
    pub attributes: Attributes,
    /// Whether it failed.
    pub failed: bool,
}

impl Telemetry {
    /// A record without a trace.
    pub fn plain(time: Timestamp, kind: &str, warning: bool) -> Self {
        Self {
            time,
            event: format!("sallyport.audit.{kind}"),
            warning,
            context: None,
            attributes: Vec::new(),
            spans: Vec::new(),
        }
    }
}

impl SpanContext {
    /// A place by its identifiers; none if one of them is all zeros.
    pub fn new(trace_id: [u8; 16], span_id: [u8; 8]) -> Option<Self> {
        (trace_id != [0; 16] && span_id != [0; 8]).then_some(Self { trace_id, span_id })
    }

    /// Reads a `traceparent` (W3C Trace Context section 3.2); none if it is not one.
    pub fn parse(traceparent: &str) -> Option<Self> {
        let mut parts = traceparent.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if version.len() != 2 || version == "ff" || flags.len() != 2 || (version == "00" && parts.next().is_some()) {
            return None;
        }
        decode::<1>(version)?;
        decode::<1>(flags)?;
        Self::new(decode(trace)?, decode(span)?)
    }

    /// Another span of the same trace.
    #[must_use]
    pub fn sibling(self, span_id: [u8; 8]) -> Self {
        Self { span_id, ..self }
    }

    /// 32 hexadecimal digits.
    pub fn trace_id(&self) -> String {
        hex(&self.trace_id)
    }

    /// 16 hexadecimal digits.
    pub fn span_id(&self) -> String {
        hex(&self.span_id)
    }
}

/// Lower-case hexadecimal of exactly `N` bytes.
fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != N * 2 || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(index * 2..index * 2 + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_as_the_recommendation_says() {
        let context = SpanContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
        assert_eq!(context.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(context.span_id(), "00f067aa0ba902b7");
        let future = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-will-be-like";
        assert!(SpanContext::parse(future).is_some());
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert!(SpanContext::parse(bad).is_none(), "{bad}");
        }
    }
}
