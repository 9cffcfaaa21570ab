//! Watches pods of endpoints and NetworkPolicies of the whole cluster and records every change.

use crate::{
    Context, Failure, Result,
    judge::{Change, Key, Pod, Policy, Record},
};
use futures::StreamExt;
use k8s_openapi::{api::core::v1, api::networking::v1::NetworkPolicy, jiff::Timestamp};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ListParams, WatchEvent, WatchParams},
};
use sallyport_api::labels;
use serde::de::DeserializeOwned;
use std::{fmt::Debug, path::Path};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// Reads a recording.
///
/// # Errors
///
/// When a line is no record.
pub fn read(path: &Path) -> Result<Vec<Record>> {
    let text = std::fs::read_to_string(path).context(format!("read {}", path.display()))?;
    let lines = text.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_str(line).context(format!("read {line:?} as a record")))
        .collect()
}

/// Watches until `stop` resolves and gives all that was seen; `started` is called once both watches stand.
///
/// # Errors
///
/// When a watch cannot be kept without a gap: an observer that missed something proves nothing.
pub async fn observe(client: Client, stop: impl Future<Output = ()>, started: impl FnOnce()) -> Result<Vec<Record>> {
    let (sender, mut receiver) = unbounded_channel();
    let pods = Api::<v1::Pod>::all(client.clone());
    let policies = Api::<NetworkPolicy>::all(client);
    // Servers and egress gateways alike.
    let selector = format!("{}={}", labels::MANAGED_BY, labels::OPERATOR);
    let from_pods = list(&pods, Some(&selector), &sender, describe_pod).await?;
    let from_policies = list(&policies, None, &sender, describe_policy).await?;
    send(&sender, from_pods.max(from_policies), Change::Started)?;
    started();
    let mut records = Vec::new();
    {
        let pods = follow(&pods, Some(&selector), from_pods, &sender, describe_pod, |key| {
            Change::PodGone(key)
        });
        let policies = follow(&policies, None, from_policies, &sender, describe_policy, |key| {
            Change::PolicyGone(key)
        });
        tokio::select! {
            ended = pods => ended?,
            ended = policies => ended?,
            () = stop => {}
        }
    }
    drop(sender);
    while let Some(record) = receiver.recv().await {
        records.push(record);
    }
    Ok(records)
}

fn send(sender: &UnboundedSender<Record>, revision: u64, change: Change) -> Result<()> {
    let seen = Timestamp::now().to_string();
    sender.send(Record { revision, seen, change }).context("keep a record")
}

/// Lists a kind and gives the revision of the list, which is also that of all its records.
async fn list<K>(
    api: &Api<K>,
    selector: Option<&str>,
    sender: &UnboundedSender<Record>,
    describe: fn(&K) -> Change,
) -> Result<u64>
where
    K: Clone + Debug + DeserializeOwned + Resource<DynamicType = ()>,
{
    let parameters = ListParams {
        label_selector: selector.map(str::to_owned),
        ..ListParams::default()
    };
    let objects = api.list(&parameters).await.context(format!("list {}", K::kind(&())))?;
    let revision = parse(objects.metadata.resource_version.as_deref())?;
    for object in &objects {
        send(sender, revision, describe(object))?;
    }
    Ok(revision)
}

/// What the API server answers when it no longer has what followed a revision.
const GONE: u16 = 410;

/// Watches a kind from `revision` on, for ever.
async fn follow<K>(
    api: &Api<K>,
    selector: Option<&str>,
    mut revision: u64,
    sender: &UnboundedSender<Record>,
    describe: fn(&K) -> Change,
    gone: fn(Key) -> Change,
) -> Result<()>
where
    K: Clone + Debug + DeserializeOwned + Resource<DynamicType = ()> + 'static,
{
    let mut parameters = WatchParams::default().timeout(290);
    parameters.label_selector = selector.map(str::to_owned);
    loop {
        let what = || format!("watch {}", K::kind(&()));
        let watch = match api.watch(&parameters, &revision.to_string()).await {
            Ok(watch) => watch,
            Err(kube::Error::Api(status)) if status.code == GONE => {
                return Err(Failure::new(status.message.clone())).context(what());
            }
            // Nothing is missed by trying again from the same revision.
            Err(_) => {
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                continue;
            }
        };
        let mut watch = watch.boxed();
        while let Some(event) = watch.next().await {
            let change = match event {
                Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                    revision = parse(object.meta().resource_version.as_deref())?;
                    describe(&object)
                }
                Ok(WatchEvent::Deleted(object)) => {
                    revision = parse(object.meta().resource_version.as_deref())?;
                    gone(key(&object))
                }
                Ok(WatchEvent::Bookmark(bookmark)) => {
                    revision = parse(Some(&bookmark.metadata.resource_version))?;
                    continue;
                }
                Ok(WatchEvent::Error(status)) if status.code == GONE => {
                    return Err(Failure::new(status.message.clone())).context(what());
                }
                Ok(WatchEvent::Error(_)) | Err(_) => break,
            };
            send(sender, revision, change)?;
        }
    }
}

fn parse(revision: Option<&str>) -> Result<u64> {
    revision
        .and_then(|text| text.parse().ok())
        .context("an object carries no comparable resourceVersion")
}

fn key<K: Resource<DynamicType = ()>>(object: &K) -> Key {
    Key {
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
    }
}

fn describe_pod(pod: &v1::Pod) -> Change {
    let bound = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    Change::Pod(Pod {
        key: key(pod),
        labels: pod.labels().clone(),
        runs: bound && !matches!(phase, Some("Succeeded" | "Failed")),
    })
}

fn describe_policy(policy: &NetworkPolicy) -> Change {
    let spec = policy.spec.clone().unwrap_or_default();
    let types = spec.policy_types.unwrap_or_default();
    Change::Policy(Policy {
        key: key(policy),
        selector: spec.pod_selector.unwrap_or_default(),
        both_directions: ["Ingress", "Egress"]
            .iter()
            .all(|wanted| types.iter().any(|listed| listed == wanted)),
    })
}
