//! Hosts by name: through the endpoint's own egress gateway, and by no other way.

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service, networking::v1::NetworkPolicy};
use kube::{Api, api::DeleteParams};
use sallyport_api::{
    conditions, labels,
    v1alpha1::{AuditAnchor, AuditWriter, Egress},
};
use sallyport_e2e::{
    Context, Failure, Result, Scene,
    attempts::{self, Attempt},
    caller::Caller,
    endpoint, eventually,
    objects::{apply, apply_json},
    outside::Host,
    pods,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn attempt(arguments: Value) -> Attempt {
    Attempt { title: "", arguments }
}

#[tokio::test]
async fn an_allowed_host_is_reached_by_name_and_nothing_else_is() -> Result<()> {
    Scene::play_with_cpu(800, "hosts", async |scene| {
        let caller = scene.allowed_caller().await?;
        let allowed = Host::add(&scene.cluster, "allowed-host", "192.52.193.30").await?;
        let other = Host::add(&scene.cluster, "other-host", "192.52.193.31").await?;
        let mut named = endpoint::endpoint(&scene.cluster, "named", "hostile")?;
        named.spec.egress = serde_json::from_value(json!({ "allow": [
            { "host": "allowed-host.outside.test", "ports": [80] },
        ] }))?;
        apply(scene.client(), &scene.namespace, &named).await?;
        // A neighbour without egress, which must not borrow the gateway.
        let neighbour = endpoint::endpoint(&scene.cluster, "neighbour", "hostile")?;
        apply(scene.client(), &scene.namespace, &neighbour).await?;
        let url = endpoint::url(&endpoint::ready(scene.client(), &scene.namespace, "named").await?)?;
        let neighbour = endpoint::url(&endpoint::ready(scene.client(), &scene.namespace, "neighbour").await?)?;

        let services = Api::<Service>::namespaced(scene.client().clone(), &scene.namespace);
        let gateway = services
            .get("named-egress")
            .await
            .context("read the gateway's Service")?;
        let gateway = gateway
            .spec
            .and_then(|spec| spec.cluster_ip)
            .context("the Service has no address")?;
        let pods = pods::list(
            scene.client(),
            &scene.namespace,
            &format!("{}=named", labels::EGRESS_OF),
        )
        .await?;
        let pod = pods.iter().find_map(|pod| pod.status.as_ref()?.pod_ip.clone());
        let pod = pod.context("the gateway has no pod")?;

        let by_name = json!({ "attempt": "proxy", "url": "http://allowed-host.outside.test/" });
        let reached = attempts::make(&caller, &url, &attempt(by_name.clone())).await?;
        assert!(reached.succeeded, "the allowed host is not reached: {}", reached.detail);
        assert!(reached.detail.contains("allowed-host"), "{}", reached.detail);

        for arguments in [
            json!({ "attempt": "proxy", "url": "http://other-host.outside.test/" }),
            json!({ "attempt": "proxy", "url": "http://allowed-host.outside.test:443/" }),
            json!({ "attempt": "proxy", "url": "http://192.52.193.30/" }),
            json!({ "attempt": "proxy", "url": "http://kubernetes.default.svc.cluster.local/" }),
            json!({ "attempt": "tcp", "host": allowed.address, "port": 80 }),
            json!({ "attempt": "tcp", "host": other.address, "port": 443 }),
            json!({ "attempt": "tcp", "host": pod, "port": 15090 }),
            json!({ "attempt": "dns", "name": "allowed-host.outside.test" }),
            json!({ "attempt": "dns", "name": "c2VjcmV0.outside.test", "server": "10.96.0.10" }),
        ] {
            let outcome = attempts::make(&caller, &url, &attempt(arguments)).await?;
            assert!(!outcome.succeeded, "it succeeded: {outcome:?}");
        }
        let borrowed = json!({ "attempt": "tcp", "host": gateway, "port": 3128 });
        let outcome = attempts::make(&caller, &neighbour, &attempt(borrowed)).await?;
        assert!(!outcome.succeeded, "a neighbour reaches the gateway: {outcome:?}");

        allowed.arrival("the allowed request", |_| true).await?;
        let arrived = allowed.arrivals()?;
        assert_eq!(arrived.len(), 1, "only the allowed request arrives: {arrived:?}");
        assert!(other.arrivals()?.is_empty(), "something arrived at the other host");
        // The container runtime copies what a container writes into its log, some moments later.
        eventually("both decisions are recorded", endpoint::PATIENCE, async || {
            let records = events(scene, "named").await?;
            let decided = |decision: &str, host: &str| {
                records
                    .iter()
                    .any(|record| record["decision"] == decision && record["host"] == host)
            };
            if decided("allowed", "allowed-host.outside.test") && decided("denied", "other-host.outside.test") {
                Ok(())
            } else {
                Err(Failure::new(format!("{records:#?}")))
            }
        })
        .await?;

        client_pods_are_named(scene, &caller, &url).await?;

        // Without hosts there is no gateway, and its name leads nowhere any more.
        let gateway_ends = ends(&events(scene, "named").await?);
        let sidecar_ends = ends(&endpoint::audit_records(scene.client(), &scene.namespace, "named").await?);
        assert!(!gateway_ends.is_empty() && !sidecar_ends.is_empty());
        named.spec.egress = Egress::default();
        apply(scene.client(), &scene.namespace, &named).await?;
        gateway_gone(scene, "named-egress").await?;
        endpoint::ready(scene.client(), &scene.namespace, "named").await?;
        // Both went, and the records that they wrote while they ended are anchored all the same.
        anchored(scene, AuditWriter::EgressGateway, &gateway_ends).await?;
        anchored(scene, AuditWriter::Sidecar, &sidecar_ends).await?;
        let outcome = attempts::make(&caller, &url, &attempt(by_name)).await?;
        assert!(!outcome.succeeded, "{outcome:?}");
        allowed.remove(&scene.cluster).await?;
        other.remove(&scene.cluster).await
    })
    .await
}

#[tokio::test]
async fn a_policy_that_widens_is_named_for_as_long_as_it_is_there() -> Result<()> {
    Scene::play("widened", async |scene| {
        apply(
            scene.client(),
            &scene.namespace,
            &endpoint::endpoint(&scene.cluster, "narrow", "hostile")?,
        )
        .await?;
        let ready = endpoint::ready(scene.client(), &scene.namespace, "narrow").await?;
        let widened = conditions::types::EGRESS_WIDENED;
        let conditions = ready.status.unwrap_or_default().conditions;
        assert!(conditions::get(&conditions, widened).is_none(), "{conditions:?}");

        let policy = json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": { "name": "allow-all" },
            "spec": { "podSelector": {}, "policyTypes": ["Egress"], "egress": [{}] },
        });
        apply_json::<NetworkPolicy>(scene.client(), &scene.namespace, policy).await?;
        let expected = (widened, "True", Some(conditions::reasons::OTHER_POLICIES));
        let message = endpoint::condition(scene.client(), &scene.namespace, "narrow", expected).await?;
        assert!(message.contains("allow-all (egress)"), "{message}");

        let policies = Api::<NetworkPolicy>::namespaced(scene.client().clone(), &scene.namespace);
        policies
            .delete("allow-all", &DeleteParams::default())
            .await
            .context("delete the policy")?;
        eventually("no policy widens any more", endpoint::PATIENCE, async || {
            let endpoint = endpoint::get(scene.client(), &scene.namespace, "narrow").await?;
            let conditions = endpoint.status.unwrap_or_default().conditions;
            match conditions::get(&conditions, widened) {
                None => Ok(()),
                Some(condition) => Err(Failure::new(condition.message.clone())),
            }
        })
        .await
    })
    .await
}

/// The kubelet brings the names to the gateway within a minute or two.
async fn client_pods_are_named(scene: &Scene, caller: &Caller, url: &str) -> Result<()> {
    let pods = endpoint::ready_pods(scene.client(), &scene.namespace, "named").await?;
    let names: Vec<_> = pods.into_iter().filter_map(|pod| pod.metadata.name).collect();
    let denied = json!({ "attempt": "proxy", "url": "http://other-host.outside.test/" });
    eventually("the gateway names its client", endpoint::PATIENCE, async || {
        attempts::make(caller, url, &attempt(denied.clone())).await?;
        let records = events(scene, "named").await?;
        let told = |record: &Value| names.iter().any(|name| record["clientPod"] == name.as_str());
        if records.iter().any(told) {
            Ok(())
        } else {
            Err(Failure::new(format!("{:#?}", records.last())))
        }
    })
    .await
}

/// The last record of each chain that a log showed.
fn ends(records: &[Value]) -> BTreeMap<String, i64> {
    let mut ends = BTreeMap::new();
    for record in records {
        if let (Some(id), Some(seq)) = (record["chain"]["id"].as_str(), record["chain"]["seq"].as_i64()) {
            let end = ends.entry(id.to_owned()).or_insert(seq);
            *end = seq.max(*end);
        }
    }
    ends
}

/// Waits until the endpoint's status has an anchor beyond `ends` for each of these chains.
async fn anchored(scene: &Scene, writer: AuditWriter, ends: &BTreeMap<String, i64>) -> Result<()> {
    eventually("the last records are anchored", endpoint::PATIENCE, async || {
        let endpoint = endpoint::get(scene.client(), &scene.namespace, "named").await?;
        let anchors = endpoint
            .status
            .and_then(|status| status.audit)
            .unwrap_or_default()
            .anchors;
        let beyond = |(chain, end): (&String, &i64)| {
            let of_chain = |anchor: &&AuditAnchor| anchor.chain == *chain && anchor.writer == writer;
            anchors.iter().find(of_chain).is_some_and(|anchor| anchor.seq > *end)
        };
        if ends.iter().all(beyond) {
            Ok(())
        } else {
            Err(Failure::new(format!("{writer:?}: {anchors:#?} beyond {ends:#?}")))
        }
    })
    .await
}

async fn gateway_gone(scene: &Scene, name: &str) -> Result<()> {
    let deployments = Api::<Deployment>::namespaced(scene.client().clone(), &scene.namespace);
    eventually("the gateway is gone", endpoint::PATIENCE, async || {
        match deployments.get_opt(name).await? {
            None => Ok(()),
            Some(_) => Err(Failure::new(format!("Deployment {name} is still there"))),
        }
    })
    .await
}

/// What the endpoint's gateway recorded.
async fn events(scene: &Scene, name: &str) -> Result<Vec<Value>> {
    let mut events = Vec::new();
    for pod in pods::list(
        scene.client(),
        &scene.namespace,
        &format!("{}={name}", labels::EGRESS_OF),
    )
    .await?
    {
        let name = pod.metadata.name.unwrap_or_default();
        let log = pods::logs(scene.client(), &scene.namespace, &name, "egress").await?;
        let lines = log.lines().filter(|line| line.starts_with('{'));
        let parsed = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.extend(parsed.filter(|event| event["kind"] == "egress"));
    }
    Ok(events)
}
