//! Records that the journal makes itself: where a chain begins and ends, and what it lost.

use super::loss::Gap;
use crate::chain::ChainId;
use crate::otlp::Telemetry;
use jiff::Timestamp;
use sallyport_policy::{AuditFormat, EndpointIdentity};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Who records.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its name, as in `sallyport-sidecar`.
    pub name: &'static str,
    /// Its release.
    pub version: &'static str,
    /// The pod that it runs in.
    pub pod: String,
    /// For which endpoint.
    pub endpoint: Arc<EndpointIdentity>,
}

/// A record of the journal itself.
pub(super) enum Mark {
    /// The first of a chain.
    Start,
    /// The last of a chain whose program ended in order.
    End,
    /// Records that were lost before they came to the chain.
    Lost {
        /// How many.
        count: u64,
    },
    /// Records of the chain that the collector has not got.
    Gap(Gap),
}

impl Program {
    /// The program `name`, in the pod that it runs in: a pod's host name is the pod's name.
    pub fn here(name: &'static str, version: &'static str, endpoint: Arc<EndpointIdentity>) -> Self {
        let named = std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty());
        Self {
            name,
            version,
            pod: named.unwrap_or_else(|| "unknown".to_owned()),
            endpoint,
        }
    }

    /// As a resource in the sense of OpenTelemetry.
    pub(super) fn resource(&self, chain: &ChainId) -> Vec<(&'static str, String)> {
        vec![
            ("service.name", self.name.to_owned()),
            ("service.version", self.version.to_owned()),
            ("service.instance.id", chain.as_str().to_owned()),
            ("k8s.namespace.name", self.endpoint.namespace.clone()),
            ("k8s.pod.name", self.pod.clone()),
            ("sallyport.endpoint.name", self.endpoint.name.clone()),
            ("sallyport.endpoint.uid", self.endpoint.uid.clone()),
        ]
    }
}

impl Mark {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Start => "chain_start",
            Self::End => "chain_end",
            Self::Lost { .. } | Self::Gap(_) => "lost",
        }
    }

    /// The record in `format`.
    pub fn render(&self, program: &Program, format: AuditFormat) -> Map<String, Value> {
        let now = Timestamp::now();
        let mut own = Map::new();
        let mut set = |key: &str, value: Value| own.insert(key.to_owned(), value);
        set("kind", json!(self.kind()));
        set("version", json!(1));
        set("timestamp", json!(format!("{now:.3}")));
        set("program", json!(format!("{} {}", program.name, program.version)));
        set("pod", json!(program.pod));
        let endpoint = &program.endpoint;
        set(
            "endpoint",
            json!({"namespace": endpoint.namespace, "name": endpoint.name, "uid": endpoint.uid}),
        );
        match self {
            Self::Start | Self::End => {}
            Self::Lost { count } => {
                set("lost", json!(count));
            }
            Self::Gap(gap) => {
                set("sink", json!("otlp"));
                set("lost", json!(gap.count));
                set("firstSeq", json!(gap.within.first));
                set("lastSeq", json!(gap.within.last));
            }
        }
        match format {
            AuditFormat::Json => own,
            AuditFormat::Ocsf => crate::ocsf::lifecycle(self.kind(), now, own),
        }
    }

    /// What a collector is told beside the line.
    pub fn telemetry(&self) -> Telemetry {
        Telemetry::plain(
            Timestamp::now(),
            self.kind(),
            matches!(self, Self::Lost { .. } | Self::Gap(_)),
        )
    }
}
