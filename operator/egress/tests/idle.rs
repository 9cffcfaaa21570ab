//! Thousands of tunnels that say nothing, and of hellos that never end: each costs a bounded amount of memory, one more than
//! allowed is refused, and they are ended.

// Helpers of tests may panic as tests do.
#![allow(clippy::unwrap_used, clippy::unwrap_in_result, clippy::panic)]

// Others use more of them.
#[allow(dead_code)]
#[path = "it/support/dns.rs"]
mod dns;
#[allow(dead_code)]
#[path = "it/support/hello.rs"]
mod hello;

use cap::Cap;
use futures::future::{BoxFuture, join_all};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sallyport_egress::{Dial, Gateway, Place};
use sallyport_policy::EndpointIdentity;
use sallyport_policy::egress::{
    EgressAddresses, EgressAudit, EgressFile, EgressHostRule, EgressLimits, EgressListen, EgressMode, ResolverPolicy,
    SCHEMA,
};
use std::alloc::System;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

const TUNNELS: u32 = 3000;

/// Both ends of the client's connection and of the host's are in this process.
const FILES_OF_ONE: u64 = 4;

/// What gateway, client and host may hold for one tunnel on which nothing moves.
const BOUND_OF_ONE: usize = 48 * 1024;

/// The same for a connection whose hello is not complete: what `hello/reader.rs` keeps, and the connection itself.
const BOUND_OF_HELLO: usize = 56 * 1024;

/// The allocator counts for the whole process, so one test runs at a time.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Tunnels that are begun at a time: no more than listeners keep waiting.
const AT_ONCE: u32 = 200;

const HOST: &str = "api.example.com";

/// Leads every address to one host.
struct OneHost(SocketAddr);

impl Dial for OneHost {
    fn dial(&self, _: SocketAddr) -> BoxFuture<'static, io::Result<TcpStream>> {
        Box::pin(TcpStream::connect(self.0))
    }
}

/// A host that takes everything and answers what it was sent, a byte at a time.
fn host() -> SocketAddr {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener: TcpListener = socket.listen(1024).unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                while let Ok(byte) = stream.read_u8().await {
                    if stream.write_u8(byte).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

struct Running {
    traffic: SocketAddr,
    transparent: SocketAddr,
    admin: SocketAddr,
    policy: PathBuf,
}

async fn gateway(name: &str, idle_seconds: u64) -> Running {
    let names = dns::Dns::start().await;
    names.set(HOST, [dns::a("9.9.9.9")]);
    let file = EgressFile {
        schema: SCHEMA.into(),
        endpoint: EndpointIdentity {
            namespace: "team-a".into(),
            name: "demo".into(),
            uid: "uid-1".into(),
        },
        listen: EgressListen {
            port: 0,
            admin_port: 0,
            transparent_port: Some(0),
        },
        mode: EgressMode::Enforce,
        rules: vec![EgressHostRule {
            host: HOST.parse().unwrap(),
            ports: [443].into(),
            inject: None,
        }],
        addresses: EgressAddresses::default(),
        resolver: ResolverPolicy {
            name_servers: vec![names.address()],
            min_ttl_seconds: 60,
            ..ResolverPolicy::default()
        },
        limits: EgressLimits {
            connections: TUNNELS,
            connections_per_second: 1_000_000,
            idle_seconds,
            head_seconds: 3600,
            ..EgressLimits::default()
        },
        audit: EgressAudit::default(),
        signer_port: None,
    };
    let policy = std::env::temp_dir().join(format!("sallyport-idle-{}-{name}.json", std::process::id()));
    std::fs::write(&policy, file.to_text().unwrap()).unwrap();
    let place = Place {
        policy: policy.clone(),
        injections: None,
        clients: None,
        termination_log: None,
    };
    let gateway = Gateway::bind(place, io::sink(), Arc::new(OneHost(host())))
        .await
        .unwrap();
    let on_loopback = |address: SocketAddr| SocketAddr::from(([127, 0, 0, 1], address.port()));
    let running = Running {
        traffic: on_loopback(gateway.traffic_address()),
        transparent: on_loopback(gateway.transparent_address().unwrap()),
        admin: on_loopback(gateway.admin_address()),
        policy,
    };
    tokio::spawn(gateway.serve(std::future::pending()));
    running
}

impl Running {
    /// The status with which a tunnel is answered, and its connection.
    async fn connect(&self) -> (u16, TcpStream) {
        let mut client = TcpStream::connect(self.traffic).await.unwrap();
        client
            .write_all(format!("CONNECT {HOST}:443 HTTP/1.1\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(client.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), client)
    }

    /// A tunnel through which the host has answered.
    async fn tunnel(&self) -> TcpStream {
        let (status, mut client) = self.connect().await;
        assert_eq!(status, 200);
        let hello = hello::hello_for(HOST);
        client.write_all(&hello).await.unwrap();
        let mut answer = vec![0; hello.len()];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, hello);
        client
    }

    async fn tunnels(&self) -> Vec<TcpStream> {
        let mut tunnels = Vec::new();
        for _ in 0..TUNNELS / AT_ONCE {
            tunnels.extend(join_all((0..AT_ONCE).map(|_| self.tunnel())).await);
        }
        tunnels
    }

    async fn metric(&self, line: &str) -> Option<u64> {
        let mut client = TcpStream::connect(self.admin).await.unwrap();
        client
            .write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        let found = text.lines().find_map(|known| known.strip_prefix(line))?;
        found.trim().parse().ok()
    }

    /// Waits until as many tunnels are open; `false` if that takes longer than `bound`.
    async fn comes_to(&self, open: u64, bound: Duration) -> bool {
        let begun = Instant::now();
        while self.metric("sallyport_egress_open_connections ").await != Some(open) {
            if begun.elapsed() > bound {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        true
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.policy);
    }
}

/// As many open files as the system lets this process have.
fn raise_the_number_of_files() {
    let limits = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limits.maximum,
        ..limits
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    let most = limits.maximum.unwrap_or(u64::MAX);
    let needed = u64::from(TUNNELS) * FILES_OF_ONE + 200;
    assert!(
        most >= needed,
        "this test needs {needed} open files, the system allows {most}: raise ulimit -Hn"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_idle_tunnels_cost_little_keep_others_out_and_are_ended() {
    let _alone = ALONE.lock().await;
    raise_the_number_of_files();
    // Without a bound on idleness, which is the negative control, they take all places and keep them.
    let patient = gateway("patient", 3600).await;
    patient.tunnel().await;
    assert!(patient.comes_to(0, Duration::from_secs(10)).await);
    let before = ALLOCATOR.allocated();
    let mut tunnels = patient.tunnels().await;
    assert_eq!(
        patient.metric("sallyport_egress_open_connections ").await,
        Some(u64::from(TUNNELS))
    );
    let of_one = ALLOCATOR.allocated().saturating_sub(before) / tunnels.len();
    assert!(of_one < BOUND_OF_ONE, "an idle tunnel holds {of_one} bytes");
    assert_eq!(patient.connect().await.0, 503);
    assert!(!patient.comes_to(0, Duration::from_secs(4)).await);
    assert_eq!(patient.connect().await.0, 503, "they keep others out");
    // And they go on working.
    for tunnel in tunnels.iter_mut().step_by(100) {
        tunnel.write_u8(7).await.unwrap();
        assert_eq!(tunnel.read_u8().await.unwrap(), 7);
    }
    drop(tunnels);
    assert!(patient.comes_to(0, Duration::from_secs(30)).await);
    let left = ALLOCATOR.allocated().saturating_sub(before) / TUNNELS as usize;
    assert!(left < 4 * 1024, "{left} bytes of each tunnel are left behind");

    // With the bound they are ended, and there is room again.
    let strict = gateway("strict", 3).await;
    let tunnels = strict.tunnels().await;
    assert!(strict.comes_to(0, Duration::from_secs(30)).await);
    let idle = strict
        .metric("sallyport_egress_connections_closed_total{end=\"idle\"} ")
        .await;
    assert_eq!(idle, Some(u64::from(TUNNELS)));
    strict.tunnel().await;
    drop(tunnels);
}

/// How many connections to `port` are there, and how many bytes of theirs nobody has read yet.
fn unread(port: u16) -> (usize, u64) {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
    let lines = tables.iter().flat_map(|table| table.lines().skip(1));
    let mut found = (0, 0);
    for line in lines {
        let columns: Vec<_> = line.split_whitespace().collect();
        let (local, state) = (columns[1], columns[3]);
        if local.ends_with(&format!(":{port:04X}")) && state == "01" {
            let (_, received) = columns[4].split_once(':').unwrap();
            found.0 += 1;
            found.1 += u64::from_str_radix(received, 16).unwrap();
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_half_sent_hellos_hold_little_take_the_places_and_go_on() {
    let _alone = ALONE.lock().await;
    raise_the_number_of_files();
    let gateway = gateway("half", 3600).await;
    // Nearly as long as a hello may be, in records that nearly double it.
    let whole = hello::fragmented(&hello::hello(Some(HOST), &[(0x1234, vec![0; 15_500])]), 24);
    let (begun, last) = whole.split_at(whole.len() - 1);
    let before = ALLOCATOR.allocated();
    let mut clients = Vec::new();
    for _ in 0..TUNNELS / AT_ONCE {
        let half = async |_| {
            let mut client = TcpStream::connect(gateway.transparent).await.unwrap();
            client.write_all(begun).await.unwrap();
            client
        };
        clients.extend(join_all((0..AT_ONCE).map(half)).await);
    }
    let started = Instant::now();
    while unread(gateway.transparent.port()) != (clients.len(), 0) {
        assert!(started.elapsed() < Duration::from_mins(1), "the gateway does not read");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let of_one = ALLOCATOR.allocated().saturating_sub(before) / clients.len();
    assert!(of_one > begun.len(), "{of_one} bytes: what was sent is kept");
    assert!(of_one < BOUND_OF_HELLO, "half a hello holds {of_one} bytes");
    assert_eq!(gateway.connect().await.0, 503, "they have all places");
    for client in clients.iter_mut().step_by(100) {
        client.write_all(last).await.unwrap();
        let mut answer = vec![0; whole.len()];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, whole);
    }
}
