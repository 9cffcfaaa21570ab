//! No denial makes a client of the modern era fall back to the legacy one.

use crate::stage::{Stage, all};
use sallyport_clients::{Client, Era};
use sallyport_fixture::own;
use serde_json::json;

#[tokio::test]
async fn a_server_at_its_limit_is_still_of_the_modern_era() {
    let rate = json!({"requests": 1, "seconds": 3600, "burst": 1});
    let stage = Stage::with(&json!({"limits": {"rates": {"perPrincipal": rate}}})).await;
    let seen = stage.everyone(own::ECHO, &json!({"text": "x"}), |_| None, None).await;
    // One request of all was let through.
    all(&seen, |seen| seen.report.error.is_some());
    let begun = stage
        .sidecar
        .records()
        .iter()
        .filter(|record| record.to_string().contains("\"initialize\""))
        .count();
    let legacy = seen
        .iter()
        .filter(|seen| seen.era == Era::Legacy && seen.client != Client::Inspector)
        .count();
    assert!(
        begun <= legacy + 2,
        "{begun} times initialize, by {legacy} clients of the legacy era"
    );
}
