//! What triggers a reconcile: the endpoints themselves, their children, their pods, and what they refer to.

use crate::{
    context::Context,
    credentials,
    endpoints::{Endpoints, Guarded},
    reconcile::{error_policy, forget, reconcile},
    scope::Scope,
    watch,
};
use futures::{FutureExt, Stream, StreamExt, TryStreamExt};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Pod, ResourceQuota, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    },
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DynamicObject, PartialObjectMeta},
    runtime::{
        Config, Controller, PredicateConfig, WatchStreamExt, controller, predicates,
        reflector::{self, ObjectRef, Store, store::Writer},
        watcher::{self, Event},
    },
};
use sallyport_api::labels;
use sallyport_render::CiliumNetworkPolicy;
use std::{future::Future, sync::Arc, time::Duration};

/// Gathers the events that come together, as those of a roll-out do.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// The cache of one scope, before it is filled.
pub struct Cache {
    scope: Scope,
    reader: Store<Guarded>,
    writer: Writer<Guarded>,
}

/// One cache for each scope, and the view of all of them.
pub fn caches(scopes: Vec<Scope>) -> (Vec<Cache>, Endpoints) {
    let caches: Vec<_> = scopes
        .into_iter()
        .map(|scope| {
            let (reader, writer) = reflector::store();
            Cache { scope, reader, writer }
        })
        .collect();
    let stores = caches
        .iter()
        .map(|cache| (cache.scope.clone(), cache.reader.clone()))
        .collect();
    (caches, Endpoints::new(stores))
}

/// Reconciles the endpoints of one scope until `shutdown`, and then until the reconciles under way are done.
pub async fn run(
    context: Arc<Context>,
    cache: Cache,
    concurrency: u16,
    shutdown: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let Cache { scope, reader, writer } = cache;
    // Watches read; only reconciles write.
    let client = context.client.clone();
    let sealed = credentials::sealed_secret();
    let (users, short) = (context.endpoints.clone(), context.endpoints.clone());
    let selected_by_policies = context.endpoints.clone();
    Controller::for_stream(endpoints(&context, &scope, writer), reader)
        .with_config(Config::default().concurrency(concurrency).debounce(DEBOUNCE))
        .watches_stream(children::<ServiceAccount>(&scope, &client), endpoints_of)
        .watches_stream(children::<ConfigMap>(&scope, &client), endpoints_of)
        .watches_stream(policies(&context, &scope), move |policy| {
            selected_by_policies.concerned_by_policy(&policy)
        })
        .watches_stream(cilium_policies(&context, &scope), endpoints_of)
        .watches_stream(children::<PodDisruptionBudget>(&scope, &client), endpoints_of)
        .watches_stream(children::<Service>(&scope, &client), endpoints_of)
        .watches_stream(children::<Deployment>(&scope, &client), endpoints_of)
        .watches_stream(pods(&context, &scope, labels::ENDPOINT), |pod: Pod| {
            labelled_endpoints(&pod)
        })
        .watches_stream(pods(&context, &scope, labels::EGRESS_OF), |pod: Pod| {
            labelled_endpoints(&pod)
        })
        .watches_stream(
            quotas(&context, &scope),
            move |quota: PartialObjectMeta<ResourceQuota>| short.short_of_quota(&quota.namespace().unwrap_or_default()),
        )
        .watches_stream_with(
            sealed_secrets(&scope, &client),
            move |sealed: PartialObjectMeta<DynamicObject>| {
                users.using_sealed_secret(&sealed.namespace().unwrap_or_default(), &sealed.name_any())
            },
            sealed,
        )
        .reconcile_all_on(watch::changes(context.node_features.clone()))
        .reconcile_all_on(watch::changes(context.api_servers.clone()))
        .reconcile_all_on(watch::changes(context.canaries.clone()))
        .reconcile_all_on(watch::changes(context.cilium.clone()))
        .reconcile_all_on(watch::changes(context.classes.clone()))
        .graceful_shutdown_on(shutdown)
        .run(reconcile, error_policy, context.clone())
        .for_each(|result| {
            if let Err(error) = result {
                clean_up(&context, &error);
            }
            std::future::ready(())
        })
        .await;
}

/// Failed reconciles were reported by the error policy; an endpoint that is gone leaves nothing to reconcile.
fn clean_up<E: std::error::Error + 'static>(context: &Context, error: &controller::Error<E, watcher::Error>) {
    match error {
        controller::Error::ObjectNotFound(object) => {
            forget(context, object.namespace.as_deref().unwrap_or_default(), &object.name);
        }
        controller::Error::ReconcilerFailed(..) => {}
        error => tracing::error!(%error, "the queue of endpoints broke"),
    }
}

/// Endpoints whose spec changed. Deletions go to the loop over namespaces, since no reconcile follows them.
fn endpoints(
    context: &Arc<Context>,
    scope: &Scope,
    writer: Writer<Guarded>,
) -> impl Stream<Item = Result<Guarded, watcher::Error>> + Send + use<> {
    let api: Api<Guarded> = scope.api(&context.client);
    let context = context.clone();
    watch::pruned(api, watcher::Config::default(), "McpEndpoint")
        .reflect(writer)
        .inspect_ok(move |event| {
            if let Event::Delete(endpoint) = event {
                context.look_at_namespace(&endpoint.namespace().unwrap_or_default());
            }
        })
        .applied_objects()
        // A status write leaves the generation alone, so it does not come back as a reconcile.
        .predicate_filter(predicates::generation, PredicateConfig::default())
}

/// Metadata of the children of one kind, when touched by anybody.
fn children<K>(
    scope: &Scope,
    client: &Client,
) -> impl Stream<Item = Result<PartialObjectMeta<K>, watcher::Error>> + Send + use<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + std::fmt::Debug + Send + 'static,
{
    let ours = format!("{}={}", labels::MANAGED_BY, labels::OPERATOR);
    watch::touched(
        scope.api::<PartialObjectMeta<K>>(client),
        watcher::Config::default().labels(&ours),
        "child",
    )
}

/// All NetworkPolicies, because others' may open more than endpoints say; a fence belongs to its namespace.
fn policies(
    context: &Arc<Context>,
    scope: &Scope,
) -> impl Stream<Item = Result<PartialObjectMeta<NetworkPolicy>, watcher::Error>> + Send + use<> {
    let api = scope.api::<PartialObjectMeta<NetworkPolicy>>(&context.client);
    let context = context.clone();
    watch::touched(api, watcher::Config::default(), "NetworkPolicy").inspect_ok(move |policy| {
        if [labels::FENCE, labels::GATEWAY_FENCE].contains(&policy.name_any().as_str()) {
            context.look_at_namespace(&policy.namespace().unwrap_or_default());
        }
    })
}

/// Metadata of the operator's own CiliumNetworkPolicies, from when the kind is first served. While it is gone, the watch keeps
/// trying.
fn cilium_policies(
    context: &Arc<Context>,
    scope: &Scope,
) -> impl Stream<Item = Result<PartialObjectMeta<CiliumNetworkPolicy>, watcher::Error>> + Send + use<> {
    let mut served = context.cilium.clone();
    let begin = async move {
        // An error means that nobody is left to tell, as during shutdown.
        if served.wait_for(|served| *served == Some(true)).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let none_yet = begin.into_stream().filter_map(|()| std::future::ready(None));
    none_yet.chain(children(scope, &context.client))
}

/// Pods of endpoints; one that ends may be the last of its namespace, and leaves its last words.
fn pods(
    context: &Arc<Context>,
    scope: &Scope,
    label: &str,
) -> impl Stream<Item = Result<Pod, watcher::Error>> + Send + use<> {
    let api = scope.api::<Pod>(&context.client);
    let context = context.clone();
    watch::touched(api, watcher::Config::default().labels(label), "Pod").inspect_ok(move |pod| {
        context.last_words.hear(pod);
        if pod.metadata.deletion_timestamp.is_some() {
            context.look_at_namespace(&pod.namespace().unwrap_or_default());
        }
    })
}

/// All quotas, because others' may leave too little; the operator's own belongs to its namespace.
fn quotas(
    context: &Arc<Context>,
    scope: &Scope,
) -> impl Stream<Item = Result<PartialObjectMeta<ResourceQuota>, watcher::Error>> + Send + use<> {
    let api = scope.api::<PartialObjectMeta<ResourceQuota>>(&context.client);
    let context = context.clone();
    watch::touched(api, watcher::Config::default(), "ResourceQuota").inspect_ok(move |quota| {
        if quota.name_any() == labels::QUOTA {
            context.look_at_namespace(&quota.namespace().unwrap_or_default());
        }
    })
}

/// Metadata of SealedSecrets. Without that kind the watch keeps trying, so that it may be installed later.
fn sealed_secrets(
    scope: &Scope,
    client: &Client,
) -> impl Stream<Item = Result<PartialObjectMeta<DynamicObject>, watcher::Error>> + Send + use<> {
    let kind = credentials::sealed_secret();
    let api = match scope {
        Scope::All => Api::all_with(client.clone(), &kind),
        Scope::Namespace(namespace) => Api::namespaced_with(client.clone(), namespace, &kind),
    };
    watch::touched(api, watcher::Config::default(), "SealedSecret")
}

/// The endpoint whose child an object is: the one that its own name says, which nobody can change, unlike its owner
/// reference; and the one that it is labelled with, so that orphans count too.
fn endpoints_of<K>(child: PartialObjectMeta<K>) -> Vec<ObjectRef<Guarded>>
where
    K: Resource<DynamicType = ()>,
{
    let namespace = child.namespace().unwrap_or_default();
    let namesake = ObjectRef::new(labels::endpoint_of(&child.name_any())).within(&namespace);
    let mut endpoints = labelled_endpoints(&child);
    if !endpoints.contains(&namesake) && namesake.name != labels::FENCE {
        endpoints.push(namesake);
    }
    drop(child);
    endpoints
}

/// Both endpoints of a pod to which somebody has added another's label.
fn labelled_endpoints<K>(object: &K) -> Vec<ObjectRef<Guarded>>
where
    K: Resource<DynamicType = ()>,
{
    let namespace = object.namespace().unwrap_or_default();
    let named = [labels::ENDPOINT, labels::EGRESS_OF].map(|label| object.labels().get(label));
    let endpoints = named.into_iter().flatten();
    endpoints
        .map(|endpoint| ObjectRef::new(endpoint).within(&namespace))
        .collect()
}
