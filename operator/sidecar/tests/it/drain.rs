//! The end: requests finish, streams end, and every record is written.

use crate::support::{
    CALL, Lines, Running, Server, client, events, get, pair, policy, post, program, reply, send, until,
};
use http_body_util::{BodyExt, Full};
use pretty_assertions::assert_eq;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Notify;

#[tokio::test]
async fn a_call_under_way_finishes_a_long_stream_ends_and_nothing_new_is_taken() {
    let permit = Arc::new(Notify::new());
    let permitted = permit.clone();
    let server = Server::start(move |received: crate::support::Received| {
        let permitted = permitted.clone();
        async move {
            if received.method == "GET" {
                let (sender, answer) = events("text/event-stream");
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_mins(1)).await;
                    drop(sender);
                });
                return answer;
            }
            permitted.notified().await;
            reply(200, "slow")
        }
    })
    .await;
    let lines = Lines::default();
    let sidecar = Running::start(policy(server.port), lines.clone()).await;
    let (traffic, admin) = (sidecar.traffic, sidecar.admin);
    let mut stream = send(get(traffic)).await;
    let call = tokio::spawn(send(post(traffic, CALL)));
    until("both are under way", async || server.received().len() == 2).await;
    let stopped = sidecar.begin_stop();
    assert!(stream.body_mut().frame().await.is_none(), "the stream has a clean end");
    assert!(TcpStream::connect(traffic).await.is_err(), "no new connection");
    let readiness = client()
        .request(
            http::Request::get(format!("http://{admin}/readyz"))
                .body(Full::default())
                .unwrap(),
        )
        .await
        .unwrap();
    assert_eq!(readiness.status(), 503);
    assert!(!call.is_finished(), "streams end first");
    permit.notify_one();
    let response = call.await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "slow");
    stopped.await.unwrap().unwrap();
    let mut outcomes: Vec<_> = lines
        .records()
        .iter()
        .map(|record| record["outcome"].as_str().unwrap().to_owned())
        .collect();
    outcomes.sort();
    assert_eq!(outcomes, ["allowed", "drained"]);
}

#[tokio::test]
async fn what_does_not_finish_in_time_is_cut_off_and_recorded_as_drained() {
    let server = Server::start(async |_| {
        tokio::time::sleep(Duration::from_mins(1)).await;
        reply(200, "")
    })
    .await;
    let lines = Lines::default();
    let mut short = policy(server.port);
    short.limits.drain_seconds = 0;
    short.limits.response_header_seconds = 60;
    let sidecar = Running::start(short, lines.clone()).await;
    let call = tokio::spawn(client().request(post(sidecar.traffic, CALL)));
    until("the call is under way", async || server.received().len() == 1).await;
    sidecar.stop().await.unwrap();
    assert!(call.await.unwrap().is_err());
    let record = lines.records().remove(0);
    assert_eq!(
        (record["outcome"].as_str(), record["status"].as_u64()),
        (Some("drained"), Some(499))
    );
}

/// The program itself, its standard output and a real SIGTERM.
#[tokio::test]
async fn no_record_is_lost_when_sigterm_comes_in_the_middle() {
    let server = Server::start(async |_| {
        tokio::time::sleep(Duration::from_millis(20)).await;
        reply(200, "{}")
    })
    .await;
    let directory = std::env::temp_dir().join(format!("sallyport-sidecar-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let file = directory.join("policy.json");
    std::fs::write(&file, policy(server.port).to_text().unwrap()).unwrap();
    let mut program = program()
        .args(["run", "--policy"])
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdout = program.stdout.take().unwrap();
    let records = tokio::spawn(async move {
        let mut text = String::new();
        stdout.read_to_string(&mut text).await.unwrap();
        text
    });
    let mut diagnostics = BufReader::new(program.stderr.take().unwrap()).lines();
    // What it says of a machine without a kubelet comes before.
    let traffic = loop {
        let line: serde_json::Value = serde_json::from_str(&diagnostics.next_line().await.unwrap().unwrap()).unwrap();
        if let Some(traffic) = line["fields"]["traffic"].as_str() {
            break traffic.to_owned();
        }
    };
    tokio::spawn(async move { while let Ok(Some(_)) = diagnostics.next_line().await {} });
    let port = traffic.rsplit(':').next().unwrap().parse::<u16>().unwrap();
    let at = std::net::SocketAddr::from(([127, 0, 0, 1], port));

    let client = client();
    let callers: Vec<_> = (0..40)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                let mut answered = 0;
                while let Ok(response) = client.request(post(at, CALL)).await {
                    assert_eq!(response.status(), 200);
                    response.into_body().collect().await.unwrap();
                    answered += 1;
                }
                answered
            })
        })
        .collect();
    until("calls are under way", async || server.received().len() > 100).await;
    let id = program.id().unwrap().to_string();
    assert!(
        std::process::Command::new("kill")
            .args(["-TERM", &id])
            .status()
            .unwrap()
            .success()
    );
    let status = program.wait().await.unwrap();
    assert!(status.success(), "{status}");
    let mut answered = 0;
    for caller in callers {
        answered += caller.await.unwrap();
    }
    let text = records.await.unwrap();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    // Beside the chain's own beginning and end.
    let records: Vec<_> = lines.filter(|line| line["kind"] == "audit").collect();
    let ids: std::collections::BTreeSet<_> = records
        .iter()
        .map(|record| record["requestId"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), records.len(), "no record is written twice");
    assert_eq!(
        records.len(),
        server.received().len(),
        "a record for each request that reached the server"
    );
    let allowed = records.iter().filter(|record| record["outcome"] == "allowed").count();
    assert_eq!(
        allowed, answered,
        "every answer that a client read is recorded as allowed, and no other"
    );
    std::fs::remove_dir_all(&directory).unwrap();
}

#[tokio::test]
async fn once_the_pods_end_is_decided_all_is_served_and_callers_are_sent_elsewhere() {
    let server = Server::start(async |_| reply(200, "{}")).await;
    let (sidecar, _) = pair(&server).await;
    let before = send(post(sidecar.traffic, CALL)).await;
    assert!(!before.headers().contains_key("connection"), "{before:?}");
    let idle = TcpStream::connect(sidecar.traffic).await.unwrap();

    assert_eq!(sidecar.admin("/drain").await.0, 200);
    assert_eq!(sidecar.admin("/readyz").await.0, 503);
    for _ in 0..3 {
        let after = send(post(sidecar.traffic, CALL)).await;
        assert_eq!(after.status(), 200);
        assert_eq!(after.headers()["connection"], "close");
    }
    let begun = Instant::now();
    idle.readable().await.unwrap();
    assert_eq!(idle.try_read(&mut [0; 1]).unwrap(), 0, "an idle connection is closed");
    assert!(begun.elapsed() > Duration::from_secs(1), "{:?}", begun.elapsed());
    sidecar.stop().await.unwrap();
}
