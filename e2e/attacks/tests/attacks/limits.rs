//! Too much at once: of bytes, of calls.

use crate::stage::{ALLOWED, FORBIDDEN, strict, strike};
use sallyport_attacks::{Beliefs, Careless, Connection, Era, Message, Post};
use sallyport_fixture::{Options, Server, own};
use sallyport_loopback::{Profile, Sidecar};
use serde_json::json;

const LIMIT: usize = 64 * 1024;

#[tokio::test]
async fn a_body_over_the_limit_is_refused_however_its_length_is_told() {
    let alone = Careless::start(Beliefs::default()).await.unwrap();
    let guarded = Careless::start(Beliefs::default()).await.unwrap();
    let profile = strict(guarded.address()).with(&json!({"limits": {"bodyBytes": LIMIT}}));
    let sidecar = Sidecar::start(&profile).await.unwrap();
    let big = Message::call(Era::Legacy, ALLOWED, &json!({"text": "x".repeat(LIMIT)})).text();
    let chunks = format!("{:x}\r\n{big}\r\n0\r\n\r\n", big.len());
    let told = Post::bare(big.clone())
        .header("MCP-Protocol-Version", "2025-11-25")
        .bytes();
    let chunked = Post::bare(chunks).header("MCP-Protocol-Version", "2025-11-25");
    let chunked = chunked.header("Transfer-Encoding", "chunked").unframed();
    for bytes in [told, chunked] {
        assert!(
            strike(alone.address(), &bytes)
                .await
                .is_some_and(|answer| answer.is_success()),
            "no attack"
        );
        let answer = strike(sidecar.address(), &bytes).await.unwrap();
        assert_eq!(answer.status, 413, "{answer:?}");
    }
    assert!(guarded.ran().is_empty());
    // A length that is only announced costs nothing, either.
    let mut connection = Connection::open(sidecar.address()).await.unwrap();
    let announced = Post::bare(vec![])
        .header("Content-Length", "99999999999")
        .header("Expect", "100-continue");
    connection.send(&announced.unframed()).await;
    assert_eq!(connection.answer().await.unwrap().status, 413);
}

#[tokio::test]
async fn heads_without_end_are_refused() {
    let guarded = Careless::start(Beliefs::default()).await.unwrap();
    let sidecar = Sidecar::start(&strict(guarded.address())).await.unwrap();
    let post = || Post::of(Era::Legacy, &Message::call(Era::Legacy, ALLOWED, &json!({})));
    let many = (0..2000).fold(post(), |post, number| post.header(&format!("X-{number}"), "x"));
    let long = post().header("X-Long", &"x".repeat(1 << 20));
    let target = post().target(&format!("POST /mcp?{} HTTP/1.1", "x".repeat(1 << 20)));
    for (name, attack) in [("many", many), ("long", long), ("target", target)] {
        let answer = strike(sidecar.address(), &attack.bytes()).await;
        assert!(
            answer
                .as_ref()
                .is_none_or(|answer| matches!(answer.status, 400 | 414 | 431)),
            "{name}: {answer:?}"
        );
    }
    assert!(guarded.ran().is_empty());
    assert!(
        strike(sidecar.address(), &post().bytes())
            .await
            .is_some_and(|answer| answer.is_success())
    );
}

#[tokio::test]
async fn a_tool_is_called_no_oftener_than_its_rate() {
    let server = Server::start(Options::default()).await.unwrap();
    let rate = json!({"requests": 1, "seconds": 3600, "burst": 3});
    let profile = Profile::closed(server.address())
        .unwrap()
        .unhurried()
        .open()
        .with(&json!({
            "limits": {"rates": {"tools": [{"tool": own::ECHO, "rate": rate}]}},
        }));
    let sidecar = Sidecar::start(&profile).await.unwrap();
    let call = Post::of(
        Era::Modern,
        &Message::call(Era::Modern, own::ECHO, &json!({"text": "x"})),
    );
    for _ in 0..20 {
        let direct = call.send(server.address()).await.unwrap();
        assert!(direct.is_success(), "no attack: {direct:?}");
    }
    let mut limited = 0;
    for _ in 0..20 {
        let answer = call.send(sidecar.address()).await.unwrap();
        if answer.message()["error"]["code"] == -31029 {
            limited += 1;
            assert!(answer.header("retry-after").is_some(), "{answer:?}");
        }
    }
    assert_eq!((limited, server.calls().of(own::ECHO).len()), (17, 23));
    // Whoever asks whether this is the modern era is always told.
    for _ in 0..20 {
        let discover = Message::request(Era::Modern, "server/discover", &json!({}));
        let answer = Post::of(Era::Modern, &discover).send(sidecar.address()).await.unwrap();
        assert!(answer.is_success(), "{answer:?}");
    }
}

#[tokio::test]
async fn an_unknown_method_is_not_passed_on() {
    let guarded = Careless::start(Beliefs::default()).await.unwrap();
    let sidecar = Sidecar::start(&strict(guarded.address())).await.unwrap();
    let before = guarded.received().len();
    for method in [
        "tools/call2",
        "Tools/Call",
        "tools/call ",
        "admin/reset",
        "skills/list",
        "rpc.discover",
        "$/cancel",
    ] {
        for era in [Era::Legacy, Era::Modern] {
            let message = Message::request(era, method, &json!({"name": FORBIDDEN}));
            let post = Post::of(era, &message).replace("Mcp-Name", None);
            let post = post.replace("Mcp-Method", (era == Era::Modern).then_some(method));
            let answer = post.send(sidecar.address()).await.unwrap();
            let code = &answer.message()["error"]["code"];
            assert!(
                *code == -32601 || (method.ends_with(' ') && answer.status == 400),
                "{era:?} {method:?}: {answer:?}"
            );
        }
    }
    let late = String::from_utf8_lossy(&guarded.received()[before..]).into_owned();
    assert!(!late.contains(FORBIDDEN), "{late}");
}
