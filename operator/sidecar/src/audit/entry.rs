//! The record of a request under way.

use super::record::bounded;
use super::{Outcome, Record};
use crate::metrics::{MethodClass, Metrics};
use crate::pipeline::Message;
use sallyport_core::drain::{Drain, Phase};
use sallyport_core::journal::Slot;
use sallyport_policy::EndpointIdentity;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// A record that is being filled. Sends itself when closed or, with what is known by then, when dropped.
pub struct Entry {
    record: Record,
    slot: Option<Slot<Record>>,
    started: Instant,
    method: MethodClass,
    drain: Drain,
    metrics: Arc<Metrics>,
}

impl Entry {
    /// Opens the record of a request whose head has just been read.
    pub fn open(
        slot: Slot<Record>,
        endpoint: Arc<EndpointIdentity>,
        client_ip: IpAddr,
        head: &http::request::Parts,
        drain: Drain,
        metrics: Arc<Metrics>,
    ) -> Self {
        let mut record = Record::open(endpoint, client_ip, head.method.as_str(), head.uri.path());
        record.session_id = session_id(&head.headers);
        metrics.active_requests.inc();
        Self {
            record,
            slot: Some(slot),
            started: Instant::now(),
            method: MethodClass::None,
            drain,
            metrics,
        }
    }

    /// Notes how much of the request's body was read.
    pub fn request_bytes(&mut self, count: u64) {
        self.record.request_bytes = count;
    }

    /// Notes what the request asks for.
    pub fn message(&mut self, message: &Message) {
        self.method = MethodClass::of(message);
        self.record.mcp_method = message.method().map(str::to_owned);
        self.record.tool_name = message.tool().map(|tool| tool.name.clone());
        self.record.arguments_sha256 = message.tool().and_then(|tool| tool.arguments_sha256.clone());
    }

    /// Notes the head of the answer. A session that it mints becomes the record's.
    pub fn answer(&mut self, head: &http::response::Parts) {
        self.record.status = head.status.as_u16();
        if self.record.session_id.is_none() {
            self.record.session_id = session_id(&head.headers);
        }
    }

    /// Counts bytes of the answer that were passed on.
    pub fn response_bytes(&mut self, count: u64) {
        self.record.response_bytes += count;
    }

    /// Ends the record of a request that was answered here and not by the server.
    pub fn refused(mut self, status: http::StatusCode, outcome: Outcome, reason: &'static str, response_bytes: u64) {
        self.record.status = status.as_u16();
        self.record.response_bytes = response_bytes;
        self.close(outcome, Some(reason));
    }

    /// Ends the record; nothing after the first end counts.
    pub fn close(&mut self, outcome: Outcome, reason: Option<&'static str>) {
        let Some(slot) = self.slot.take() else { return };
        let elapsed = self.started.elapsed();
        self.record.outcome = outcome;
        self.record.reason = reason;
        self.record.latency_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        self.metrics.request_ended(outcome, self.method, elapsed);
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

fn session_id(headers: &http::HeaderMap) -> Option<String> {
    let value = headers.get(crate::headers::MCP_SESSION_ID)?;
    Some(bounded(&String::from_utf8_lossy(value.as_bytes()), 512))
}
