//! One reconcile: decode, dereference, validate, render, apply, status.
//!
//! It assumes nothing about why it runs and starts from the beginning each time. What is in place already is not written
//! again.

use crate::{
    anchors, apply,
    backoff::jittered,
    callers,
    context::Context,
    dereference::dereference,
    endpoints::Guarded,
    enforcement::{self, Enforcement},
    error::Error,
    events, handshake, ledger, namespace, pods,
    pods::Diagnosis,
    quota,
    status::{self, Observed, Rollout},
    tools, widening,
};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{Api, Resource, ResourceExt, api::ListParams, runtime::controller::Action};
use sallyport_api::{
    McpEndpoint, McpEndpointStatus,
    conditions::{self, reasons, types},
    labels,
    v1alpha1::{AuditAnchor, AuditStatus, AuditWriter, ServerInfo, ToolsStatus},
};
use sallyport_render::{
    Applied, Children, CredentialFact, Footprint, Prepared, ValidatedEndpoint, footprint, hardening, render, validate,
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::time::timeout;

/// Longest time that one reconcile may take; shorter than the pod's grace period, so that shutdown waits for it.
const DEADLINE: Duration = Duration::from_secs(20);
/// Heals what a lost event left; the watches do the work.
const RESYNC: Duration = Duration::from_mins(45);
/// The foreign object of a name conflict is not watched.
const NAME_CONFLICT_RETRY: Duration = Duration::from_mins(2);
const NAMESPACE_GOING_RETRY: Duration = Duration::from_mins(1);
const HANDSHAKE_RETRY: Duration = Duration::from_secs(3);
/// Until the tools of an endpoint that pins some, or keys that were unusable, are looked at again.
const CLOSE_LOOK: Duration = Duration::from_mins(1);

/// Brings the cluster to what the endpoint asks for and reports.
///
/// # Errors
///
/// See [`Error`]; what the user can do about it is in the endpoint's status by then.
pub async fn reconcile(object: Arc<Guarded>, context: Arc<Context>) -> Result<Action, Error> {
    let _slot = context.slots.acquire().await;
    let _measured = context.metrics.reconciling();
    let reconciled = timeout(DEADLINE, steps(&object, &context)).await;
    let reconciled = reconciled.unwrap_or(Err(Error::Timeout(DEADLINE)));
    if reconciled.is_ok() {
        context.backoff.reset(&key(&object));
    }
    reconciled
}

/// When to try again: terminal errors wait for a change, others back off.
pub fn error_policy(object: Arc<Guarded>, error: &Error, context: Arc<Context>) -> Action {
    context.metrics.failed(error.category());
    let wait = match error {
        Error::NameConflict { .. } => jittered(NAME_CONFLICT_RETRY),
        error if error.is_terminal() => jittered(RESYNC),
        _ => context.backoff.failed(&key(&object)),
    };
    let (namespace, name) = (object.namespace(), object.name_any());
    tracing::warn!(namespace, name, category = error.category(), %error, retry = ?wait, "reconcile failed");
    drop((object, context));
    Action::requeue(wait)
}

/// Forgets an endpoint that is gone.
pub fn forget(context: &Context, namespace: &str, name: &str) {
    context.ledger.forget(namespace, name);
    context.measurements.forget(namespace, name);
    context.last_words.forget(namespace, name);
    context.backoff.reset(&format!("{namespace}/{name}"));
}

async fn steps(object: &Guarded, context: &Context) -> Result<Action, Error> {
    // Decode (client: the cache may lag behind the status that the last reconcile wrote).
    let Some(endpoint) = decode(object, context).await? else {
        return Ok(Action::await_change());
    };
    // On the heap, as are its parts: objects of every kind would make each task tens of kilobytes large.
    let outcome = Box::pin(advance(&endpoint, context)).await;
    match &outcome {
        // The endpoint goes with its namespace; until then nothing can be applied and nobody needs to be told.
        Err(error) if error.is_namespace_going() => Ok(Action::requeue(jittered(NAMESPACE_GOING_RETRY))),
        Err(error) => {
            report_failure(&endpoint, error, context).await;
            outcome
        }
        Ok(_) => outcome,
    }
}

async fn advance(endpoint: &McpEndpoint, context: &Context) -> Result<Action, Error> {
    // Dereference (client).
    let found = dereference(context, endpoint).await?;
    // Validate (pure, the only fallible pure step).
    let valid = validate(endpoint, &context.settings, &found.facts)?;
    // Render (pure, infallible).
    let children = render(&valid);
    // Apply (client): fences first, workload last and only with its credentials, then prune.
    let withhold = valid.awaits_gateway()
        || valid.awaits_canary()
        || !found.facts.credentials.values().all(CredentialFact::is_ready);
    let applied = Box::pin(apply_all(context, &valid, children, withhold)).await?;
    // Status (client for what the workload became; computed purely; written only when different).
    let deployment = workload(context, &valid, &applied).await?;
    let rollout = Rollout::of(deployment.as_ref());
    let gateway = applied.gateway.as_ref().map(|gateway| &gateway.deployment);
    let gateway_rollout = gateway.map(|deployment| Rollout::of(Some(deployment)));
    let old = endpoint.status.clone().unwrap_or_default();
    let generation = endpoint.meta().generation.unwrap_or_default();
    let proven = rollout.is_available() && status::is_proven(&old, generation);
    let due = !proven || valid.awaits_canary() || context.measurements.is_due(valid.namespace(), valid.name());
    let pods = pods_if_needed(context, &valid, &rollout, &old, due).await?;
    let (enforcement, measure_again) = enforcement(context, &valid, &pods, due, proven).await;
    let server = server_info(context, &rollout, &old, &pods).await;
    let gateway_pods = gateway_pods_if_needed(context, &valid, gateway_rollout.as_ref(), due).await?;
    let last_words = context.last_words.of(valid.namespace(), valid.name());
    let told = told(context, &old, &pods, &gateway_pods, &last_words).await;
    let footprint = current_footprint(&valid, &rollout, &old);
    let widenings = widening::find(context, &valid).await?;
    let running: i32 = deployment
        .iter()
        .chain(gateway)
        .filter_map(|deployment| deployment.status.as_ref()?.replicas)
        .sum();
    let shortfalls = quota::shortfalls(
        &found.quotas,
        footprint,
        i64::from(running),
        &context.settings.priority_class,
    );
    let next = status::compute(
        &old,
        generation,
        Observed {
            children: &applied,
            deployment: deployment.as_ref(),
            secrets: &endpoint.spec.secrets(),
            facts: &found.facts.credentials,
            url: valid.url(),
            replicas: valid.replicas(),
            footprint: footprint.into(),
            server,
            tools: told.tools,
            pinned: endpoint.spec.tools.as_ref().is_some_and(|tools| !tools.pins.is_empty()),
            audit: told.audit,
            problems: told.problems.as_deref(),
            posture: posture(&valid, &applied),
            shortfalls: &shortfalls,
            enforcement,
            network_enforcement: valid.network_enforcement(),
            diagnosis: diagnosis(&rollout, &pods),
            gateway_diagnosis: gateway_rollout.and_then(|rollout| diagnosis(&rollout, &gateway_pods)),
            mode: endpoint.spec.egress.mode,
            widenings: &widenings,
        },
        (context.now)(),
    );
    publish(endpoint, &old, &next, context).await?;
    context.last_words.kept(valid.namespace(), valid.name(), &last_words);
    let waits_for_server = rollout.is_available() && next.server.is_none();
    let condition = |type_| conditions::get(&next.conditions, type_);
    let unusable = condition(types::CREDENTIALS_READY).is_some_and(|found| found.reason == reasons::KEYS_UNUSABLE);
    let watched = unusable || condition(types::TOOLS_PINNED).is_some();
    Ok(Action::requeue(jittered(match () {
        () if waits_for_server => HANDSHAKE_RETRY,
        () if watched => measure_again.min(CLOSE_LOOK),
        () => measure_again,
    })))
}

/// The endpoint as it is now; `None` when it is gone or going, and then nothing is created for it any more.
async fn decode(object: &Guarded, context: &Context) -> Result<Option<McpEndpoint>, Error> {
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let api = Api::<Guarded>::namespaced(context.client.clone(), &namespace);
    let live = api.get_opt(&name).await.map_err(|source| Error::Api {
        verb: "read",
        kind: McpEndpoint::kind(&()).into_owned(),
        name: name.clone(),
        source: Box::new(source),
    })?;
    let Some(live) = live else {
        forget(context, &namespace, &name);
        return Ok(None);
    };
    let endpoint = live.0.map_err(|invalid| Error::Undecodable(Box::new(invalid)))?;
    Ok(endpoint.metadata.deletion_timestamp.is_none().then_some(endpoint))
}

/// No namespace loses its fence while this runs.
async fn apply_all(
    context: &Context,
    endpoint: &ValidatedEndpoint,
    children: Children<Prepared>,
    withhold: bool,
) -> Result<Children<Applied>, Error> {
    let _fence_stays = context.removal.read().await;
    let (namespace, name) = (endpoint.namespace(), endpoint.name());
    namespace::ensure(context, namespace).await?;
    let wanted = children
        .documents()
        .and_then(|documents| ledger::desired(&documents))
        .unwrap_or_default();
    let applied = Box::pin(apply::children(context, children, withhold)).await?;
    if !context.ledger.is_pruned(namespace, name, wanted) {
        let gateway = applied.gateway.as_ref().map(|gateway| gateway.service.name_any());
        let of_gateway = applied
            .gateway
            .iter()
            .filter_map(|gateway| gateway.cilium_network_policy.as_ref());
        let cilium = applied.cilium_network_policy.iter().chain(of_gateway);
        let owner = apply::Owner {
            namespace: namespace.to_owned(),
            endpoint: name.to_owned(),
            uid: endpoint.uid().to_owned(),
            names: std::iter::once(name.to_owned()).chain(gateway).collect(),
            cilium_names: cilium.map(ResourceExt::name_any).collect(),
        };
        apply::prune(context, &owner).await?;
        context.ledger.pruned(namespace, name, wanted);
    }
    Ok(applied)
}

/// The Deployment as applied, or the former one while it is withheld.
async fn workload(
    context: &Context,
    endpoint: &ValidatedEndpoint,
    applied: &Children<Applied>,
) -> Result<Option<Deployment>, Error> {
    if applied.deployment.is_some() {
        return Ok(applied.deployment.clone());
    }
    let api = Api::<Deployment>::namespaced(context.client.clone(), endpoint.namespace());
    api.get_opt(endpoint.name()).await.map_err(|source| Error::Api {
        verb: "read",
        kind: "Deployment".to_owned(),
        name: endpoint.name().to_owned(),
        source: Box::new(source),
    })
}

/// The endpoint's pods, when something is to be learned from them: why they are not available, or whom to ask.
async fn pods_if_needed(
    context: &Context,
    endpoint: &ValidatedEndpoint,
    rollout: &Rollout,
    old: &McpEndpointStatus,
    measurement_due: bool,
) -> Result<Vec<Pod>, Error> {
    if rollout.is_available() && old.server.is_some() && !measurement_due {
        return Ok(vec![]);
    }
    pods_labelled(context, endpoint, labels::ENDPOINT).await
}

/// The pods of the endpoint's egress gateway, when they are not available or are to be asked.
async fn gateway_pods_if_needed(
    context: &Context,
    endpoint: &ValidatedEndpoint,
    rollout: Option<&Rollout>,
    measurement_due: bool,
) -> Result<Vec<Pod>, Error> {
    match rollout {
        Some(rollout) if measurement_due || !rollout.is_available() => {
            pods_labelled(context, endpoint, labels::EGRESS_OF).await
        }
        _ => Ok(vec![]),
    }
}

async fn pods_labelled(context: &Context, endpoint: &ValidatedEndpoint, label: &str) -> Result<Vec<Pod>, Error> {
    let api = Api::<Pod>::namespaced(context.client.clone(), endpoint.namespace());
    let own = ListParams::default().labels(&format!("{label}={}", endpoint.name()));
    let pods = api.list(&own).await.map_err(|source| Error::Api {
        verb: "list",
        kind: "Pod".to_owned(),
        name: String::new(),
        source: Box::new(source),
    })?;
    Ok(pods.items)
}

/// Whether the pods are closed, if that is to be told anew, and when to measure again.
async fn enforcement(
    context: &Context,
    endpoint: &ValidatedEndpoint,
    pods: &[Pod],
    due: bool,
    proven: bool,
) -> (Option<Enforcement>, Duration) {
    if !due {
        return (None, enforcement::EVERY);
    }
    let measured = enforcement::measure(context, pods, endpoint.kubernetes_api()).await;
    let again = measured.again();
    let (namespace, name) = (endpoint.namespace(), endpoint.name());
    (context.measurements.settle(namespace, name, measured, proven), again)
}

/// What the server said of itself. Asked once for each roll-out: what a former template's server said is dropped.
async fn server_info(
    context: &Context,
    rollout: &Rollout,
    old: &McpEndpointStatus,
    pods: &[Pod],
) -> Option<ServerInfo> {
    match rollout {
        Rollout::Complete { .. } if old.server.is_some() => old.server.clone(),
        Rollout::Complete { available: true } => {
            let address = SocketAddr::new(pods::ready_address(pods)?, context.admin_port);
            match handshake::fetch(address).await {
                Ok(info) => Some(info),
                Err(error) => {
                    tracing::info!(%address, %error, "no server info yet");
                    None
                }
            }
        }
        _ => None,
    }
}

/// What the audit sidecars tell, or told before; of the records, the egress gateways too, and those that have ended.
struct Told {
    tools: Option<ToolsStatus>,
    audit: Option<AuditStatus>,
    /// `None`: as was told before.
    problems: Option<Vec<String>>,
}

/// Asks every audit sidecar that runs among `pods`, and every egress gateway among `gateway_pods`. Without any, what was told
/// before holds.
async fn told(
    context: &Context,
    old: &McpEndpointStatus,
    pods: &[Pod],
    gateway_pods: &[Pod],
    last_words: &[AuditAnchor],
) -> Told {
    let mut writing = pods::writing(pods, AuditWriter::Sidecar);
    let sidecars: Vec<_> = writing
        .iter()
        .map(|(source, address)| (source.pod.clone(), SocketAddr::new(*address, context.admin_port)))
        .collect();
    let addresses: Vec<_> = sidecars.iter().map(|(_, address)| *address).collect();
    writing.extend(pods::writing(gateway_pods, AuditWriter::EgressGateway));
    let (tools, anchors, problems) = tokio::join!(
        tools::fetch(&addresses),
        anchors::fetch(&writing, context.admin_port),
        callers::problems(&sidecars)
    );
    Told {
        tools: tools.or_else(|| old.tools.clone()),
        audit: anchors::kept(
            old.audit.as_ref(),
            anchors.into_iter().chain(last_words.iter().cloned()),
        ),
        problems,
    }
}

/// By the spec, or by both specs while pods of the former one are replaced.
fn current_footprint(endpoint: &ValidatedEndpoint, rollout: &Rollout, old: &McpEndpointStatus) -> Footprint {
    let wanted = footprint(endpoint);
    match old.footprint.as_ref().and_then(quota::published) {
        Some(published) if !matches!(rollout, Rollout::Complete { .. }) => quota::hull(wanted, published),
        _ => wanted,
    }
}

fn posture(endpoint: &ValidatedEndpoint, applied: &Children<Applied>) -> Option<sallyport_api::v1alpha1::Posture> {
    let pod = applied.deployment.as_ref()?.spec.as_ref()?.template.spec.as_ref()?;
    Some(hardening::judge_endpoint(endpoint, pod))
}

fn diagnosis(rollout: &Rollout, pods: &[Pod]) -> Option<Diagnosis> {
    if rollout.is_available() {
        None
    } else {
        pods::diagnose(pods)
    }
}

async fn report_failure(endpoint: &McpEndpoint, error: &Error, context: &Context) {
    let old = endpoint.status.clone().unwrap_or_default();
    let generation = endpoint.meta().generation.unwrap_or_default();
    let next = match error {
        error if error.is_terminal() => status::stalled(&old, generation, error, (context.now)()),
        error if error.is_refusal() => status::refused(&old, generation, error.to_string(), (context.now)()),
        _ => return,
    };
    if let Err(error) = publish(endpoint, &old, &next, context).await {
        tracing::warn!(%error, "the failure could not be reported in the status");
    }
}

/// Writes the status, then tells of its transitions.
async fn publish(
    endpoint: &McpEndpoint,
    old: &McpEndpointStatus,
    next: &McpEndpointStatus,
    context: &Context,
) -> Result<(), Error> {
    if !status::write(context, endpoint, next).await? {
        return Ok(());
    }
    if old.footprint != next.footprint {
        context.look_at_namespace(&endpoint.namespace().unwrap_or_default());
    }
    for occurrence in events::transitions(&old.conditions, &next.conditions) {
        context
            .events
            .publish(&endpoint.object_ref(&()), None, occurrence)
            .await;
    }
    Ok(())
}

fn key(object: &Guarded) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}
