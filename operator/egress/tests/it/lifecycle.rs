//! From start to stop: new policies, blocked sinks, what the admin port says, the end.

use super::support::{ALLOWED, Client, GREETING, Gate, Lab, OTHER, OTHER_IP, hello_for, rule, until};
use pretty_assertions::assert_eq;
use sallyport_audit::Anchor;
use sallyport_audit::verify::{Leniency, verify};
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test]
async fn a_new_policy_is_in_force_without_restart() {
    let lab = Lab::start().await;
    lab.host_at(OTHER_IP, 443).await;
    assert_eq!(lab.client().await.connect("evil.test:443").await.status, 403);
    let mut file = lab.file.clone();
    file.rules.push(rule(OTHER, &[443]));
    lab.replace_policy(&file.to_text().unwrap()).await;
    lab.tunnel("evil.test:443").await;
    let status = lab.gateway.get("/policy").await;
    assert!(
        status.contains("\"restartNeeded\":false") && !status.contains("error"),
        "{status}"
    );
    file.limits.connections += 1;
    lab.replace_policy(&file.to_text().unwrap()).await;
    assert!(lab.gateway.get("/policy").await.contains("\"restartNeeded\":true"));
}

#[tokio::test]
async fn a_broken_policy_is_shown_and_the_one_before_it_stays() {
    let lab = Lab::start().await;
    lab.host().await;
    lab.replace_policy("{\"rules\": [").await;
    let status = lab.gateway.get("/policy").await;
    assert!(status.contains("same release"), "{status}");
    assert!(
        lab.gateway
            .get("/metrics")
            .await
            .contains("sallyport_egress_policy_broken 1")
    );
    assert!(lab.gateway.get("/readyz").await.starts_with("HTTP/1.1 200"));
    lab.tunnel("api.example.com:443").await;
    assert_eq!(lab.client().await.connect("evil.test:443").await.status, 403);
    // And it heals, even by what was there before.
    lab.replace_policy(&lab.file.to_text().unwrap()).await;
    until("the repaired policy", async || {
        !lab.gateway.get("/policy").await.contains("error")
    })
    .await;
    assert!(
        lab.gateway
            .get("/metrics")
            .await
            .contains("sallyport_egress_policy_broken 0")
    );
}

#[tokio::test]
async fn a_tunnel_ends_when_a_new_policy_no_longer_allows_it() {
    let lab = Lab::start().await;
    lab.host().await;
    let mut client = lab.tunnel("api.example.com:443").await;
    client.send(&hello_for(ALLOWED)).await;
    client.expect(GREETING).await;
    let mut file = lab.file.clone();
    file.rules.push(rule(OTHER, &[443]));
    lab.replace_policy(&file.to_text().unwrap()).await;
    client.send(b"still").await;
    client.expect(b"still").await;
    file.rules.clear();
    lab.replace_policy(&file.to_text().unwrap()).await;
    client.rest().await;
    assert_eq!(lab.events.wait(2).await[1]["end"], json!("revoked"));
}

#[tokio::test]
async fn a_blocked_sink_lets_nothing_through() {
    let gate = Gate::default();
    let lab = Lab::with_sink(|_| {}, gate.clone(), gate.lines.clone()).await;
    lab.host().await;
    gate.block(true);
    // One event may be on its way to the sink; it cannot be known that the sink is blocked before.
    let mut first = lab.client().await;
    first.connect("api.example.com:443").await;
    first.send(&hello_for(ALLOWED)).await;
    until("the gateway to notice", async || {
        lab.gateway.get("/healthz").await.starts_with("HTTP/1.1 503")
    })
    .await;
    let answer = lab.client().await.connect("api.example.com:443").await;
    assert_eq!((answer.status, answer.reason()), (503, Some("sink_unavailable")));
    let mut transparent = Client::to(lab.gateway.transparent).await;
    transparent.send(&hello_for(ALLOWED)).await;
    transparent.rest().await;
    assert_eq!(lab.network.dialled().len(), 1);
    assert!(
        lab.gateway
            .get("/metrics")
            .await
            .contains("sallyport_egress_unrecorded_refusals_total 2")
    );
    gate.block(false);
    until("the sink to heal", async || {
        lab.gateway.get("/healthz").await.starts_with("HTTP/1.1 200")
    })
    .await;
    lab.tunnel("api.example.com:443").await;
}

#[tokio::test]
async fn the_events_of_a_gateway_are_a_whole_chain_that_its_anchor_knows() {
    let mut lab = Lab::start().await;
    for _ in 0..3 {
        lab.client().await.connect("evil.test:443").await;
    }
    lab.events.wait(3).await;
    let answer = lab.gateway.get("/anchor").await;
    let anchor: Anchor = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    lab.gateway.begin_stop();
    lab.gateway.stopped().await.unwrap();
    let log = lab.events.text();
    let report = verify(log.as_bytes(), std::slice::from_ref(&anchor), Leniency::default());
    assert_eq!(report.findings, []);
    assert!(report.chains[0].ended && report.chains[0].anchored == Some(anchor.seq));
    let edited = log.replacen("denied", "allowed", 1);
    assert!(!verify(edited.as_bytes(), &[], Leniency::default()).is_whole());
}

#[tokio::test]
async fn a_stopping_gateway_lets_tunnels_finish_and_then_ends_them() {
    let mut lab = Lab::start().await;
    lab.host().await;
    let mut quick = lab.tunnel("api.example.com:443").await;
    quick.send(&hello_for(ALLOWED)).await;
    quick.expect(GREETING).await;
    let mut slow = lab.tunnel("api.example.com:443").await;
    slow.send(&hello_for(ALLOWED)).await;
    slow.expect(GREETING).await;
    lab.gateway.begin_stop();
    until("not ready", async || {
        lab.gateway.get("/readyz").await.contains("stopping")
    })
    .await;
    assert!(
        tokio::net::TcpStream::connect(lab.gateway.traffic).await.is_err(),
        "no new connections"
    );
    quick.send(b"x").await;
    quick.expect(b"x").await;
    quick.half_close().await;
    assert_eq!(quick.rest().await, b"bye");
    assert_eq!(slow.rest().await, b"");
    tokio::time::timeout(Duration::from_secs(10), lab.gateway.stopped())
        .await
        .unwrap()
        .unwrap();
    let ends: Vec<Value> = lab
        .events
        .events()
        .iter()
        .filter_map(|event| event.get("end").cloned())
        .collect();
    assert_eq!(ends, [json!("completed"), json!("drained")]);
}

#[tokio::test]
async fn metrics_count_and_name_nobody() {
    let lab = Lab::start().await;
    lab.host().await;
    for host in ["a", "b", "c"] {
        lab.client().await.connect(&format!("{host}.evil.test:443")).await;
    }
    let mut client = lab.tunnel("api.example.com:443").await;
    client.send(&hello_for(ALLOWED)).await;
    client.expect(GREETING).await;
    client.half_close().await;
    client.rest().await;
    lab.events.wait(5).await;
    let mut metrics = String::new();
    until("the tunnel's place is free", async || {
        metrics = lab.gateway.get("/metrics").await;
        metrics.contains("sallyport_egress_open_connections 0")
    })
    .await;
    for line in [
        "sallyport_egress_connections_total{via=\"connect\",decision=\"denied\",reason=\"host_not_allowed\"} 3",
        "sallyport_egress_connections_total{via=\"connect\",decision=\"allowed\",reason=\"none\"} 1",
        "sallyport_egress_connections_closed_total{end=\"completed\"} 1",
        "sallyport_egress_audit_records_total 5",
    ] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
    assert!(!metrics.contains("evil.test") && !metrics.contains("example.com") && !metrics.contains("9.9.9.9"));
}
