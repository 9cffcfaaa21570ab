//! How far the records of audit sidecars and egress gateways had come, kept where no pod can change it.

use crate::sidecar;
use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use sallyport_api::v1alpha1::{AuditAnchor, AuditStatus, AuditWriter};
use sallyport_policy::AnchorReport;
use sallyport_render::{GATEWAY_CONTAINER, SIDECAR_CONTAINER};
use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

const PATH: &str = "/anchor";
const DEADLINE: Duration = Duration::from_secs(3);
/// Chains that the status keeps: those of the pods that run, and of some that ran before.
pub const MAX_KEPT: usize = 64;

/// A pod that writes a chain of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Name of the pod.
    pub pod: String,
    /// UID of the pod: another pod may have the same name later.
    pub uid: String,
    /// Which program writes.
    pub writer: AuditWriter,
}

impl Source {
    /// `pod` as a source of records of `writer`.
    pub fn of(pod: &Pod, writer: AuditWriter) -> Self {
        Self {
            pod: pod.name_any(),
            uid: pod.uid().unwrap_or_default(),
            writer,
        }
    }

    /// What this source tells, if it can be true: a pod speaks of its own chains alone, and in their form.
    pub fn tells(&self, report: AnchorReport) -> Option<AuditAnchor> {
        report.is_of_pod(&self.pod).then(|| AuditAnchor {
            chain: report.chain,
            writer: self.writer,
            pod: self.pod.clone(),
            pod_uid: self.uid.clone(),
            seq: i64::try_from(report.seq).unwrap_or(i64::MAX),
            hash: report.hash,
            time: report.time,
        })
    }
}

/// Name of the container in which `writer` runs.
pub const fn container_of(writer: AuditWriter) -> &'static str {
    match writer {
        AuditWriter::Sidecar => SIDECAR_CONTAINER,
        AuditWriter::EgressGateway => GATEWAY_CONTAINER,
    }
}

/// Asks the admin ports of these pods, each within three seconds. One that wrote no record has no anchor.
pub async fn fetch(pods: &[(Source, IpAddr)], port: u16) -> Vec<AuditAnchor> {
    let ask = async |(source, address): &(Source, IpAddr)| {
        let address = SocketAddr::new(*address, port);
        let report = sidecar::get::<Option<AnchorReport>>(address, PATH, DEADLINE).await;
        let report = report
            .inspect_err(|error| tracing::debug!(%error, pod = source.pod, "no anchor"))
            .ok()??;
        source.tells(report)
    };
    join_all(pods.iter().map(ask)).await.into_iter().flatten().collect()
}

/// `old` with what was told since. A chain only grows: one that is told shorter keeps the anchor that it had, which shows
/// what was taken away. And it is its own pod's alone.
pub fn kept(old: Option<&AuditStatus>, told: impl IntoIterator<Item = AuditAnchor>) -> Option<AuditStatus> {
    let mut anchors = old.map(|audit| audit.anchors.clone()).unwrap_or_default();
    for anchor in told {
        match anchors.iter_mut().find(|known| known.chain == anchor.chain) {
            Some(known) if known.seq < anchor.seq && is_same_pod(known, &anchor) => *known = anchor,
            Some(_) => {}
            None => anchors.push(anchor),
        }
    }
    anchors.sort_by(|one, other| (&other.time, &other.chain).cmp(&(&one.time, &one.chain)));
    anchors.truncate(MAX_KEPT);
    (!anchors.is_empty()).then_some(AuditStatus { anchors })
}

/// Anchors of former releases have no UID.
fn is_same_pod(known: &AuditAnchor, told: &AuditAnchor) -> bool {
    known.pod == told.pod && (known.pod_uid == told.pod_uid || known.pod_uid.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sidecar;
    use pretty_assertions::assert_eq;
    use serde_json::json;

    fn anchor(chain: &str, seq: i64, time: &str) -> AuditAnchor {
        AuditAnchor {
            chain: chain.to_owned(),
            writer: AuditWriter::Sidecar,
            pod: "demo-1".to_owned(),
            pod_uid: "uid-1".to_owned(),
            seq,
            hash: format!("{seq:064x}"),
            time: time.to_owned(),
        }
    }

    fn source(pod: &str, writer: AuditWriter) -> Source {
        Source {
            pod: pod.to_owned(),
            uid: format!("uid of {pod}"),
            writer,
        }
    }

    fn report(chain: &str) -> String {
        let hash = "a".repeat(64);
        json!({"chain": chain, "seq": 7, "hash": hash, "time": "2026-11-21T08:00:00.000Z"}).to_string()
    }

    #[tokio::test]
    async fn each_program_tells_the_end_of_its_chain_and_a_new_one_nothing() {
        for (pod, answer, told) in [
            ("demo-1", ("200 OK", report("demo-1/t/x")), true),
            ("demo-2", ("200 OK", "null".to_owned()), false),
            ("demo-3", ("404 Not Found", String::new()), false),
            ("demo-4", ("200 OK", report("demo-1/t/x")), false),
            ("demo-5", ("200 OK", report("demo-5/\\u001b[2J")), false),
        ] {
            let address = sidecar(answer.0, answer.1).await;
            let source = source(pod, AuditWriter::EgressGateway);
            let anchors = fetch(&[(source, address.ip())], address.port()).await;
            assert_eq!(anchors.len(), usize::from(told), "{pod}");
            for anchor in anchors {
                assert_eq!((anchor.pod.as_str(), anchor.seq), (pod, 7));
                assert_eq!(anchor.writer, AuditWriter::EgressGateway);
            }
        }
    }

    #[test]
    fn an_anchor_moves_forward_and_never_back() {
        let before = kept(None, vec![anchor("a", 5, "t5")]);
        let further = kept(before.as_ref(), vec![anchor("a", 9, "t9"), anchor("b", 0, "t6")]).unwrap();
        assert_eq!(further.anchors, [anchor("a", 9, "t9"), anchor("b", 0, "t6")]);
        let cut = kept(Some(&further), vec![anchor("a", 3, "t10")]);
        assert_eq!(cut.unwrap(), further);
    }

    #[test]
    fn no_other_pod_moves_the_anchor_of_a_chain_even_under_the_same_name() {
        let before = kept(None, vec![anchor("a", 5, "t5")]).unwrap();
        let later = |change: fn(&mut AuditAnchor)| {
            let mut later = anchor("a", 9, "t9");
            change(&mut later);
            kept(Some(&before), vec![later]).unwrap().anchors[0].seq
        };
        assert_eq!(later(|_| {}), 9);
        assert_eq!(later(|anchor| anchor.pod_uid = "uid-2".to_owned()), 5);
        assert_eq!(later(|anchor| anchor.pod = "demo-2".to_owned()), 5);
    }

    #[test]
    fn the_oldest_chains_go_first() {
        let many = (0..80).map(|number| anchor(&format!("c{number:02}"), 1, &format!("t{number:02}")));
        let kept = kept(None, many).unwrap();
        assert_eq!((kept.anchors.len(), kept.anchors[0].chain.as_str()), (MAX_KEPT, "c79"));
    }
}
