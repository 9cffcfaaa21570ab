//! Many open streams with readers that do not read: memory stays bounded, because nothing more is read from the server.

// Helpers of tests may panic as tests do.
#![allow(clippy::unwrap_used, clippy::unwrap_in_result, clippy::panic)]

use cap::Cap;
use sallyport_policy::enforcement::{Enforcement, EnforcementMode, KubernetesApi};
use sallyport_policy::{EndpointIdentity, Limits, Listen, PolicyFile, Rate, Rates, Upstream};
use sallyport_sidecar::{Place, Sidecar};
use std::alloc::System;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// The allocator counts what all tests of this process hold.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

const STREAMS: usize = 1000;

/// What the sidecar may hold for one stream whose reader does not read: the buffers of both connections and one event.
const BOUND_OF_ONE: usize = 160 * 1024;

/// What the kernel may buffer of one stream, on its way in and on its way out, beside what the sidecar holds.
const BUFFERED_OF_ONE: u64 = 768 << 10;

/// What the kernel may buffer for server and client, so that what it buffers for the sidecar shows.
const BUFFER_OF_OTHERS: u32 = 32 * 1024;

/// What the server would like to send over each stream.
const WANTED_OF_ONE: u64 = 16 << 20;

/// One event that carries `length` bytes, in one chunk.
fn chunk(length: usize) -> Vec<u8> {
    let event = format!(
        "data: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{{\"data\":\"{}\"}}}}\n\n",
        "x".repeat(length)
    );
    format!("{:x}\r\n{event}\r\n", event.len()).into_bytes()
}

/// The head of an event stream.
const STREAM: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

fn listen() -> (TcpListener, u16) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(BUFFER_OF_OTHERS).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener: TcpListener = socket.listen(1024).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// A server that sends events as fast as they are taken. It allocates next to nothing.
fn server(opened: Arc<AtomicUsize>, sent: Arc<AtomicU64>) -> u16 {
    let (listener, port) = listen();
    // With what stands around it less than 16 KiB.
    let chunk: Arc<Vec<u8>> = Arc::new(chunk(16 * 1024 - 100));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (opened, sent, chunk) = (opened.clone(), sent.clone(), chunk.clone());
            tokio::spawn(async move {
                let mut head = [0; 2048];
                let length = stream.read(&mut head).await.unwrap_or(0);
                if !head[..length].starts_with(b"GET") {
                    return;
                }
                if stream.write_all(STREAM).await.is_err() {
                    return;
                }
                opened.fetch_add(1, Ordering::Relaxed);
                for _ in 0..WANTED_OF_ONE / chunk.len() as u64 {
                    if stream.write_all(&chunk).await.is_err() {
                        return;
                    }
                    sent.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                }
            });
        }
    });
    port
}

fn policy(port: u16, limits: &Limits) -> PolicyFile {
    let endpoint = EndpointIdentity {
        namespace: "team-a".into(),
        name: "demo".into(),
        uid: "uid-1".into(),
    };
    let rate = Rate::per_minute(60_000_000, 1_000_000);
    PolicyFile {
        hosts: vec!["127.0.0.1".into()],
        limits: Limits {
            concurrent_streams_per_principal: 2000,
            rates: Rates {
                per_principal: rate,
                ..Rates::default()
            },
            drain_seconds: 1,
            ..limits.clone()
        },
        enforcement: Enforcement {
            mode: EnforcementMode::Warn,
            wait_seconds: 1,
            canaries: vec![],
            kubernetes_api: KubernetesApi::Forbidden,
        },
        ..PolicyFile::open(endpoint, Listen::new(0, 0), Upstream::port(port, "/mcp"))
    }
}

/// Waits until `value` has not changed for a second.
async fn settled(value: &AtomicU64) -> u64 {
    let mut last = 0;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = value.load(Ordering::Relaxed);
        if now == last {
            return now;
        }
        last = now;
    }
}

/// A client that asks for a stream and then does not read.
async fn stuck_reader(at: SocketAddr) -> TcpStream {
    let mut stream = reader(at).await;
    let request = "GET /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn reader(at: SocketAddr) -> TcpStream {
    reader_from([127, 0, 0, 1], at).await
}

async fn reader_from(address: [u8; 4], at: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(BUFFER_OF_OTHERS).unwrap();
    socket.bind(SocketAddr::from((address, 0))).unwrap();
    socket.connect(at).await.unwrap()
}

/// All connections that the default limits let be there: as many requests as they let be under way, each stuck, and heads
/// without an end on the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_default_limits_come_to_fits_the_memory_that_is_reckoned_with() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let limits = Limits::default();
    let requests = limits.concurrent_requests as usize;
    let (opened, sent) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicU64::new(0)));
    let port = server(opened.clone(), sent.clone());
    let sidecar = Sidecar::bind(policy(port, &limits), Place::default(), std::io::sink())
        .await
        .unwrap();
    let at = SocketAddr::from(([127, 0, 0, 1], sidecar.traffic_address().port()));
    tokio::spawn(sidecar.serve(std::future::pending()));
    let before = ALLOCATOR.allocated();

    let mut clients = vec![];
    for _ in 0..requests {
        clients.push(stuck_reader(at).await);
    }
    for _ in requests..limits.connections as usize {
        let mut client = reader(at).await;
        let head = format!("GET /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nX: {}", "x".repeat(30 * 1024));
        client.write_all(head.as_bytes()).await.unwrap();
        clients.push(client);
    }
    settled(&sent).await;
    assert_eq!(opened.load(Ordering::Relaxed), requests);
    let held = ALLOCATOR.allocated().saturating_sub(before) as u64;

    // Both directions of a client's connection and the answer's of the server's, each counted twice by the kernel.
    let buffer = 2 * sallyport_core::listener::SOCKET_BUFFER as u64;
    let kernel = u64::from(limits.connections) * 2 * buffer + u64::from(limits.concurrent_requests) * buffer;
    let reckoned = limits.memory_bytes(false) - Limits::BASE_BYTES - 2 * limits.buffer_bytes;
    println!("{held} bytes held and at most {kernel} in the kernel, of {reckoned}");
    assert!(held + kernel < reckoned, "{held} + {kernel} of {reckoned}");
    // Half as much would not do: the bound is near what there is.
    assert!(held + kernel > reckoned / 2, "{held} + {kernel} of {reckoned}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_streams_with_slow_readers_do_not_grow_memory() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let (opened, sent) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicU64::new(0)));
    let port = server(opened.clone(), sent.clone());
    let many = Limits {
        connections: 2000,
        concurrent_requests: 2000,
        ..Limits::default()
    };
    let sidecar = Sidecar::bind(policy(port, &many), Place::default(), std::io::sink())
        .await
        .unwrap();
    let at = SocketAddr::from(([127, 0, 0, 1], sidecar.traffic_address().port()));
    tokio::spawn(sidecar.serve(std::future::pending()));
    let before = ALLOCATOR.allocated();

    let mut readers = Vec::with_capacity(STREAMS);
    for _ in 0..STREAMS {
        readers.push(stuck_reader(at).await);
    }
    let stuck = settled(&sent).await;
    assert_eq!(opened.load(Ordering::Relaxed), STREAMS);
    assert!(
        stuck < BUFFERED_OF_ONE * STREAMS as u64,
        "the server was let send {stuck} bytes to readers that read nothing"
    );
    let held = ALLOCATOR.allocated().saturating_sub(before);
    println!(
        "{STREAMS} stuck streams hold {held} bytes, {} each; the server sent {stuck}",
        held / STREAMS
    );
    assert!(held < STREAMS * BOUND_OF_ONE, "{held}");

    // One slow reader gets all that was sent, and goes on holding no more than before.
    let mut slow = readers.pop().unwrap();
    let mut taken = 0;
    let mut buffer = vec![0; 64 * 1024];
    while taken < 4 << 20 {
        taken += slow.read(&mut buffer).await.unwrap();
    }
    let held = ALLOCATOR.allocated().saturating_sub(before);
    assert!(held < STREAMS * BOUND_OF_ONE, "{held}");

    drop((slow, readers));
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if ALLOCATOR.allocated().saturating_sub(before) < STREAMS * 8 * 1024 {
            return;
        }
    }
    panic!(
        "{} bytes are held after all readers left",
        ALLOCATOR.allocated().saturating_sub(before)
    );
}

/// Clients of one endpoint that each ask for something large, from addresses of their own.
const ASKING: u8 = 12;

/// A little less than the largest answer and the largest event that pass.
const LARGE: usize = (4 << 20) - 1024;

/// What may be held of bodies in those tests: two large answers.
const BUFFER: u64 = 8 << 20;

/// A server that gives `answer` to every client of the test and then says nothing.
fn server_of(answer: Vec<u8>) -> u16 {
    let (listener, port) = listen();
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut head = [0; 2048];
                while let Ok(length @ 1..) = stream.read(&mut head).await {
                    let of_test = head[..length]
                        .windows(7)
                        .any(|part| part.eq_ignore_ascii_case(b"x-test:"));
                    if !of_test || stream.write_all(&answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

/// Lets clients send `request`, whose answer from the server is `answer`, and read no more of theirs than shows that there
/// is one. Returns the status and the first byte of each. What the sidecar holds for them must then be what is reckoned with,
/// and nothing once they are gone.
async fn large_answers_are_counted(request: &str, answer: Vec<u8>) -> Vec<(String, u8)> {
    let limits = Limits {
        buffer_bytes: BUFFER,
        ..Limits::default()
    };
    let port = server_of(answer);
    let sidecar = Sidecar::bind(policy(port, &limits), Place::default(), std::io::sink())
        .await
        .unwrap();
    let at = SocketAddr::from(([127, 0, 0, 1], sidecar.traffic_address().port()));
    let serving = tokio::spawn(sidecar.serve(std::future::pending()));
    let before = ALLOCATOR.allocated();
    let in_use = || ALLOCATOR.allocated().saturating_sub(before) as u64;

    let (mut clients, mut answers) = (vec![], vec![]);
    for number in 1..=ASKING {
        let mut client = reader_from([127, 0, 0, number], at).await;
        client.write_all(request.as_bytes()).await.unwrap();
        let mut head = vec![];
        while !head.ends_with(b"\r\n\r\n") {
            head.push(client.read_u8().await.unwrap());
        }
        // Of the body, too, so that it is known what became of it.
        let first = client.read_u8().await.unwrap();
        let head = String::from_utf8(head).unwrap();
        answers.push((head[9..12].to_owned(), first));
        clients.push(client);
    }
    let of_one = Limits::CONNECTION_BYTES + Limits::REQUEST_BYTES;
    let reckoned = 2 * BUFFER + u64::from(ASKING) * of_one;
    below(in_use, reckoned).await;
    println!("{} bytes are held for stuck readers, of {reckoned}", in_use());
    drop(clients);
    below(in_use, LARGE as u64 / 2).await;
    serving.abort();
    let _ = serving.await;
    answers
}

/// Waits until `held` is less than `bound`.
async fn below(held: impl Fn() -> u64, bound: u64) {
    for _ in 0..100 {
        if held() < bound {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{} bytes are held, and not less than {bound}", held());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_answers_that_nobody_reads_are_counted_until_they_are_read() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let around = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[],"a":""}}"#;
    let body = around.replace(r#""""#, &format!("\"{}\"", "x".repeat(LARGE - around.len())));
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {LARGE}\r\n\r\n{body}");
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let request = format!(
        "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Test: 1\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nContent-Length: {}\r\n\r\n{list}",
        list.len()
    );
    let answers = large_answers_are_counted(&request, answer.into_bytes()).await;
    // Two fit; whoever comes after them is refused and not the end of the process.
    let statuses: Vec<&str> = answers.iter().map(|(status, _)| status.as_str()).collect();
    assert_eq!(statuses, [&["200"; 2][..], &["503"; 10]].concat());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_events_that_nobody_reads_are_counted_until_they_are_read() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let answer = [STREAM, &chunk(LARGE - 100)].concat();
    let request = "GET /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Test: 1\r\nAccept: text/event-stream\r\n\r\n";
    let answers = large_answers_are_counted(request, answer).await;
    // The first digit of a chunk's length: two events fit, the other streams end.
    let lengths: String = answers.iter().map(|(_, first)| char::from(*first)).collect();
    assert_eq!(lengths, "330000000000");
}
