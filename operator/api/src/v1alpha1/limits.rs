//! Bounds on what a caller, a call and the server may use up.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Bounds on every request. What is left out has the default that is written here, or the class's ceiling where that is
/// lower. There is no value that means without bound.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Largest request body in bytes; more is answered with 413. Default: 1048576 (1 MiB).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1024, max = 16_777_216))]
    pub body_bytes: Option<i64>,
    /// Deepest nesting of objects and arrays in a request. Default: 64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 8, max = 128))]
    pub json_depth: Option<i32>,
    /// Largest answer in bytes that is not an event stream; a larger one is broken off. Default: 4194304 (4 MiB).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1024, max = 268_435_456))]
    pub response_bytes: Option<i64>,
    /// Largest event of an event stream in bytes; a stream with a larger one is ended. Default: 4194304 (4 MiB).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1024, max = 16_777_216))]
    pub event_bytes: Option<i64>,
    /// Seconds until the server must have sent the head of its answer. Default: 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub response_header_seconds: Option<i32>,
    /// Seconds that an answer may take in all, its head included. On an event stream that answers a request: seconds until
    /// the first message and between two messages. Default: 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub request_seconds: Option<i32>,
    /// Seconds after which an event stream is ended; clients open a new one. Default: 3600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86400))]
    pub stream_seconds: Option<i32>,
    /// Connections of each pod at a time; the audit sidecar's memory grows with it. Default: 512.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16384))]
    pub connections: Option<i32>,
    /// Requests of all callers that each pod works on at a time, event streams included; the audit
    /// sidecar's memory grows with it. Default: 256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16384))]
    pub concurrent_requests: Option<i32>,
    /// Requests of one caller that each pod works on at a time, event streams not included. Default: 128.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16384))]
    pub concurrent_requests_per_principal: Option<i32>,
    /// Event streams without an end of their own that one caller holds at a time in each pod. Default: 64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16384))]
    pub concurrent_streams_per_principal: Option<i32>,
    /// How many requests in a time, in each pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rates: Option<Rates>,
}

/// How many requests in a time. Each is a token bucket of its own in each pod.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Rates {
    /// Requests of one caller. Default: 6000 in 60 seconds, 1000 at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_principal: Option<Rate>,
    /// Calls of one tool by one caller, where tools names no other rate. Default: 3000 in 60 seconds, 500 at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_tool: Option<Rate>,
    /// Calls of these tools by one caller, each tool in a bucket of its own. The first entry that names a tool counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["tool"]))]
    pub tools: Vec<ToolRate>,
}

/// The rate of some tools.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ToolRate {
    /// Name of a tool, with * for any text.
    #[schemars(length(min = 1, max = 128))]
    pub tool: String,
    /// How often.
    pub rate: Rate,
}

/// A token bucket: it holds burst tokens and gets new ones evenly.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// New tokens in each span of time.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests: i32,
    /// The span of time in seconds.
    #[serde(default = "minute")]
    #[schemars(range(min = 1, max = 86400))]
    pub seconds: i32,
    /// Tokens at most: how many requests may come at once. As many as requests, if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub burst: Option<i32>,
}

fn minute() -> i32 {
    60
}
