//! The whole way once: a cluster, the operator, one hardened endpoint, an audited call, a refused escape.
//!
//! `CLUSTER=current REGISTRY=registry.example/team` uses the current kubeconfig's cluster instead of a local one;
//! `REGISTRY_PULLED_AS` is how that cluster's nodes name the registry, if differently.

use k8s_openapi::api::core::v1::Secret;
use sallyport_api::{McpEndpoint, conditions};
use sallyport_auth::keys::{KeyFile, mint};
use sallyport_e2e::{
    Cluster, Context, Failure, Result,
    attempts::{self, attempts},
    caller::{Called, Caller},
    endpoint::{self, CALLERS, PATIENCE},
    eventually,
    images::Images,
    install,
    objects::{apply, apply_json, apply_yaml},
    show::{chapter, json, quote, short, step, table},
    stage::Stage,
    tool::Tool,
};
use serde_json::json;
use std::{env, process::ExitCode, time::Duration};

const ENDPOINT: &str = include_str!("../../fixtures/demo.yaml");
/// Namespace of the endpoints.
const TEAM: &str = "sallyport-demo";
/// Namespace whose pods may call.
const AGENTS: &str = "sallyport-demo-agents";
/// Namespace whose pods may not.
const STRANGERS: &str = "sallyport-demo-strangers";
/// The images that the demo needs.
const IMAGES: [&str; 7] = [
    "operator",
    "sidecar",
    "egress",
    "everything",
    "hostile",
    "mcp-client",
    "agnhost",
];
/// The host outside of the local cluster.
const OUTSIDE: (&str, &str) = ("outside", "192.52.193.10");

#[tokio::main]
async fn main() -> ExitCode {
    match Box::pin(demo()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\ndemo: {error:?}");
            ExitCode::FAILURE
        }
    }
}

async fn demo() -> Result<()> {
    let name = env::var("NAME").unwrap_or_else(|_| "sallyport".to_owned());
    let cluster = match env::var("CLUSTER").as_deref() {
        Err(_) | Ok("" | "local") => local(&name).await?,
        Ok("current") => current().await?,
        Ok(other) => return Err(Failure::new(format!("CLUSTER={other}: write current, or leave it out"))),
    };

    chapter("The operator");
    step(
        "install the operator by Helm into sallyport-system",
        install::operator(&cluster, &[]),
    )
    .await?;

    chapter("One endpoint: the reference server of MCP, unmodified from npm");
    let (url, key) = serve(&cluster).await?;
    let (agent, stranger) = step(
        "start a client pod in an allowed namespace, and one in another",
        async { futures::try_join!(Caller::start(&cluster, AGENTS), Caller::start(&cluster, STRANGERS)) },
    )
    .await?;
    call(&url, &key, &agent, &stranger).await?;
    show_record(&cluster).await?;
    show_posture(&cluster).await?;

    chapter("A hostile server tries to get out, hardened and as a plain Deployment");
    Box::pin(escape(&cluster, &agent)).await?;

    chapter("Look around");
    look_around(&cluster, &name);
    Ok(())
}

/// Brings the local cluster up and loads the images.
async fn local(name: &str) -> Result<Cluster> {
    let tool = Tool::find()?;
    chapter("A cluster");
    tool.run_shown(&["up", "--name", name]).await?;
    chapter("Images");
    tool.run_shown(&[&["images", "load", "--name", name], IMAGES.as_slice()].concat())
        .await?;
    Cluster::local(name).await
}

/// Takes the current kubeconfig's cluster and pushes the images to a registry that it can pull from.
async fn current() -> Result<Cluster> {
    let registry = env::var("REGISTRY").ok().filter(|registry| !registry.is_empty());
    let registry = registry.context(
        "CLUSTER=current needs REGISTRY=registry.example/team: a registry that you may push to and the cluster's nodes pull from",
    )?;
    chapter("Images");
    let pulled_as = env::var("REGISTRY_PULLED_AS").unwrap_or_else(|_| registry.clone());
    let push = ["images", "push", "--registry", &registry, "--pulled-as", &pulled_as];
    let pushed = Tool::find()?.run_shown(&[push.as_slice(), &IMAGES].concat()).await?;
    Cluster::current(Images::parse(&pushed)?).await
}

/// Applies the endpoint, waits until it is ready, and gives its URL and a key for it.
async fn serve(cluster: &Cluster) -> Result<(String, String)> {
    let (label, value) = CALLERS;
    let namespaces = [(TEAM, None), (AGENTS, Some((label, value))), (STRANGERS, None)];
    for (namespace, label) in namespaces {
        let labels = label.map_or_else(|| json!({}), |(key, value)| json!({ key: value }));
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace, "labels": labels }
        });
        apply_yaml(&cluster.client, &namespace.to_string()).await?;
    }
    let key = step(
        "make an API key; its hash alone goes into the cluster",
        new_key(cluster),
    )
    .await?;
    let yaml = ENDPOINT
        .replace("NAMESPACE", TEAM)
        .replace("IMAGE", cluster.images.get("everything")?);
    quote(&yaml);
    let endpoint: McpEndpoint = serde_saphyr::from_str(&yaml).context("read the endpoint's YAML")?;
    step("apply it", apply(&cluster.client, TEAM, &endpoint)).await?;
    let ready = step("wait until it is ready", wait(cluster)).await?;
    Ok((endpoint::url(&ready)?, key))
}

/// Makes the key of an agent, as `kubectl mcpe key new` does.
async fn new_key(cluster: &Cluster) -> Result<String> {
    let mut minted = mint("demo").context("make an API key")?;
    minted.entry.subject = Some("demo-agent".to_owned());
    minted.entry.roles = ["agent".to_owned()].into();
    let file = KeyFile {
        keys: vec![minted.entry],
    };
    let file = serde_json::to_string(&file).context("write the key file")?;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "everything-keys" },
        "stringData": { "keys.json": file },
    });
    apply_json::<Secret>(&cluster.client, TEAM, secret).await?;
    Ok(minted.key.expose().to_owned())
}

/// Waits until the endpoint is ready, and tells whenever what it waits for changes.
async fn wait(cluster: &Cluster) -> Result<McpEndpoint> {
    let mut told = String::new();
    eventually("the endpoint is ready", PATIENCE, async || {
        let endpoint = endpoint::get(&cluster.client, TEAM, "everything").await?;
        let conditions = endpoint
            .status
            .as_ref()
            .map(|status| status.conditions.as_slice())
            .unwrap_or_default();
        let now = conditions::get(conditions, conditions::types::READY).map_or_else(
            || "not yet seen".to_owned(),
            |ready| format!("{}: {}", ready.reason, ready.message),
        );
        if now != told {
            println!("  … {}", short(&now, 150));
            told.clone_from(&now);
        }
        if endpoint::is_ready(&endpoint) {
            Ok(endpoint)
        } else {
            Err(Failure::new(now))
        }
    })
    .await
}

/// Calls a tool as somebody who may; then as three who may not.
async fn call(url: &str, key: &str, agent: &Caller, stranger: &Caller) -> Result<()> {
    chapter("A call, by the official MCP client");
    println!("  {url}");
    let arguments = json!({ "message": "hello from an allowed pod" });
    let answer = agent.call_as(url, key, "echo", &arguments).await?;
    println!("✓ from {AGENTS}, with the key: {}", answer.text()?);
    let keyless = agent.call(url, "echo", &arguments).await?;
    refused("without a key", &keyless)?;
    let other_tool = agent.call_as(url, key, "get-env", &json!({})).await?;
    refused("a tool that no rule allows, get-env", &other_tool)?;
    let elsewhere = stranger.call_as(url, key, "echo", &arguments).await?;
    refused(&format!("from {STRANGERS}, with the key"), &elsewhere)
}

/// Shows how a call was refused that must be.
fn refused(how: &str, called: &Called) -> Result<()> {
    if called.code == 0 {
        return Err(Failure::new(format!(
            "a call that is not allowed was answered ({how}): does the cluster's CNI enforce NetworkPolicies?"
        )));
    }
    println!("✓ {how}: refused, {}", short(&called.reason(), 110));
    Ok(())
}

/// Shows the audit record of the call.
async fn show_record(cluster: &Cluster) -> Result<()> {
    chapter("Its audit record");
    let record = eventually("the audit record of the call", Duration::from_mins(1), async || {
        let records = endpoint::audit_records(&cluster.client, TEAM, "everything").await?;
        let last = records
            .into_iter()
            .rfind(|record| record["toolName"] == "echo" && record["outcome"] == "allowed");
        last.context("no record of the call of echo")
    })
    .await?;
    json(&record)
}

/// Shows what the endpoint says of itself.
async fn show_posture(cluster: &Cluster) -> Result<()> {
    chapter("Its posture");
    let status = endpoint::get(&cluster.client, TEAM, "everything")
        .await?
        .status
        .unwrap_or_default();
    if let Some(server) = &status.server {
        println!(
            "  server     {} {}, MCP {}",
            server.name, server.version, server.protocol_version
        );
    }
    if let Some(footprint) = &status.footprint {
        println!(
            "  footprint  {} pods, cpu {}, memory {}, disk {} at most",
            footprint.pods, footprint.cpu, footprint.memory, footprint.ephemeral_storage
        );
    }
    if let Some(posture) = &status.posture {
        println!("  hardening  {} of {} checks pass", posture.passed, posture.total);
        for deviation in &posture.deviations {
            println!("             deviates: {deviation}");
        }
    }
    for condition in &status.conditions {
        println!(
            "  {}={}  {}",
            condition.type_,
            condition.status,
            short(&condition.message, 120)
        );
    }
    Ok(())
}

/// Has the hostile server try everything, hardened and plain.
async fn escape(cluster: &Cluster, agent: &Caller) -> Result<()> {
    let outside = cluster.kubeconfig().map(|_| OUTSIDE);
    let stage = step(
        "start the same hostile server as an endpoint and as a plain Deployment",
        Box::pin(Stage::set(cluster, TEAM, STRANGERS, outside)),
    )
    .await?;
    let mut rows = Vec::new();
    let mut wrong = Vec::new();
    for attempt in attempts(&stage.targets) {
        let hardened = attempts::make(agent, &stage.hardened, &attempt).await?;
        let plain = attempts::make(agent, &stage.plain, &attempt).await?;
        // In a cluster of one's own something else may refuse the plain Deployment; in the local one nothing does.
        let local = cluster.kubeconfig().is_some();
        if hardened.succeeded || (local && !plain.succeeded) {
            wrong.push(attempt.title);
        }
        rows.push([attempt.title.to_owned(), verdict(&hardened), verdict(&plain)]);
    }
    table(["attempt", "hardened", "plain Deployment"], &rows);
    show_arrivals(&stage)?;
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "not as it should be: {}. Does the cluster's CNI enforce NetworkPolicies?",
        wrong.join("; ")
    )))
}

/// How an attempt went, in a few words: of a refusal the error's code, of a success what it brought.
fn verdict(outcome: &attempts::Outcome) -> String {
    if outcome.succeeded {
        return format!("SUCCEEDS: {}", short(&outcome.detail, 50));
    }
    let code = outcome.detail.split_whitespace().next().unwrap_or_default();
    format!("refused: {}", code.trim_end_matches(':'))
}

/// Shows who reached the host outside.
fn show_arrivals(stage: &Stage) -> Result<()> {
    let Some(host) = &stage.targets.outside else {
        println!("  (no outside host: this cluster is not a local one)");
        return Ok(());
    };
    let arrivals = stage.arrivals()?;
    let with_token = arrivals.iter().filter(|arrival| arrival.data.contains(&stage.token));
    let peers: std::collections::BTreeSet<_> = with_token.map(|arrival| address(&arrival.peer)).collect();
    println!(
        "  the log of the outside host {host}: the credential came from {}; the plain pod is {}, the hardened one {}",
        peers.into_iter().collect::<Vec<_>>().join(", "),
        stage.pods.plain,
        stage.pods.hardened
    );
    Ok(())
}

/// The address without the port.
fn address(peer: &str) -> &str {
    peer.rsplit_once(':').map_or(peer, |(address, _)| address)
}

fn look_around(cluster: &Cluster, name: &str) {
    if let Some(path) = cluster.kubeconfig() {
        println!("  export KUBECONFIG={}", path.display());
    }
    println!("  kubectl get mcpendpoints -A");
    println!("  kubectl describe mcpendpoint everything -n {TEAM}");
    println!("  kubectl logs -n {TEAM} deployment/everything -c audit");
    println!("  kubectl get pods,networkpolicies,resourcequotas -n {TEAM}");
    if cluster.kubeconfig().is_some() {
        println!("\nRemove it all:\n  make demo-clean NAME={name}");
    } else {
        println!("\nRemove it all:\n  kubectl delete namespace {TEAM} {AGENTS} {STRANGERS}");
        println!("  helm uninstall sallyport -n sallyport-system");
    }
}
