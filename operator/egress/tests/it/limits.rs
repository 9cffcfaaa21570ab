//! Bounds: none of them can be held off by the client or the host.

use super::support::{ALLOWED, Client, GREETING, Host, Lab, Lines, hello_for, until};
use futures::future::join_all;
use pretty_assertions::assert_eq;
use sallyport_policy::egress::EgressFile;
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::net::TcpSocket;

/// `access_denied`, fatal (RFC 8446 section 6.2).
const ALERT: &[u8] = &[21, 3, 3, 0, 2, 2, 49];

async fn end_of(lab: &Lab) -> String {
    let events = lab.events.wait(2).await;
    events[1]["end"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn idle_tunnels_take_no_place_for_ever() {
    const PLACES: u32 = 200;
    let lab = Lab::with(|file| {
        file.limits.connections = PLACES;
        file.limits.connections_per_second = 1000;
        file.limits.idle_seconds = 5;
    })
    .await;
    lab.host().await;
    let mut tunnels = join_all((0..PLACES).map(async |_| {
        let mut client = lab.tunnel("api.example.com:443").await;
        client.send(&hello_for(ALLOWED)).await;
        client.expect(GREETING).await;
        client
    }))
    .await;
    let answer = lab.client().await.connect("api.example.com:443").await;
    assert_eq!((answer.status, answer.reason()), (503, Some("too_many_connections")));
    // Idle ones are ended, and there is room again.
    for tunnel in &mut tunnels {
        assert_eq!(tunnel.rest().await, b"");
    }
    lab.tunnel("api.example.com:443").await;
    let events = lab.events.wait(2 * PLACES as usize + 1).await;
    assert_eq!(
        events.iter().filter(|event| event["end"] == json!("idle")).count(),
        PLACES as usize
    );
}

#[tokio::test]
async fn tunnels_that_never_begin_take_no_place_for_ever() {
    let lab = Lab::with(|file| file.limits.connections = 3).await;
    lab.host().await;
    let silent = [
        lab.tunnel("api.example.com:443").await,
        lab.tunnel("api.example.com:443").await,
        lab.tunnel("api.example.com:443").await,
    ];
    assert_eq!(lab.client().await.connect("api.example.com:443").await.status, 503);
    until("room", async || {
        lab.client().await.connect("api.example.com:443").await.status == 200
    })
    .await;
    drop(silent);
}

#[tokio::test]
async fn tls_without_a_proxy_request_takes_its_place_before_its_first_byte_is_read() {
    let lab = Lab::with(|file| {
        file.limits.connections = 2;
        file.limits.head_seconds = 600;
    })
    .await;
    lab.host().await;
    let silent = [
        Client::to(lab.gateway.transparent).await,
        Client::to(lab.gateway.transparent).await,
    ];
    until("no room", async || {
        lab.client().await.connect("api.example.com:443").await.status == 503
    })
    .await;
    // It is told so without having said anything.
    assert_eq!(Client::to(lab.gateway.transparent).await.rest().await, ALERT);
    let is_told = |event: &serde_json::Value| {
        event["via"] == json!("transparent") && event["reason"] == json!("too_many_connections")
    };
    until("the refusal on the record", async || {
        lab.events.events().iter().any(is_told)
    })
    .await;
    drop(silent);
    until("room", async || {
        lab.client().await.connect("api.example.com:443").await.status == 200
    })
    .await;
}

#[tokio::test]
async fn a_tunnel_that_is_used_is_not_idle_but_grows_old() {
    let lab = Lab::with(|file| {
        file.limits.idle_seconds = 3;
        file.limits.total_seconds = 7;
    })
    .await;
    lab.host().await;
    let mut client = lab.tunnel("api.example.com:443").await;
    client.send(&hello_for(ALLOWED)).await;
    client.expect(GREETING).await;
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(4500) {
        client.send(b"x").await;
        client.expect(b"x").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    client.rest().await;
    assert_eq!(end_of(&lab).await, "too_old");
}

#[tokio::test]
async fn a_tunnel_ends_when_its_bytes_are_used_up() {
    let hello = hello_for(ALLOWED);
    let limit = (hello.len() + GREETING.len() + 100) as u64;
    for (limit, end) in [(limit, "too_many_bytes"), (1 << 30, "completed")] {
        let lab = Lab::with(|file| file.limits.bytes = limit).await;
        let host = lab.host().await;
        let mut client = lab.tunnel("api.example.com:443").await;
        client.send(&hello).await;
        client.expect(GREETING).await;
        client.send(&[7; 1000]).await;
        client.half_close().await;
        client.rest().await;
        assert_eq!(end_of(&lab).await, end);
        let events = lab.events.events();
        let moved = events[1]["bytesSent"].as_u64().unwrap() + events[1]["bytesReceived"].as_u64().unwrap();
        assert!(moved <= limit, "{moved} of {limit}");
        assert!(host.received()[0].len() as u64 <= limit);
    }
}

#[tokio::test]
async fn an_answer_ends_when_its_bytes_are_used_up() {
    let lab = Lab::with(|file| file.limits.bytes = 2000).await;
    let body = "x".repeat(10_000);
    let host = Host::web(&format!("HTTP/1.1 200 OK\r\ncontent-length: 10000\r\n\r\n{body}")).await;
    lab.network.lead("9.9.9.9", 80, host.address());
    let mut client = lab.client().await;
    client
        .send(b"GET http://api.example.com/ HTTP/1.1\r\nhost: api.example.com\r\n\r\n")
        .await;
    assert!(client.rest().await.len() < 3000);
    assert_eq!(end_of(&lab).await, "too_many_bytes");
}

#[tokio::test]
async fn connections_that_begin_too_fast_are_refused() {
    let lab = Lab::with(|file| file.limits.connections_per_second = 1).await;
    lab.host().await;
    let connect = async |_| lab.client().await.connect("api.example.com:443").await.status;
    let statuses = join_all((0..20).map(connect)).await;
    let count = |wanted| statuses.iter().filter(|status| **status == wanted).count();
    // Two at once, and one more for each second that this takes.
    assert!(count(200) >= 2 && count(429) >= 10, "{statuses:?}");
    assert_eq!(count(200) + count(429), statuses.len(), "{statuses:?}");
    until("a refusal on the record", async || {
        lab.events
            .events()
            .iter()
            .any(|event| event["reason"] == json!("too_fast"))
    })
    .await;
}

#[tokio::test]
async fn a_host_that_does_not_read_holds_the_client_back() {
    let lab = Lab::with(|file| file.limits.idle_seconds = 2).await;
    // Never accepted: the kernel takes the connection and some bytes, nobody reads them.
    let deaf = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    lab.network.lead("9.9.9.9", 443, deaf.local_addr().unwrap());
    let mut client = lab.tunnel("api.example.com:443").await;
    client.send(&hello_for(ALLOWED)).await;
    let flood = async {
        let chunk = vec![0; 1 << 20];
        let mut sent = 0_usize;
        while tokio::io::AsyncWriteExt::write_all(&mut client.0, &chunk).await.is_ok() {
            sent += chunk.len();
        }
        sent
    };
    let sent = flood.await;
    assert!(sent < 64 << 20, "{sent} bytes were taken for a host that reads none");
    assert_eq!(end_of(&lab).await, "idle");
}

#[tokio::test]
async fn a_client_that_never_reads_its_answer_does_not_keep_its_slot() {
    let events = Lines::default();
    let edit = |file: &mut EgressFile| file.limits.idle_seconds = 1;
    let lab = Lab::with_patience(edit, events.clone(), events, Duration::from_secs(1)).await;
    // More than the buffers on the way can take.
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: 8388608\r\n\r\n{}",
        "x".repeat(8 << 20)
    );
    let host = Host::answering(answer).await;
    lab.network.lead("9.9.9.9", 80, host.address());
    let clients = async |count: u32| {
        let count = format!("sallyport_egress_clients {count}\n");
        until(&count, async || lab.gateway.get("/metrics").await.contains(&count)).await;
    };
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 * 1024).unwrap();
    let mut stuck = Client(socket.connect(lab.gateway.traffic).await.unwrap());
    stuck
        .send(b"GET http://api.example.com/ HTTP/1.1\r\nhost: api.example.com\r\n\r\n")
        .await;
    assert_eq!(stuck.answer().await.status, 200);
    // The host's side is idle and ends by itself, which does not end the client's.
    clients(0).await;
    // It was there all the time, and had more to read.
    assert!(stuck.rest().await.len() < 8 << 20);
}
