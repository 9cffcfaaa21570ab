//! A page in a browser calls a server that its own name now points to.

use crate::stage::{ALLOWED, only_allowed, strict, strike};
use sallyport_attacks::{Beliefs, Careless, Era, Message, Post};
use sallyport_loopback::Sidecar;
use serde_json::json;

const ORIGIN: &str = "https://app.example";

fn call() -> Post {
    Post::of(Era::Legacy, &Message::call(Era::Legacy, ALLOWED, &json!({})))
}

fn with_host(host: &str) -> Post {
    call().replace("Host", Some(host))
}

fn with_origin(origin: &str) -> Post {
    call().header("Origin", origin)
}

#[tokio::test]
async fn foreign_names_and_origins_reach_nothing() {
    let alone = Careless::start(Beliefs::default()).await.unwrap();
    let guarded = Careless::start(Beliefs::default()).await.unwrap();
    let profile = strict(guarded.address()).with(&json!({"origins": [ORIGIN]}));
    let sidecar = Sidecar::start(&profile).await.unwrap();
    let before = guarded.ran().len();
    let attacks = [
        ("host", with_host("evil.example.com")),
        (
            "host with the port",
            with_host(&format!("evil.example.com:{}", sidecar.address().port())),
        ),
        ("host that begins right", with_host("127.0.0.1.evil.example.com")),
        ("host that ends right", with_host("evil.localhost")),
        ("user in the host", with_host("127.0.0.1@evil.example.com")),
        ("user before the host", with_host("evil@127.0.0.1")),
        ("no host", call().replace("Host", None)),
        ("empty host", with_host("")),
        ("two hosts", call().header("Host", "evil.example.com")),
        (
            "two hosts, the other order",
            with_host("evil.example.com").header("Host", "127.0.0.1"),
        ),
        (
            "host in the target",
            call().target("POST http://evil.example.com/mcp HTTP/1.1"),
        ),
        ("origin", with_origin("http://evil.example.com")),
        ("null origin", with_origin("null")),
        ("origin in plain HTTP", with_origin("http://app.example")),
        ("origin with a port", with_origin("https://app.example:8443")),
        ("origin that begins right", with_origin("https://app.example.evil.com")),
        ("origin that ends right", with_origin("https://evil-app.example")),
        ("user in the origin", with_origin("https://app.example@evil.com")),
        (
            "two origins",
            with_origin(ORIGIN).header("Origin", "http://evil.example.com"),
        ),
        (
            "list of origins",
            with_origin(&format!("{ORIGIN} http://evil.example.com")),
        ),
        ("empty origin", with_origin("")),
    ];
    let mut wrong = vec![];
    for (name, post) in &attacks {
        let controlled = strike(alone.address(), &post.bytes()).await;
        if !controlled.is_some_and(|answer| answer.is_success()) {
            wrong.push(format!("{name}: no attack: the server alone refuses it"));
        }
        let answer = strike(sidecar.address(), &post.bytes()).await;
        let refused = answer
            .as_ref()
            .is_some_and(|answer| (400..500).contains(&answer.status));
        if !refused || guarded.ran().len() > before {
            wrong.push(format!("{name}: {answer:?}, ran {:?}", guarded.ran()));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    for good in [call(), with_host("LOCALHOST"), with_origin(ORIGIN)] {
        let answer = strike(sidecar.address(), &good.bytes()).await;
        assert!(
            answer.as_ref().is_some_and(sallyport_attacks::Answer::is_success),
            "{answer:?}"
        );
    }
    assert!(only_allowed(&guarded.ran()));
}

/// What a rebinding page would read first: the metadata and the error must not let it.
#[tokio::test]
async fn a_foreign_origin_is_not_told_that_it_may_read_the_answer() {
    let guarded = Careless::start(Beliefs::default()).await.unwrap();
    let sidecar = Sidecar::start(&strict(guarded.address())).await.unwrap();
    let answer = strike(sidecar.address(), &with_origin("http://evil.example.com").bytes())
        .await
        .unwrap();
    assert_eq!(answer.status, 403);
    assert_eq!(answer.header("access-control-allow-origin"), None);
    let preflight = Post::bare(vec![])
        .target("OPTIONS /mcp HTTP/1.1")
        .header("Origin", "http://evil.example.com")
        .header("Access-Control-Request-Method", "POST");
    let answer = strike(sidecar.address(), &preflight.unframed()).await.unwrap();
    assert!(
        answer.status >= 400 && answer.header("access-control-allow-origin").is_none(),
        "{answer:?}"
    );
}
