//! What keeps audit sidecars from telling callers apart: broken key files, issuers out of reach, a policy that they cannot
//! follow.

use crate::sidecar;
use futures::future::join_all;
use serde::Deserialize;
use std::{net::SocketAddr, time::Duration};

const PATH: &str = "/policy";
const DEADLINE: Duration = Duration::from_secs(3);
const MAX_TEXT: usize = 256;
/// Problems that the status tells.
const MAX_TOLD: usize = 5;

#[derive(Deserialize)]
struct Report {
    #[serde(default)]
    problem: Option<String>,
    #[serde(default)]
    authentication: Vec<String>,
}

/// Asks the admin ports of the sidecars of these pods, each within three seconds; `None` if none could tell. Each problem once,
/// in an order that stays the same while they do.
pub async fn problems(pods: &[(String, SocketAddr)]) -> Option<Vec<String>> {
    let ask = |(_, address): &(String, SocketAddr)| sidecar::get::<Report>(*address, PATH, DEADLINE);
    let answers = join_all(pods.iter().map(ask)).await;
    let reports: Vec<_> = answers
        .into_iter()
        .filter_map(|answer| {
            answer
                .inspect_err(|error| tracing::debug!(%error, "no report of the policy"))
                .ok()
        })
        .collect();
    if reports.is_empty() {
        return None;
    }
    let told = reports
        .into_iter()
        .flat_map(|report| report.problem.into_iter().chain(report.authentication));
    let mut problems: Vec<_> = told.map(|text| sidecar::plain(&text, MAX_TEXT)).collect();
    problems.sort();
    problems.dedup();
    problems.truncate(MAX_TOLD);
    Some(problems)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sidecar;
    use pretty_assertions::assert_eq;

    #[tokio::test]
    async fn what_several_sidecars_cannot_use_is_told_once() {
        let body = r#"{"generation":1,"sha256":"a","authentication":["the key file is broken"]}"#;
        let well = r#"{"generation":1,"sha256":"a","authentication":[]}"#;
        let pods = |bodies: Vec<SocketAddr>| bodies.into_iter().map(|at| ("demo".to_owned(), at)).collect::<Vec<_>>();
        let (one, two) = (
            sidecar("200 OK", body.to_owned()).await,
            sidecar("200 OK", body.to_owned()).await,
        );
        let three = sidecar("200 OK", well.to_owned()).await;
        assert_eq!(
            problems(&pods(vec![one, two, three])).await.unwrap(),
            ["the key file is broken"]
        );
        assert_eq!(problems(&pods(vec![three])).await, Some(vec![]));
        assert_eq!(problems(&[]).await, None);
    }
}
