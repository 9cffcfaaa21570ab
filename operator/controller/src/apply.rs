//! Brings objects into the cluster: server-side apply of one object, of an endpoint's children in order, and pruning.

use crate::{
    context::Context,
    drift,
    error::{Error, is_not_found},
    ledger::{self, Entry, Key},
};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, ListParams, PartialObjectMeta, Patch, PatchParams, PostParams, Preconditions},
};
use sallyport_api::labels;
use sallyport_render::{Applied, Children, CiliumNetworkPolicy, GatewayChildren, Prepared};
use serde::{Serialize, de::DeserializeOwned};
use std::{collections::BTreeSet, fmt::Debug};

/// Attempts at replacing an object that others write to at the same time.
const REPLACE_ATTEMPTS: usize = 5;

/// A namespaced kind that the operator applies.
pub trait Child:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Serialize + DeserializeOwned + Clone + Debug + Send + Sync
{
}

impl<K> Child for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Serialize
        + DeserializeOwned
        + Clone
        + Debug
        + Send
        + Sync
{
}

/// Applies every child of one endpoint, fences before the workload that they fence.
///
/// With `withhold` the server's Deployment is left as it is, or absent.
///
/// # Errors
///
/// The first child that the API server refuses, or that belongs to somebody else; those before it stay applied.
pub async fn children(
    context: &Context,
    children: Children<Prepared>,
    withhold: bool,
) -> Result<Children<Applied>, Error> {
    let service_account = ensure(context, &children.service_account).await?;
    let config_map = ensure(context, &children.config_map).await?;
    let network_policy = ensure(context, &children.network_policy).await?;
    let cilium_network_policy = ensure_any(context, children.cilium_network_policy.as_ref()).await?;
    let pod_disruption_budget = ensure(context, &children.pod_disruption_budget).await?;
    let service = ensure(context, &children.service).await?;
    let gateway = match &children.gateway {
        Some(gateway) => Some(Box::pin(self::gateway(context, gateway)).await?),
        None => None,
    };
    let deployment = if withhold {
        None
    } else {
        Some(Box::pin(ensure(context, &children.deployment)).await?)
    };
    Ok(children.into_applied(
        service_account,
        config_map,
        network_policy,
        cilium_network_policy,
        pod_disruption_budget,
        service,
        gateway,
        deployment,
    ))
}

async fn gateway(context: &Context, gateway: &GatewayChildren) -> Result<GatewayChildren, Error> {
    Ok(GatewayChildren {
        service_account: ensure(context, &gateway.service_account).await?,
        config_map: ensure(context, &gateway.config_map).await?,
        network_policy: ensure(context, &gateway.network_policy).await?,
        cilium_network_policy: ensure_any(context, gateway.cilium_network_policy.as_ref()).await?,
        pod_disruption_budget: ensure(context, &gateway.pod_disruption_budget).await?,
        service: ensure(context, &gateway.service).await?,
        deployment: Box::pin(ensure(context, &gateway.deployment)).await?,
    })
}

/// As [`ensure`], if anything is desired.
async fn ensure_any<K: Child>(context: &Context, desired: Option<&K>) -> Result<Option<K>, Error> {
    match desired {
        Some(desired) => Box::pin(ensure(context, desired)).await.map(Some),
        None => Ok(None),
    }
}

/// Makes the stored object what `desired` says and returns it. Writes nothing if it is that already.
///
/// Afterwards the object's body is exactly the desired one: fields that others changed are taken back by the forced apply,
/// fields that others added are removed by replacing the object.
///
/// # Errors
///
/// [`Error::NameConflict`] when the object exists and is not the operator's; otherwise what the API server answered.
pub async fn ensure<K: Child>(context: &Context, desired: &K) -> Result<K, Error> {
    let api = api_of(context, desired);
    let key = key_of(desired);
    let wanted = ledger::desired(desired).map_err(|source| unserializable(&key, source))?;
    let known = context.ledger.get(&key).filter(|entry| entry.desired == wanted);
    let live = api
        .get_opt(&key.name)
        .await
        .map_err(|source| failed("read", &key, source))?;
    if let Some(live) = &live {
        if !is_ours(context, &key, live.meta(), desired.meta()) {
            return Err(Error::NameConflict {
                kind: key.kind,
                name: key.name,
            });
        }
        if known
            .as_ref()
            .is_some_and(|entry| ledger::fingerprint(live).ok() == Some(entry.stored))
        {
            return Ok(live.clone());
        }
    }
    let uid = live.as_ref().and_then(ResourceExt::uid);
    let applied = match (apply(&api, &key, desired, uid.clone()).await, &live) {
        // An apply leaves in place what others added, and that may contradict a desired value: `hostNetwork: true` forbids
        // `hostUsers: false`. Such an object is replaced first.
        (Err(Error::Api { source, .. }), Some(live)) if is_invalid(&source) => {
            replace(&api, &key, desired, live.clone()).await?;
            apply(&api, &key, desired, uid).await?
        }
        (applied, _) => applied?,
    };
    let settled = remove_foreign(&api, &key, desired, applied).await?;
    let stored = ledger::fingerprint(&settled).map_err(|source| unserializable(&key, source))?;
    if let Some(Drift { culprit }) = drift_of(known.is_some(), live.as_ref(), stored) {
        context.drift_repaired(&settled, &key, culprit.as_deref()).await;
    }
    context.ledger.record(
        key,
        Entry {
            uid: settled.uid(),
            desired: wanted,
            stored,
        },
    );
    Ok(settled)
}

/// Deletes the object if it is the operator's. Absent is fine.
///
/// # Errors
///
/// What the API server answered.
pub async fn remove<K: Child>(context: &Context, object: &K) -> Result<(), Error> {
    let (api, key) = (api_of(context, object), key_of(object));
    let live = api
        .get_opt(&key.name)
        .await
        .map_err(|source| failed("read", &key, source))?;
    let Some(live) = live.filter(|live| is_ours(context, &key, live.meta(), object.meta())) else {
        return Ok(());
    };
    delete(&api, &key, live.uid()).await?;
    context.ledger.remove(&key);
    tracing::info!(kind = key.kind, namespace = key.namespace, name = key.name, "deleted");
    Ok(())
}

/// Whose orphans are looked for.
#[derive(Clone, Debug)]
pub struct Owner {
    /// Namespace of the endpoint.
    pub namespace: String,
    /// Name of the endpoint.
    pub endpoint: String,
    /// UID of the endpoint.
    pub uid: String,
    /// Names that its children bear.
    pub names: BTreeSet<String>,
    /// Names that its CiliumNetworkPolicies bear; none, if it wants none.
    pub cilium_names: BTreeSet<String>,
}

/// Deletes what an endpoint owns and does not want any more, workloads before their fences.
///
/// # Errors
///
/// What the API server answered.
pub async fn prune(context: &Context, owner: &Owner) -> Result<(), Error> {
    let names = &owner.names;
    prune_kind::<Deployment>(context, owner, names).await?;
    prune_kind::<Service>(context, owner, names).await?;
    prune_kind::<PodDisruptionBudget>(context, owner, names).await?;
    match prune_kind::<CiliumNetworkPolicy>(context, owner, &owner.cilium_names).await {
        // The cluster has no such kind.
        Err(Error::Api { source, .. }) if is_not_found(&source) => {}
        pruned => pruned?,
    }
    prune_kind::<NetworkPolicy>(context, owner, names).await?;
    prune_kind::<ConfigMap>(context, owner, names).await?;
    prune_kind::<ServiceAccount>(context, owner, names).await
}

/// Children of one part all bear one name, so that an owned object of any other name is one that the endpoint wanted
/// formerly, or that a former release made.
async fn prune_kind<K: Child>(context: &Context, owner: &Owner, names: &BTreeSet<String>) -> Result<(), Error>
where
    PartialObjectMeta<K>: DeserializeOwned + Debug + Clone,
{
    let Owner {
        namespace,
        endpoint,
        uid,
        ..
    } = owner;
    let api = Api::<K>::namespaced(context.client.clone(), namespace);
    let ours = format!(
        "{}={},{}={endpoint}",
        labels::MANAGED_BY,
        labels::OPERATOR,
        labels::ENDPOINT
    );
    let key = |name: String| Key {
        kind: K::kind(&()).into_owned(),
        namespace: namespace.clone(),
        name,
    };
    let listed = api.list_metadata(&ListParams::default().labels(&ours)).await;
    let listed = listed.map_err(|source| failed("list", &key(String::new()), source))?;
    for orphan in listed {
        if !names.contains(&orphan.name_any()) && is_controlled_by(orphan.meta(), uid) {
            let key = key(orphan.name_any());
            delete(&api, &key, orphan.uid()).await?;
            context.ledger.remove(&key);
            tracing::info!(kind = key.kind, namespace, name = key.name, "deleted an orphan");
        }
    }
    Ok(())
}

async fn delete<K: Child>(api: &Api<K>, key: &Key, uid: Option<String>) -> Result<(), Error> {
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid,
            resource_version: None,
        }),
        ..DeleteParams::background()
    };
    match api.delete(&key.name, &params).await {
        Ok(_) => Ok(()),
        Err(error) if is_not_found(&error) => Ok(()),
        Err(source) => Err(failed("delete", key, source)),
    }
}

/// `force` because the operator is the only writer of what it sends; strict because a field that the API server would drop
/// silently is a hardening setting that silently is not there. `uid` makes the API server refuse to touch an object other
/// than the one that was looked at.
async fn apply<K: Child>(api: &Api<K>, key: &Key, desired: &K, uid: Option<String>) -> Result<K, Error> {
    let mut body = desired.clone();
    body.meta_mut().uid = uid;
    let params = PatchParams::apply(labels::FIELD_MANAGER).force().validation_strict();
    let applied = api.patch(&key.name, &params, &Patch::Apply(&body)).await;
    applied.map_err(|source| failed("apply", key, source))
}

/// Replaces the object if others added to it. Every desired value is in force already, so this only takes away.
async fn remove_foreign<K: Child>(api: &Api<K>, key: &Key, desired: &K, applied: K) -> Result<K, Error> {
    if drift::foreign(applied.meta()).is_empty() {
        Ok(applied)
    } else {
        replace(api, key, desired, applied).await
    }
}

/// Replaces the object's body with the desired one, unless others have taken their additions back by themselves.
async fn replace<K: Child>(api: &Api<K>, key: &Key, desired: &K, mut live: K) -> Result<K, Error> {
    for _ in 0..REPLACE_ATTEMPTS {
        let body = replacement(desired, &live).map_err(|source| unserializable(key, source))?;
        let params = PostParams {
            field_manager: Some(labels::FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        match api.replace(&key.name, &params, &body).await {
            Ok(replaced) => return Ok(replaced),
            Err(kube::Error::Api(status)) if status.is_conflict() => {
                live = api.get(&key.name).await.map_err(|source| failed("read", key, source))?;
                if drift::foreign(live.meta()).is_empty() {
                    return Ok(live);
                }
            }
            Err(source) => return Err(failed("replace", key, source)),
        }
    }
    Ok(live)
}

fn is_invalid(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_invalid())
}

/// The desired body under the live metadata, without the claims of those who added to it: what the API server fills in
/// by itself would stay theirs for ever. Annotations of the pod template stay, so that this restarts no pods by itself.
fn replacement<K: Child>(desired: &K, live: &K) -> Result<K, serde_json::Error> {
    const TEMPLATE_METADATA: &str = "/spec/template/metadata";
    let mut body = serde_json::to_value(desired)?;
    let annotations = serde_json::to_value(live)?
        .pointer(&format!("{TEMPLATE_METADATA}/annotations"))
        .cloned();
    if let (Some(metadata), Some(annotations)) = (body.pointer_mut(TEMPLATE_METADATA), annotations) {
        metadata["annotations"] = annotations;
    }
    let mut body: K = serde_json::from_value(body)?;
    *body.meta_mut() = live.meta().clone();
    drift::drop_foreign(body.meta_mut());
    Ok(body)
}

/// Somebody else had changed or deleted an object.
struct Drift {
    /// Who, as far as is known.
    culprit: Option<String>,
}

/// What was repaired, if anything.
///
/// What this process never applied as it is now (`known` is false) may differ for the release's or the spec's sake; then
/// only fields that others own count.
fn drift_of<K: Child>(known: bool, live: Option<&K>, stored: u64) -> Option<Drift> {
    let Some(live) = live else {
        return known.then_some(Drift { culprit: None });
    };
    let mut foreign = drift::foreign(live.meta());
    // The operator's own replacements leave claims beside those of its applies.
    foreign.managers.remove(labels::FIELD_MANAGER);
    if !foreign.is_empty() {
        let managers: Vec<_> = foreign.managers.into_iter().collect();
        return Some(Drift {
            culprit: Some(managers.join(", ")),
        });
    }
    let changed = ledger::fingerprint(live).ok() != Some(stored);
    (known && changed).then(|| Drift {
        culprit: drift::last_writer(live.meta()),
    })
}

/// Whether the operator may write to an existing object.
///
/// Any trace of its own counts, so that nobody escapes repair by removing one: the owner reference, the operator's entry in
/// managedFields, and the memory of having applied it.
fn is_ours(context: &Context, key: &Key, live: &ObjectMeta, desired: &ObjectMeta) -> bool {
    let owners: BTreeSet<_> = desired
        .owner_references
        .iter()
        .flatten()
        .map(|owner| owner.uid.as_str())
        .collect();
    let owned = owners.iter().any(|uid| is_controlled_by(live, uid));
    let remembered = context
        .ledger
        .get(key)
        .is_some_and(|entry| entry.uid.is_some() && entry.uid == live.uid);
    owned || remembered || drift::is_applied_by_operator(live)
}

fn is_controlled_by(metadata: &ObjectMeta, uid: &str) -> bool {
    let owners = metadata.owner_references.iter().flatten();
    owners
        .into_iter()
        .any(|owner| owner.uid == uid && owner.controller == Some(true))
}

fn api_of<K: Child>(context: &Context, object: &K) -> Api<K> {
    Api::namespaced(context.client.clone(), &object.namespace().unwrap_or_default())
}

fn key_of<K: Child>(object: &K) -> Key {
    Key {
        kind: K::kind(&()).into_owned(),
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
    }
}

fn failed(verb: &'static str, key: &Key, source: kube::Error) -> Error {
    Error::Api {
        verb,
        kind: key.kind.clone(),
        name: key.name.clone(),
        source: Box::new(source),
    }
}

fn unserializable(key: &Key, source: serde_json::Error) -> Error {
    failed("serialize", key, kube::Error::SerdeError(source))
}
