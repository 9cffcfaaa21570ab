//! One audit record: a line of JSON.

use jiff::Timestamp;
use sallyport_policy::EndpointIdentity;
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use uuid::Uuid;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The server answered and its answer was passed on to its end, whatever status it has.
    Allowed,
    /// Refused by policy; the server never saw it.
    Denied,
    /// Not a request that MCP knows; the server never saw it.
    Malformed,
    /// The body is over the limit; the server never saw it.
    TooLarge,
    /// The server did not answer or broke off its answer.
    UpstreamFailed,
    /// A time bound was reached.
    TimedOut,
    /// The client went away before the answer's end.
    ClientGone,
    /// Ended because the sidecar stops.
    Drained,
}

impl Outcome {
    /// As in the record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::UpstreamFailed => "upstream_failed",
            Self::TimedOut => "timed_out",
            Self::ClientGone => "client_gone",
            Self::Drained => "drained",
        }
    }
}

/// What is kept of one request. Never header values other than the session id, and never arguments.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    kind: Kind,
    /// When the request's head had been read, in UTC with milliseconds.
    #[serde(serialize_with = "milliseconds")]
    pub timestamp: Timestamp,
    /// Minted here; sorts by time.
    pub request_id: Uuid,
    /// Whose request it is.
    #[serde(serialize_with = "shared")]
    pub endpoint: Arc<EndpointIdentity>,
    /// `Mcp-Session-Id` of the request, or the one that its answer minted. A name, not a credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Who connected, as the kernel says. Forwarding headers are never believed.
    pub client_ip: IpAddr,
    /// The request line's method.
    pub http_method: String,
    /// The request line's path, without the query.
    pub path: String,
    /// The JSON-RPC method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mcp_method: Option<String>,
    /// `params.name` of a `tools/call`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_name: Option<String>,
    /// SHA-256 of `params.arguments` of a `tools/call`, byte for byte as it was sent, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arguments_sha256: Option<String>,
    /// The status that was sent; 499 when the client or the drain ended the request before there was one.
    pub status: u16,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it ended so, as one word; absent when allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// From the request's head to the end of the answer, in milliseconds.
    pub latency_ms: u64,
    /// Bytes of the request's body that were read.
    pub request_bytes: u64,
    /// Bytes of the answer's body that were passed on.
    pub response_bytes: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Audit,
}

impl Record {
    /// Status of a request that ended before an answer began.
    pub const NO_ANSWER: u16 = 499;

    /// A record whose end is not known yet.
    pub fn open(endpoint: Arc<EndpointIdentity>, client_ip: IpAddr, http_method: &str, path: &str) -> Self {
        Self {
            kind: Kind::Audit,
            timestamp: Timestamp::now(),
            request_id: Uuid::now_v7(),
            endpoint,
            session_id: None,
            client_ip: client_ip.to_canonical(),
            http_method: bounded(http_method, 32),
            path: bounded(path, 512),
            mcp_method: None,
            tool_name: None,
            arguments_sha256: None,
            status: Self::NO_ANSWER,
            outcome: Outcome::ClientGone,
            reason: None,
            latency_ms: 0,
            request_bytes: 0,
            response_bytes: 0,
        }
    }
}

/// `text` as it is, or its digest when it is longer than `limit` bytes: a caller cannot make records large, and equal
/// texts still have equal records.
pub fn bounded(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        text.to_owned()
    } else {
        format!("sha256:{}", hex_digest(text.as_bytes()))
    }
}

/// SHA-256 in hexadecimal.
pub fn hex_digest(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

fn milliseconds<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.3}"))
}

fn shared<S: Serializer>(endpoint: &Arc<EndpointIdentity>, serializer: S) -> Result<S::Ok, S::Error> {
    endpoint.as_ref().serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;
    use serde_json::json;

    fn record() -> Record {
        let endpoint = Arc::new(EndpointIdentity {
            namespace: "team-a".into(),
            name: "demo".into(),
            uid: "u".into(),
        });
        let mut record = Record::open(endpoint, "::ffff:10.244.0.7".parse().unwrap(), "POST", "/mcp");
        record.timestamp = "2026-11-21T05:06:07.08912Z".parse().unwrap();
        record.request_id = Uuid::nil();
        record
    }

    #[test]
    fn a_record_without_message_has_only_what_is_known() {
        assert_eq!(
            serde_json::to_value(record()).unwrap(),
            json!({
                "kind": "audit",
                "timestamp": "2026-11-21T05:06:07.089Z",
                "requestId": "00000000-0000-0000-0000-000000000000",
                "endpoint": {"namespace": "team-a", "name": "demo", "uid": "u"},
                "clientIp": "10.244.0.7",
                "httpMethod": "POST",
                "path": "/mcp",
                "status": 499,
                "outcome": "client_gone",
                "latencyMs": 0,
                "requestBytes": 0,
                "responseBytes": 0,
            })
        );
    }

    #[test]
    fn the_record_and_the_metric_name_an_outcome_alike() {
        for outcome in [
            Outcome::Allowed,
            Outcome::Denied,
            Outcome::Malformed,
            Outcome::TooLarge,
            Outcome::UpstreamFailed,
            Outcome::TimedOut,
            Outcome::ClientGone,
            Outcome::Drained,
        ] {
            assert_eq!(serde_json::to_value(outcome).unwrap(), json!(outcome.as_str()));
        }
    }

    #[test]
    fn a_long_text_is_recorded_by_its_digest() {
        assert_eq!(bounded("abc", 3), "abc");
        assert_eq!(
            bounded("abc", 2),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
