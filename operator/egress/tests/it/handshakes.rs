//! TLS handshakes: what a tunnel may begin with. The same bytes pass in mode `Audit`, so it is the gateway that refuses.

use super::support::{ALLOWED, GREETING, Host, Lab, OTHER, fragmented, hello, hello_for, record};
use pretty_assertions::assert_eq;
use sallyport_policy::egress::EgressMode;
use serde_json::json;

/// A fatal alert `access_denied`.
const ALERT: &[u8] = &[21, 3, 3, 0, 2, 2, 49];

/// A tunnel's first bytes that are refused, and why.
fn refused() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let two_names = {
        let entry = |name: &str| [&[0, 0, u8::try_from(name.len()).unwrap()], name.as_bytes()].concat();
        let list = [entry(ALLOWED), entry(OTHER)].concat();
        [&u16::try_from(list.len()).unwrap().to_be_bytes(), list.as_slice()].concat()
    };
    let mut trailing = hello(Some(ALLOWED), &[]);
    trailing.push(0);
    let mut long = hello(Some(ALLOWED), &[]);
    long[1] = 1;
    let mut cut = hello(Some(ALLOWED), &[]);
    cut.truncate(60);
    let length = u32::try_from(cut.len() - 4).unwrap().to_be_bytes();
    cut[1..4].copy_from_slice(&length[1..]);
    vec![
        ("another name", hello_for(OTHER), "server_name_mismatch"),
        ("a name below", hello_for("x.api.example.com"), "server_name_mismatch"),
        (
            "another name in fragments",
            fragmented(&hello(Some(OTHER), &[]), 1),
            "server_name_mismatch",
        ),
        ("no name", record(&hello(None, &[])), "no_server_name"),
        ("an address", hello_for("9.9.9.9"), "bad_server_name"),
        ("a trailing dot", hello_for("api.example.com."), "bad_server_name"),
        ("an empty name", hello_for(""), "bad_server_name"),
        (
            "a name with a zero byte",
            hello_for("api.example.com\0.evil.test"),
            "bad_server_name",
        ),
        ("two names", record(&hello(None, &[(0, two_names)])), "hello_malformed"),
        (
            "two name extensions",
            record(&hello(Some(ALLOWED), &[(0, vec![0, 0])])),
            "hello_malformed",
        ),
        (
            "an encrypted hello",
            record(&hello(Some(ALLOWED), &[(0xfe0d, vec![0; 40])])),
            "encrypted_client_hello",
        ),
        (
            "its predecessor",
            record(&hello(Some(ALLOWED), &[(0xffce, vec![0; 40])])),
            "encrypted_client_hello",
        ),
        (
            "more after the hello in its record",
            record(&trailing),
            "hello_malformed",
        ),
        ("a hello that ends early", record(&cut), "hello_malformed"),
        ("a hello that says it is huge", record(&long), "hello_too_long"),
        (
            "an empty record",
            [&[22, 3, 1, 0, 0], hello_for(ALLOWED).as_slice()].concat(),
            "hello_malformed",
        ),
        (
            "an alert first",
            [ALERT, hello_for(ALLOWED).as_slice()].concat(),
            "hello_malformed",
        ),
        ("another message", record(&[2, 0, 0, 1, 0]), "hello_malformed"),
        (
            "plain HTTP",
            b"GET / HTTP/1.1\r\nhost: evil.test\r\n\r\n".to_vec(),
            "not_tls",
        ),
        ("SSH", b"SSH-2.0-OpenSSH_9.9\r\n".to_vec(), "not_tls"),
        ("SSL 2", vec![0x80, 0x2e, 1, 0, 2], "not_tls"),
        ("another major version", vec![22, 2, 0, 0, 4, 1, 0, 0, 0], "not_tls"),
        ("nothing", vec![], "hello_timed_out"),
        ("half a hello", hello_for(ALLOWED)[..40].to_vec(), "hello_timed_out"),
    ]
}

#[tokio::test]
async fn a_tunnel_that_begins_otherwise_than_with_a_hello_for_its_host_is_refused() {
    for (what, bytes, reason) in refused() {
        let lab = Lab::start().await;
        let host = lab.host().await;
        let mut client = lab.tunnel("api.example.com:443").await;
        client.send(&bytes).await;
        assert_eq!(client.rest().await, ALERT, "{what}");
        let event = lab.refusal().await;
        assert_eq!(
            (&event["event"], &event["reason"]),
            (&json!("refused"), &json!(reason)),
            "{what}"
        );
        assert_eq!(host.text(), "", "{what}: the host got nothing");
    }
}

#[tokio::test]
async fn in_audit_mode_the_same_bytes_reach_the_host() {
    for (what, bytes, reason) in refused() {
        let lab = Lab::with(|file| file.mode = EgressMode::Audit).await;
        let host = lab.host().await;
        let mut client = lab.tunnel("api.example.com:443").await;
        client.send(&bytes).await;
        if !bytes.is_empty() {
            client.expect(GREETING).await;
        }
        let event = lab.events.wait(1).await.remove(0);
        assert_eq!(
            (&event["event"], &event["decision"], &event["reason"]),
            (&json!("open"), &json!("would_deny"), &json!(reason)),
            "{what}"
        );
        assert_eq!(host.received().concat(), bytes, "{what}");
    }
}

#[tokio::test]
async fn a_hello_passes_in_whatever_pieces_it_comes() {
    let message = hello(Some(ALLOWED), &[]);
    let large = hello(Some(ALLOWED), &[(0xfafa, vec![0; 5000])]);
    for (what, bytes) in [
        ("whole", record(&message)),
        ("in records of one byte", fragmented(&message, 1)),
        ("in records of seven bytes", fragmented(&message, 7)),
        ("with a name in upper case", hello_for("API.example.COM")),
        ("with a large key share", fragmented(&large, 1400)),
        (
            "with early data after it",
            [hello_for(ALLOWED), b"\x17\x03\x03\x00\x03abc".to_vec()].concat(),
        ),
    ] {
        let lab = Lab::start().await;
        let host = lab.host().await;
        let mut client = lab.tunnel("api.example.com:443").await;
        for piece in bytes.chunks(11) {
            client.send(piece).await;
            tokio::task::yield_now().await;
        }
        client.expect(GREETING).await;
        client.half_close().await;
        client.rest().await;
        assert_eq!(host.received(), [bytes], "{what}");
    }
}

#[tokio::test]
async fn a_hello_that_comes_with_the_request_passes() {
    let lab = Lab::start().await;
    lab.host().await;
    let mut client = lab.client().await;
    client
        .send(
            &[
                b"CONNECT api.example.com:443 HTTP/1.1\r\n\r\n",
                hello_for(ALLOWED).as_slice(),
            ]
            .concat(),
        )
        .await;
    assert_eq!(client.answer().await.status, 200);
    client.expect(GREETING).await;
}

/// A ServerHello that asks for another ClientHello.
fn retry() -> Vec<u8> {
    let random = [
        0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2,
        0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
    ];
    record(&[&[2, 0, 0, 38, 3, 3], random.as_slice(), &[0, 0x13, 1, 0]].concat())
}

#[tokio::test]
async fn a_second_hello_must_name_the_same_host() {
    const CHANGE_CIPHER_SPEC: &[u8] = &[20, 3, 3, 0, 1, 1];
    let second = |name| [CHANGE_CIPHER_SPEC, fragmented(&hello(Some(name), &[]), 130).as_slice()].concat();
    for (mode, name, passes) in [
        (EgressMode::Enforce, ALLOWED, true),
        (EgressMode::Enforce, OTHER, false),
        (EgressMode::Audit, OTHER, true),
    ] {
        let lab = Lab::with(|file| file.mode = mode).await;
        let host = Host::answering(retry()).await;
        lab.network.lead("9.9.9.9", 443, host.address());
        let mut client = lab.tunnel("api.example.com:443").await;
        client.send(&hello_for(ALLOWED)).await;
        client.expect(&retry()).await;
        client.send(&second(name)).await;
        client.half_close().await;
        client.rest().await;
        let got = host.text();
        assert_eq!(
            got.matches(name).count(),
            usize::from(passes) + usize::from(name == ALLOWED),
            "{mode:?} {name}"
        );
        let end = lab.events.wait(2).await[1]["end"].clone();
        assert_eq!(
            end,
            if passes { "completed" } else { "handshake_refused" },
            "{mode:?} {name}"
        );
    }
}

#[tokio::test]
async fn a_second_hello_that_is_sent_ahead_waits_for_the_answer() {
    let lab = Lab::start().await;
    let host = Host::answering(retry()).await;
    lab.network.lead("9.9.9.9", 443, host.address());
    let mut client = lab.tunnel("api.example.com:443").await;
    client.send(&[hello_for(ALLOWED), hello_for(OTHER)].concat()).await;
    client.rest().await;
    assert_eq!(lab.events.wait(2).await[1]["end"], "handshake_refused");
    assert!(!host.text().contains(OTHER));
}
