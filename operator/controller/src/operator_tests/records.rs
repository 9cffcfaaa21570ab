//! How far records came: asked of programs that run, heard of those that ended; and the names that gateways are told.

use super::{DEPLOYMENT, ENDPOINT, NS, Operator, container, endpoint, ready};
use crate::testing::{ApiServer, eventually};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

const GATEWAY: &str = "/apis/apps/v1/namespaces/team-a/deployments/demo-egress";
const GATEWAY_FILES: &str = "/api/v1/namespaces/team-a/configmaps/demo-egress";

fn pod(label: &str, name: &str, status: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "team-a", "uid": format!("uid-of-{name}"), "labels": {label: "demo"}},
        "status": status,
    })
}

fn last_word(chain: &str, seq: u64) -> String {
    let time = "2026-11-28T20:00:00.000Z";
    json!({"anchor": {"chain": chain, "seq": seq, "hash": "b".repeat(64), "time": time}}).to_string()
}

/// Pod, writer and sequence number of every anchor in the status, by name.
fn anchors(api: &ApiServer) -> Vec<(String, String, i64)> {
    let endpoint = api.get(ENDPOINT).unwrap();
    let listed = endpoint["status"]["audit"]["anchors"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let text = |anchor: &Value, key: &str| anchor[key].as_str().unwrap().to_owned();
    let mut anchors: Vec<_> = listed
        .iter()
        .map(|anchor| {
            (
                text(anchor, "pod"),
                text(anchor, "writer"),
                anchor["seq"].as_i64().unwrap(),
            )
        })
        .collect();
    anchors.sort();
    anchors
}

fn anchor(pod: &str, writer: &str, seq: i64) -> (String, String, i64) {
    (pod.to_owned(), writer.to_owned(), seq)
}

#[tokio::test]
async fn the_last_words_of_a_pod_are_kept_though_it_is_gone_when_they_are_heard() {
    let api = ApiServer::default();
    let operator = ready(&api).await;
    operator.quiet().await;
    let ended = |chain: &str, seq| json!({"terminated": {"exitCode": 0, "message": last_word(chain, seq)}});
    let status = json!({"initContainerStatuses": [container("audit", &ended("demo-2/t/a", 41))]});
    let path = format!("{NS}/pods/demo-2");
    // The watch hears of nothing but the end.
    api.silence(true);
    api.put(&path, pod("sallyport.dev/endpoint", "demo-2", &status));
    api.silence(false);
    assert_eq!(anchors(&api), []);
    api.delete(&path);
    eventually("the sidecar's last word", || {
        anchors(&api) == [anchor("demo-2", "Sidecar", 41)]
    })
    .await;
    // What is no word of this pod changes nothing, and neither does the same word again.
    let before = operator.quiet().await.len();
    let false_words = json!({"initContainerStatuses": [container("audit", &ended("demo-2/t/a", 99))]});
    api.put(
        &format!("{NS}/pods/demo-3"),
        pod("sallyport.dev/endpoint", "demo-3", &false_words),
    );
    api.put(&path, pod("sallyport.dev/endpoint", "demo-2", &status));
    assert_eq!(operator.quiet().await.len(), before);
    assert_eq!(anchors(&api), [anchor("demo-2", "Sidecar", 41)]);
    operator.stop().await;
}

#[tokio::test]
async fn a_gateway_is_asked_while_it_runs_and_heard_when_it_ends() {
    let api = ApiServer::default();
    let operator = with_gateway(&api).await;
    let running = json!({"podIP": "127.0.0.1", "containerStatuses": [container("egress", &json!({"running": {}}))]});
    let path = format!("{NS}/pods/demo-egress-1");
    api.put(&path, pod("sallyport.dev/egress-of", "demo-egress-1", &running));
    eventually("the gateway's anchor", || {
        anchors(&api) == [anchor("demo-egress-1", "EgressGateway", 4)]
    })
    .await;
    let ended = json!({"terminated": {"exitCode": 0, "message": last_word("demo-egress-1/t/a", 7)}});
    let ended = json!({"containerStatuses": [container("egress", &ended)]});
    api.put(&path, pod("sallyport.dev/egress-of", "demo-egress-1", &ended));
    eventually("its last word", || {
        anchors(&api) == [anchor("demo-egress-1", "EgressGateway", 7)]
    })
    .await;
    operator.stop().await;
}

#[tokio::test]
async fn a_gateway_is_told_its_clients_names_without_new_pods_and_without_writes_in_between() {
    let api = ApiServer::default();
    let operator = with_gateway(&api).await;
    let template = |path: &str| api.get(path).unwrap()["spec"]["template"].clone();
    let clients = || {
        let text = api.get(GATEWAY_FILES).unwrap()["data"]["clients.json"].clone();
        serde_json::from_str::<Value>(text.as_str().unwrap()).unwrap()
    };
    assert_eq!(clients(), json!({}));
    let before = (template(GATEWAY), template(DEPLOYMENT));
    let at = |address: &str| json!({"phase": "Running", "podIPs": [{"ip": address}]});
    let put = |name: &str, status: &Value| {
        api.put(
            &format!("{NS}/pods/{name}"),
            pod("sallyport.dev/endpoint", name, status),
        );
    };
    put("demo-1", &at("10.244.0.7"));
    eventually("the name", || clients() == json!({"10.244.0.7": "demo-1"})).await;
    let written = operator.quiet().await.len();
    // News of the pod that change nothing of it are no reason to write.
    put("demo-1", &at("10.244.0.7"));
    assert_eq!(operator.quiet().await.len(), written);
    // The pod ends, and another gets its address.
    put(
        "demo-1",
        &json!({"phase": "Succeeded", "podIPs": [{"ip": "10.244.0.7"}]}),
    );
    put("demo-2", &at("10.244.0.7"));
    eventually("the other's name", || clients() == json!({"10.244.0.7": "demo-2"})).await;
    api.delete(&format!("{NS}/pods/demo-2"));
    eventually("no name", || clients() == json!({})).await;
    assert_eq!(
        (template(GATEWAY), template(DEPLOYMENT)),
        before,
        "nothing is rolled out"
    );
    operator.stop().await;
}

async fn with_gateway(api: &ApiServer) -> Operator {
    let hosts = |endpoint: &mut Value| {
        endpoint["spec"]["egress"] = json!({"allow": [{"host": "api.example.com"}]});
    };
    api.put(ENDPOINT, endpoint("demo", hosts));
    let operator = Operator::start(api).await;
    eventually("the Deployment", || api.get(DEPLOYMENT).is_some()).await;
    operator.quiet().await;
    operator
}
