//! CiliumNetworkPolicies: written while the cluster has the kind, repaired, and gone when they are not wanted.

use super::{ENDPOINT, Operator, POLICY, applied, comes_back, endpoint, events, paths};
use crate::testing::{ApiServer, CILIUM, eventually};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

const AUTO: &[&str] = &["--cilium-network-policies", "auto"];
const SERVER: &str = "/apis/cilium.io/v2/namespaces/team-a/ciliumnetworkpolicies/demo";
const GATEWAY: &str = "/apis/cilium.io/v2/namespaces/team-a/ciliumnetworkpolicies/demo-egress";
const GATEWAY_POLICY: &str = "/apis/networking.k8s.io/v1/namespaces/team-a/networkpolicies/demo-egress";
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/team-a/deployments/demo-egress";

fn install(api: &ApiServer) {
    let kind = json!({"name": "ciliumnetworkpolicies", "singularName": "", "kind": "CiliumNetworkPolicy", "namespaced": true, "verbs": ["get"]});
    let list = json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "cilium.io/v2", "resources": [kind], "metadata": {}});
    api.put(CILIUM, list);
}

/// Takes the kind away, and with it all objects of it.
fn uninstall(api: &ApiServer) {
    for path in [SERVER, GATEWAY, CILIUM] {
        if api.get(path).is_some() {
            api.delete(path);
        }
    }
}

/// With a network, so that a rule is left in the gateway's NetworkPolicy: this API server removes no field that is left out.
fn with_host(endpoint: &mut Value) {
    let network = json!({"cidr": "10.1.0.0/16", "ports": [443]});
    endpoint["spec"]["egress"] = json!({"allow": [{"host": "api.example.com"}, network]});
}

async fn started(api: &ApiServer, further: &[&str]) -> Operator {
    api.put(ENDPOINT, endpoint("demo", with_host));
    let operator = Operator::start_with(api, further).await;
    eventually("the gateway", || api.get(DEPLOYMENT).is_some()).await;
    operator
}

/// Whether the gateway's NetworkPolicy opens public addresses.
fn opens_the_world(api: &ApiServer) -> bool {
    api.get(GATEWAY_POLICY)
        .is_some_and(|policy| policy["spec"]["egress"].to_string().contains("0.0.0.0/0"))
}

fn is_written(api: &ApiServer) -> bool {
    api.get(SERVER).is_some() && api.get(GATEWAY).is_some()
}

#[tokio::test]
async fn they_are_written_before_the_workload_and_names_take_the_place_of_addresses() {
    let api = ApiServer::default();
    install(&api);
    let operator = started(&api, AUTO).await;
    assert!(is_written(&api) && !opens_the_world(&api));
    let gateway = api.get(GATEWAY).unwrap();
    assert_eq!(
        gateway["spec"]["egress"][1]["toFQDNs"],
        json!([{"matchName": "api.example.com"}])
    );
    let writes = paths(&operator.quiet().await);
    let at = |path| applied(&writes, path);
    assert!(at(POLICY) < at(SERVER) && at(SERVER) < at(DEPLOYMENT));
    assert!(at(GATEWAY_POLICY) < at(GATEWAY) && at(GATEWAY) < at(DEPLOYMENT));
    operator.stop().await;
}

#[tokio::test]
async fn they_come_and_go_with_the_kind() {
    let api = ApiServer::default();
    let operator = started(&api, AUTO).await;
    operator.quiet().await;
    assert!(!is_written(&api) && opens_the_world(&api));
    install(&api);
    eventually("the policies", || is_written(&api) && !opens_the_world(&api)).await;
    uninstall(&api);
    eventually("the address blocks", || opens_the_world(&api)).await;
    operator.quiet().await;
    assert!(!is_written(&api));
    operator.stop().await;
}

#[tokio::test]
async fn an_operator_that_is_not_told_to_writes_none_and_removes_those_of_before() {
    let api = ApiServer::default();
    install(&api);
    let operator = started(&api, AUTO).await;
    operator.quiet().await;
    assert!(is_written(&api));
    operator.stop().await;
    let operator = Operator::start(&api).await;
    let gone = || api.get(SERVER).is_none() && api.get(GATEWAY).is_none();
    eventually("their end", || gone() && opens_the_world(&api)).await;
    operator.quiet().await;
    assert!(gone());
    operator.stop().await;
}

#[tokio::test]
async fn what_others_delete_or_add_is_repaired_and_who_did_it_is_named() {
    let api = ApiServer::default();
    install(&api);
    let operator = started(&api, AUTO).await;
    operator.quiet().await;
    comes_back(&api, SERVER).await;
    operator.quiet().await;
    // Nothing that the operator writes, and more open than anything that it would.
    let widen =
        |policy: &mut Value| policy["specs"] = json!([{"endpointSelector": {}, "egress": [{"toEntities": ["all"]}]}]);
    api.edit(GATEWAY, "kubectl-edit", &json!({"f:specs": {}}), widen);
    eventually("its repair", || {
        api.get(GATEWAY).is_some_and(|policy| policy["specs"].is_null())
    })
    .await;
    operator.quiet().await;
    assert_eq!(events(&api, "DriftRepaired"), 2);
    let notes: String = api.objects().iter().map(|object| object["note"].to_string()).collect();
    assert!(
        notes.contains("CiliumNetworkPolicy demo-egress was changed or deleted by field manager kubectl-edit"),
        "{notes}"
    );
    operator.stop().await;
}
