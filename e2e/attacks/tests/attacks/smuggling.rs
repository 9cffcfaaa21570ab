//! Requests inside of requests. The negative control is a gateway that passes bytes on, in front of the same server.

use crate::stage::{ALLOWED, BRIEFLY, FORBIDDEN, SETTLE, only_allowed, strict, strike, strike_within};
use sallyport_attacks::{Beliefs, Careless, CarelessGateway, Connection, Era, Framing, Message, Post};
use sallyport_loopback::Sidecar;
use serde_json::json;
use std::time::Duration;

fn call(tool: &str) -> Post {
    Post::of(Era::Legacy, &Message::call(Era::Legacy, tool, &json!({})))
}

/// What is to be smuggled: a whole request.
fn hidden() -> Vec<u8> {
    call(FORBIDDEN).bytes()
}

/// The body of a harmless call.
fn body() -> String {
    Message::call(Era::Legacy, ALLOWED, &json!({})).text()
}

/// A harmless request with the header lines, its body cut as `framed` says, and then the hidden one.
fn smuggle(lines: &[&str], framed: &str) -> Vec<u8> {
    let mut post = Post::bare(vec![]).header("MCP-Protocol-Version", "2025-11-25");
    for line in lines {
        post = post.line(line);
    }
    [post.unframed(), framed.as_bytes().to_vec(), hidden()].concat()
}

fn chunked(body: &str) -> String {
    format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
}

/// Those that work where `Transfer-Encoding` wins.
fn chunked_attacks() -> Vec<(&'static str, Vec<u8>)> {
    let body = body();
    let length = |extra: usize| format!("Content-Length: {}", chunked(&body).len() + extra);
    let all = length(hidden().len());
    let te = "Transfer-Encoding: chunked";
    vec![
        ("length covers it, chunks do not", smuggle(&[&all, te], &chunked(&body))),
        ("the other order", smuggle(&[te, &all], &chunked(&body))),
        (
            "xchunked",
            smuggle(&[&all, "Transfer-Encoding: xchunked"], &chunked(&body)),
        ),
        (
            "identity, chunked",
            smuggle(&[&all, "Transfer-Encoding: identity, chunked"], &chunked(&body)),
        ),
        (
            "chunked, identity",
            smuggle(&[&all, "Transfer-Encoding: chunked, identity"], &chunked(&body)),
        ),
        (
            "space before the colon",
            smuggle(&[&all, "Transfer-Encoding : chunked"], &chunked(&body)),
        ),
        ("tab", smuggle(&[&all, "Transfer-Encoding:\tchunked"], &chunked(&body))),
        (
            "vertical tab",
            smuggle(&[&all, "Transfer-Encoding: \x0bchunked"], &chunked(&body)),
        ),
        (
            "twice",
            smuggle(&[&all, te, "Transfer-Encoding: identity"], &chunked(&body)),
        ),
        (
            "folded",
            smuggle(&[&all, "X: x\r\n Transfer-Encoding: chunked"], &chunked(&body)),
        ),
        (
            "bare line feed",
            smuggle(&[&all, "X: x\nTransfer-Encoding: chunked"], &chunked(&body)),
        ),
        (
            "bare carriage return",
            smuggle(&[&all, "X: x\rTransfer-Encoding: chunked"], &chunked(&body)),
        ),
        (
            "NUL",
            smuggle(&[&all, "X: x\0\nTransfer-Encoding: chunked"], &chunked(&body)),
        ),
        ("HTTP/1.0", {
            let bytes = smuggle(&[&all, te], &chunked(&body));
            String::from_utf8(bytes)
                .unwrap()
                .replacen("HTTP/1.1", "HTTP/1.0", 1)
                .into_bytes()
        }),
        ("0x size", smuggle(&[te], &format!("0x{}", chunked(&body)))),
        ("size with a sign", smuggle(&[te], &format!("+{}", chunked(&body)))),
        ("size with a space", smuggle(&[te], &format!(" {}", chunked(&body)))),
        (
            "huge size",
            smuggle(
                &[te],
                &format!("{:x}\r\n{body}\r\nfffffffffffffffff\r\n\r\n", body.len()),
            ),
        ),
        (
            "bare line feeds in chunks",
            smuggle(&[te], &format!("{:x}\n{body}\n0\n\n", body.len())),
        ),
        (
            "extension with a line feed",
            smuggle(&[te], &format!("{:x};a\nb\r\n{body}\r\n0\r\n\r\n", body.len())),
        ),
        (
            "trailer",
            smuggle(
                &[te],
                &format!("{:x}\r\n{body}\r\n0\r\nContent-Length: 9\r\n\r\n", body.len()),
            ),
        ),
        (
            "upgrade",
            smuggle(
                &[
                    &length(0),
                    "Connection: Upgrade, HTTP2-Settings",
                    "Upgrade: h2c",
                    "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
                ],
                &chunked(&body),
            ),
        ),
    ]
}

/// Those that work where `Content-Length` wins.
fn length_attacks() -> Vec<(&'static str, Vec<u8>)> {
    let body = body();
    let exact = format!("Content-Length: {}", body.len());
    let all = format!("Content-Length: {}", body.len() + hidden().len());
    let signed = format!("Content-Length: +{}", body.len());
    let list = format!("Content-Length: {0}, {0}", body.len());
    vec![
        ("two lengths", smuggle(&[&exact, &all], &body)),
        ("length with a sign", smuggle(&[&signed], &body)),
        (
            "length and chunks",
            smuggle(&[&exact, "Transfer-Encoding: chunked"], &body),
        ),
        ("list of lengths", smuggle(&[&list], &body)),
        (
            "length after a bare line feed",
            smuggle(&[&format!("X: x\n{exact}")], &body),
        ),
    ]
}

/// Whether a request to the server is harmless: nothing but whole calls of the allowed tool.
async fn holds(framing: Framing, attacks: Vec<(&'static str, Vec<u8>)>) {
    let beliefs = Beliefs {
        framing,
        ..Beliefs::default()
    };
    let mut wrong = vec![];
    let mut proven = 0;
    let guarded = Careless::start(beliefs).await.unwrap();
    let sidecar = Sidecar::start(&strict(guarded.address())).await.unwrap();
    for (name, bytes) in attacks {
        let alone = Careless::start(beliefs).await.unwrap();
        let gateway = CarelessGateway::start(alone.address(), FORBIDDEN).await.unwrap();
        strike_within(gateway.address(), &bytes, BRIEFLY).await;
        if alone.runs(FORBIDDEN, 0).await {
            proven += 1;
        } else {
            wrong.push(format!("{name}: no attack: {:?}", alone.ran()));
        }
        let before = guarded.received().len();
        let answer = strike_within(sidecar.address(), &bytes, BRIEFLY).await;
        let received = String::from_utf8_lossy(&guarded.received()[before..]).into_owned();
        if !only_allowed(&guarded.ran()) || received.contains(FORBIDDEN) {
            wrong.push(format!("{name}: came through: {answer:?}\n{received}"));
        }
        if received.to_ascii_lowercase().contains("upgrade:") || received.contains("HTTP2-Settings") {
            wrong.push(format!("{name}: hop-by-hop headers came through:\n{received}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(proven > 0);
}

#[tokio::test]
async fn nothing_is_smuggled_past_chunks() {
    holds(Framing::Chunked, chunked_attacks()).await;
}

#[tokio::test]
async fn nothing_is_smuggled_past_a_length() {
    holds(Framing::Length, length_attacks()).await;
}

#[tokio::test]
async fn pipelined_requests_are_decided_one_by_one() {
    let guarded = Careless::start(Beliefs::default()).await.unwrap();
    let sidecar = Sidecar::start(&strict(guarded.address())).await.unwrap();
    let mut connection = Connection::open(sidecar.address()).await.unwrap();
    connection
        .send(&[call(ALLOWED).bytes(), hidden(), call(ALLOWED).bytes()].concat())
        .await;
    let bodies: Vec<String> = [
        connection.answer().await.unwrap().body,
        connection.answer().await.unwrap().body,
        connection.answer().await.unwrap().body,
    ]
    .into();
    assert!(
        bodies[0].contains("result") && bodies[2].contains("result"),
        "{bodies:?}"
    );
    assert!(bodies[1].contains("error"), "{bodies:?}");
    assert_eq!(guarded.ran(), [ALLOWED, ALLOWED]);
}

#[tokio::test]
async fn other_protocols_are_not_spoken() {
    let guarded = Careless::start(Beliefs::default()).await.unwrap();
    let sidecar = Sidecar::start(&strict(guarded.address())).await.unwrap();
    let settled = guarded.received().len();
    for bytes in [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"[..],
        b"GET /mcp\r\n\r\n",
        b"CONNECT 127.0.0.1:80 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"TRACE /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
    ] {
        let answer = strike_within(sidecar.address(), bytes, BRIEFLY).await;
        assert!(answer.as_ref().is_none_or(|answer| answer.status >= 400), "{answer:?}");
    }
    tokio::time::sleep(SETTLE).await;
    let received = String::from_utf8_lossy(&guarded.received()[settled..]).into_owned();
    for method in ["PRI", "CONNECT", "OPTIONS", "TRACE"] {
        assert!(!received.contains(method), "{received}");
    }
}

#[tokio::test]
async fn the_servers_own_headers_are_not_to_be_set_from_outside() {
    let guarded = Careless::start(Beliefs::default()).await.unwrap();
    let sidecar = Sidecar::start(&strict(guarded.address())).await.unwrap();
    let post = call(ALLOWED)
        .header("X-Forwarded-For", "10.0.0.1")
        .header("Forwarded", "for=10.0.0.1")
        .header("X-Real-IP", "10.0.0.1")
        .header("Cookie", "session=evil")
        .header("Connection", "close, X-Hop")
        .header("X-Hop", "evil")
        .header("Proxy-Authorization", "Basic evil");
    let answer = strike(sidecar.address(), &post.bytes()).await.unwrap();
    assert!(answer.is_success(), "{answer:?}");
    let received = String::from_utf8_lossy(&guarded.received()).to_ascii_lowercase();
    for secret in ["10.0.0.1", "evil", "forwarded", "cookie"] {
        assert!(!received.contains(secret), "{secret}: {received}");
    }
    // The time that an upgrade would take to be agreed on is over.
    tokio::time::sleep(Duration::from_millis(10)).await;
}
