//! ClusterNetworkPolicies: a floor under the NetworkPolicies of all endpoints, for clusters that have that kind.
//!
//! Fields of the standard channel alone, version v1alpha2.

use crate::{files::Error, yaml};
use sallyport_api::labels;
use serde_json::{Value, json};

/// Rank among policies of the same tier, from 0 to 1000: what a platform ranks before it goes first.
const PRIORITY: u16 = 100;

/// Denies all servers what no rule can open, before any NetworkPolicy is asked.
pub fn never_open() -> Result<String, Error> {
    let networks: Vec<_> = sallyport_render::never_open()
        .map(|network| network.to_string())
        .collect();
    let egress = json!([{"name": "never-open", "action": "Deny", "to": [{"networks": networks}]}]);
    policy("never-open", "Admin", labels::ENDPOINT, &json!({ "egress": egress }))
}

/// Closes servers that no NetworkPolicy selects.
pub fn closed_servers() -> Result<String, Error> {
    closed("closed-servers", labels::ENDPOINT)
}

/// Closes egress gateways that no NetworkPolicy selects.
pub fn closed_gateways() -> Result<String, Error> {
    closed("closed-gateways", labels::EGRESS_OF)
}

/// What comes from outside the cluster cannot be denied: only pods can be told apart by where they come from.
fn closed(name: &str, label: &str) -> Result<String, Error> {
    let every_pod = json!({"namespaces": {}});
    let everywhere = json!({"networks": ["0.0.0.0/0", "::/0"]});
    let rules = json!({
        "ingress": [{"name": "closed", "action": "Deny", "from": [every_pod]}],
        "egress": [{"name": "closed", "action": "Deny", "to": [every_pod, everywhere]}],
    });
    policy(name, "Baseline", label, &rules)
}

fn policy(name: &str, tier: &str, label: &str, rules: &Value) -> Result<String, Error> {
    let selector = json!({"matchExpressions": [{"key": label, "operator": "Exists"}]});
    let mut spec = json!({
        "tier": tier,
        "priority": PRIORITY,
        "subject": {"pods": {"namespaceSelector": {}, "podSelector": selector}},
    });
    for (direction, rules) in rules.as_object().into_iter().flatten() {
        spec[direction] = rules.clone();
    }
    let document = yaml::document(&json!({
        "apiVersion": "policy.networking.k8s.io/v1alpha2",
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": format!("{}-{name}", labels::OPERATOR)},
        "spec": spec,
    }))?;
    Ok(format!("{}{document}", yaml::HEADER))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Most networks in one peer, by the kind's schema.
    const MOST_NETWORKS: usize = 25;

    #[test]
    fn metadata_services_are_denied_and_the_list_fits() {
        let policy: Value = serde_saphyr::from_str(&never_open().unwrap()).unwrap();
        let networks = policy["spec"]["egress"][0]["to"][0]["networks"].as_array().unwrap();
        assert!(networks.contains(&json!("169.254.0.0/16")) && networks.len() <= MOST_NETWORKS);
    }

    #[test]
    fn each_policy_is_about_the_pods_of_one_label_in_every_namespace() {
        for (text, label) in [
            (never_open(), "sallyport.dev/endpoint"),
            (closed_servers(), "sallyport.dev/endpoint"),
            (closed_gateways(), "sallyport.dev/egress-of"),
        ] {
            let policy: Value = serde_saphyr::from_str(&text.unwrap()).unwrap();
            let subject = &policy["spec"]["subject"]["pods"];
            assert_eq!(subject["namespaceSelector"], json!({}));
            assert_eq!(
                subject["podSelector"],
                json!({"matchExpressions": [{"key": label, "operator": "Exists"}]})
            );
        }
    }
}
