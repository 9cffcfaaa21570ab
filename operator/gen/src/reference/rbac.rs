//! `docs/reference/rbac.md`: what the operator may do, and why.

use super::{HEADER, cell};
use sallyport_controller::access::{RULES, Rule, Scope};
use std::fmt::Write as _;

const INTRODUCTION: &str = "
# What the operator may do, and why

The operator has no verb on `secrets`, no wildcard, and none of `escalate`, `bind` and `impersonate`. The kubelet mounts
credentials by name; the operator never reads them. These rules are declared in `operator/controller/src/access.rs`, and
the chart and the kustomization are generated from there.

Who may create pods in a namespace can read its Secrets by way of a pod. That holds for this operator as for any other that
creates workloads; `watchNamespaces` in the chart bounds it to the namespaces that you name.
";

pub fn markdown() -> String {
    let sections = [
        (
            Scope::Cluster,
            "In the whole cluster",
            "ClusterRole `sallyport-cluster`, always bound in the whole cluster.",
        ),
        (
            Scope::Namespaced,
            "In the watched namespaces",
            "ClusterRole `sallyport-namespaced`, bound in the whole cluster, or in each namespace of `watchNamespaces`.",
        ),
        (
            Scope::OwnNamespace,
            "In the operator's own namespace",
            "Role `sallyport-own`.",
        ),
    ];
    let mut text = format!("{HEADER}{INTRODUCTION}");
    for (scope, title, introduction) in sections {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\n## {title}\n\n{introduction}\n\n| API group | resources | verbs | reason |\n|---|---|---|---|\n"
        );
        text.extend(RULES.iter().filter(|rule| rule.scope == scope).map(row));
    }
    text
}

fn row(rule: &Rule) -> String {
    let group = if rule.group.is_empty() { "core" } else { rule.group };
    let names = if rule.resource_names.is_empty() {
        String::new()
    } else {
        format!(" named `{}`", rule.resource_names.join("`, `"))
    };
    format!(
        "| {group} | `{}`{names} | {} | {} |\n",
        rule.resources.join("`, `"),
        rule.verbs.join(", "),
        cell(rule.reason)
    )
}
