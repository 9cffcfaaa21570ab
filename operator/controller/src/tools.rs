//! What the audit sidecars saw of the server's tools, beside what was pinned.

use crate::sidecar;
use futures::future::join_all;
use sallyport_api::v1alpha1::{ToolStatus, ToolsStatus};
use sallyport_policy::tools::{DriftReport, ToolReport, ToolState};
use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

const PATH: &str = "/tools";
const DEADLINE: Duration = Duration::from_secs(3);
/// Hundreds of tools, each with a few digests.
const MAX_BODY: usize = 512 << 10;
/// Tools that the status lists.
const MAX_LISTED: usize = 256;
const MAX_TEXT: usize = 128;

/// Asks the admin ports of the sidecars at `addresses`, each within three seconds; `None` if none could tell.
///
/// Each sidecar watches its own server. Of a tool that they saw differently, the worst counts.
pub async fn fetch(addresses: &[SocketAddr]) -> Option<ToolsStatus> {
    let ask = |address: &SocketAddr| sidecar::get_up_to::<DriftReport>(*address, PATH, DEADLINE, MAX_BODY);
    let answers = join_all(addresses.iter().map(ask)).await;
    let reports: Vec<_> = answers
        .into_iter()
        .filter_map(|answer| {
            answer
                .inspect_err(|error| tracing::debug!(%error, "no report of tools"))
                .ok()
        })
        .filter(|report| report.observed)
        .collect();
    (!reports.is_empty()).then(|| merged(&reports))
}

/// What reports say together. Names come from servers, which are not trusted: they are cut short and rid of control characters.
fn merged(reports: &[DriftReport]) -> ToolsStatus {
    let mut worst: BTreeMap<String, &ToolReport> = BTreeMap::new();
    for tool in reports.iter().flat_map(|report| &report.tools) {
        let known = worst.entry(sidecar::plain(&tool.name, MAX_TEXT)).or_insert(tool);
        if tool.state > known.state {
            *known = tool;
        }
    }
    let closed = |tool: &&&ToolReport| !matches!(tool.state, ToolState::Pinned | ToolState::Unpinned);
    let nameless = reports.iter().map(|report| report.nameless).max().unwrap_or_default();
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    ToolsStatus {
        total: count(worst.len()),
        drifted: count(worst.values().filter(closed).count()).saturating_add_unsigned(nameless),
        list: worst
            .iter()
            .map(|(name, tool)| ToolStatus {
                name: name.clone(),
                state: format!("{:?}", tool.state),
                sha256: tool.observed_sha256.map(|digest| digest.to_string()),
            })
            .take(MAX_LISTED)
            .collect(),
    }
}

/// Names of the tools that may not be called because of what they are, the first few of them.
pub fn closed(tools: &ToolsStatus) -> String {
    let named = tools
        .list
        .iter()
        .filter(|tool| !matches!(tool.state.as_str(), "Pinned" | "Unpinned"));
    let named: Vec<_> = named
        .map(|tool| format!("{} ({})", tool.name, tool.state))
        .take(10)
        .collect();
    named.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sidecar;
    use pretty_assertions::assert_eq;
    use serde_json::json;

    fn report(state: &str) -> String {
        json!({
            "observed": true,
            "tools": [{"name": "read", "state": state, "observedSha256": "a".repeat(64), "pinnedSha256": ["a".repeat(64)]}],
            "nameless": 0,
        })
        .to_string()
    }

    #[tokio::test]
    async fn the_worst_of_what_sidecars_saw_counts() {
        let clean = sidecar("200 OK", report("Pinned")).await;
        let drifted = sidecar("200 OK", report("Drifted")).await;
        let alone = fetch(&[clean]).await.unwrap();
        assert_eq!((alone.total, alone.drifted), (1, 0));
        assert_eq!(alone.list[0].sha256, Some("a".repeat(64)));
        for order in [[clean, drifted], [drifted, clean]] {
            let both = fetch(&order).await.unwrap();
            assert_eq!((both.total, both.drifted), (1, 1));
            assert_eq!(closed(&both), "read (Drifted)");
        }
    }

    #[tokio::test]
    async fn a_sidecar_that_has_seen_nothing_tells_nothing() {
        let unseen = json!({"observed": false, "tools": [], "nameless": 0}).to_string();
        let addresses = [
            sidecar("200 OK", unseen).await,
            sidecar("404 Not Found", String::new()).await,
        ];
        assert_eq!(fetch(&addresses).await, None);
    }

    #[test]
    fn names_that_only_look_apart_are_one() {
        let tool = |name: &str| ToolReport {
            name: name.to_owned(),
            state: ToolState::Faulty,
            observed_sha256: None,
            pinned_sha256: vec![],
            detail: None,
        };
        let report = DriftReport {
            observed: true,
            tools: vec![tool("a\u{7}b"), tool("ab")],
            nameless: 2,
        };
        let status = merged(&[report]);
        assert_eq!((status.list.len(), status.drifted), (1, 3));
    }
}
