//! What all endpoints of a namespace share: the fences that close their pods whatever else happens, and the quota.
//!
//! Each reconcile of an endpoint ensures both before its Deployment. The loop here does what no endpoint is left to do:
//! shrink the quota when one goes, keep the fence until the last pod is gone, then remove both.

use crate::{
    apply,
    backoff::jittered,
    context::Context,
    endpoints::{Guarded, member},
    error::Error,
};
use futures::future::OptionFuture;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Pod, ResourceQuota},
};
use kube::{
    Api, Resource,
    api::{ListParams, ObjectMeta},
};
use sallyport_api::labels;
use sallyport_render::{NamespaceChildren, NamespaceMember, render_namespace};
use std::{collections::HashMap, fmt::Debug, future::Future, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc::UnboundedReceiver,
    time::{Instant, sleep_until, timeout},
};

/// Gathers requests that come together, as a roll-out's do.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// How long a namespace must have been without endpoints, pods and Deployments before its fence goes.
const GRACE: Duration = Duration::from_secs(10);
/// What is left in a namespace that goes away is looked at until it is gone.
const GOING_RETRY: Duration = Duration::from_mins(1);
const RESYNC: Duration = Duration::from_mins(45);
const DEADLINE: Duration = Duration::from_secs(20);

/// Ensures the fence and the quota of a namespace that holds endpoints.
///
/// # Errors
///
/// What the API server answered, or that an object of the same name belongs to somebody else.
pub async fn ensure(context: &Context, namespace: &str) -> Result<(), Error> {
    let endpoints = context.endpoints.of(namespace);
    let wanted = render_namespace(namespace, &members(context, &endpoints), &context.settings);
    let NamespaceChildren {
        fence,
        gateway_fence,
        quota,
    } = wanted;
    apply::ensure(context, &fence).await?;
    apply::ensure(context, &gateway_fence).await?;
    // An endpoint that does not decode may still run pods, of unknown size: the quota stays as it is.
    if endpoints.iter().any(|endpoint| endpoint.0.is_err()) {
        return Ok(());
    }
    match quota {
        Some(quota) => apply::ensure(context, &quota).await.map(drop),
        None => apply::remove(context, &named_quota(namespace)).await,
    }
}

fn members(context: &Context, endpoints: &[Arc<Guarded>]) -> Vec<NamespaceMember> {
    let decoded = endpoints.iter().filter_map(|endpoint| endpoint.0.as_ref().ok());
    decoded.map(|endpoint| member(endpoint, &context.settings)).collect()
}

fn named_quota(namespace: &str) -> ResourceQuota {
    ResourceQuota {
        metadata: ObjectMeta {
            name: Some(labels::QUOTA.to_owned()),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        ..ResourceQuota::default()
    }
}

/// Looks at each requested namespace until `shutdown`; one at a time, failures with backoff.
pub async fn run(context: Arc<Context>, mut requests: UnboundedReceiver<String>, shutdown: impl Future<Output = ()>) {
    tokio::pin!(shutdown);
    tokio::select! {
        () = context.endpoints.ready() => {}
        () = &mut shutdown => return,
    }
    let mut due: HashMap<String, Instant> = HashMap::new();
    let mut empty: HashMap<String, Instant> = HashMap::new();
    loop {
        let next = due
            .iter()
            .min_by_key(|(_, at)| **at)
            .map(|(namespace, at)| (namespace.clone(), *at));
        let timer: OptionFuture<_> = next.as_ref().map(|(_, at)| sleep_until(*at)).into();
        tokio::select! {
            () = &mut shutdown => return,
            request = requests.recv() => {
                let Some(namespace) = request else { return };
                let soon = Instant::now() + DEBOUNCE;
                due.entry(namespace).and_modify(|at| *at = soon.min(*at)).or_insert(soon);
            }
            Some(()) = timer => {
                let Some((namespace, _)) = next else { continue };
                due.remove(&namespace);
                if let Some(wait) = visit(&context, &namespace, &mut empty).await {
                    due.insert(namespace, Instant::now() + wait);
                }
            }
        }
    }
}

/// Settles one namespace and tells when to look again; `None` when nothing of ours is left in it.
async fn visit(context: &Context, namespace: &str, empty: &mut HashMap<String, Instant>) -> Option<Duration> {
    let since = empty.get(namespace).copied();
    let settled = timeout(DEADLINE, settle(context, namespace, since)).await;
    let settled = settled.unwrap_or(Err(Error::Timeout(DEADLINE)));
    let key = format!("namespace/{namespace}");
    match settled {
        Ok(settled) => {
            context.backoff.reset(&key);
            match settled {
                Settled::InUse => {
                    empty.remove(namespace);
                    Some(jittered(RESYNC))
                }
                Settled::Empty => {
                    empty.entry(namespace.to_owned()).or_insert_with(Instant::now);
                    Some(GRACE)
                }
                Settled::Removed => {
                    empty.remove(namespace);
                    None
                }
            }
        }
        Err(error) if error.is_namespace_going() => Some(jittered(GOING_RETRY)),
        Err(error) => {
            context.metrics.failed(error.category());
            let wait = context.backoff.failed(&key);
            tracing::warn!(namespace, %error, retry = ?wait, "could not settle what the namespace's endpoints share");
            Some(wait)
        }
    }
}

enum Settled {
    /// Endpoints or their pods are there.
    InUse,
    /// Nothing is there; the fence stays for the time of grace.
    Empty,
    /// Nothing was there for long enough; fence and quota are gone.
    Removed,
}

async fn settle(context: &Context, namespace: &str, empty_since: Option<Instant>) -> Result<Settled, Error> {
    if is_used(context, namespace).await? {
        ensure(context, namespace).await?;
        return Ok(Settled::InUse);
    }
    apply::remove(context, &named_quota(namespace)).await?;
    if empty_since.is_none_or(|since| since.elapsed() < GRACE) {
        return Ok(Settled::Empty);
    }
    let _no_endpoint_is_applied = context.removal.write().await;
    if is_used(context, namespace).await? {
        return Ok(Settled::InUse);
    }
    let empty = render_namespace(namespace, &[], &context.settings);
    apply::remove(context, &empty.fence).await?;
    apply::remove(context, &empty.gateway_fence).await?;
    Ok(Settled::Removed)
}

/// Whether an endpoint, a pod of one, or a Deployment that may still make pods is in the namespace.
async fn is_used(context: &Context, namespace: &str) -> Result<bool, Error> {
    Ok(!context.endpoints.of(namespace).is_empty()
        || has_any::<Pod>(context, namespace, labels::ENDPOINT).await?
        || has_any::<Pod>(context, namespace, labels::EGRESS_OF).await?
        || has_any::<Deployment>(context, namespace, labels::ENDPOINT).await?)
}

async fn has_any<K>(context: &Context, namespace: &str, label: &str) -> Result<bool, Error>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + Debug
        + serde::de::DeserializeOwned,
{
    let api = Api::<K>::namespaced(context.client.clone(), namespace);
    let labelled = ListParams::default().labels(label).limit(1);
    let listed = api.list_metadata(&labelled).await.map_err(|source| Error::Api {
        verb: "list",
        kind: K::kind(&()).into_owned(),
        name: String::new(),
        source: Box::new(source),
    })?;
    Ok(!listed.items.is_empty())
}
