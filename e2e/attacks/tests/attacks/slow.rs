//! Slow clients, and servers that never end.

use crate::stage::{ALLOWED, strict};
use sallyport_attacks::{Beliefs, Careless, Connection, Era, Message, Post};
use sallyport_fixture::{Options, Server, own};
use sallyport_loopback::{Profile, Sidecar};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Longer than any bound on a client, shorter than patience.
const PATIENCE: Duration = Duration::from_secs(45);

fn call() -> Post {
    Post::of(Era::Legacy, &Message::call(Era::Legacy, ALLOWED, &json!({})))
}

/// Sends the first bytes, then one more each second, and tells whether the other side has had enough in time.
async fn drip(address: SocketAddr, bytes: &[u8], at_once: usize, bound: Duration) -> bool {
    let mut connection = Connection::open(address).await.unwrap();
    connection.send(&bytes[..at_once]).await;
    let begun = Instant::now();
    for byte in &bytes[at_once..] {
        if connection.closed_within(Duration::from_secs(1)).await {
            return true;
        }
        if begun.elapsed() > bound {
            return false;
        }
        connection.send(&[*byte]).await;
    }
    false
}

#[tokio::test]
async fn heads_and_bodies_that_drip_are_cut_off() {
    let alone = Careless::start(Beliefs::default()).await.unwrap();
    let guarded = Careless::start(Beliefs::default()).await.unwrap();
    let sidecar = Sidecar::start(&strict(guarded.address())).await.unwrap();
    let bytes = call().bytes();
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    // Side by side, for they are slow.
    let (sidecar, alone) = (sidecar.address(), alone.address());
    let (off, head_cut, body_cut) = tokio::join!(
        drip(alone, &bytes, 20, PATIENCE),
        drip(sidecar, &bytes, 20, PATIENCE),
        drip(sidecar, &bytes, head + 5, PATIENCE),
    );
    assert!(!off, "no attack: the server alone ends it");
    assert!(head_cut, "a head may drip for ever");
    assert!(body_cut, "a body may drip for ever");
    assert!(guarded.ran().is_empty());
}

/// A server that answers every request with what `answer` says, for as long as it is read; one that asks for its tools or
/// begins a session gets what the careless server says.
async fn endless(head: &'static str, piece: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let plain = Careless::start(Beliefs::default()).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (piece, plain) = (piece.clone(), plain.address());
            tokio::spawn(async move {
                let mut buffer = vec![0; 64 * 1024];
                while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                    if !String::from_utf8_lossy(&buffer[..read]).contains("tools/call") {
                        let mut behind = Connection::open(plain).await.unwrap();
                        behind.send(&buffer[..read]).await;
                        let answer = behind.read().await;
                        if stream.write_all(&answer).await.is_err() {
                            return;
                        }
                        continue;
                    }
                    if stream.write_all(head.as_bytes()).await.is_err() {
                        return;
                    }
                    while stream.write_all(&piece).await.is_ok() {}
                    return;
                }
            });
        }
    });
    address
}

/// Resident memory of a process in bytes, and the largest that it ever was.
fn memory(id: u32) -> (u64, u64) {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let field = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let kibibytes: u64 = line
            .trim_start_matches(':')
            .split_whitespace()
            .next()
            .unwrap()
            .parse()
            .unwrap();
        kibibytes * 1024
    };
    (field("VmRSS"), field("VmHWM"))
}

/// How much is read of what a server sends on a call, at most `bound`; a client that is given less was cut off.
async fn flood(address: SocketAddr, bound: usize, patience: Duration) -> usize {
    let mut connection = Connection::open(address).await.unwrap();
    connection.send(&call().bytes()).await;
    let mut read = 0;
    let reading = async {
        loop {
            let bytes = connection.read().await;
            read += bytes.len();
            if bytes.is_empty() || read > bound {
                break;
            }
        }
    };
    // A stream that is held back is as good as cut off.
    let _ = tokio::time::timeout(patience, reading).await;
    read
}

const EVENT_LIMIT: usize = 256 * 1024;
const FLOOD: usize = 64 << 20;
const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
const DOCUMENT: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n";

#[tokio::test]
async fn an_event_without_end_is_cut_off_and_costs_no_memory() {
    for (name, head, piece) in [
        (
            "a line without end",
            STREAM,
            [&b"data: "[..], &vec![b'x'; 60_000]].concat(),
        ),
        (
            "an event without end",
            STREAM,
            [&b"data: "[..], &[b'x'; 1000], b"\n"].concat(),
        ),
        ("a field without end", STREAM, vec![b'x'; 60_000]),
        ("a document without end", DOCUMENT, vec![b' '; 60_000]),
    ] {
        let server = endless(head, piece).await;
        assert!(
            flood(server, FLOOD, Duration::from_mins(1)).await > FLOOD,
            "{name}: no attack"
        );
        let profile =
            strict(server).with(&json!({"limits": {"eventBytes": EVENT_LIMIT, "responseBytes": EVENT_LIMIT}}));
        let sidecar = Sidecar::start(&profile).await.unwrap();
        let (before, _) = memory(sidecar.id().unwrap());
        let read = flood(sidecar.address(), FLOOD, Duration::from_secs(10)).await;
        let (_, peak) = memory(sidecar.id().unwrap());
        assert!(read < 4 * EVENT_LIMIT, "{name}: {read} bytes came through");
        assert!(peak - before < 32 << 20, "{name}: {} bytes of memory", peak - before);
    }
}

/// Whole events, each of a good size: legal, and never to be gathered up for a client that does not read.
#[tokio::test]
async fn a_client_that_does_not_read_costs_no_memory() {
    let event = [&b"data: "[..], &[b' '; 8000], b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":1,\"progress\":1}}\n\n"];
    let server = endless(STREAM, event.concat()).await;
    let sidecar = Sidecar::start(&strict(server)).await.unwrap();
    let (before, _) = memory(sidecar.id().unwrap());
    let mut idle = vec![];
    for _ in 0..30 {
        let mut connection = Connection::open(sidecar.address()).await.unwrap();
        connection.send(&call().bytes()).await;
        idle.push(connection);
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (after, _) = memory(sidecar.id().unwrap());
    assert!(
        after.saturating_sub(before) < 48 << 20,
        "{} bytes for 30 idle readers",
        after - before
    );
    // They are streams, and they do come.
    assert!(!idle[0].read().await.is_empty());
}

#[tokio::test]
async fn an_answer_over_the_limit_is_not_passed_on_whole() {
    let server = Server::start(Options::default()).await.unwrap();
    let limit = 100_000;
    let profile = Profile::closed(server.address()).unwrap().unhurried().open();
    let profile = profile.with(&json!({"limits": {"responseBytes": limit, "eventBytes": limit}}));
    let sidecar = Sidecar::start(&profile).await.unwrap();
    let call = |bytes: usize| {
        Post::of(
            Era::Modern,
            &Message::call(Era::Modern, own::FLOOD, &json!({"bytes": bytes})),
        )
    };
    let text = |answer: &Value| {
        answer["result"]["content"][0]["text"]
            .as_str()
            .unwrap_or_default()
            .len()
    };
    let direct = call(5 * limit).send(server.address()).await.unwrap();
    assert_eq!(text(&direct.message()), 5 * limit, "no attack");
    let cut = call(5 * limit).send(sidecar.address()).await;
    assert!(cut.is_none_or(|answer| text(&answer.message()) == 0));
    let small = call(limit / 2).send(sidecar.address()).await.unwrap();
    assert_eq!(text(&small.message()), limit / 2);
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let server = Server::start(Options::default()).await.unwrap();
    let limits = json!({"requestSeconds": 2, "responseHeaderSeconds": 2});
    let profile = Profile::closed(server.address())
        .unwrap()
        .unhurried()
        .open()
        .with(&json!({"limits": limits}));
    let sidecar = Sidecar::start(&profile).await.unwrap();
    let sleep = Post::of(
        Era::Modern,
        &Message::call(Era::Modern, own::SLOW, &json!({"seconds": 30})),
    );
    let answer = tokio::time::timeout(Duration::from_secs(20), sleep.send(sidecar.address()));
    let answer = answer.await.expect("sooner than the server");
    let said = answer
        .map(|answer| answer.message()["result"].clone())
        .unwrap_or_default();
    assert!(said.is_null(), "{said}");
    let mut direct = Connection::open(server.address()).await.unwrap();
    direct.send(&sleep.bytes()).await;
    assert!(
        direct.answer_within(Duration::from_secs(4)).await.is_none(),
        "no attack"
    );
}
