//! What the operator may do, and why: the one source of the chart's and the kustomization's RBAC rules.
//!
//! There is no verb on `secrets`, no wildcard, and none of `escalate`, `bind` and `impersonate`.

/// Where a rule holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The whole cluster: objects without a namespace, or in one that the operator is not told of.
    Cluster,
    /// Each watched namespace; the whole cluster when all are watched.
    Namespaced,
    /// The operator's own namespace.
    OwnNamespace,
}

/// One RBAC rule with its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// API group; empty for core.
    pub group: &'static str,
    /// Resources, subresources written as `resource/subresource`.
    pub resources: &'static [&'static str],
    /// Names of the objects. Every object, if empty.
    pub resource_names: &'static [&'static str],
    /// Verbs.
    pub verbs: &'static [&'static str],
    /// Where the rule holds.
    pub scope: Scope,
    /// Why the operator needs it, as one sentence for the person who reviews it.
    pub reason: &'static str,
}

/// Verbs on children. `create` because server-side apply needs it besides `patch` when the object is new; `update` because
/// repairing drift replaces the object, which is the only way to take fields away that others added.
const CHILD: &[&str] = &["get", "list", "watch", "create", "patch", "update", "delete"];

/// Every rule.
pub const RULES: &[Rule] = &[
    Rule {
        group: "sallyport.dev",
        resources: &["mcpendpoints"],
        resource_names: &[],
        verbs: &["get", "list", "watch"],
        scope: Scope::Namespaced,
        reason: "reads what users ask for",
    },
    Rule {
        group: "sallyport.dev",
        resources: &["mcpendpoints/status"],
        resource_names: &[],
        verbs: &["patch"],
        scope: Scope::Namespaced,
        reason: "reports what it observed",
    },
    Rule {
        group: "sallyport.dev",
        resources: &["mcpendpoints/finalizers"],
        resource_names: &[],
        verbs: &["update"],
        scope: Scope::Namespaced,
        reason: "owns children with blockOwnerDeletion where the OwnerReferencesPermissionEnforcement admission plugin is on; it sets no finalizer",
    },
    Rule {
        group: "sallyport.dev",
        resources: &["mcpendpointclasses"],
        resource_names: &[],
        verbs: &["list", "watch"],
        scope: Scope::Cluster,
        reason: "reads what the platform decided for the endpoints of each class",
    },
    Rule {
        group: "networking.k8s.io",
        resources: &["networkpolicies"],
        resource_names: &[],
        verbs: CHILD,
        scope: Scope::Namespaced,
        reason: "fences the pods of each endpoint, closes each namespace that holds endpoints, and finds others' policies that widen them",
    },
    Rule {
        group: "cilium.io",
        resources: &["ciliumnetworkpolicies"],
        resource_names: &[],
        verbs: CHILD,
        scope: Scope::Namespaced,
        reason: "where it is told to write them too, denies the pods of each endpoint what no other policy may open, and opens hosts by name; removes them where it no longer is",
    },
    Rule {
        group: "",
        resources: &["serviceaccounts"],
        resource_names: &[],
        verbs: CHILD,
        scope: Scope::Namespaced,
        reason: "gives each endpoint's pods an identity of their own, without token and without rights",
    },
    Rule {
        group: "",
        resources: &["configmaps"],
        resource_names: &[],
        verbs: CHILD,
        scope: Scope::Namespaced,
        reason: "hands each endpoint's audit sidecar and egress gateway the file that each reads",
    },
    Rule {
        group: "",
        resources: &["services"],
        resource_names: &[],
        verbs: CHILD,
        scope: Scope::Namespaced,
        reason: "gives each endpoint its address inside the cluster, and its egress gateway the one that servers are told",
    },
    Rule {
        group: "",
        resources: &["resourcequotas"],
        resource_names: &[],
        verbs: CHILD,
        scope: Scope::Namespaced,
        reason: "bounds the endpoints of a namespace, and reads what other quotas leave to report whether an endpoint fits",
    },
    Rule {
        group: "policy",
        resources: &["poddisruptionbudgets"],
        resource_names: &[],
        verbs: CHILD,
        scope: Scope::Namespaced,
        reason: "keeps node drains from taking all pods of an endpoint at once",
    },
    Rule {
        group: "apps",
        resources: &["deployments"],
        resource_names: &[],
        verbs: CHILD,
        scope: Scope::Namespaced,
        reason: "runs each endpoint's pods",
    },
    Rule {
        group: "",
        resources: &["pods"],
        resource_names: &[],
        verbs: &["list", "watch"],
        scope: Scope::Namespaced,
        reason: "reports why pods do not start, asks their sidecars for the server's name and for what the pod is refused, tells egress gateways their names, learns how far the records of those that ended came, and keeps the namespace closed until the last pod is gone",
    },
    Rule {
        group: "bitnami.com",
        resources: &["sealedsecrets"],
        resource_names: &[],
        verbs: &["get", "list", "watch"],
        scope: Scope::Namespaced,
        reason: "waits for credentials to be unsealed and rolls out when their ciphertext changes, without reading any Secret",
    },
    Rule {
        group: "events.k8s.io",
        resources: &["events"],
        resource_names: &[],
        verbs: &["create", "patch"],
        scope: Scope::Namespaced,
        reason: "tells users of each transition; a repeated event is counted up by a patch",
    },
    Rule {
        group: "",
        resources: &["nodes"],
        resource_names: &[],
        verbs: &["list", "watch"],
        scope: Scope::Cluster,
        reason: "learns whether every node supports user namespaces and strict supplemental groups",
    },
    Rule {
        group: "discovery.k8s.io",
        resources: &["endpointslices"],
        resource_names: &["kubernetes"],
        verbs: &["list", "watch"],
        scope: Scope::Cluster,
        reason: "learns the API server's addresses, to cut them out of the networks that servers may reach",
    },
    Rule {
        group: "",
        resources: &["services"],
        resource_names: &[],
        verbs: &["list", "watch"],
        scope: Scope::OwnNamespace,
        reason: "learns the address of its canary, which it tells the pods that must be refused it",
    },
    Rule {
        group: "coordination.k8s.io",
        resources: &["leases"],
        resource_names: &[],
        verbs: &["get", "create", "update"],
        scope: Scope::OwnNamespace,
        reason: "elects the one replica that writes",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_rule_reads_secrets_or_widens_itself() {
        for rule in RULES {
            assert!(
                !rule.resources.iter().any(|resource| resource.starts_with("secrets")),
                "{rule:?}"
            );
            let dangerous = ["*", "escalate", "bind", "impersonate", "deletecollection"];
            assert!(!rule.verbs.iter().any(|verb| dangerous.contains(verb)), "{rule:?}");
            assert!(!rule.resources.contains(&"*") && rule.group != "*", "{rule:?}");
        }
    }

    #[test]
    fn every_rule_has_a_reason_and_no_resource_is_listed_twice_for_the_same_namespaces() {
        let mut seen = std::collections::BTreeSet::new();
        for rule in RULES {
            assert!(!rule.reason.is_empty() && !rule.reason.ends_with('.'), "{rule:?}");
            for resource in rule.resources {
                let here = (rule.group, resource, rule.scope == Scope::OwnNamespace);
                assert!(seen.insert(here), "{resource} is listed twice");
            }
        }
    }
}
