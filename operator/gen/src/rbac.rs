//! RBAC rules as the operator's code declares them, for the chart and for kustomize.

use crate::yaml::HEADER;
use sallyport_controller::access::{RULES, Rule, Scope};
use std::fmt::Write as _;

/// Rules of the ClusterRole that is always bound in the whole cluster.
pub fn cluster_rules() -> String {
    rules(Scope::Cluster)
}

/// Rules of the ClusterRole that is bound in the cluster or in each watched namespace.
pub fn namespaced_rules() -> String {
    rules(Scope::Namespaced)
}

/// Rules of the Role in the operator's own namespace.
pub fn own_rules() -> String {
    rules(Scope::OwnNamespace)
}

/// All roles as kustomize installs them; the bindings are written by hand beside them.
pub fn roles() -> String {
    let mut text = HEADER.to_owned();
    let roles = [
        ("ClusterRole", "  name: sallyport-cluster\n", Scope::Cluster),
        ("ClusterRole", "  name: sallyport-namespaced\n", Scope::Namespaced),
        (
            "Role",
            "  name: sallyport-own\n  namespace: sallyport-system\n",
            Scope::OwnNamespace,
        ),
    ];
    for (index, (kind, metadata, scope)) in roles.into_iter().enumerate() {
        let separator = if index == 0 { "" } else { "---\n" };
        let indented = list(scope).replace('\n', "\n  ");
        let indented = indented.trim_end();
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "{separator}apiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\nmetadata:\n{metadata}rules:\n  {indented}\n"
        );
    }
    text
}

fn rules(scope: Scope) -> String {
    format!("{HEADER}{}", list(scope))
}

fn list(scope: Scope) -> String {
    RULES.iter().filter(|rule| rule.scope == scope).map(yaml).collect()
}

/// Written by hand rather than by a serializer, so that each rule carries its reason.
fn yaml(rule: &Rule) -> String {
    let group = if rule.group.is_empty() { "\"\"" } else { rule.group };
    let names = if rule.resource_names.is_empty() {
        String::new()
    } else {
        format!("  resourceNames: [{}]\n", rule.resource_names.join(", "))
    };
    format!(
        "# {}\n- apiGroups: [{group}]\n  resources: [{}]\n{names}  verbs: [{}]\n",
        rule.reason,
        rule.resources.join(", "),
        rule.verbs.join(", "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn the_rules_are_yaml_that_says_what_the_code_says() {
        let parsed: Value = serde_saphyr::from_str(&own_rules()).unwrap();
        let own: Vec<_> = RULES.iter().filter(|rule| rule.scope == Scope::OwnNamespace).collect();
        assert_eq!(parsed.as_array().unwrap().len(), own.len());
        assert_eq!(parsed[0]["apiGroups"][0], own[0].group);
        assert_eq!(parsed[0]["verbs"].as_array().unwrap().len(), own[0].verbs.len());
    }

    #[test]
    fn the_roles_hold_every_rule_once() {
        let parsed: Vec<Value> = serde_saphyr::from_multiple(&roles()).unwrap();
        let rules: usize = parsed.iter().map(|role| role["rules"].as_array().unwrap().len()).sum();
        assert_eq!(rules, RULES.len());
    }
}
