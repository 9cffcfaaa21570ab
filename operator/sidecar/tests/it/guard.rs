//! Whether the pod is closed, before the server starts and while it runs.

use crate::support::{CALL, Lines, REFUSING, Running, Server, json_answer, json_of, pair, policy, post, reply, until};
use hyper_util::rt::TokioIo;
use pretty_assertions::assert_eq;
use sallyport_policy::PolicyFile;
use sallyport_policy::enforcement::{Enforcement, EnforcementMode, EnforcementReport, KubernetesApi, Verdict};
use sallyport_sidecar::guard::{NotRefused, Probe, wait};
use serde_json::json;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::Instant;

const BOUND: Duration = Duration::from_secs(2);

fn probe(canaries: &[SocketAddr], api_server: Option<SocketAddr>) -> Probe {
    probe_with(canaries, api_server, KubernetesApi::Forbidden)
}

fn probe_with(canaries: &[SocketAddr], api_server: Option<SocketAddr>, kubernetes_api: KubernetesApi) -> Probe {
    let enforcement = Enforcement {
        mode: EnforcementMode::Required,
        wait_seconds: BOUND.as_secs(),
        canaries: canaries.to_vec(),
        kubernetes_api,
    };
    Probe::new(&enforcement, api_server)
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// An address at which the kernel drops what asks for a connection, since nobody takes those that wait already.
async fn silent() -> (TcpListener, Vec<TcpStream>, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = vec![];
    while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
        waiting.push(stream);
    }
    (listener, waiting, address)
}

#[tokio::test]
async fn a_pod_that_is_refused_everything_passes_after_two_rounds() {
    let begun = Instant::now();
    let report = wait(&probe(&[REFUSING], Some(REFUSING)), BOUND).await.unwrap();
    assert_eq!(
        (report.verdict(KubernetesApi::Forbidden), report.observations.len()),
        (Verdict::Refused, 2)
    );
    assert!(report.observations[0].detail.contains("refused"), "{report:?}");
    assert!(begun.elapsed() >= Duration::from_millis(500), "one round is not enough");
}

#[tokio::test]
async fn an_api_server_that_a_rule_opens_is_not_tried_and_the_canary_still_is() {
    let (_listener, open) = listener().await;
    let allowed = |canary| probe_with(&[canary], Some(open), KubernetesApi::Allowed);
    let report = wait(&allowed(REFUSING), BOUND).await.unwrap();
    let tried: Vec<_> = report.observations.iter().map(|seen| seen.address).collect();
    assert_eq!(
        (report.verdict(KubernetesApi::Allowed), tried),
        (Verdict::Refused, vec![REFUSING])
    );
    let reached = wait(&allowed(open), BOUND).await.unwrap_err();
    assert!(matches!(reached, NotRefused::Reached { .. }), "{reached}");
    // Negative control: without such a rule, the same pod is open.
    let forbidden = wait(&probe(&[REFUSING], Some(open)), BOUND).await.unwrap_err();
    assert!(matches!(forbidden, NotRefused::Reached { .. }), "{forbidden}");
}

#[tokio::test]
async fn silence_is_a_refusal_too_and_ends_when_somebody_answers() {
    let (listener, waiting, address) = silent().await;
    let report = wait(&probe(&[address], Some(REFUSING)), BOUND).await.unwrap();
    assert!(report.observations[0].detail.contains("no answer within"), "{report:?}");

    drop(waiting);
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let report = probe(&[address], Some(REFUSING)).round().await;
    assert_eq!(
        report.verdict(KubernetesApi::Forbidden),
        Verdict::Reached,
        "negative control: the same address, answered"
    );
}

#[tokio::test]
async fn a_pod_that_reaches_one_destination_fails_in_the_end_and_says_which() {
    let (_listener, open) = listener().await;
    for (canaries, api_server, named) in [
        (vec![open], REFUSING, "the operator's canary"),
        (vec![REFUSING], open, "the Kubernetes API"),
        (vec![REFUSING, open], REFUSING, "the operator's canary"),
    ] {
        let begun = Instant::now();
        let failed = wait(&probe(&canaries, Some(api_server)), BOUND).await.unwrap_err();
        assert!(begun.elapsed() >= BOUND, "it waits for the network to close");
        assert!(matches!(failed, NotRefused::Reached { .. }), "{failed}");
        assert_eq!(failed.exit_code(), 3);
        let text = failed.to_string();
        assert!(text.contains(&format!("{named} ({open})")), "{text}");
    }
}

#[tokio::test]
async fn a_network_that_closes_late_is_waited_for() {
    let (listener, open) = listener().await;
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(listener);
    });
    let begun = Instant::now();
    wait(&probe(&[open], Some(REFUSING)), Duration::from_secs(10))
        .await
        .unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn what_is_not_known_is_not_taken_for_closed() {
    for (canaries, api_server, missing) in [
        (vec![], Some(REFUSING), "its Service"),
        (vec![REFUSING], None, "KUBERNETES_SERVICE_HOST"),
    ] {
        let failed = wait(&probe(&canaries, api_server), BOUND).await.unwrap_err();
        assert!(matches!(failed, NotRefused::Inconclusive { .. }), "{failed}");
        assert_eq!(failed.exit_code(), 4);
        assert!(failed.to_string().contains(missing), "{failed}");
    }
}

/// Runs the program as the kubelet does.
async fn guard(policy: &PolicyFile, api_server: SocketAddr) -> (i32, String) {
    let id = uuid::Uuid::now_v7();
    let directory = std::env::temp_dir().join(format!("sallyport-guard-{id}"));
    std::fs::create_dir(&directory).unwrap();
    let (file, log) = (directory.join("policy.json"), directory.join("termination-log"));
    std::fs::write(&file, policy.to_text().unwrap()).unwrap();
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_sallyport-sidecar"))
        .args(["guard", "--policy"])
        .arg(&file)
        .arg("--termination-log")
        .arg(&log)
        .env("KUBERNETES_SERVICE_HOST", api_server.ip().to_string())
        .env("KUBERNETES_SERVICE_PORT", api_server.port().to_string())
        .output()
        .await
        .unwrap();
    let last_words = std::fs::read_to_string(&log).unwrap();
    std::fs::remove_dir_all(directory).unwrap();
    (output.status.code().unwrap(), last_words)
}

#[tokio::test]
async fn the_program_tells_by_exit_code_and_last_words() {
    let closed = policy(1);
    let (_listener, open) = listener().await;
    let mut reaching = closed.clone();
    reaching.enforcement.canaries = vec![open];
    let mut warned = reaching.clone();
    warned.enforcement.mode = EnforcementMode::Warn;
    for (policy, code, said) in [
        (&closed, 0, "is refused what no rule allows"),
        (&reaching, 3, "reaches what no rule allows"),
        (&warned, 0, "reaches what no rule allows"),
    ] {
        let (exit, last_words) = guard(policy, REFUSING).await;
        assert_eq!(exit, code, "{last_words}");
        assert!(last_words.contains(said), "{last_words}");
    }
}

#[tokio::test]
async fn a_running_pod_that_opens_gets_no_more_calls_until_it_is_closed_again() {
    let server = Server::start(async |_| reply(200, "")).await;
    let (listener, at) = listener().await;
    drop(listener);
    for (mode, after) in [(EnforcementMode::Required, 503), (EnforcementMode::Warn, 200)] {
        let mut policy = policy(server.port);
        policy.enforcement.canaries = vec![at];
        policy.enforcement.mode = mode;
        let sidecar = Running::start(policy, std::io::sink()).await;
        sidecar.until_ready().await;

        let reachable = TcpListener::bind(at).await.unwrap();
        let (status, report) = sidecar.admin("/enforcement").await;
        let report: EnforcementReport = serde_json::from_str(&report).unwrap();
        assert_eq!(
            (status.as_u16(), report.verdict(KubernetesApi::Forbidden)),
            (200, Verdict::Reached)
        );
        let (status, reason) = sidecar.admin("/readyz").await;
        assert_eq!(status, after, "{reason}");
        let (_, metrics) = sidecar.admin("/metrics").await;
        for line in [
            "sallyport_sidecar_network_enforced 0",
            r#"sallyport_sidecar_forbidden_probes_total{destination="canary",verdict="reached"} 1"#,
        ] {
            assert!(metrics.lines().any(|found| found == line), "{line}\n{metrics}");
        }

        drop(reachable);
        let (_, report) = sidecar.admin("/enforcement").await;
        assert!(report.contains(r#""verdict":"refused""#), "{report}");
        until("the pod gets calls again", async || {
            sidecar.admin("/readyz").await.0 == 200
        })
        .await;
    }
}

#[tokio::test]
async fn a_connection_that_was_kept_open_is_served_no_call_while_the_network_is() {
    let server = Server::start(async |_| json_answer(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#)).await;
    let (listener, at) = listener().await;
    drop(listener);
    for mode in [EnforcementMode::Required, EnforcementMode::Warn] {
        let mut policy = policy(server.port);
        policy.enforcement.canaries = vec![at];
        policy.enforcement.mode = mode;
        let lines = Lines::default();
        let sidecar = Running::start(policy, lines.clone()).await;
        let before = server.received().len();
        // Nobody waits until it is ready: the call waits for the first round.
        let stream = TcpStream::connect(sidecar.traffic).await.unwrap();
        let (mut kept, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        let mut call = async || {
            let mut request = post(sidecar.traffic, CALL);
            *request.uri_mut() = "/mcp".parse().unwrap();
            let host = sidecar.traffic.to_string().parse().unwrap();
            request.headers_mut().insert("host", host);
            kept.ready().await.unwrap();
            let response = kept.send_request(request).await.unwrap();
            let again = response.headers().get("retry-after").is_some();
            let (status, answer) = json_of(response).await;
            (status.as_u16(), again, answer["error"]["code"].as_i64())
        };
        assert_eq!(call().await, (200, false, None));

        let reachable = TcpListener::bind(at).await.unwrap();
        sidecar.admin("/enforcement").await;
        if mode == EnforcementMode::Warn {
            assert_eq!(call().await, (200, false, None));
            continue;
        }
        assert_eq!(call().await, (503, true, Some(-31503)));
        assert_eq!(server.received().len(), before + 1);
        let record = lines.wait(2).await.remove(1);
        assert_eq!(
            (&record["outcome"], &record["reason"], &record["toolName"]),
            (&json!("denied"), &json!("network_open"), &json!("echo"))
        );
        drop(reachable);
        sidecar.admin("/enforcement").await;
        assert_eq!(call().await, (200, false, None));
    }
}

#[tokio::test]
async fn it_finds_out_by_itself_too() {
    let server = Server::start(async |_| reply(200, "")).await;
    let (open, at) = listener().await;
    let mut policy = policy(server.port);
    policy.enforcement.canaries = vec![at];
    let sidecar = Running::start(policy, std::io::sink()).await;
    until("it is not ready for that reason", async || {
        sidecar.admin("/readyz").await.1.contains("reaches what no rule allows")
    })
    .await;
    drop(open);
    until("it is ready", async || sidecar.admin("/readyz").await.0 == 200).await;
}

#[tokio::test]
async fn what_was_seen_last_is_told_by_kind_and_address() {
    let server = Server::start(async |_| reply(200, "")).await;
    let (sidecar, _) = pair(&server).await;
    let (_, report) = sidecar.admin("/enforcement").await;
    assert!(
        report.starts_with(
            r#"{"observations":[{"destination":"canary","address":"127.0.0.1:1","verdict":"refused","detail":""#
        ),
        "{report}"
    );
}
