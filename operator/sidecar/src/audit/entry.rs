//! The record of a request under way.

use super::{Asked, CallArguments, ClosedBy, Outcome, Record, Target};
use crate::metrics::{MethodClass, Metrics};
use sallyport_audit::journal::{Journal, SinkUnavailable, Slot};
use sallyport_audit::otlp::SpanContext;
use sallyport_audit::text::CallerText;
use sallyport_audit::{Caller, Confirmation, Event, Pin};
use sallyport_core::drain::{Drain, Phase};
use sallyport_policy::EndpointIdentity;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// What OpenTelemetry calls a method that is none.
const UNREADABLE_METHOD: &str = "_OTHER";

/// Room for the records of one request: nothing begins that could not be recorded to its end.
pub struct Admission {
    opening: Slot<Record>,
    closing: Slot<Record>,
}

/// A record that is being filled. Sends itself when closed or, with what is known by then, when dropped.
pub struct Entry {
    record: Record,
    /// For the opening of an event stream.
    opening: Option<Slot<Record>>,
    closing: Option<Slot<Record>>,
    started: Instant,
    forwarded: Option<Instant>,
    method: MethodClass,
    drain: Drain,
    metrics: Arc<Metrics>,
}

impl Admission {
    /// Places that one request holds in the journal at most.
    pub const PLACES: usize = 2;

    /// Takes a request's places.
    ///
    /// # Errors
    ///
    /// When there are none within a second or two.
    pub async fn take(journal: &Journal<Record>) -> Result<Self, SinkUnavailable> {
        Ok(Self {
            closing: journal.admit().await?,
            opening: journal.admit().await?,
        })
    }
}

impl Entry {
    /// Opens the record of a request whose head has just been read.
    pub fn open(
        admission: Admission,
        endpoint: Arc<EndpointIdentity>,
        policy_generation: i64,
        client_ip: IpAddr,
        head: &http::request::Parts,
        drain: Drain,
        metrics: Arc<Metrics>,
    ) -> Self {
        let mut record = Record::open(
            endpoint,
            policy_generation,
            client_ip,
            head.method.as_str(),
            head.uri.path(),
        );
        note_session(&mut record, &head.headers);
        record.link = traceparent(&head.headers);
        Self::of(record, admission, drain, metrics)
    }

    /// Opens the record of a request whose head cannot be read.
    pub fn without_head(
        admission: Admission,
        endpoint: Arc<EndpointIdentity>,
        policy_generation: i64,
        client_ip: IpAddr,
        drain: Drain,
        metrics: Arc<Metrics>,
    ) -> Self {
        let record = Record::open(endpoint, policy_generation, client_ip, UNREADABLE_METHOD, "");
        Self::of(record, admission, drain, metrics)
    }

    fn of(record: Record, admission: Admission, drain: Drain, metrics: Arc<Metrics>) -> Self {
        metrics.active_requests.inc();
        Self {
            record,
            opening: Some(admission.opening),
            closing: Some(admission.closing),
            started: Instant::now(),
            forwarded: None,
            method: MethodClass::None,
            drain,
            metrics,
        }
    }

    /// Notes how much of the request's body was read.
    pub fn request_bytes(&mut self, count: u64) {
        self.record.request_bytes = count;
    }

    /// Notes who calls.
    pub fn caller(&mut self, caller: Caller) {
        self.record.caller = Some(caller);
    }

    /// Notes what the request asks for.
    pub fn asked(&mut self, asked: Asked) {
        self.method = MethodClass::of(asked.mcp_method.as_ref().map(CallerText::as_str));
        self.record.asked(asked);
    }

    /// Notes the arguments of the call that is made, where those that were sent held a confirmation's token too.
    pub fn arguments(&mut self, arguments: Option<CallArguments>) {
        self.record.asked.arguments = arguments;
    }

    /// Notes the generation of the policy that decides from now on.
    pub fn policy_generation(&mut self, generation: i64) {
        self.record.policy_generation = generation;
    }

    /// Notes the rule that decided.
    pub fn rule(&mut self, rule: impl Into<String>) {
        self.record.rule = Some(rule.into());
    }

    /// Notes the scopes that the caller is told to ask for.
    pub fn required_scopes(&mut self, scopes: Vec<String>) {
        self.record.required_scopes = scopes;
    }

    /// Notes how far the confirmation of the call is. A call that goes through after it is `confirmed` and not `allowed`.
    pub fn confirmation(&mut self, confirmation: Confirmation) {
        self.record.confirmation = Some(confirmation);
    }

    /// Notes the called tool's pin.
    pub fn pin(&mut self, pin: Pin) {
        self.record.pin = Some(pin);
    }

    /// Notes that the request is now handed to the server.
    pub fn forwarded(&mut self) {
        let now = Instant::now();
        self.forwarded = Some(now);
        self.record.upstream.forwarded_after_ms = Some(millis(self.started, now));
    }

    /// Notes the head of the answer. A session that it mints becomes the record's.
    pub fn answer(&mut self, head: &http::response::Parts) {
        self.record.status = head.status.as_u16();
        if let Some(forwarded) = self.forwarded {
            self.record.upstream.head_ms = Some(millis(forwarded, Instant::now()));
        }
        if self.record.session_id.is_none() {
            note_session(&mut self.record, &head.headers);
        }
    }

    /// Notes the session by the identifier that the client knows it by.
    pub fn session(&mut self, id: &[u8]) {
        self.record.session(id);
    }

    /// Records that the answer, whose head is noted, is an event stream which begins now. Once; later calls change nothing.
    pub fn stream_opened(&mut self) {
        let Some(slot) = self.opening.take() else { return };
        let mut record = self.record.clone();
        record.event = Event::StreamOpen;
        record.latency_ms = millis(self.started, Instant::now());
        self.record.event = Event::StreamClose;
        self.record.upstream.events = Some(0);
        slot.send(record);
    }

    /// Counts bytes of the answer that were passed on.
    pub fn response_bytes(&mut self, count: u64) {
        self.record.response_bytes += count;
    }

    /// Counts server-sent events that were passed on.
    pub fn response_events(&mut self, count: u64) {
        *self.record.upstream.events.get_or_insert(0) += count;
    }

    /// Notes the code of the JSON-RPC error that the client gets, of the server or of the sidecar.
    pub fn error_code(&mut self, code: i64) {
        self.record.upstream.error_code = Some(code);
    }

    /// Notes what the result says of itself: its `resultType` and `isError`.
    pub fn result(&mut self, result_type: Option<&str>, is_error: Option<bool>) {
        self.record.upstream.set_result(result_type, is_error);
    }

    /// Ends the record of a request that was answered here and not by the server.
    pub fn refused(mut self, status: http::StatusCode, outcome: Outcome, reason: &'static str, response_bytes: u64) {
        self.record.status = status.as_u16();
        self.record.response_bytes = response_bytes;
        self.close(outcome, Some(reason));
    }

    /// Ends the record of a request that was neither refused nor the server's to answer.
    pub fn answered_here(mut self, status: http::StatusCode, outcome: Outcome, response_bytes: u64) {
        self.record.status = status.as_u16();
        self.record.response_bytes = response_bytes;
        self.end(outcome, None, ClosedBy::Sidecar);
    }

    /// Ends the record; nothing after the first end counts.
    pub fn close(&mut self, outcome: Outcome, reason: Option<&'static str>) {
        self.end(outcome, reason, closed_by(outcome));
    }

    fn end(&mut self, outcome: Outcome, reason: Option<&'static str>, by: ClosedBy) {
        let Some(slot) = self.closing.take() else { return };
        self.opening = None;
        let outcome = match outcome {
            Outcome::Allowed if self.record.confirmation == Some(Confirmation::Given) => Outcome::Confirmed,
            outcome => outcome,
        };
        let elapsed = self.started.elapsed();
        self.record.outcome = Some(outcome);
        self.record.reason = reason;
        self.record.closed_by = Some(by);
        self.record.latency_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        self.metrics.request_ended(outcome, self.method, elapsed);
        if let Some(Target::Tool(name)) = &self.record.asked.target {
            let pinned = self.record.pin.as_ref().map(|_| name.as_str());
            self.metrics.tool_called(outcome, pinned);
        }
        slot.send(self.record.clone());
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if self.drain.phase() == Phase::Ended {
            self.close(Outcome::Drained, Some("drain_bound_reached"));
        } else {
            self.close(Outcome::ClientGone, Some("client_closed_connection"));
        }
    }
}

const fn closed_by(outcome: Outcome) -> ClosedBy {
    match outcome {
        Outcome::Allowed | Outcome::Confirmed | Outcome::UpstreamFailed => ClosedBy::Upstream,
        Outcome::ClientGone => ClosedBy::Client,
        Outcome::ConfirmationRequired
        | Outcome::Unauthenticated
        | Outcome::Denied
        | Outcome::Limited
        | Outcome::Malformed
        | Outcome::TooLarge
        | Outcome::TimedOut
        | Outcome::Drained => ClosedBy::Sidecar,
    }
}

fn millis(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.saturating_duration_since(from).as_millis()).unwrap_or(u64::MAX)
}

/// The span that an HTTP client or a proxy before it names: what belongs together by HTTP alone. The caller's own span is in
/// the message (SEP-414).
fn traceparent(headers: &http::HeaderMap) -> Option<SpanContext> {
    SpanContext::parse(headers.get("traceparent")?.to_str().ok()?)
}

fn note_session(record: &mut Record, headers: &http::HeaderMap) {
    if let Some(id) = headers.get(crate::headers::MCP_SESSION_ID) {
        record.session(id.as_bytes());
    }
}
