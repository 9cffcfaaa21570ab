//! No call passes that cannot be recorded.

use crate::support::{CALL, Gate, Running, Server, json_answer, json_of, policy, post, send, until};
use pretty_assertions::assert_eq;
use serde_json::json;
use std::time::Duration;

const RESULT: &str = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;

async fn gated() -> (Server, Running, Gate) {
    let server = Server::start(async |_| json_answer(RESULT)).await;
    let gate = Gate::open();
    let sidecar = Running::start(policy(server.port), gate.clone()).await;
    sidecar.until_ready().await;
    (server, sidecar, gate)
}

/// Calls until one is refused for the sink's sake; returns how many passed before.
async fn calls_until_refused(sidecar: &Running) -> usize {
    let mut passed = 0;
    loop {
        let (status, answer) = json_of(send(post(sidecar.traffic, CALL)).await).await;
        match status.as_u16() {
            200 => passed += 1,
            503 => {
                assert_eq!(answer["error"]["code"], -31503);
                return passed;
            }
            other => panic!("{other}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_blocked_sink_blocks_calls_and_loses_no_record() {
    let (server, sidecar, gate) = gated().await;
    // The negative control: with the sink working the same call passes.
    assert_eq!(send(post(sidecar.traffic, CALL)).await.status(), 200);

    gate.block();
    let passed = 1 + calls_until_refused(&sidecar).await;
    assert_eq!(server.received().len(), passed, "the refused call was not forwarded");
    assert_eq!(sidecar.admin("/readyz").await.0, 503);
    assert_eq!(sidecar.admin("/healthz").await.0, 503);

    gate.heal();
    until("ready again", async || sidecar.admin("/readyz").await.0 == 200).await;
    assert_eq!(send(post(sidecar.traffic, CALL)).await.status(), 200);
    sidecar.stop().await.unwrap();
    let records = gate.lines.records();
    let count = |outcome: &str| records.iter().filter(|record| record["outcome"] == outcome).count();
    assert_eq!((count("allowed"), count("denied")), (passed + 1, 1));
    assert_eq!(records[passed]["reason"], "sink_unavailable");
}

#[tokio::test]
async fn a_failing_sink_blocks_calls_and_no_line_is_torn_when_it_heals() {
    let (server, sidecar, gate) = gated().await;
    gate.fail();
    let passed = calls_until_refused(&sidecar).await;
    assert!(passed <= 2, "{passed}");
    assert_eq!(server.received().len(), passed);
    assert_eq!(sidecar.admin("/readyz").await.0, 503);
    assert!(
        sidecar
            .admin("/metrics")
            .await
            .1
            .contains("sallyport_sidecar_audit_sink_failures_total 1")
    );

    gate.heal();
    until("ready again", async || sidecar.admin("/readyz").await.0 == 200).await;
    sidecar.stop().await.unwrap();
    let outcomes: Vec<_> = gate
        .lines
        .records()
        .iter()
        .map(|record| record["outcome"].clone())
        .collect();
    let mut expected = vec![json!("allowed"); passed];
    expected.push(json!("denied"));
    assert_eq!(outcomes, expected);
}

#[tokio::test]
async fn a_flood_on_a_blocked_sink_stays_bounded_and_what_is_not_recorded_is_counted() {
    let (server, sidecar, gate) = gated().await;
    gate.block();
    calls_until_refused(&sidecar).await;
    let forwarded = server.received().len();
    let client = crate::support::client();
    // Room is connections (64) and backlog (256).
    for _ in 0..8 {
        let calls = (0..60).map(|_| client.request(post(sidecar.traffic, CALL)));
        for response in futures::future::join_all(calls).await {
            assert_eq!(response.unwrap().status(), 503);
        }
    }
    assert_eq!(server.received().len(), forwarded);
    let metrics = sidecar.admin("/metrics").await.1;
    let unrecorded = metrics
        .lines()
        .find_map(|line| line.strip_prefix("sallyport_sidecar_audit_unrecorded_refusals_total "))
        .and_then(|count| count.parse::<usize>().ok())
        .unwrap();
    gate.heal();
    until("ready again", async || sidecar.admin("/readyz").await.0 == 200).await;
    sidecar.stop().await.unwrap();
    let denied = gate
        .lines
        .records()
        .iter()
        .filter(|record| record["outcome"] == "denied")
        .count();
    assert!(unrecorded > 0);
    assert_eq!(denied + unrecorded, 8 * 60 + 1);
}
