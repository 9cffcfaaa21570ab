//! Bounds on what a caller, a call and the server may use up.

use crate::authorization::Glob;
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;

/// Bounds on every request. All of them hold always; there is no value that means "without bound".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Limits {
    /// Largest request body in bytes; more is answered with 413.
    pub body_bytes: u64,
    /// Deepest nesting of objects and arrays in a request.
    pub json_depth: u32,
    /// Largest answer in bytes that is not an event stream. A larger one is broken off.
    pub response_bytes: u64,
    /// Largest event of an event stream in bytes. A stream with a larger one is ended.
    pub event_bytes: u64,
    /// Bytes of requests and answers that are held in memory at a time, of all callers, until clients have taken them. What
    /// goes beyond is refused, as is what goes beyond [one caller's part](Self::buffer_bytes_per_principal).
    pub buffer_bytes: u64,
    /// Seconds until the server must have sent the head of its answer.
    pub response_header_seconds: u64,
    /// Seconds that an answer may take in all, its head included. On an event stream that answers a request: seconds until the first message
    /// and between two messages, not counted while the server waits for the client.
    pub request_seconds: u64,
    /// Seconds after which an event stream is ended.
    pub stream_seconds: u64,
    /// Connections at a time.
    pub connections: u32,
    /// Requests under way at a time, of all callers, event streams included.
    pub concurrent_requests: u32,
    /// Requests under way at a time, of one caller, event streams not included.
    pub concurrent_requests_per_principal: u32,
    /// Event streams without an end of their own (GET, `subscriptions/listen`) at a time, of one caller.
    pub concurrent_streams_per_principal: u32,
    /// How many requests in a time.
    pub rates: Rates,
    /// Seconds that requests under way get to finish after SIGTERM.
    pub drain_seconds: u64,
}

impl Limits {
    /// Most bytes that a connection of a client takes: what the kernel buffers in both directions (twice 32 KiB each, as it
    /// counts), and what is read of a request.
    pub const CONNECTION_BYTES: u64 = (128 + 64) << 10;

    /// Most bytes that TLS adds to a connection.
    pub const TLS_BYTES: u64 = 48 << 10;

    /// Most bytes that a request under way takes beside its connection and what [`buffer_bytes`](Self::buffer_bytes) bounds:
    /// what the kernel buffers of the answer, what is read ahead of it and written out, and the request's records. Written
    /// out are 32 KiB and one part of a stream, of at most 16 KiB; larger ones, and answers that are read whole, are in
    /// `buffer_bytes` until the client has taken them.
    pub const REQUEST_BYTES: u64 = (64 + 96) << 10;

    /// Most bytes that a sidecar takes beside its requests: its program, keys, the server's tools, and the one message that
    /// is being read. Of that, the keys of its objects while they are compared, and after them the values of its arguments,
    /// have bounds of their own, 16 and 18 MiB ([`VALUES_BYTES`](crate::arguments::VALUES_BYTES)); what they repeat of its text
    /// is the second copy that [`memory_bytes`](Self::memory_bytes) counts.
    pub const BASE_BYTES: u64 = 40 << 20;

    /// Most of [`buffer_bytes`](Self::buffer_bytes) that one caller takes: half of them, so that others get the other half; or
    /// more, where a largest request and its largest answer need more.
    pub fn buffer_bytes_per_principal(&self) -> u64 {
        let largest = self.response_bytes.max(self.event_bytes);
        let exchange = self.body_bytes.saturating_add(largest);
        exchange.max(self.buffer_bytes / 2).min(self.buffer_bytes)
    }

    /// Most bytes of memory that a sidecar with these bounds uses, kernel buffers included: all connections there are, a
    /// request on as many as are let, each stuck with a client that does not read and a server that does not stop. What is
    /// held of bodies counts twice: they grow by copying.
    pub fn memory_bytes(&self, tls: bool) -> u64 {
        let of_one = Self::CONNECTION_BYTES + if tls { Self::TLS_BYTES } else { 0 };
        let connections = u64::from(self.connections) * of_one;
        let requests = u64::from(self.concurrent_requests.min(self.connections)) * Self::REQUEST_BYTES;
        (Self::BASE_BYTES + connections + requests).saturating_add(self.buffer_bytes.saturating_mul(2))
    }
}

/// How many requests in a time. Each is a token bucket of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Rates {
    /// Requests of one caller, `server/discover` not included.
    pub per_principal: Rate,
    /// Calls of one tool by one caller, where [`tools`](Self::tools) names no other.
    pub per_tool: Rate,
    /// Calls of the tools that it names, by one caller, each tool in a bucket of its own. The first that names a tool counts.
    pub tools: Vec<ToolRate>,
    /// `server/discover` of one caller. Generous, because a client that is refused here falls back to the legacy era; for the
    /// same reason it waits for its turn, and for its place among the requests under way, ten seconds each.
    pub discover: Rate,
    /// Credentials of one client address that did not hold, of those whose issuer had to be asked or whose hash is slow; a slow
    /// hash counts for three. Over it, no such work is done for the address. Whatever takes no work is answered all the same:
    /// a caller without a credential learns where to get one.
    pub failed_authentication: Rate,
}

/// The rate of some tools.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ToolRate {
    /// Which tools, by name.
    pub tool: Glob,
    /// How often.
    pub rate: Rate,
}

/// A token bucket: it holds `burst` tokens and gets `requests` new ones, evenly, each `seconds`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rate {
    /// Tokens for each span of time.
    pub requests: NonZeroU32,
    /// The span of time in seconds.
    pub seconds: NonZeroU32,
    /// Tokens at most.
    pub burst: NonZeroU32,
}

impl Rate {
    /// `requests` a minute, `burst` at once. Zeros count as one.
    pub const fn per_minute(requests: u32, burst: u32) -> Self {
        Self {
            requests: at_least_one(requests),
            seconds: at_least_one(60),
            burst: at_least_one(burst),
        }
    }
}

const fn at_least_one(number: u32) -> NonZeroU32 {
    match NonZeroU32::new(number) {
        Some(number) => number,
        None => NonZeroU32::MIN,
    }
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            per_principal: Rate::per_minute(6000, 1000),
            per_tool: Rate::per_minute(3000, 500),
            tools: vec![],
            discover: Rate::per_minute(60_000, 10_000),
            failed_authentication: Rate::per_minute(60, 30),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 1 << 20,
            json_depth: 64,
            response_bytes: 4 << 20,
            event_bytes: 4 << 20,
            buffer_bytes: 16 << 20,
            response_header_seconds: 30,
            request_seconds: 30,
            stream_seconds: 3600,
            connections: 512,
            concurrent_requests: 256,
            concurrent_requests_per_principal: 128,
            concurrent_streams_per_principal: 64,
            rates: Rates::default(),
            drain_seconds: 25,
        }
    }
}
