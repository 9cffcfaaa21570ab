//! What audit sidecars and egress gateways leave behind when they end: how far their records came to the last.
//!
//! The operator asks them only now and then, and a pod that ends takes the answer with it. So each keeps the end of its chain
//! in its termination message, which the kubelet puts into the pod's status; the pod's last state comes with the news that it
//! was deleted. What is heard here waits for the next reconcile, which that news brings about.

use crate::anchors::{MAX_KEPT, Source, container_of};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt;
use sallyport_api::{
    labels,
    v1alpha1::{AuditAnchor, AuditWriter},
};
use sallyport_policy::LastWord;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Namespace and name of an endpoint.
type Key = (String, String);

/// Anchors that no status holds yet. Lost with the process: the next one hears those of the pods that are still there.
#[derive(Debug, Default)]
pub struct LastWords(Mutex<HashMap<Key, Vec<AuditAnchor>>>);

impl LastWords {
    /// Takes what ended containers of `pod` left.
    pub fn hear(&self, pod: &Pod) {
        let Some((endpoint, writer)) = endpoint_of(pod) else {
            return;
        };
        let left = of_pod(pod, writer);
        if left.is_empty() {
            return;
        }
        let mut heard = self.lock();
        let known = heard
            .entry((pod.namespace().unwrap_or_default(), endpoint.to_owned()))
            .or_default();
        for anchor in left {
            if !known.contains(&anchor) {
                known.push(anchor);
            }
        }
        let surplus = known.len().saturating_sub(MAX_KEPT);
        known.drain(..surplus);
    }

    /// What was heard of an endpoint's pods and is in no status yet.
    pub fn of(&self, namespace: &str, endpoint: &str) -> Vec<AuditAnchor> {
        self.lock().get(&key(namespace, endpoint)).cloned().unwrap_or_default()
    }

    /// These are in the status now.
    pub fn kept(&self, namespace: &str, endpoint: &str, kept: &[AuditAnchor]) {
        let mut heard = self.lock();
        let key = key(namespace, endpoint);
        if let Some(known) = heard.get_mut(&key) {
            known.retain(|anchor| !kept.contains(anchor));
            if known.is_empty() {
                heard.remove(&key);
            }
        }
    }

    /// Forgets an endpoint that is gone.
    pub fn forget(&self, namespace: &str, endpoint: &str) {
        self.lock().remove(&key(namespace, endpoint));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Vec<AuditAnchor>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(namespace: &str, endpoint: &str) -> Key {
    (namespace.to_owned(), endpoint.to_owned())
}

/// Whose pod this is, and which of its programs writes records.
fn endpoint_of(pod: &Pod) -> Option<(&str, AuditWriter)> {
    let labelled = |label| pod.labels().get(label).map(String::as_str);
    labelled(labels::ENDPOINT)
        .map(|endpoint| (endpoint, AuditWriter::Sidecar))
        .or_else(|| Some((labelled(labels::EGRESS_OF)?, AuditWriter::EgressGateway)))
}

/// The ends of the chains of the runs that are over: the last one, and the one before if the container was started again.
fn of_pod(pod: &Pod, writer: AuditWriter) -> Vec<AuditAnchor> {
    let Some(status) = &pod.status else { return vec![] };
    let source = Source::of(pod, writer);
    // A native sidecar is an init container that goes on.
    let containers = [&status.init_container_statuses, &status.container_statuses];
    let own = containers.into_iter().flatten().flatten();
    own.filter(|container| container.name == container_of(writer))
        .flat_map(messages)
        .filter_map(|message| source.tells(LastWord::parse(message)?.anchor))
        .collect()
}

fn messages(container: &ContainerStatus) -> impl Iterator<Item = &str> {
    let states = [&container.last_state, &container.state].into_iter().flatten();
    states.filter_map(|state| state.terminated.as_ref()?.message.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;
    use serde_json::{Value, json};

    fn word(chain: &str, seq: u64) -> String {
        let time = "2026-11-28T20:00:00.000Z";
        json!({"anchor": {"chain": chain, "seq": seq, "hash": "a".repeat(64), "time": time}}).to_string()
    }

    fn ended(message: &str) -> Value {
        json!({"terminated": {"exitCode": 0, "message": message}})
    }

    fn pod(label: &str, status: &Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "demo-1", "namespace": "team-a", "uid": "uid-1", "labels": {label: "demo"}},
            "status": status,
        }))
        .unwrap()
    }

    fn container(name: &str, state: &Value, last_state: &Value) -> Value {
        json!({
            "name": name, "image": "", "imageID": "", "ready": false, "restartCount": 1,
            "state": state, "lastState": last_state,
        })
    }

    fn seqs(words: &LastWords) -> Vec<(AuditWriter, i64)> {
        let heard = words.of("team-a", "demo").into_iter();
        heard.map(|anchor| (anchor.writer, anchor.seq)).collect()
    }

    #[test]
    fn a_native_sidecar_and_a_gateway_are_heard_and_no_other_container() {
        let none = json!({});
        let words = LastWords::default();
        words.hear(&pod(
            labels::ENDPOINT,
            &json!({
                "initContainerStatuses": [
                    container("guard", &ended(&word("demo-1/t/g", 1)), &none),
                    container("audit", &ended(&word("demo-1/t/b", 9)), &ended(&word("demo-1/t/a", 5))),
                ],
                "containerStatuses": [container("server", &ended(&word("demo-1/t/s", 2)), &none)],
            }),
        ));
        assert_eq!(seqs(&words), [(AuditWriter::Sidecar, 5), (AuditWriter::Sidecar, 9)]);
        words.forget("team-a", "demo");
        words.hear(&pod(
            labels::EGRESS_OF,
            &json!({"containerStatuses": [
                container("egress", &ended(&word("demo-1/t/c", 3)), &none),
                container("audit", &ended(&word("demo-1/t/d", 4)), &none),
            ]}),
        ));
        assert_eq!(seqs(&words), [(AuditWriter::EgressGateway, 3)]);
    }

    #[test]
    fn what_is_no_last_word_of_this_pod_is_not_heard() {
        for message in [
            "",
            "the last lines of a log",
            &word("demo-2/t/a", 5),
            &word("demo-1/\u{1b}[2J", 5),
        ] {
            let words = LastWords::default();
            let status = json!({"initContainerStatuses": [container("audit", &ended(message), &json!({}))]});
            words.hear(&pod(labels::ENDPOINT, &status));
            assert_eq!(seqs(&words), [], "{message}");
        }
        let words = LastWords::default();
        let running = json!({"running": {}});
        words.hear(&pod(
            labels::ENDPOINT,
            &json!({"initContainerStatuses": [container("audit", &running, &json!({}))]}),
        ));
        assert_eq!(seqs(&words), []);
    }

    #[test]
    fn a_word_waits_until_it_is_kept_and_the_wait_is_bounded() {
        let words = LastWords::default();
        let say = |number: u64| {
            let message = word(&format!("demo-1/t/{number}"), number);
            let status = json!({"initContainerStatuses": [container("audit", &ended(&message), &json!({}))]});
            words.hear(&pod(labels::ENDPOINT, &status));
        };
        say(1);
        say(1);
        let heard = words.of("team-a", "demo");
        assert_eq!(heard.len(), 1);
        say(2);
        words.kept("team-a", "demo", &heard);
        assert_eq!(seqs(&words), [(AuditWriter::Sidecar, 2)]);
        for number in 0..200 {
            say(number);
        }
        assert_eq!(words.of("team-a", "demo").len(), MAX_KEPT);
    }
}
