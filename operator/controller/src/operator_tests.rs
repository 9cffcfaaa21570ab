//! The whole operator against the API server in process.

use crate::{
    admin::Readiness,
    args::{Cli, Command, RunArgs},
    canary,
    metrics::Metrics,
    run::{self, Shutdown},
    testing::{ApiServer, Served, answering, eventually},
};
use clap::Parser;
use futures::FutureExt;
use http::Method;
use pretty_assertions::assert_eq;
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::{
        Arc, Once,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle, time::sleep};

mod cilium;
mod egress;
mod keys;
mod records;

const NS: &str = "/api/v1/namespaces/team-a";
const ENDPOINT: &str = "/apis/sallyport.dev/v1alpha1/namespaces/team-a/mcpendpoints/demo";
const POLICY: &str = "/apis/networking.k8s.io/v1/namespaces/team-a/networkpolicies/demo";
const FENCE: &str = "/apis/networking.k8s.io/v1/namespaces/team-a/networkpolicies/sallyport-fence";
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/team-a/deployments/demo";
const CANARY: &str = "/api/v1/namespaces/sallyport-system/services/sallyport-canary";
const CLASS: &str = "/apis/sallyport.dev/v1alpha1/mcpendpointclasses/lax";
const SEALED: &str = "/apis/bitnami.com/v1alpha1/namespaces/team-a/sealedsecrets/upstream-token";

/// An operator that runs until it is dropped.
struct Operator {
    api: ApiServer,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
    metrics: Metrics,
    /// Whether pods reach the canary.
    open: Arc<AtomicBool>,
}

impl Operator {
    async fn start(api: &ApiServer) -> Self {
        Self::start_with(api, &[]).await
    }

    /// An operator with further arguments.
    async fn start_with(api: &ApiServer, further: &[&str]) -> Self {
        let canary = canary(api).await;
        let open = Arc::<AtomicBool>::default();
        let reaching = open.clone();
        let sidecar = answering(move |path| {
            let body = match path {
                "/enforcement" => enforcement(canary, reaching.load(Ordering::Relaxed)),
                // Told by every pod, and true of one.
                "/anchor" => {
                    let time = "2026-11-28T19:00:00.000Z";
                    json!({"chain": "demo-egress-1/t/a", "seq": 4, "hash": "a".repeat(64), "time": time})
                }
                _ => json!({"name": "everything", "version": "1.0", "protocolVersion": "2025-11-25"}),
            };
            ("200 OK", body.to_string())
        })
        .await;
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown: Shutdown = stopped.map(drop).boxed().shared();
        let (args, metrics) = (args(further), Metrics::default());
        let (client, counted) = (api.client(), metrics.clone());
        let task = tokio::spawn(async move {
            Box::pin(run::work(
                &args,
                client,
                counted,
                Readiness::default(),
                sidecar.port(),
                shutdown,
            ))
            .await;
        });
        Self {
            api: api.clone(),
            stop: Some(stop),
            task,
            metrics,
            open,
        }
    }

    async fn stop(mut self) {
        drop(self.stop.take());
        tokio::time::timeout(Duration::from_secs(10), self.task)
            .await
            .unwrap()
            .unwrap();
    }

    /// Waits until nothing was written for a while, and returns all writes.
    async fn quiet(&self) -> Vec<Served> {
        let (mut before, mut still) = (self.api.writes().len(), 0);
        // In small steps, so that a process that was held up for a while does not pass for a quiet one.
        while still < 15 {
            sleep(Duration::from_millis(100)).await;
            let now = self.api.writes().len();
            still = if now == before { still + 1 } else { 0 };
            before = now;
        }
        self.api.writes()
    }
}

/// The canary's listener and its Service, which every operator of a test finds.
async fn canary(api: &ApiServer) -> SocketAddr {
    if let Some(service) = api.get(CANARY) {
        let port = service["spec"]["ports"][0]["port"].as_u64().unwrap();
        return SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).unwrap()));
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(canary::serve(listener));
    let spec = json!({"clusterIPs": [address.ip().to_string()], "ports": [{"port": address.port()}]});
    let metadata = json!({"name": "sallyport-canary", "namespace": "sallyport-system"});
    api.put(
        CANARY,
        json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}),
    );
    address
}

/// What a sidecar answers after a round of attempts.
fn enforcement(canary: SocketAddr, open: bool) -> Value {
    let seen = |destination: &str, address: String, verdict: &str| json!({"destination": destination, "address": address, "verdict": verdict, "detail": "as it was"});
    json!({"observations": [
        seen("canary", canary.to_string(), if open { "reached" } else { "refused" }),
        seen("kubernetes-api", "10.96.0.1:443".to_owned(), "refused"),
    ]})
}

fn args(further: &[&str]) -> RunArgs {
    let image = format!("registry.example/sidecar@sha256:{}", "a".repeat(64));
    let line = [
        "sallyport-operator",
        "run",
        "--sidecar-image",
        &image,
        "--egress-image",
        &image,
        "--node-features",
        "off",
        "--pod-name",
        "op-1",
    ];
    let Command::Run(args) = Cli::parse_from(line.iter().chain(further)).command;
    *args
}

fn endpoint(name: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut endpoint = json!({
        "apiVersion": "sallyport.dev/v1alpha1", "kind": "McpEndpoint",
        "metadata": {"name": name, "namespace": "team-a", "generation": 1},
        "spec": {"server": {
            "image": format!("registry.example/mcp@sha256:{}", "b".repeat(64)),
            "transport": {"http": {"port": 3001, "path": "/mcp"}},
        }},
    });
    change(&mut endpoint);
    endpoint
}

fn sealed(ciphertext: &str, generation: i64, status: &Value) -> Value {
    json!({
        "apiVersion": "bitnami.com/v1alpha1", "kind": "SealedSecret",
        "metadata": {"name": "upstream-token", "namespace": "team-a", "generation": generation},
        "spec": {"encryptedData": {"token": ciphertext}}, "status": status,
    })
}

fn synced(generation: i64) -> Value {
    json!({"observedGeneration": generation, "conditions": [{"type": "Synced", "status": "True"}]})
}

fn with_credential(endpoint: &mut Value) {
    endpoint["spec"]["credentials"] =
        json!([{"name": "upstream", "from": {"sealedSecret": {"name": "upstream-token"}}}]);
}

fn container(name: &str, state: &Value) -> Value {
    json!({"name": name, "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": state})
}

/// Plays the Deployment controller and the kubelet: every pod of the current generation runs.
fn roll_out(api: &ApiServer) {
    let generation = api.get(DEPLOYMENT).unwrap()["metadata"]["generation"].clone();
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "demo-1", "namespace": "team-a", "labels": {"sallyport.dev/endpoint": "demo"}},
        "status": {
            "podIP": "127.0.0.1",
            "conditions": [{"type": "Ready", "status": "True"}],
            "initContainerStatuses": [
                container("guard", &json!({"terminated": {"exitCode": 0}})),
                container("audit", &json!({"running": {}})),
            ],
        },
    });
    api.put(&format!("{NS}/pods/demo-1"), pod);
    api.set_status(
        DEPLOYMENT,
        json!({
            "observedGeneration": generation, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1,
            "conditions": [{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}],
        }),
    );
}

fn condition(api: &ApiServer, path: &str, type_: &str) -> Option<Value> {
    let endpoint = api.get(path)?;
    let conditions = endpoint["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == type_).cloned()
}

fn is(api: &ApiServer, type_: &str, status: &str, reason: &str) -> bool {
    condition(api, ENDPOINT, type_)
        .is_some_and(|condition| condition["status"] == status && condition["reason"] == reason)
}

fn paths(writes: &[Served]) -> Vec<String> {
    writes
        .iter()
        .map(|write| format!("{} {}", write.method, write.path))
        .collect()
}

/// When `path` was first applied, among `paths`.
fn applied(paths: &[String], path: &str) -> usize {
    paths
        .iter()
        .position(|write| *write == format!("PATCH {path}"))
        .unwrap()
}

/// Deletes the object at `path` as others may, and waits for it to be there again with the same `spec`.
async fn comes_back(api: &ApiServer, path: &str) {
    let before = api.get(path).unwrap()["spec"].clone();
    api.delete(path);
    let is_back = || api.get(path).is_some_and(|object| object["spec"] == before);
    eventually("its return", is_back).await;
}

fn events(api: &ApiServer, reason: &str) -> usize {
    let is_event = |write: &Served| write.method == Method::POST && write.path.ends_with("/events");
    let written = api.writes().into_iter().filter(is_event).count();
    assert!(written > 0 || reason.is_empty());
    api.objects().iter().filter(|object| object["reason"] == reason).count()
}

async fn ready(api: &ApiServer) -> Operator {
    static LOG: Once = Once::new();
    LOG.call_once(|| drop(tracing_subscriber::fmt().with_test_writer().try_init()));
    api.put(ENDPOINT, endpoint("demo", |_| {}));
    let operator = Operator::start(api).await;
    eventually("the Deployment", || api.get(DEPLOYMENT).is_some()).await;
    roll_out(api);
    eventually("readiness", || is(api, "Ready", "True", "Ready")).await;
    operator
}

#[tokio::test]
async fn the_fences_are_in_place_before_the_workload() {
    let api = ApiServer::default();
    let operator = ready(&api).await;
    let writes = paths(&operator.quiet().await);
    let expected = [
        format!("PATCH {FENCE}"),
        format!("PATCH {FENCE}-egress"),
        format!("PATCH {NS}/resourcequotas/sallyport"),
        format!("PATCH {NS}/serviceaccounts/demo"),
        format!("PATCH {NS}/configmaps/demo"),
        format!("PATCH {POLICY}"),
        "PATCH /apis/policy/v1/namespaces/team-a/poddisruptionbudgets/demo".to_owned(),
        format!("PATCH {NS}/services/demo"),
        format!("PATCH {DEPLOYMENT}"),
        format!("PATCH {ENDPOINT}/status"),
    ];
    assert_eq!(writes[..expected.len()], expected);
    for write in operator
        .api
        .writes()
        .iter()
        .filter(|write| write.method == Method::PATCH)
    {
        let manager = if write.path.ends_with("/status") {
            "sallyport%2Fstatus"
        } else {
            "sallyport&"
        };
        let query = format!("{}&", write.query);
        assert!(
            query.contains(&format!("fieldManager={manager}")) && query.contains("force=true"),
            "{write:?}"
        );
        let strict = query.contains("fieldValidation=Strict");
        assert!(strict || write.path.ends_with("/status"), "{write:?}");
    }
    operator.stop().await;
}

#[tokio::test]
async fn a_ready_endpoint_says_so_and_nothing_more_is_written() {
    let api = ApiServer::default();
    let operator = ready(&api).await;
    operator.quiet().await;
    let status = api.get(ENDPOINT).unwrap()["status"].clone();
    assert_eq!(status["observedGeneration"], 1);
    assert_eq!(status["url"], "http://demo.team-a.svc:8080/mcp");
    assert_eq!(status["readyReplicas"], 1);
    assert_eq!(status["server"]["name"], "everything");
    let types: Vec<_> = status["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|condition| condition["type"].clone())
        .collect();
    assert_eq!(
        types,
        [
            "Ready",
            "Available",
            "CredentialsReady",
            "NetworkEnforced",
            "HardeningApplied",
            "QuotaSufficient"
        ]
    );
    let before = api.writes().len();
    // Events without consequence: the operator looks, and leaves everything as it is.
    for replicas in [0, 1] {
        api.set_status(
            &format!("{NS}/resourcequotas/sallyport"),
            json!({"used": {"pods": replicas.to_string()}}),
        );
        roll_out(&api);
        sleep(Duration::from_millis(600)).await;
    }
    operator.quiet().await;
    assert_eq!(paths(&api.writes()[before..]), [""; 0]);
    operator.stop().await;
}

#[tokio::test]
async fn a_restarted_operator_finds_everything_in_place() {
    let api = ApiServer::default();
    let operator = ready(&api).await;
    operator.quiet().await;
    operator.stop().await;
    let before = (api.get(DEPLOYMENT), api.get(POLICY), api.get(ENDPOINT));
    let operator = Operator::start(&api).await;
    operator.quiet().await;
    assert_eq!((api.get(DEPLOYMENT), api.get(POLICY), api.get(ENDPOINT)), before);
    assert!(!operator.metrics.encode().unwrap().contains("drift_repairs_total{"));
    operator.stop().await;
}

#[tokio::test]
async fn whatever_others_change_add_or_delete_is_repaired_and_told_once() {
    let api = ApiServer::default();
    let operator = ready(&api).await;
    operator.quiet().await;
    let wanted = |path: &str| api.get(path).map(|object| object["spec"].clone());
    let paths = [POLICY, FENCE, DEPLOYMENT];
    let before = paths.map(wanted);

    api.edit(POLICY, "kubectl-edit", &json!({"f:spec": {"f:egress": {}}}), |policy| {
        policy["spec"]["egress"] = json!([{}]);
    });
    eventually("the policy's repair", || wanted(POLICY) == before[0]).await;
    api.edit(
        DEPLOYMENT,
        "evil",
        &json!({"f:spec": {"f:template": {"f:spec": {"f:hostNetwork": {}}}}}),
        |deployment| {
            deployment["spec"]["template"]["spec"]["hostNetwork"] = json!(true);
        },
    );
    eventually("the Deployment's repair", || wanted(DEPLOYMENT) == before[2]).await;
    api.delete(FENCE);
    eventually("the fence's return", || wanted(FENCE) == before[1]).await;
    api.delete(POLICY);
    eventually("the policy's return", || wanted(POLICY) == before[0]).await;
    api.edit(
        &format!("{NS}/services/demo"),
        "kubectl-label",
        &Value::Null,
        |service| {
            service["metadata"]["labels"] = json!({});
            service["metadata"]["ownerReferences"] = json!([]);
        },
    );
    eventually("the Service's labels", || {
        api.get(&format!("{NS}/services/demo")).unwrap()["metadata"]["labels"]["sallyport.dev/endpoint"] == "demo"
    })
    .await;
    let config_map = format!("{NS}/configmaps/demo");
    api.edit(&config_map, "kubectl-patch", &Value::Null, |object| {
        object["metadata"]["ownerReferences"] = json!([]);
    });
    eventually("the ConfigMap's owner", || {
        api.get(&config_map).unwrap()["metadata"]["ownerReferences"][0]["name"] == "demo"
    })
    .await;
    operator.quiet().await;
    let text = operator.metrics.encode().unwrap();
    for line in [
        "{kind=\"NetworkPolicy\"} 3",
        "{kind=\"Deployment\"} 1",
        "{kind=\"Service\"} 1",
        "{kind=\"ConfigMap\"} 1",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    let notes: Vec<_> = api
        .objects()
        .iter()
        .filter(|object| object["reason"] == "DriftRepaired")
        .cloned()
        .collect();
    assert!(
        notes.iter().any(|event| {
            event["note"] == "Deployment demo was changed or deleted by field manager evil; it is restored"
        }),
        "{notes:#?}"
    );
    operator.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_no_watch_told_of_is_repaired_by_the_next_look() {
    let api = ApiServer::default();
    let operator = ready(&api).await;
    operator.quiet().await;
    api.silence(true);
    api.delete(POLICY);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(api.get(POLICY), None);
    sleep(Duration::from_mins(70)).await;
    assert!(api.get(POLICY).is_some());
    operator.stop().await;
}

#[tokio::test(start_paused = true)]
async fn refused_and_lost_races_are_tried_again() {
    for code in [409, 500, 503] {
        let api = ApiServer::default();
        api.fail(Method::PATCH, "networkpolicies/demo", code, 3);
        api.fail(Method::GET, "deployments/demo", code, 2);
        let operator = ready(&api).await;
        operator.quiet().await;
        assert_eq!(condition(&api, ENDPOINT, "Stalled"), None);
        operator.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_child_keeps_the_workload_away_and_is_reported() {
    let api = ApiServer::default();
    api.fail(Method::PATCH, "networkpolicies/demo", 403, 4);
    api.put(ENDPOINT, endpoint("demo", |_| {}));
    let operator = Operator::start(&api).await;
    eventually("the report", || is(&api, "Ready", "False", "ApplyFailed")).await;
    assert_eq!(api.get(DEPLOYMENT), None);
    sleep(Duration::from_mins(1)).await;
    assert!(api.get(DEPLOYMENT).is_some());
    operator.stop().await;
}

#[tokio::test]
async fn bad_objects_do_not_stop_the_others() {
    let api = ApiServer::default();
    let path = |name: &str| ENDPOINT.replace("demo", name);
    api.put(
        &path("undecodable"),
        endpoint("undecodable", |object| object["spec"]["server"] = json!("text")),
    );
    api.put(
        &path("invalid"),
        endpoint("invalid", |object| object["spec"]["replicas"] = json!(99)),
    );
    let operator = ready(&api).await;
    let stalled = condition(&api, &path("invalid"), "Stalled").unwrap();
    assert_eq!(
        (&stalled["status"], &stalled["reason"]),
        (&json!("True"), &json!("InvalidSpec"))
    );
    assert_eq!(condition(&api, &path("invalid"), "Reconciling"), None);
    assert!(
        !paths(&operator.quiet().await)
            .iter()
            .any(|write| write.contains("deployments/invalid"))
    );
    operator.stop().await;
}

#[tokio::test]
async fn an_object_of_somebody_else_is_never_taken_over() {
    let api = ApiServer::default();
    let config_map = format!("{NS}/configmaps/demo");
    let foreign = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "demo", "namespace": "team-a"}, "data": {"a": "b"}});
    api.put(&config_map, foreign);
    let before = api.get(&config_map);
    api.put(ENDPOINT, endpoint("demo", |_| {}));
    let operator = Operator::start(&api).await;
    eventually("the conflict", || is(&api, "Stalled", "True", "NameConflict")).await;
    let message = condition(&api, ENDPOINT, "Ready").unwrap()["message"].clone();
    assert!(message.as_str().unwrap().contains("ConfigMap \"demo\""), "{message}");
    operator.quiet().await;
    assert_eq!(api.get(&config_map), before);
    assert_eq!(api.get(DEPLOYMENT), None);
    operator.stop().await;
}

#[tokio::test]
async fn the_workload_waits_for_its_credentials_and_rolls_out_once_for_each_ciphertext() {
    let api = ApiServer::default();
    api.put(ENDPOINT, endpoint("demo", with_credential));
    let operator = Operator::start(&api).await;
    eventually("the missing credential", || {
        is(&api, "CredentialsReady", "False", "CredentialMissing")
    })
    .await;
    assert!(api.get(POLICY).is_some() && api.get(DEPLOYMENT).is_none());
    assert!(is(&api, "Reconciling", "True", "CredentialMissing"));

    let failed = json!({"observedGeneration": 1, "conditions": [{"type": "Synced", "status": "False", "message": "no key could decrypt secret (token)"}]});
    api.put(SEALED, sealed("AgB", 1, &failed));
    eventually("the failure", || is(&api, "Stalled", "True", "UnsealFailed")).await;
    let message = condition(&api, ENDPOINT, "CredentialsReady").unwrap()["message"].clone();
    assert!(
        message
            .as_str()
            .unwrap()
            .contains("no key could decrypt secret (token)"),
        "{message}"
    );
    assert_eq!(api.get(DEPLOYMENT), None);

    api.put(SEALED, sealed("AgC", 2, &synced(2)));
    eventually("the roll-out", || api.get(DEPLOYMENT).is_some()).await;
    roll_out(&api);
    eventually("readiness", || is(&api, "Ready", "True", "Ready")).await;
    operator.quiet().await;
    let generation = || api.get(DEPLOYMENT).unwrap()["metadata"]["generation"].clone();
    let first = generation();

    api.put(SEALED, sealed("AgD", 3, &synced(2)));
    eventually("the wait", || {
        is(&api, "CredentialsReady", "False", "CredentialPending")
    })
    .await;
    operator.quiet().await;
    assert_eq!(generation(), first);
    assert!(is(&api, "Available", "True", "PodsAvailable"));
    api.set_status(SEALED, synced(3));
    eventually("the rotation", || generation() != first).await;
    roll_out(&api);
    let second = generation();
    operator.quiet().await;
    assert_eq!(generation(), second);
    let revision = &api.get(ENDPOINT).unwrap()["status"]["credentials"][0]["revision"];
    assert_eq!(revision.as_str().unwrap().len(), 16);
    operator.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_fence_outlives_the_last_pod_and_then_goes_with_the_quota() {
    let api = ApiServer::default();
    let operator = ready(&api).await;
    operator.quiet().await;
    api.delete(ENDPOINT);
    api.delete(DEPLOYMENT);
    sleep(Duration::from_mins(1)).await;
    assert!(api.get(FENCE).is_some(), "a pod is still there");
    assert_eq!(api.get(&format!("{NS}/resourcequotas/sallyport")), None);
    api.edit(&format!("{NS}/pods/demo-1"), "kubelet", &Value::Null, |pod| {
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    });
    api.delete(&format!("{NS}/pods/demo-1"));
    sleep(Duration::from_secs(5)).await;
    assert!(api.get(FENCE).is_some(), "the time of grace is not over");
    sleep(Duration::from_mins(1)).await;
    assert_eq!(api.get(FENCE), None);
    operator.stop().await;
}

#[tokio::test]
async fn the_quota_follows_the_endpoints() {
    let api = ApiServer::default();
    let operator = ready(&api).await;
    let quota = format!("{NS}/resourcequotas/sallyport");
    let pods = || api.get(&quota).map(|quota| quota["spec"]["hard"]["pods"].clone());
    assert_eq!(pods(), Some(json!("2")));
    let second = ENDPOINT.replace("demo", "second");
    api.put(
        &second,
        endpoint("second", |object| object["spec"]["replicas"] = json!(3)),
    );
    eventually("room for the second", || pods() == Some(json!("6"))).await;
    api.delete(&second);
    eventually("the quota's shrinking", || pods() == Some(json!("2"))).await;
    api.edit(ENDPOINT, "user", &Value::Null, |object| {
        object["spec"]["isolation"] = json!({"quota": "None"});
    });
    eventually("the quota's end", || pods().is_none()).await;
    operator.stop().await;
}

#[tokio::test]
async fn orphans_go_and_what_only_looks_alike_stays() {
    let api = ApiServer::default();
    let labels = json!({"app.kubernetes.io/managed-by": "sallyport", "sallyport.dev/endpoint": "demo"});
    let config_map = |name: &str, owners: Value| {
        let metadata = json!({"name": name, "namespace": "team-a", "labels": labels, "ownerReferences": owners});
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    };
    let owner = json!([{"apiVersion": "sallyport.dev/v1alpha1", "kind": "McpEndpoint", "name": "demo", "controller": true, "uid": format!("uid-of-{ENDPOINT}")}]);
    let (orphan, alike) = (
        format!("{NS}/configmaps/demo-old"),
        format!("{NS}/configmaps/demo-mine"),
    );
    api.put(&orphan, config_map("demo-old", owner));
    api.put(&alike, config_map("demo-mine", json!([])));
    let operator = ready(&api).await;
    assert_eq!(api.get(&orphan), None);
    assert!(api.get(&alike).is_some());
    operator.stop().await;
}

#[tokio::test]
async fn each_transition_is_one_event() {
    let api = ApiServer::default();
    let operator = ready(&api).await;
    operator.quiet().await;
    assert_eq!(events(&api, "Ready"), 1);
    assert_eq!(events(&api, "Progressing"), 1);
    operator.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_opens_is_told_of_and_a_silent_canary_is_doubted_only_after_a_while() {
    let api = ApiServer::default();
    let operator = ready(&api).await;
    operator.quiet().await;
    assert!(is(&api, "NetworkEnforced", "True", "Enforced"));
    operator.open.store(true, Ordering::Relaxed);
    sleep(Duration::from_mins(7)).await;
    assert!(is(&api, "NetworkEnforced", "False", "NotEnforced"));
    assert!(is(&api, "Ready", "False", "NotEnforced"));
    let message = condition(&api, ENDPOINT, "Ready").unwrap()["message"].clone();
    assert!(
        message
            .as_str()
            .unwrap()
            .contains("1 of 1 pods reach what no rule allows; pod demo-1: the operator's canary"),
        "{message}"
    );
    assert_eq!(events(&api, "NotEnforced"), 2);

    operator.open.store(false, Ordering::Relaxed);
    sleep(Duration::from_secs(30)).await;
    assert!(is(&api, "Ready", "True", "Ready"));
    let before = api.writes().len();
    sleep(Duration::from_mins(20)).await;
    assert_eq!(
        paths(&api.writes()[before..]),
        [""; 0],
        "measuring again writes nothing"
    );
    operator.stop().await;
}

#[tokio::test]
async fn without_a_canary_nothing_starts_until_there_is_one() {
    let api = ApiServer::default();
    let operator = ready(&api).await;
    operator.quiet().await;
    let service = api.get(CANARY).unwrap();
    let before = api.get(DEPLOYMENT);
    api.delete(CANARY);
    eventually("the report", || {
        is(&api, "NetworkEnforced", "Unknown", "CanaryUnreachable")
    })
    .await;
    operator.quiet().await;
    assert_eq!(api.get(DEPLOYMENT), before, "what runs stays as it is");
    let second = ENDPOINT.replace("demo", "second");
    api.put(&second, endpoint("second", |_| {}));
    operator.quiet().await;
    assert_eq!(api.get(&DEPLOYMENT.replace("demo", "second")), None);
    assert!(api.get(&POLICY.replace("demo", "second")).is_some());
    api.put(CANARY, service);
    eventually("the second Deployment", || {
        api.get(&DEPLOYMENT.replace("demo", "second")).is_some()
    })
    .await;
    eventually("readiness", || is(&api, "Ready", "True", "Ready")).await;
    assert_eq!(api.get(DEPLOYMENT), before);
    operator.stop().await;
}

#[tokio::test]
async fn a_class_is_followed_and_one_that_is_missing_stalls_the_endpoint_until_it_is_there() {
    let api = ApiServer::default();
    api.put(
        ENDPOINT,
        endpoint("demo", |object| object["spec"]["className"] = json!("lax")),
    );
    let operator = Operator::start(&api).await;
    eventually("the refusal", || is(&api, "Stalled", "True", "InvalidSpec")).await;
    let message = condition(&api, ENDPOINT, "Ready").unwrap()["message"].clone();
    assert!(message.as_str().unwrap().contains("className \"lax\""), "{message}");

    let class = |enforcement: &str| {
        json!({
            "apiVersion": "sallyport.dev/v1alpha1", "kind": "McpEndpointClass",
            "metadata": {"name": "lax", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"networkEnforcement": enforcement},
        })
    };
    api.put(CLASS, class("Warn"));
    let policy = || {
        let config_map = api.get(&format!("{NS}/configmaps/demo"));
        config_map.map(|map| map["data"]["policy.json"].as_str().unwrap_or_default().to_owned())
    };
    eventually("the guard that warns", || {
        policy().is_some_and(|text| text.contains("\"mode\": \"Warn\""))
    })
    .await;
    eventually("the Deployment", || api.get(DEPLOYMENT).is_some()).await;
    operator.open.store(true, Ordering::Relaxed);
    roll_out(&api);
    eventually("the warning", || is(&api, "NetworkEnforced", "False", "NotEnforced")).await;
    eventually("readiness all the same", || is(&api, "Ready", "True", "Ready")).await;

    api.put(CLASS, class("Required"));
    eventually("the guard that requires", || {
        policy().is_some_and(|text| text.contains("\"mode\": \"Required\""))
    })
    .await;
    eventually("the end of readiness", || is(&api, "Ready", "False", "NotEnforced")).await;
    operator.stop().await;
}
