//! The largest message that an endpoint can be made to take, in the worst forms: what it becomes in memory stays bounded.

// Helpers of tests may panic as tests do.
#![allow(clippy::unwrap_used, clippy::unwrap_in_result, clippy::panic)]

use cap::Cap;
use sallyport_policy::authorization::Authorization;
use sallyport_policy::enforcement::{Enforcement, EnforcementMode, KubernetesApi};
use sallyport_policy::{EndpointIdentity, Limits, Listen, PolicyFile, Upstream};
use sallyport_sidecar::{Place, Sidecar};
use std::alloc::System;
use std::fmt::Write as _;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// The largest `limits.bodyBytes` that there is.
const LARGEST: usize = 16 << 20;

/// What is left of the memory for all else: the stacks of threads, keys, tools. The program's code is its file's.
const ALL_ELSE: u64 = 7 << 20;

const BEGINNING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"a":"#;
const END: &str = "}}}";

/// A call of [`LARGEST`] bytes at most, with an array of `item`s.
fn array(item: &str) -> String {
    let mut call = String::with_capacity(LARGEST);
    let count = (LARGEST - BEGINNING.len() - END.len() - 1) / (item.len() + 1);
    call.push_str(BEGINNING);
    for number in 0..count {
        call.push(if number == 0 { '[' } else { ',' });
        call.push_str(item);
    }
    call.push(']');
    call + END
}

/// The same with an object.
fn object() -> String {
    let mut call = String::with_capacity(LARGEST);
    call.push_str(BEGINNING);
    for number in 0..(LARGEST - BEGINNING.len() - END.len() - 1) / 11 {
        call.push(if number == 0 { '{' } else { ',' });
        write!(call, "\"{number:06x}\":0").unwrap();
    }
    call.push('}');
    call + END
}

/// The same with one long string, that has an escape at its beginning.
fn string() -> String {
    let mut call = String::with_capacity(LARGEST);
    call.push_str(BEGINNING);
    call.push_str("\"\\n");
    while call.len() < LARGEST - END.len() - 1 {
        call.push('x');
    }
    call.push('"');
    call + END
}

async fn send(at: SocketAddr, call: &str) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n",
        call.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(call.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

// One test: the allocator counts what all of this process take.
#[tokio::test]
async fn the_largest_message_there_is_fits_the_memory_that_is_reckoned_with() {
    let endpoint = EndpointIdentity {
        namespace: "team-a".into(),
        name: "demo".into(),
        uid: "uid-1".into(),
    };
    let limits = Limits {
        body_bytes: LARGEST as u64,
        ..Limits::default()
    };
    let bound = Limits::BASE_BYTES + 2 * limits.buffer_bytes - ALL_ELSE;
    let policy = PolicyFile {
        hosts: vec!["127.0.0.1".into()],
        // Nothing is forwarded: what is measured is how far a caller without any right gets.
        authorization: Authorization::default(),
        limits,
        enforcement: Enforcement {
            mode: EnforcementMode::Warn,
            wait_seconds: 1,
            canaries: vec![],
            kubernetes_api: KubernetesApi::Forbidden,
        },
        ..PolicyFile::open(endpoint, Listen::new(0, 0), Upstream::port(1, "/mcp"))
    };
    let sidecar = Sidecar::bind(policy, Place::default(), std::io::sink()).await.unwrap();
    let at = SocketAddr::from(([127, 0, 0, 1], sidecar.traffic_address().port()));
    tokio::spawn(sidecar.serve(std::future::pending()));
    let calls = [
        ("numbers", array("0"), "too many values"),
        ("arrays", array("[0]"), "too many values"),
        ("objects", array(r#"{"a":0}"#), "too many values"),
        ("keys", object(), "too many members"),
        ("a string", string(), "Unknown tool"),
    ];
    for (shape, call, said) in &calls {
        let before = ALLOCATOR.allocated();
        let answer = send(at, call).await;
        assert!(answer.contains(said), "{shape}: {answer}");
        // The most since the beginning, so at least the most since then.
        let taken = (ALLOCATOR.max_allocated() - before) as u64;
        println!("{shape}: {taken} of {bound}");
        assert!(taken <= bound, "{shape}: {taken} of {bound}");
    }
}
