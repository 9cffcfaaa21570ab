//! Hosts by name: the egress gateway comes, leads servers out by its address, and goes.

use super::{DEPLOYMENT, ENDPOINT, NS, Operator, POLICY, applied, comes_back, condition, endpoint, is, paths, ready};
use crate::testing::{ApiServer, eventually};
use pretty_assertions::assert_eq;
use serde_json::{Value, json};

const GATEWAY: &str = "/apis/apps/v1/namespaces/team-a/deployments/demo-egress";
const GATEWAY_POLICY: &str = "/apis/networking.k8s.io/v1/namespaces/team-a/networkpolicies/demo-egress";
const OTHER_POLICY: &str = "/apis/networking.k8s.io/v1/namespaces/team-a/networkpolicies/allow-all";

fn with_host(endpoint: &mut Value) {
    endpoint["spec"]["egress"] = json!({"allow": [{"host": "api.example.com"}]});
}

/// The proxy that the applied Deployment tells servers of.
fn proxy(api: &ApiServer) -> Option<Value> {
    let deployment = api.get(DEPLOYMENT)?;
    let env = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
        .as_array()?
        .clone();
    env.into_iter()
        .find(|variable| variable["name"] == "HTTPS_PROXY")
        .map(|variable| variable["value"].clone())
}

async fn started(api: &ApiServer) -> Operator {
    api.put(ENDPOINT, endpoint("demo", with_host));
    let operator = Operator::start(api).await;
    eventually("the Deployment", || api.get(DEPLOYMENT).is_some()).await;
    operator
}

#[tokio::test]
async fn a_server_is_rolled_out_only_when_the_gateways_address_is_known() {
    let api = ApiServer::default();
    let operator = started(&api).await;
    let address = api.get(&format!("{NS}/services/demo-egress")).unwrap()["spec"]["clusterIP"].clone();
    let expected = format!("http://{}:3128", address.as_str().unwrap());
    assert_eq!(proxy(&api), Some(json!(expected)), "never without it");
    let writes = paths(&operator.quiet().await);
    let at = |path| applied(&writes, path);
    assert!(at(GATEWAY_POLICY) < at(GATEWAY) && at(POLICY) < at(GATEWAY) && at(GATEWAY) < at(DEPLOYMENT));
    let rollouts = writes
        .iter()
        .filter(|write| **write == format!("PATCH {DEPLOYMENT}"))
        .count();
    assert_eq!(rollouts, 1);
    operator.stop().await;
}

#[tokio::test]
async fn a_new_address_rolls_out_and_a_gateway_without_hosts_is_removed() {
    let api = ApiServer::default();
    let operator = started(&api).await;
    operator.quiet().await;
    let service = format!("{NS}/services/demo-egress");
    let before = proxy(&api);
    api.delete(&service);
    eventually("the new address", || proxy(&api) != before).await;
    api.put(ENDPOINT, {
        let mut closed = api.get(ENDPOINT).unwrap();
        closed["spec"]["egress"] = json!({});
        closed["metadata"]["generation"] = json!(2);
        closed
    });
    let gone = || {
        [GATEWAY, GATEWAY_POLICY, &service]
            .iter()
            .all(|path| api.get(path).is_none())
    };
    eventually("the end of the gateway", gone).await;
    assert!(api.get(POLICY).is_some() && api.get(DEPLOYMENT).is_some());
    operator.stop().await;
}

#[tokio::test]
async fn a_gateways_policy_that_others_delete_is_back_at_once() {
    let api = ApiServer::default();
    let operator = started(&api).await;
    operator.quiet().await;
    comes_back(&api, GATEWAY_POLICY).await;
    operator.stop().await;
}

#[tokio::test]
async fn a_policy_of_others_is_named_while_it_is_there() {
    let api = ApiServer::default();
    let operator = started(&api).await;
    operator.quiet().await;
    let widened = || condition(&api, ENDPOINT, "EgressWidened");
    assert_eq!(widened(), None);
    let policy = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "allow-all", "namespace": "team-a"},
        "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]},
    });
    api.put(OTHER_POLICY, policy);
    eventually("the report", || is(&api, "EgressWidened", "True", "OtherPolicies")).await;
    let message = widened().unwrap()["message"].clone();
    assert!(message.as_str().unwrap().contains("allow-all (egress)"), "{message}");
    api.delete(OTHER_POLICY);
    eventually("the all-clear", || widened().is_none()).await;
    operator.stop().await;
}

#[tokio::test]
async fn a_pod_that_is_put_under_another_endpoints_policy_is_told_of() {
    let api = ApiServer::default();
    let operator = ready(&api).await;
    let other = "/apis/sallyport.dev/v1alpha1/namespaces/team-a/mcpendpoints/other";
    api.put(other, endpoint("other", with_host));
    let policy = "/apis/networking.k8s.io/v1/namespaces/team-a/networkpolicies/other-egress";
    eventually("the other's policy", || api.get(policy).is_some()).await;
    operator.quiet().await;
    assert_eq!(condition(&api, ENDPOINT, "EgressWidened"), None);
    let path = format!("{NS}/pods/demo-1");
    let mut pod = api.get(&path).unwrap();
    pod["metadata"]["labels"]["sallyport.dev/egress-of"] = json!("other");
    api.put(&path, pod);
    eventually("the report", || is(&api, "EgressWidened", "True", "OtherPolicies")).await;
    let message = condition(&api, ENDPOINT, "EgressWidened").unwrap()["message"].clone();
    assert!(message.as_str().unwrap().contains("other-egress ("), "{message}");
    operator.stop().await;
}
