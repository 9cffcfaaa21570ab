//! Where events go, in which form, whom they name, and what is left of them when the gateway ends.

use super::support::{ALLOWED, Collector, GREETING, Lab, OTHER, hello_for, until};
use pretty_assertions::assert_eq;
use sallyport_audit::verify::{Leniency, verify};
use sallyport_policy::egress::{EgressAudit, EgressClients, EgressFile, EgressMode};
use sallyport_policy::{AuditFormat, AuditSinks, LastWord, OnSinkFailure, OtlpSink};
use serde_json::{Value, json};

fn sending(collector: &Collector, on_sink_failure: OnSinkFailure) -> impl FnOnce(&mut EgressFile) {
    let otlp = OtlpSink {
        endpoint: collector.endpoint.clone(),
        ca_file: None,
        traces: false,
    };
    move |file| {
        file.audit = EgressAudit {
            sinks: AuditSinks {
                otlp: Some(otlp),
                ..AuditSinks::default()
            },
            on_sink_failure,
            ..EgressAudit::default()
        }
    }
}

/// One tunnel from its opening to its end.
async fn tunnel(lab: &Lab) {
    let mut client = lab.tunnel("api.example.com:443").await;
    client.send(&hello_for(ALLOWED)).await;
    client.expect(GREETING).await;
    client.half_close().await;
    client.rest().await;
    until("its end", async || lab.events.text().contains("\"end\":\"completed\"")).await;
}

#[tokio::test]
async fn a_collector_gets_the_same_lines_under_opentelemetrys_names() {
    let collector = Collector::start().await;
    let mut lab = Lab::with(sending(&collector, OnSinkFailure::Block)).await;
    lab.host().await;
    tunnel(&lab).await;
    lab.client().await.connect("evil.test:443").await;
    lab.events.wait(3).await;
    lab.gateway.begin_stop();
    lab.gateway.stopped().await.unwrap();
    let printed: Vec<_> = lab.events.text().lines().map(str::to_owned).collect();
    assert_eq!(collector.lines(), printed, "the chain's beginning and end too");
    let records = collector.records();
    let attribute = |record: &Value, key: &str| {
        let attributes = record["attributes"].as_array().unwrap();
        let found = attributes.iter().find(|attribute| attribute["key"] == key);
        found.map(|attribute| attribute["value"].clone())
    };
    let names: Vec<_> = records
        .iter()
        .map(|record| record["eventName"].as_str().unwrap())
        .collect();
    let expected = [
        "sallyport.audit.chain_start",
        "sallyport.egress.open",
        "sallyport.egress.close",
        "sallyport.egress.refused",
        "sallyport.audit.chain_end",
    ];
    assert_eq!(names, expected);
    assert_eq!(
        attribute(&records[1], "server.address"),
        Some(json!({"stringValue": ALLOWED}))
    );
    assert_eq!(attribute(&records[1], "server.port"), Some(json!({"intValue": "443"})));
    let peer = attribute(&records[1], "network.peer.address");
    assert_eq!(peer, Some(json!({"stringValue": "9.9.9.9"})));
    let reason = attribute(&records[3], "sallyport.decision.reason");
    assert_eq!(reason, Some(json!({"stringValue": "host_not_allowed"})));
    assert_eq!(
        (&records[1]["severityText"], &records[3]["severityText"]),
        (&json!("INFO"), &json!("WARN"))
    );
}

#[tokio::test]
async fn no_connection_opens_while_the_collector_takes_no_events_unless_they_may_be_lost() {
    for (on_failure, opens) in [(OnSinkFailure::Block, false), (OnSinkFailure::Drop, true)] {
        let collector = Collector::start().await;
        collector.refuse(true);
        let lab = Lab::with(sending(&collector, on_failure)).await;
        lab.host().await;
        // The first line begins the chain.
        until("its refusal", async || collector.has_refused()).await;
        let status = if opens { "HTTP/1.1 200" } else { "HTTP/1.1 503" };
        until("what follows from it", async || {
            lab.gateway.get("/readyz").await.starts_with(status)
        })
        .await;
        let answer = lab.client().await.connect("api.example.com:443").await;
        if opens {
            assert_eq!(answer.status, 200);
            continue;
        }
        assert_eq!((answer.status, answer.reason()), (503, Some("sink_unavailable")));
        assert_eq!(lab.network.dialled(), [""; 0]);
        // It heals, and nothing that happened is missing.
        collector.refuse(false);
        until("the collector", async || {
            lab.gateway.get("/readyz").await.starts_with("HTTP/1.1 200")
        })
        .await;
        tunnel(&lab).await;
        until("the lines", async || {
            collector.lines().join("\n") + "\n" == lab.events.text() && collector.lines().len() == 3
        })
        .await;
    }
}

#[tokio::test]
async fn in_ocsf_an_event_is_network_activity_and_stays_in_the_chain() {
    let mut lab = Lab::with(|file| file.audit.format = AuditFormat::Ocsf).await;
    lab.host().await;
    tunnel(&lab).await;
    lab.client().await.connect("evil.test:443").await;
    let count = |text: &str| text.matches("\"class_uid\":4001").count();
    until("three events", async || count(&lab.events.text()) == 3).await;
    lab.gateway.begin_stop();
    lab.gateway.stopped().await.unwrap();
    let text = lab.events.text();
    let report = verify(text.as_bytes(), &[], Leniency::default());
    assert!(report.is_whole() && report.chains[0].ended, "{:?}", report.findings);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let classes: Vec<_> = lines.iter().map(|line| line["type_uid"].as_u64().unwrap()).collect();
    assert_eq!(classes, [600_203, 400_101, 400_102, 400_105, 600_204]);
    let (open, close, refused) = (&lines[1], &lines[2], &lines[3]);
    assert_eq!(open["category_uid"], json!(4));
    assert_eq!(
        open["dst_endpoint"],
        json!({"hostname": ALLOWED, "port": 443, "ip": "9.9.9.9"})
    );
    assert_eq!(open["src_endpoint"], json!({"ip": "127.0.0.1"}));
    assert_eq!(open["firewall_rule"], json!({"name": "api.example.com:80,443"}));
    assert_eq!((&open["action_id"], &open["disposition_id"]), (&json!(1), &json!(1)));
    assert_eq!(close["connection_info"]["uid"], open["connection_info"]["uid"]);
    assert_eq!(close["traffic"]["bytes_in"], json!(GREETING.len() + "bye".len()));
    assert_eq!(
        (&refused["action_id"], &refused["disposition_id"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(refused["status_detail"], json!("host_not_allowed"));
    assert_eq!(refused["dst_endpoint"], json!({"hostname": OTHER, "port": 443}));
    assert_eq!(refused["unmapped"]["endpoint"]["name"], json!("demo"));
    // In mode Audit it is observed and logged.
    let audit = Lab::with(|file| {
        file.mode = EgressMode::Audit;
        file.audit.format = AuditFormat::Ocsf;
    })
    .await;
    audit.host_at(super::support::OTHER_IP, 443).await;
    let mut client = audit.tunnel("evil.test:443").await;
    client.send(&hello_for(OTHER)).await;
    client.expect(GREETING).await;
    until("its event", async || count(&audit.events.text()) > 0).await;
    let text = audit.events.text();
    let observed: Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
    assert_eq!(
        (&observed["action_id"], &observed["disposition_id"]),
        (&json!(3), &json!(17))
    );
}

#[tokio::test]
async fn events_name_the_clients_pod_once_it_is_known_and_nobody_else() {
    let lab = Lab::start().await;
    let clients = |address: &str, pod: &str| EgressClients::new([(address.parse().unwrap(), pod.to_owned())]);
    let named = async |pod: Option<&str>| {
        let before = lab.events.events().len();
        lab.client().await.connect("evil.test:443").await;
        let event = lab.events.wait(before + 1).await.pop().unwrap();
        event.get("clientPod").and_then(Value::as_str) == pod
    };
    assert!(named(None).await, "nothing was told yet");
    lab.gateway.tell_clients(&clients("127.0.0.1", "demo-1"));
    until("the name", async || named(Some("demo-1")).await).await;
    // The address goes to another pod; then nobody has it.
    lab.gateway.tell_clients(&clients("127.0.0.1", "demo-2"));
    until("the new name", async || named(Some("demo-2")).await).await;
    lab.gateway.tell_clients(&clients("127.0.0.2", "demo-2"));
    until("no name", async || named(None).await).await;
    assert!(!lab.gateway.get("/policy").await.contains("\"restartNeeded\":true"));
}

#[tokio::test]
async fn the_end_of_the_chain_is_left_where_the_kubelet_looks() {
    let mut lab = Lab::start().await;
    let left = |lab: &Lab| LastWord::parse(&lab.gateway.termination_log());
    lab.client().await.connect("evil.test:443").await;
    lab.events.wait(1).await;
    // Whoever kills the gateway now leaves this.
    until("the event's place", async || {
        left(&lab).is_some_and(|word| word.anchor.seq == 1)
    })
    .await;
    lab.gateway.begin_stop();
    lab.gateway.stopped().await.unwrap();
    let last: Value = serde_json::from_str(lab.events.text().lines().last().unwrap()).unwrap();
    let word = left(&lab).unwrap();
    assert_eq!(last["kind"], json!("chain_end"));
    assert_eq!(last["chain"]["hash"], json!(word.anchor.hash));
    assert_eq!((last["chain"]["seq"].as_u64(), word.anchor.seq), (Some(2), 2));
}
