//! Tunnels: what passes, what is said about it, what never begins.

use super::support::{ALLOWED, Client, GREETING, Host, Lab, OTHER, OTHER_IP, hello_for};
use pretty_assertions::assert_eq;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::crypto::ring::kx_group::{SECP256R1, X25519};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme, StreamOwned};
use serde_json::json;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

#[tokio::test]
async fn a_tunnel_to_an_allowed_host_carries_bytes_and_is_recorded_at_open_and_close() {
    let lab = Lab::start().await;
    let host = lab.host().await;
    let mut client = lab.tunnel("api.example.com:443").await;
    let hello = hello_for(ALLOWED);
    client.send(&hello).await;
    client.expect(GREETING).await;
    client.send(b"ping").await;
    client.expect(b"ping").await;
    client.half_close().await;
    assert_eq!(client.rest().await, b"bye");
    assert_eq!(host.received(), [[hello.as_slice(), b"ping"].concat()]);
    assert_eq!(lab.network.dialled(), ["9.9.9.9:443"]);

    let events = lab.events.wait(2).await;
    let open = &events[0];
    assert_eq!(
        (&open["event"], &open["via"], &open["decision"]),
        (&json!("open"), &json!("connect"), &json!("allowed"))
    );
    assert_eq!(
        open["endpoint"],
        json!({"namespace": "team-a", "name": "demo", "uid": "uid-1"})
    );
    assert_eq!((&open["host"], &open["port"]), (&json!(ALLOWED), &json!(443)));
    assert_eq!(
        (&open["address"], &open["clientIp"]),
        (&json!("9.9.9.9"), &json!("127.0.0.1"))
    );
    assert_eq!(open["rule"], json!("api.example.com:80,443"));
    let close = &events[1];
    assert_eq!((&close["event"], &close["end"]), (&json!("close"), &json!("completed")));
    assert_eq!(close["connectionId"], open["connectionId"]);
    assert_eq!(close["bytesSent"], json!(hello.len() + 4));
    assert_eq!(close["bytesReceived"], json!(GREETING.len() + 4 + 3));
    assert!(close["durationMs"].is_u64());
}

#[tokio::test]
async fn what_no_rule_allows_is_refused_before_its_name_is_asked_for() {
    for (authority, reason) in [
        ("evil.test:443", "host_not_allowed"),
        ("sub.api.example.com:443", "host_not_allowed"),
        ("wild.example:443", "host_not_allowed"),
        ("api.example.com:22", "port_not_allowed"),
    ] {
        let lab = Lab::start().await;
        lab.host_at(OTHER_IP, 443).await;
        let answer = lab.client().await.connect(authority).await;
        assert_eq!((answer.status, answer.reason()), (403, Some(reason)), "{authority}");
        let event = lab.refusal().await;
        assert_eq!(
            (&event["event"], &event["decision"]),
            (&json!("refused"), &json!("denied"))
        );
        assert_eq!(event["reason"], json!(reason));
        assert_eq!(
            format!("{}:{}", event["host"].as_str().unwrap(), event["port"]),
            authority
        );
        assert_eq!(lab.dns.queries(OTHER), 0);
        assert_eq!(lab.network.dialled(), [""; 0]);
        assert!(lab.network.reaches(OTHER_IP, 443).await, "the network would lead there");
    }
}

#[tokio::test]
async fn what_is_no_proxy_request_for_a_host_name_is_refused_and_recorded() {
    for (request, status, reason) in [
        ("CONNECT 9.9.9.9:443 HTTP/1.1\r\n\r\n", 403, "host_is_address"),
        ("CONNECT [2606:4700::1111]:443 HTTP/1.1\r\n\r\n", 403, "host_is_address"),
        ("CONNECT 0x7f000001:443 HTTP/1.1\r\n\r\n", 403, "host_is_address"),
        ("CONNECT localhost:443 HTTP/1.1\r\n\r\n", 403, "bad_host"),
        ("CONNECT api.example.com HTTP/1.1\r\n\r\n", 400, "bad_port"),
        (
            "CONNECT api.example.com:443 HTTP/1.1\r\nhost: evil.test:443\r\n\r\n",
            400,
            "host_header_mismatch",
        ),
        ("GET / HTTP/1.1\r\nhost: api.example.com\r\n\r\n", 400, "not_for_proxy"),
        (
            "GET https://api.example.com/ HTTP/1.1\r\nhost: api.example.com\r\n\r\n",
            400,
            "bad_scheme",
        ),
    ] {
        let lab = Lab::start().await;
        let answer = lab.client().await.ask(request).await;
        assert_eq!((answer.status, answer.reason()), (status, Some(reason)), "{request}");
        assert_eq!(lab.refusal().await["reason"], json!(reason));
        assert_eq!(lab.network.dialled(), [""; 0]);
    }
}

#[tokio::test]
async fn names_below_a_wildcard_are_reached_however_they_are_written() {
    let lab = Lab::start().await;
    lab.host().await;
    for (written, canonical) in [
        ("A.Wild.Example", "a.wild.example"),
        ("b.c.wild.example.", "b.c.wild.example"),
    ] {
        lab.dns.set(canonical, [super::support::a("9.9.9.9")]);
        let mut client = lab.tunnel(&format!("{written}:443")).await;
        client.send(&hello_for(canonical)).await;
        client.expect(GREETING).await;
    }
}

#[tokio::test]
async fn each_side_may_close_alone_and_the_other_goes_on() {
    let lab = Lab::start().await;
    let host = lab.host().await;
    // The client first: its last bytes arrive, and the host's answer to them comes back.
    let mut client = lab.tunnel("api.example.com:443").await;
    client.send(&hello_for(ALLOWED)).await;
    client.expect(GREETING).await;
    client.send(b"last").await;
    client.half_close().await;
    assert_eq!(client.rest().await, b"lastbye");
    // The host first: what it sent arrives, and the client can still send.
    let closing = Host::parting("\x17\x03\x03\x00\x04done").await;
    lab.network.lead("9.9.9.9", 443, closing.address());
    let mut client = lab.tunnel("api.example.com:443").await;
    client.send(&hello_for(ALLOWED)).await;
    assert!(client.rest().await.ends_with(b"done"));
    client.send(b"more").await;
    super::support::until("bytes after the host's end", async || closing.text().ends_with("more")).await;
    drop(client);
    assert_eq!(host.received().len(), 1);
    let ends: Vec<_> = lab
        .events
        .wait(4)
        .await
        .iter()
        .filter_map(|event| event["end"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(ends, ["completed", "completed"]);
}

/// Real clients and servers, on threads of their own.
mod tls {
    use super::*;

    #[derive(Debug)]
    struct AnyCertificate(CryptoProvider);

    impl ServerCertVerifier for AnyCertificate {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }

    fn provider(groups: &[&'static dyn SupportedKxGroup]) -> CryptoProvider {
        CryptoProvider {
            kx_groups: groups.to_vec(),
            ..ring::default_provider()
        }
    }

    /// Serves one connection: greets, and says what it reads.
    pub fn server(groups: &[&'static dyn SupportedKxGroup]) -> (SocketAddr, std::thread::JoinHandle<String>) {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed([ALLOWED.to_owned()]).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(provider(groups)))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![cert.der().clone()],
                PrivateKeyDer::Pkcs8(signing_key.serialize_der().into()),
            )
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let connection = rustls::ServerConnection::new(Arc::new(config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream);
            let mut word = [0; 4];
            stream.read_exact(&mut word).unwrap();
            stream.write_all(b"pong").unwrap();
            stream.conn.send_close_notify();
            stream.flush().unwrap();
            String::from_utf8(word.to_vec()).unwrap()
        });
        (address, thread)
    }

    /// Says ping through the gateway and returns the answer and how the key exchange went.
    pub fn ping(
        gateway: SocketAddr,
        groups: &[&'static dyn SupportedKxGroup],
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> (String, Option<rustls::HandshakeKind>) {
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(provider(groups)))
            .with_protocol_versions(versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider(groups))))
            .with_no_client_auth();
        let mut stream = TcpStream::connect(gateway).unwrap();
        stream
            .write_all(b"CONNECT api.example.com:443 HTTP/1.1\r\n\r\n")
            .unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let name = ServerName::try_from(ALLOWED).unwrap();
        let connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        stream.write_all(b"ping").unwrap();
        let mut word = String::new();
        let _ = stream.read_to_string(&mut word);
        (word, stream.conn.handshake_kind())
    }
}

async fn handshake<const N: usize, const V: usize>(
    client: [&'static dyn SupportedKxGroup; N],
    server: &[&'static dyn SupportedKxGroup],
    versions: [&'static rustls::SupportedProtocolVersion; V],
) -> Option<rustls::HandshakeKind> {
    let lab = Lab::start().await;
    let (address, thread) = tls::server(server);
    lab.network.lead("9.9.9.9", 443, address);
    let gateway = lab.gateway.traffic;
    let (word, kind) = tokio::task::spawn_blocking(move || tls::ping(gateway, &client, &versions))
        .await
        .unwrap();
    assert_eq!(word, "pong");
    assert_eq!(thread.join().unwrap(), "ping");
    assert_eq!(lab.events.wait(2).await[1]["event"], "close");
    kind
}

#[tokio::test]
async fn real_handshakes_pass_of_both_versions_and_with_a_retry() {
    let both = [&rustls::version::TLS13, &rustls::version::TLS12];
    let old = [&rustls::version::TLS12];
    assert_eq!(
        handshake([X25519], &[X25519], both).await,
        Some(rustls::HandshakeKind::Full)
    );
    assert_eq!(
        handshake([X25519], &[X25519], old).await,
        Some(rustls::HandshakeKind::Full)
    );
    // The client guesses a group that the server does not have, so the server asks for a second hello.
    assert_eq!(
        handshake([X25519, SECP256R1], &[SECP256R1], both).await,
        Some(rustls::HandshakeKind::FullWithHelloRetryRequest)
    );
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_is_recorded() {
    let lab = Lab::with(|file| file.limits.connect_seconds = 30).await;
    lab.network.swallow("9.9.9.9", 443);
    let mut client = Client::to(lab.gateway.traffic).await;
    client.send(b"CONNECT api.example.com:443 HTTP/1.1\r\n\r\n").await;
    super::support::until("the dial", async || !lab.network.dialled().is_empty()).await;
    drop(client);
    let event = lab.refusal().await;
    assert_eq!(
        (&event["event"], &event["reason"]),
        (&json!("failed"), &json!("client_gone"))
    );
}
