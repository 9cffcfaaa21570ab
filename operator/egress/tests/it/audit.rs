//! Mode `Audit`: what a rule could allow passes and is recorded; what nothing opens stays closed.

use super::support::{ALLOWED, GREETING, Lab, OTHER, OTHER_IP, a, aaaa, hello_for};
use pretty_assertions::assert_eq;
use sallyport_policy::egress::EgressMode;
use serde_json::json;

async fn lab() -> Lab {
    Lab::with(|file| file.mode = EgressMode::Audit).await
}

#[tokio::test]
async fn what_enforce_would_refuse_passes_and_says_so() {
    let lab = lab().await;
    lab.host_at(OTHER_IP, 8443).await;
    let mut client = lab.tunnel("evil.test:8443").await;
    client.send(&hello_for(OTHER)).await;
    client.expect(GREETING).await;
    drop(client);
    let events = lab.events.wait(2).await;
    for event in &events {
        assert_eq!(
            (&event["decision"], &event["reason"]),
            (&json!("would_deny"), &json!("host_not_allowed"))
        );
        assert_eq!((&event["host"], &event["port"]), (&json!(OTHER), &json!(8443)));
        assert!(event.get("rule").is_none());
    }
    let metrics = lab.gateway.get("/metrics").await;
    let line =
        "sallyport_egress_connections_total{via=\"connect\",decision=\"would_deny\",reason=\"host_not_allowed\"} 1";
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test]
async fn what_is_allowed_is_recorded_as_allowed() {
    let lab = lab().await;
    lab.host().await;
    let mut client = lab.tunnel("api.example.com:443").await;
    client.send(&hello_for(ALLOWED)).await;
    client.expect(GREETING).await;
    assert_eq!(lab.events.wait(1).await[0]["decision"], json!("allowed"));
}

#[tokio::test]
async fn a_private_address_passes_as_a_rule_could_open_it() {
    let lab = lab().await;
    lab.host_at("10.0.0.5", 443).await;
    lab.dns.set(ALLOWED, [a("10.0.0.5")]);
    let mut client = lab.tunnel("api.example.com:443").await;
    client.send(&hello_for(ALLOWED)).await;
    client.expect(GREETING).await;
    let event = lab.events.wait(1).await.remove(0);
    assert_eq!(
        (&event["decision"], &event["reason"]),
        (&json!("would_deny"), &json!("address_private"))
    );
}

#[tokio::test]
async fn what_nothing_opens_stays_closed() {
    for (answer, reason) in [
        (a("169.254.169.254"), "address_metadata"),
        (a("168.63.129.16"), "address_metadata"),
        (a("127.0.0.1"), "address_loopback"),
        (a("10.244.0.7"), "address_pods"),
        (aaaa("64:ff9b::a00:5"), "address_embedded_ipv4"),
    ] {
        let lab = lab().await;
        lab.dns.set(ALLOWED, [answer]);
        let answer = lab.client().await.connect("api.example.com:443").await;
        assert_eq!((answer.status, answer.reason()), (403, Some(reason)));
        assert_eq!(lab.refusal().await["decision"], json!("denied"));
        assert_eq!(lab.network.dialled(), [""; 0]);
    }
}

#[tokio::test]
async fn malformed_requests_stay_refused() {
    let lab = lab().await;
    let answer = lab.client().await.connect("9.9.9.9:443").await;
    assert_eq!((answer.status, answer.reason()), (403, Some("host_is_address")));
}
