//! Decides from a recorded sequence of changes whether an endpoint's pod ever ran without its fences. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use sallyport_api::labels;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One line of a recording: what the API server said, in the order of its own revisions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The cluster-wide revision at which it happened. Comparable across kinds, because one etcd holds them all
    /// (Kubernetes 1.35, KEP-5504).
    pub revision: u64,
    /// When the observer heard of it, RFC 3339.
    pub seen: String,
    /// What happened.
    pub change: Change,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// Both kinds are listed and watched from here on; what comes before is the state at the start.
    Started,
    /// A pod of an endpoint is there as described.
    Pod(Pod),
    /// A pod of an endpoint is gone.
    PodGone(Key),
    /// A NetworkPolicy is there as described.
    Policy(Policy),
    /// A NetworkPolicy is gone.
    PolicyGone(Key),
}

/// Namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// What matters of a pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pod {
    /// Which pod.
    #[serde(flatten)]
    pub key: Key,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether its containers may run: bound to a node and not ended. Earlier than `Running`, which is told late.
    pub runs: bool,
}

/// What matters of a NetworkPolicy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// Which policy.
    #[serde(flatten)]
    pub key: Key,
    /// Which pods it selects.
    pub selector: LabelSelector,
    /// Whether it isolates in both directions.
    pub both_directions: bool,
}

/// What a recording shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Pods of endpoints that ran.
    pub pods: usize,
    /// Changes of policies that were seen.
    pub policy_changes: usize,
    /// Each pod that ran without a fence.
    pub violations: Vec<Violation>,
    /// Whether the recording says from where on it is complete.
    pub complete: bool,
}

/// A pod that ran without a fence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which pod.
    pub pod: Key,
    /// The revision after which it was so.
    pub revision: u64,
    /// When the observer heard of it.
    pub seen: String,
}

impl Verdict {
    /// Whether something was observed, and nothing bad.
    pub fn is_clean(&self) -> bool {
        self.complete && self.pods > 0 && self.violations.is_empty()
    }
}

/// Replays `records` and looks after each change whether every running pod of an endpoint is selected by its own policy
/// or by the namespace's fence, in both directions.
///
/// The watches of pods and of policies are independent, so the records are put in the order of their revisions first.
pub fn judge(mut records: Vec<Record>) -> Verdict {
    records.sort_by_key(|record| record.revision);
    let start = records
        .iter()
        .find(|record| record.change == Change::Started)
        .map(|record| record.revision);
    let mut pods: BTreeMap<Key, Pod> = BTreeMap::new();
    let mut policies: BTreeMap<Key, Policy> = BTreeMap::new();
    let mut ran = std::collections::BTreeSet::new();
    let mut violated: BTreeMap<Key, Violation> = BTreeMap::new();
    let mut policy_changes = 0;
    for Record { revision, seen, change } in records {
        match change {
            Change::Started => {}
            Change::Pod(pod) => {
                if pod.runs {
                    ran.insert(pod.key.clone());
                }
                pods.insert(pod.key.clone(), pod);
            }
            Change::PodGone(key) => {
                pods.remove(&key);
            }
            Change::Policy(policy) => {
                policy_changes += 1;
                policies.insert(policy.key.clone(), policy);
            }
            Change::PolicyGone(key) => {
                policy_changes += 1;
                policies.remove(&key);
            }
        }
        if start.is_none_or(|start| revision < start) {
            continue;
        }
        for pod in pods.values().filter(|pod| pod.runs && !is_fenced(pod, &policies)) {
            violated.entry(pod.key.clone()).or_insert_with(|| Violation {
                pod: pod.key.clone(),
                revision,
                seen: seen.clone(),
            });
        }
    }
    Verdict {
        pods: ran.len(),
        policy_changes,
        violations: violated.into_values().collect(),
        complete: start.is_some(),
    }
}

/// Whether the pod's own policy or its namespace's fence isolates it in both directions.
fn is_fenced(pod: &Pod, policies: &BTreeMap<Key, Policy>) -> bool {
    let own = pod.labels.get(labels::ENDPOINT).cloned();
    let gateway = pod
        .labels
        .get(labels::EGRESS_OF)
        .map(|endpoint| labels::gateway_of(endpoint));
    let fences = [labels::FENCE, labels::GATEWAY_FENCE].map(str::to_owned);
    let names = own.into_iter().chain(gateway).chain(fences);
    names
        .filter_map(|name| {
            let namespace = pod.key.namespace.clone();
            policies.get(&Key { namespace, name })
        })
        .any(|policy| policy.both_directions && selects(&policy.selector, &pod.labels))
}

/// Whether a label selector selects `labels` (API conventions; an unknown operator selects nothing).
fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let exact = selector
        .match_labels
        .iter()
        .flatten()
        .all(|(key, value)| labels.get(key) == Some(value));
    let expressions = selector.match_expressions.iter().flatten().all(|requirement| {
        let value = labels.get(&requirement.key);
        let listed = value.is_some_and(|value| requirement.values.iter().flatten().any(|listed| listed == value));
        match requirement.operator.as_str() {
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            "In" => listed,
            "NotIn" => !listed,
            _ => false,
        }
    });
    exact && expressions
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn key(name: &str) -> Key {
        Key {
            namespace: "team-a".into(),
            name: name.into(),
        }
    }

    fn pod(runs: bool) -> Change {
        Change::Pod(Pod {
            key: key("demo-1"),
            labels: [(labels::ENDPOINT.to_owned(), "demo".to_owned())].into(),
            runs,
        })
    }

    fn policy(name: &str, selector: serde_json::Value, both_directions: bool) -> Change {
        Change::Policy(Policy {
            key: key(name),
            selector: serde_json::from_value(selector).unwrap(),
            both_directions,
        })
    }

    #[test]
    fn a_gateways_pod_needs_fences_of_its_own() {
        let gateway = || {
            Change::Pod(Pod {
                key: key("demo-egress-1"),
                labels: [(labels::EGRESS_OF.to_owned(), "demo".to_owned())].into(),
                runs: true,
            })
        };
        let own_policy = || {
            policy(
                "demo-egress",
                json!({ "matchLabels": { labels::EGRESS_OF: "demo" } }),
                true,
            )
        };
        let exists = json!({ "matchExpressions": [{ "key": labels::EGRESS_OF, "operator": "Exists" }] });
        assert_eq!(violations(vec![own_policy(), gateway()]), 0);
        assert_eq!(
            violations(vec![policy(labels::GATEWAY_FENCE, exists, true), gateway()]),
            0
        );
        assert_eq!(
            violations(vec![own(), fence(), gateway()]),
            1,
            "the server's do not select it"
        );
    }

    fn own() -> Change {
        policy("demo", json!({ "matchLabels": { labels::ENDPOINT: "demo" } }), true)
    }

    fn fence() -> Change {
        let exists = json!({ "matchExpressions": [{ "key": labels::ENDPOINT, "operator": "Exists" }] });
        policy(labels::FENCE, exists, true)
    }

    fn violations(changes: Vec<Change>) -> usize {
        let records = std::iter::once(Change::Started)
            .chain(changes)
            .zip(1..)
            .map(|(change, revision)| Record {
                revision,
                seen: String::new(),
                change,
            });
        judge(records.collect()).violations.len()
    }

    #[test]
    fn a_pod_that_runs_behind_either_fence_is_fenced() {
        assert_eq!(violations(vec![own(), pod(true)]), 0);
        assert_eq!(violations(vec![fence(), pod(true)]), 0);
        assert_eq!(
            violations(vec![own(), fence(), pod(true), Change::PolicyGone(key("demo"))]),
            0
        );
    }

    #[test]
    fn a_pod_that_runs_before_its_fence_is_a_violation() {
        assert_eq!(violations(vec![pod(true), own()]), 1);
        assert_eq!(violations(vec![pod(false), own(), pod(true)]), 0);
    }

    #[test]
    fn a_pod_that_outlives_its_fences_is_a_violation() {
        let gone = || vec![own(), pod(true), Change::PolicyGone(key("demo"))];
        assert_eq!(violations(gone()), 1);
        assert_eq!(
            violations(vec![
                own(),
                pod(true),
                Change::PodGone(key("demo-1")),
                Change::PolicyGone(key("demo"))
            ]),
            0
        );
    }

    #[test]
    fn a_fence_that_selects_others_or_one_direction_is_none() {
        assert_eq!(
            violations(vec![
                policy("demo", json!({ "matchLabels": { "a": "b" } }), true),
                pod(true)
            ]),
            1
        );
        assert_eq!(violations(vec![policy("demo", json!({}), false), pod(true)]), 1);
        assert_eq!(violations(vec![policy("foreign", json!({}), true), pod(true)]), 1);
    }

    #[test]
    fn the_order_of_revisions_counts_and_not_that_of_arrival() {
        let record = |revision, change| Record {
            revision,
            seen: String::new(),
            change,
        };
        let verdict = judge(vec![record(1, Change::Started), record(3, pod(true)), record(2, own())]);
        assert!(verdict.is_clean(), "{verdict:?}");
    }

    #[test]
    fn a_recording_without_a_start_or_without_pods_proves_nothing() {
        assert!(!judge(vec![]).is_clean());
        let started = Record {
            revision: 1,
            seen: String::new(),
            change: Change::Started,
        };
        assert!(!judge(vec![started]).is_clean());
    }
}
