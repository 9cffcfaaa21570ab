//! What is recorded of every connection: a line of JSON when it opens and one when it closes, or one if it never opens.

use crate::clients::Clients;
use crate::meter::{End, Meter};
use crate::metrics::Metrics;
use crate::policy::Policy;
use crate::refusal::Refusal;
use crate::target::Target;
use crate::telemetry;
use jiff::Timestamp;
use sallyport_audit::journal::{Journal, Journaled, SinkUnavailable, Slot};
use sallyport_audit::otlp::Telemetry;
use sallyport_policy::{AuditFormat, EndpointIdentity};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;
use uuid::Uuid;

/// Refused addresses that an event lists at most.
const LISTED_ADDRESSES: usize = 8;

/// How the client came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// Nothing is known yet, or it never became an HTTP request.
    Unknown,
    /// CONNECT.
    Connect,
    /// Absolute-form HTTP.
    Http,
    /// TLS by server name.
    Transparent,
}

/// What policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It passes.
    Allowed,
    /// It does not pass.
    Denied,
    /// It passes because the mode is `Audit`; `Enforce` would refuse it.
    WouldDeny,
}

impl Via {
    /// As in the event.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Connect => "connect",
            Self::Http => "http",
            Self::Transparent => "transparent",
        }
    }
}

impl Verdict {
    /// As in the event.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::WouldDeny => "would_deny",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Egress,
}

/// Which moment an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// From now on bytes may flow.
    Open,
    /// No more bytes flow.
    Close,
    /// Policy refused it; no byte has flowed.
    Refused,
    /// It could not be established; no byte has flowed.
    Failed,
}

impl Moment {
    /// As in the event.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Close => "close",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// One line. Never holds what was sent, no path and no header.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    kind: Kind,
    #[serde(rename = "event")]
    pub(crate) moment: Moment,
    /// When this was recorded, in UTC with milliseconds.
    #[serde(serialize_with = "milliseconds")]
    pub(crate) timestamp: Timestamp,
    /// The same in all events of a connection; sorts by time.
    pub(crate) connection_id: Uuid,
    #[serde(serialize_with = "shared")]
    pub(crate) endpoint: Arc<EndpointIdentity>,
    /// Hash of the policy that decided.
    policy: String,
    /// Who connected, as the kernel says.
    pub(crate) client_ip: IpAddr,
    /// The pod that connected, as far as the operator has told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_pod: Option<String>,
    pub(crate) via: Via,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) port: Option<u16>,
    /// The address that was dialled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<IpAddr>,
    /// Addresses of the host that may not be dialled, at most eight.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    refused_addresses: Vec<IpAddr>,
    /// The rule that allows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rule: Option<String>,
    /// Whether TLS is ended here and a credential added to its requests.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    injected: bool,
    pub(crate) decision: Verdict,
    /// Why it is refused, would be, or failed, as one word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'static str>,
    /// How it ended, as one word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) end: Option<&'static str>,
    /// Bytes from the client to the host.
    pub(crate) bytes_sent: u64,
    /// Bytes from the host to the client.
    pub(crate) bytes_received: u64,
    /// Since the client's request.
    pub(crate) duration_ms: u64,
}

/// Opens entries.
#[derive(Clone)]
pub struct Recorder {
    journal: Journal<Event>,
    clients: Clients,
    metrics: Arc<Metrics>,
}

/// A connection that has not opened yet. Recorded as failed if it is dropped.
pub struct Entry {
    event: Event,
    /// For the events of opening and closing: nothing opens that could not be recorded to its end.
    slots: Option<(Slot<Event>, Slot<Event>)>,
    started: Instant,
    metrics: Arc<Metrics>,
}

/// A connection that is open. Recorded as closed when it is dropped.
pub struct OpenEntry {
    event: Event,
    slot: Option<Slot<Event>>,
    started: Instant,
    meter: Arc<Meter>,
    metrics: Arc<Metrics>,
}

impl Recorder {
    /// Records into `journal`, with the names of `clients`.
    pub const fn new(journal: Journal<Event>, clients: Clients, metrics: Arc<Metrics>) -> Self {
        Self {
            journal,
            clients,
            metrics,
        }
    }

    /// Begins the record of a connection.
    ///
    /// # Errors
    ///
    /// When there is no room for its events, or the sink does not take any.
    pub async fn begin(&self, policy: &Policy, client_ip: IpAddr, via: Via) -> Result<Entry, SinkUnavailable> {
        let slots = async {
            self.journal.check_sink()?;
            Ok((self.journal.admit().await?, self.journal.admit().await?))
        };
        let slots = slots.await.inspect_err(|_| self.metrics.unrecorded())?;
        Ok(Entry {
            event: Event {
                kind: Kind::Egress,
                moment: Moment::Failed,
                timestamp: Timestamp::now(),
                connection_id: Uuid::now_v7(),
                endpoint: policy.endpoint.clone(),
                policy: policy.hash.clone(),
                client_ip: client_ip.to_canonical(),
                client_pod: self.clients.name(client_ip),
                via,
                host: None,
                port: None,
                address: None,
                refused_addresses: Vec::new(),
                rule: None,
                injected: false,
                decision: Verdict::Allowed,
                reason: None,
                end: None,
                bytes_sent: 0,
                bytes_received: 0,
                duration_ms: 0,
            },
            slots: Some(slots),
            started: Instant::now(),
            metrics: self.metrics.clone(),
        })
    }
}

impl Entry {
    /// Notes where the connection is to go.
    pub fn target(&mut self, target: &Target) {
        self.event.host = Some(target.host.as_str().to_owned());
        self.event.port = Some(target.port);
    }

    /// Notes the rule that allows it.
    pub fn rule(&mut self, rule: String) {
        self.event.rule = Some(rule);
    }

    /// Notes that a credential is added to its requests.
    pub fn injected(&mut self) {
        self.event.injected = true;
    }

    /// Notes that only the mode lets it pass. The first reason stays.
    pub fn would_deny(&mut self, refusal: &Refusal) {
        self.event.decision = Verdict::WouldDeny;
        self.event.reason.get_or_insert(refusal.reason());
    }

    /// Notes an address that may not be dialled.
    pub fn refused_address(&mut self, ip: IpAddr) {
        if self.event.refused_addresses.len() < LISTED_ADDRESSES {
            self.event.refused_addresses.push(ip);
        }
    }

    /// Notes the address that was dialled.
    pub fn address(&mut self, ip: IpAddr) {
        self.event.address = Some(ip);
    }

    /// Records the connection as open. `meter` counts its bytes.
    pub fn open(mut self, meter: Arc<Meter>) -> OpenEntry {
        let slots = self.slots.take();
        let mut event = self.event.clone();
        stamp(&mut event, Moment::Open, self.started);
        let slot = slots.map(|(opening, closing)| {
            opening.send(event.clone());
            closing
        });
        self.metrics.opened(event.via, event.decision, event.reason);
        OpenEntry {
            event,
            slot,
            started: self.started,
            meter,
            metrics: self.metrics.clone(),
        }
    }

    /// Records that the connection does not come about.
    pub fn refuse(mut self, refusal: &Refusal) {
        self.end(refusal.is_denial(), refusal.reason());
    }

    fn end(&mut self, denied: bool, reason: &'static str) {
        let Some((slot, _)) = self.slots.take() else { return };
        let mut event = self.event.clone();
        if denied {
            event.decision = Verdict::Denied;
        }
        event.reason = Some(reason);
        let moment = if denied { Moment::Refused } else { Moment::Failed };
        stamp(&mut event, moment, self.started);
        self.metrics.refused(event.via, event.decision, reason);
        slot.send(event);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.end(false, "client_gone");
    }
}

impl OpenEntry {
    /// Records the end.
    pub fn close(mut self, end: End) {
        self.end(end);
    }

    /// Records the end by a request that was refused for `reason`.
    pub fn close_refused(mut self, reason: &'static str) {
        self.event.reason = Some(reason);
        self.end(End::RequestRefused);
    }

    fn end(&mut self, end: End) {
        let Some(slot) = self.slot.take() else { return };
        stamp(&mut self.event, Moment::Close, self.started);
        self.event.end = Some(end.as_str());
        self.event.bytes_sent = self.meter.sent();
        self.event.bytes_received = self.meter.received();
        self.metrics.closed(
            end,
            self.event.bytes_sent,
            self.event.bytes_received,
            self.started.elapsed(),
        );
        slot.send(self.event.clone());
    }
}

impl Drop for OpenEntry {
    fn drop(&mut self) {
        self.end(End::Aborted);
    }
}

fn stamp(event: &mut Event, moment: Moment, started: Instant) {
    event.moment = moment;
    event.timestamp = Timestamp::now();
    event.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
}

impl Journaled for Event {
    fn render(&self, format: AuditFormat) -> Result<Map<String, Value>, serde_json::Error> {
        let own = match serde_json::to_value(self)? {
            Value::Object(object) => object,
            // Cannot happen: a structure is an object.
            _ => Map::new(),
        };
        Ok(match format {
            AuditFormat::Json => own,
            AuditFormat::Ocsf => telemetry::network_activity(self, own),
        })
    }

    fn telemetry(&self) -> Option<Telemetry> {
        Some(telemetry::of(self))
    }
}

fn milliseconds<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.3}"))
}

fn shared<S: Serializer>(endpoint: &Arc<EndpointIdentity>, serializer: S) -> Result<S::Ok, S::Error> {
    endpoint.as_ref().serialize(serializer)
}
