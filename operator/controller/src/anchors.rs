//! How far the records of the audit sidecars had come, kept where no pod can change it.

use crate::sidecar;
use futures::future::join_all;
use sallyport_api::v1alpha1::{AuditAnchor, AuditStatus};
use serde::Deserialize;
use std::{net::SocketAddr, time::Duration};

const PATH: &str = "/anchor";
const DEADLINE: Duration = Duration::from_secs(3);
/// Chains that the status keeps: those of the pods that run, and of some that ran before.
const MAX_KEPT: usize = 40;
const MAX_TEXT: usize = 160;

/// What a sidecar tells of its chain.
#[derive(Deserialize)]
struct Anchor {
    chain: String,
    seq: u64,
    hash: String,
    time: String,
}

/// Asks the admin ports of the sidecars of these pods, each within three seconds. One that wrote no record has no anchor.
pub async fn fetch(pods: &[(String, SocketAddr)]) -> Vec<AuditAnchor> {
    let ask = async |(pod, address): &(String, SocketAddr)| {
        let anchor = sidecar::get::<Option<Anchor>>(*address, PATH, DEADLINE).await;
        let anchor = anchor
            .inspect_err(|error| tracing::debug!(%error, pod, "no anchor"))
            .ok()??;
        Some(AuditAnchor {
            chain: sidecar::plain(&anchor.chain, MAX_TEXT),
            pod: pod.clone(),
            seq: i64::try_from(anchor.seq).unwrap_or(i64::MAX),
            hash: sidecar::plain(&anchor.hash, MAX_TEXT),
            time: sidecar::plain(&anchor.time, MAX_TEXT),
        })
    };
    join_all(pods.iter().map(ask)).await.into_iter().flatten().collect()
}

/// `old` with what sidecars tell now. A chain only grows: one that is told shorter keeps the anchor that it had, which shows
/// what was taken away.
pub fn kept(old: Option<&AuditStatus>, told: Vec<AuditAnchor>) -> Option<AuditStatus> {
    let mut anchors = old.map(|audit| audit.anchors.clone()).unwrap_or_default();
    for anchor in told {
        match anchors.iter_mut().find(|known| known.chain == anchor.chain) {
            Some(known) if known.seq < anchor.seq => *known = anchor,
            Some(_) => {}
            None => anchors.push(anchor),
        }
    }
    anchors.sort_by(|one, other| (&other.time, &other.chain).cmp(&(&one.time, &one.chain)));
    anchors.truncate(MAX_KEPT);
    (!anchors.is_empty()).then_some(AuditStatus { anchors })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sidecar;
    use pretty_assertions::assert_eq;

    fn anchor(chain: &str, seq: i64, time: &str) -> AuditAnchor {
        AuditAnchor {
            chain: chain.to_owned(),
            pod: "demo-1".to_owned(),
            seq,
            hash: format!("{seq:064x}"),
            time: time.to_owned(),
        }
    }

    #[tokio::test]
    async fn each_sidecar_tells_the_end_of_its_chain_and_a_new_one_nothing() {
        let hash = "a".repeat(64);
        let body = format!(r#"{{"chain":"demo-1/x","seq":7,"hash":"{hash}","time":"2026-11-21T08:00:00.000Z"}}"#);
        let pods = [
            ("demo-1".to_owned(), sidecar("200 OK", body).await),
            ("demo-2".to_owned(), sidecar("200 OK", "null".to_owned()).await),
            ("demo-3".to_owned(), sidecar("404 Not Found", String::new()).await),
        ];
        let told = fetch(&pods).await;
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].pod.as_str(), told[0].seq), ("demo-1", 7));
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
    fn the_oldest_chains_go_first() {
        let many = (0..50).map(|number| anchor(&format!("c{number:02}"), 1, &format!("t{number:02}")));
        let kept = kept(None, many.collect()).unwrap();
        assert_eq!((kept.anchors.len(), kept.anchors[0].chain.as_str()), (40, "c49"));
    }
}
