//! Credentials that are added on the way: by real TLS from a client that trusts its pod's authority to a host that has
//! one of its own.

use super::http::SMUGGLED;
use super::support::{
    ALLOWED, ALLOWED_IP, Authority, Client, Lab, OTHER, OTHER_IP, Pod, Web, Wire, a, hello_for, http_over, rule,
    tls_over, trusting, until,
};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use pretty_assertions::assert_eq;
use rustls::ClientConfig;
use sallyport_policy::egress::{EgressFile, EgressMode, Injection};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const CREDENTIAL: &str = "ghp_0123456789abcdef";
const ALERT: &[u8] = &[21, 3, 3, 0, 2, 2, 49];

/// A lab with a pod, and a host behind [`ALLOWED`] that a private authority vouches for.
struct Scene {
    lab: Lab,
    pod: Pod,
    web: Web,
    authority: Authority,
    credential: String,
}

impl Scene {
    async fn start() -> Self {
        Self::with(|_, _| {}).await
    }

    /// With an edited policy and injection.
    async fn with(edit: impl FnOnce(&mut EgressFile, &mut Injection)) -> Self {
        let pod = Pod::start(&[ALLOWED]).await;
        let authority = Authority::new();
        let credential = pod.file("token", format!("{CREDENTIAL}\n").as_bytes());
        let authorities = pod.file("authorities.pem", authority.pem().as_bytes());
        let web = Web::start(&authority, ALLOWED).await;
        let lab = Lab::with(|file| {
            let mut injection = Injection {
                header: "Authorization".parse().unwrap(),
                prefix: "Bearer ".parse().unwrap(),
                file: credential.clone(),
                authorities: Some(authorities),
            };
            file.signer_port = Some(pod.port);
            file.rules = vec![rule(ALLOWED, &[443]), rule(OTHER, &[443])];
            edit(file, &mut injection);
            file.rules[0].inject = Some(injection);
        })
        .await;
        lab.network.lead(ALLOWED_IP, 443, web.address);
        Self {
            lab,
            pod,
            web,
            authority,
            credential,
        }
    }

    /// A client as the server in the pod is one: it trusts what the pod's files say.
    async fn client(&self) -> SendRequest<Full<Bytes>> {
        self.client_to(ALLOWED, trusting(self.pod.bundle())).await.unwrap()
    }

    async fn client_to(&self, name: &str, config: ClientConfig) -> std::io::Result<SendRequest<Full<Bytes>>> {
        let tunnel = self.lab.tunnel(&format!("{name}:443")).await;
        http_over(tunnel.0, name, config).await
    }

    /// Events of the connection's end.
    async fn closed(&self) -> Value {
        self.lab.events.wait(2).await[1].clone()
    }
}

fn get(path: &str) -> Request<Full<Bytes>> {
    request(path, &[])
}

fn request(path: &str, headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let mut request = Request::get(path).header("host", ALLOWED);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::default()).unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

fn reason(response: &Response<Incoming>) -> &str {
    let status = response.headers()["proxy-status"].to_str().unwrap();
    status.split_once("details=\"").unwrap().1.trim_end_matches('"')
}

#[tokio::test]
async fn a_request_gets_the_credential_that_its_server_never_had() {
    let scene = Scene::start().await;
    let mut client = scene.client().await;
    let request = Request::post("/repos?page=2")
        .header("host", ALLOWED)
        .header("x-request-id", "7")
        .body(Full::from("{}"))
        .unwrap();
    let response = client.send_request(request).await.unwrap();
    assert_eq!(response.headers()["via"], "1.1 sallyport");
    assert_eq!(text(response).await, "hello");
    let seen = scene.web.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].headers["authorization"], format!("Bearer {CREDENTIAL}"));
    assert_eq!(
        (seen[0].method.as_str(), seen[0].uri.to_string()),
        ("POST", "/repos?page=2".into())
    );
    assert_eq!(
        (&seen[0].headers["host"], &seen[0].headers["x-request-id"]),
        (&ALLOWED.parse().unwrap(), &"7".parse().unwrap())
    );
    assert_eq!(seen[0].body, "{}");
    assert_eq!(seen[0].alpn.as_deref(), Some("http/1.1"), "the host would speak h2 too");
    drop(client);
    let events = scene.lab.events.wait(2).await;
    for event in &events {
        assert_eq!((&event["injected"], &event["host"]), (&json!(true), &json!(ALLOWED)));
        assert!(
            !event.to_string().contains(CREDENTIAL) && !event.to_string().contains("page"),
            "{event}"
        );
    }
    assert_eq!(
        (&events[1]["event"], &events[1]["end"]),
        (&json!("close"), &json!("completed"))
    );
    assert!(events[1]["bytesSent"].as_u64() > Some(100));
}

#[tokio::test]
async fn without_injection_the_same_request_arrives_as_it_was_sent() {
    let scene = Scene::start().await;
    let mut file = scene.lab.file.clone();
    file.rules[0].inject = None;
    scene.lab.replace_policy(&file.to_text().unwrap()).await;
    // Nobody stands in between, so it is the host's own certificate that must be trusted.
    let mut client = scene
        .client_to(ALLOWED, trusting([scene.authority.certificate()]))
        .await
        .unwrap();
    assert_eq!(text(client.send_request(get("/")).await.unwrap()).await, "hello");
    assert!(!scene.web.seen()[0].headers.contains_key("authorization"));
    assert_eq!(scene.lab.events.wait(1).await[0].get("injected"), None);
}

#[tokio::test]
async fn what_the_server_says_in_the_credentials_place_is_replaced() {
    let scene = Scene::start().await;
    let mut client = scene.client().await;
    let forged = [
        ("Authorization", "Bearer stolen"),
        ("AUTHORIZATION", "Basic eA=="),
        ("connection", "authorization, keep-alive"),
        ("trailer", "authorization"),
    ];
    client.send_request(request("/", &forged)).await.unwrap();
    let seen = scene.web.seen();
    let sent: Vec<_> = seen[0].headers.get_all("authorization").iter().collect();
    assert_eq!(sent, [&format!("Bearer {CREDENTIAL}")]);
}

#[tokio::test]
async fn another_header_and_no_prefix_will_do() {
    let scene = Scene::with(|_, injection| {
        injection.header = "X-Api-Key".parse().unwrap();
        injection.prefix = String::new().parse().unwrap();
    })
    .await;
    let mut client = scene.client().await;
    let own = [("authorization", "Bearer own"), ("x-api-key", "mine")];
    client.send_request(request("/", &own)).await.unwrap();
    let headers = &scene.web.seen()[0].headers;
    assert_eq!(
        (&headers["x-api-key"], &headers["authorization"]),
        (&CREDENTIAL.parse().unwrap(), &"Bearer own".parse().unwrap())
    );
}

#[tokio::test]
async fn another_allowed_host_gets_no_credential() {
    let scene = Scene::start().await;
    let other = Web::start(&scene.authority, OTHER).await;
    scene.lab.network.lead(OTHER_IP, 443, other.address);
    let mut client = scene
        .client_to(OTHER, trusting([scene.authority.certificate()]))
        .await
        .unwrap();
    let request = Request::get("/").header("host", OTHER).body(Full::default()).unwrap();
    client.send_request(request).await.unwrap();
    assert!(!other.seen()[0].headers.contains_key("authorization"));
    // And its TLS is not ended: who trusts the pod's authority alone does not trust it.
    assert!(scene.client_to(OTHER, trusting(scene.pod.own())).await.is_err());
}

#[tokio::test]
async fn a_request_for_another_host_is_refused_and_is_the_connections_last() {
    for (path, host) in [
        ("/", OTHER),
        ("/", "api.example.com:8443"),
        ("https://evil.test/", ALLOWED),
    ] {
        let scene = Scene::start().await;
        let mut client = scene.client().await;
        let request = Request::get(path).header("host", host).body(Full::default()).unwrap();
        let response = client.send_request(request).await.unwrap();
        assert_eq!(
            (response.status(), reason(&response)),
            (StatusCode::FORBIDDEN, "host_header_mismatch")
        );
        text(response).await;
        until("the connection to end", async || client.is_closed()).await;
        assert_eq!(scene.web.seen().len(), 0, "{path} {host}");
        let event = scene.closed().await;
        assert_eq!(
            (&event["end"], &event["reason"]),
            (&json!("request_refused"), &json!("host_header_mismatch"))
        );
    }
}

/// Sends `bytes` through the gateway and returns what the host gets of them, as it comes on the wire.
async fn on_the_wire(scene: &Scene, wire: &Wire, bytes: &str) -> String {
    scene.lab.network.lead(ALLOWED_IP, 443, wire.address);
    let tunnel = scene.lab.tunnel("api.example.com:443").await;
    let roots = trusting(scene.pod.bundle());
    let mut client = tls_over(tunnel.0, ALLOWED, roots).await.unwrap();
    client.write_all(bytes.as_bytes()).await.unwrap();
    let mut answers = Vec::new();
    let reading = tokio::time::timeout(Duration::from_secs(10), client.read_to_end(&mut answers));
    // How the connection ends is the gateway's business; that it does is not.
    let _ = reading.await.unwrap();
    assert!(
        answers.starts_with(b"HTTP/1.1 "),
        "{}",
        String::from_utf8_lossy(&answers)
    );
    scene.closed().await;
    wire.text()
}

#[tokio::test]
async fn no_request_hides_in_another_to_get_the_credential() {
    for smuggled in SMUGGLED {
        let smuggled = smuggled.replace("http://api.example.com/", "/");
        let scene = Scene::start().await;
        let wire = Wire::start(&scene.authority, ALLOWED).await;
        let got = on_the_wire(&scene, &wire, &smuggled).await;
        assert!(!got.contains("smuggled") && !got.contains("evil"), "{got}");
        assert!(
            !(got.contains("content-length") && got.contains("transfer-encoding")),
            "{got}"
        );
        let requests = got.matches(" HTTP/1.1\r\n").count();
        assert!(requests <= 1, "{got}");
        assert_eq!(got.matches(CREDENTIAL).count(), requests, "{got}");
        // On the wire to the host itself nothing takes them apart.
        let roots = trusting([scene.authority.certificate()]);
        let stream = TcpStream::connect(wire.address).await.unwrap();
        let mut direct = tls_over(stream, ALLOWED, roots).await.unwrap();
        direct.write_all(smuggled.as_bytes()).await.unwrap();
        until("the smuggled request", async || wire.text().contains("smuggled")).await;
    }
}

#[tokio::test]
async fn what_comes_after_a_request_is_one_of_its_own_or_nothing() {
    // The same table, but for the hidden request's host, which may be asked for if it is asked for openly. After a request
    // with both framings nothing is read (RFC 9112 section 6.1).
    for (smuggled, requests) in SMUGGLED.into_iter().zip([1, 0, 0, 2]) {
        let smuggled = smuggled
            .replace("http://api.example.com/", "/")
            .replace("evil.test\r\n", "api.example.com\r\nconnection: close\r\n");
        let scene = Scene::start().await;
        let wire = Wire::start(&scene.authority, ALLOWED).await;
        let got = on_the_wire(&scene, &wire, &smuggled).await;
        assert_eq!(got.matches(" HTTP/1.1\r\n").count(), requests, "{got}");
        assert_eq!(got.matches(CREDENTIAL).count(), requests, "{got}");
        for head in got.split("\r\n\r\n") {
            assert!(
                !(head.contains("content-length") && head.contains("transfer-encoding")),
                "{got}"
            );
        }
    }
}

#[tokio::test]
async fn nothing_is_upgraded() {
    let scene = Scene::start().await;
    let mut client = scene.client().await;
    let upgrade = [("connection", "upgrade"), ("upgrade", "websocket")];
    let response = client.send_request(request("/", &upgrade)).await.unwrap();
    assert_eq!(
        (response.status(), reason(&response)),
        (StatusCode::FORBIDDEN, "upgrade_refused")
    );
    assert_eq!(scene.web.seen().len(), 0);
}

#[tokio::test]
async fn a_client_that_names_another_host_in_tls_is_refused_in_every_mode() {
    for mode in [EgressMode::Enforce, EgressMode::Audit] {
        let scene = Scene::with(|file, _| file.mode = mode).await;
        let mut tunnel = scene.lab.tunnel("api.example.com:443").await;
        tunnel.send(&hello_for(OTHER)).await;
        assert_eq!(tunnel.rest().await, ALERT);
        assert_eq!(scene.lab.refusal().await["reason"], json!("server_name_mismatch"));
        assert_eq!(scene.web.seen().len(), 0);
    }
}

#[tokio::test]
async fn a_host_that_does_not_show_to_be_the_host_gets_no_credential() {
    // A host that nobody vouches for; one with a certificate for another name; one that public authorities should vouch
    // for.
    let stranger = Authority::new();
    for case in ["stranger", "other name", "public"] {
        let scene = Scene::with(|_, injection| {
            if case == "public" {
                injection.authorities = None;
            }
        })
        .await;
        let impostor = match case {
            "stranger" => Web::start(&stranger, ALLOWED).await,
            "other name" => Web::start(&scene.authority, OTHER).await,
            _ => scene.web.clone(),
        };
        scene.lab.network.lead(ALLOWED_IP, 443, impostor.address);
        let error = scene.client_to(ALLOWED, trusting(scene.pod.own())).await;
        assert!(error.is_err(), "{case}");
        assert_eq!(
            scene.lab.refusal().await["reason"],
            json!("upstream_untrusted"),
            "{case}"
        );
        assert_eq!(impostor.seen().len(), 0, "{case}");
    }
}

#[tokio::test]
async fn a_name_that_is_bound_anew_leads_nowhere() {
    let scene = Scene::start().await;
    let impostor = Web::start(&Authority::new(), ALLOWED).await;
    scene.lab.network.lead("10.0.0.5", 443, impostor.address);
    scene.lab.network.lead("7.7.7.7", 443, impostor.address);
    scene.lab.dns.set(ALLOWED, [a("10.0.0.5")]);
    let mut client = scene.lab.client().await;
    let answer = client.connect("api.example.com:443").await;
    assert_eq!((answer.status, answer.reason()), (403, Some("address_private")));
    scene.lab.dns.set(ALLOWED, [a("7.7.7.7")]);
    assert!(scene.client_to(ALLOWED, trusting(scene.pod.own())).await.is_err());
    assert_eq!(impostor.seen().len(), 0);
    scene.lab.dns.set(ALLOWED, [a(ALLOWED_IP)]);
    scene.client().await.send_request(get("/")).await.unwrap();
    assert_eq!(scene.web.seen().len(), 1, "negative control: bound as it was");
}

#[tokio::test]
async fn a_client_that_does_not_trust_its_pod_refuses_the_gateway_and_that_is_recorded() {
    let scene = Scene::start().await;
    let stranger = trusting([Authority::new().certificate()]);
    assert!(scene.client_to(ALLOWED, stranger).await.is_err());
    let event = scene.lab.refusal().await;
    assert_eq!(
        (&event["event"], &event["reason"]),
        (&json!("failed"), &json!("client_tls_failed"))
    );
    assert_eq!(event["injected"], json!(true));
    assert_eq!(scene.web.seen().len(), 0);
}

#[tokio::test]
async fn a_pod_whose_signer_does_not_sign_gets_no_connection() {
    for signs_for in [&[OTHER][..], &[]] {
        let pod = Pod::start(signs_for).await;
        let nobody = [None, Some(1)][usize::from(signs_for.is_empty())];
        let port = nobody.or(Some(pod.port));
        let scene = Scene::with(|file, _| file.signer_port = port).await;
        let mut tunnel = scene.lab.tunnel("api.example.com:443").await;
        tunnel.send(&hello_for(ALLOWED)).await;
        assert_eq!(tunnel.rest().await, ALERT);
        assert_eq!(scene.lab.refusal().await["reason"], json!("no_certificate"));
    }
}

#[tokio::test]
async fn a_credential_that_was_exchanged_is_used_from_the_next_request_on() {
    let scene = Scene::start().await;
    let mut client = scene.client().await;
    text(client.send_request(get("/")).await.unwrap()).await;
    std::fs::write(&scene.credential, "newer").unwrap();
    text(client.send_request(get("/")).await.unwrap()).await;
    let sent: Vec<_> = scene
        .web
        .seen()
        .iter()
        .map(|seen| seen.headers["authorization"].clone())
        .collect();
    assert_eq!(sent, [format!("Bearer {CREDENTIAL}"), "Bearer newer".into()]);
    assert_eq!(scene.lab.network.dialled().len(), 1, "on one connection");
}

#[tokio::test]
async fn without_a_credential_nothing_is_forwarded() {
    let scene = Scene::start().await;
    std::fs::remove_file(&scene.credential).unwrap();
    let mut client = scene.client().await;
    let response = client.send_request(get("/")).await.unwrap();
    assert_eq!(
        (response.status(), reason(&response)),
        (StatusCode::BAD_GATEWAY, "credential_unavailable")
    );
    assert_eq!(scene.web.seen().len(), 0);
}

#[tokio::test]
async fn a_redirect_is_the_clients_to_follow() {
    let scene = Scene::start().await;
    let mut client = scene.client().await;
    let response = client.send_request(get("/redirect")).await.unwrap();
    assert_eq!(
        (response.status(), response.headers()["location"].to_str().unwrap()),
        (StatusCode::FOUND, "https://evil.test/")
    );
    assert_eq!(scene.lab.network.dialled(), ["9.9.9.9:443"]);
}

#[tokio::test]
async fn answers_are_passed_on_as_they_come() {
    let scene = Scene::start().await;
    let mut client = scene.client().await;
    let mut response = client.send_request(get("/stream")).await.unwrap();
    let mut part = async || response.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(part().await, "first", "before the host has said the rest");
    scene.web.go_on.notify_one();
    assert_eq!(part().await, "second");
}

#[tokio::test]
async fn a_host_that_ends_the_connection_ends_it_for_the_client_too() {
    let scene = Scene::start().await;
    let mut client = scene.client().await;
    let response = client.send_request(get("/close")).await.unwrap();
    assert_eq!(response.headers()["connection"], "close");
    assert_eq!(text(response).await, "hello");
    until("the connection to end", async || client.is_closed()).await;
    assert_eq!(scene.closed().await["end"], json!("completed"));
}

#[tokio::test]
async fn a_client_that_speaks_h2_alone_is_told_so() {
    let scene = Scene::start().await;
    let mut config = trusting(scene.pod.own());
    config.alpn_protocols = vec![b"h2".to_vec()];
    let error = scene.client_to(ALLOWED, config).await.unwrap_err();
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
}

#[tokio::test]
async fn a_server_that_heeds_no_proxy_gets_the_credential_too() {
    let scene = Scene::start().await;
    let client = Client::to(scene.lab.gateway.transparent).await;
    let mut client = http_over(client.0, ALLOWED, trusting(scene.pod.own())).await.unwrap();
    text(client.send_request(get("/")).await.unwrap()).await;
    assert_eq!(
        scene.web.seen()[0].headers["authorization"],
        format!("Bearer {CREDENTIAL}")
    );
    let event = &scene.lab.events.wait(1).await[0];
    assert_eq!(
        (&event["via"], &event["injected"]),
        (&json!("transparent"), &json!(true))
    );
}

#[tokio::test]
async fn plain_http_is_not_spoken_where_a_credential_is_added() {
    let scene = Scene::with(|file, _| file.rules[0] = rule(ALLOWED, &[80, 443])).await;
    scene.lab.network.lead(ALLOWED_IP, 80, scene.web.address);
    let mut client = scene.lab.client().await;
    let answer = client
        .ask("GET http://api.example.com/ HTTP/1.1\r\nhost: api.example.com\r\n\r\n")
        .await;
    assert_eq!((answer.status, answer.reason()), (400, Some("not_tls")));
    assert_eq!(scene.lab.network.dialled(), [""; 0]);
}

#[tokio::test]
async fn a_connection_ends_when_a_new_policy_injects_something_else() {
    let scene = Scene::start().await;
    let mut client = scene.client().await;
    text(client.send_request(get("/")).await.unwrap()).await;
    let mut file = scene.lab.file.clone();
    file.rules[0].inject = None;
    scene.lab.replace_policy(&file.to_text().unwrap()).await;
    assert_eq!(scene.closed().await["end"], json!("revoked"));
    until("the client to see it", async || client.is_closed()).await;
}

#[tokio::test]
async fn whoever_edits_the_file_sends_no_credential_elsewhere() {
    let scene = Scene::start().await;
    let mut file = scene.lab.file.clone();
    file.rules[1].inject = file.rules[0].inject.take();
    scene.lab.replace_policy(&file.to_text().unwrap()).await;
    let status = scene.lab.gateway.get("/policy").await;
    assert!(
        status.contains("otherwise than this gateway was started for"),
        "{status}"
    );
    let other = Web::start(&scene.authority, OTHER).await;
    scene.lab.network.lead(OTHER_IP, 443, other.address);
    let roots = trusting([scene.authority.certificate()]);
    let mut client = scene.client_to(OTHER, roots).await.unwrap();
    let request = Request::get("/").header("host", OTHER).body(Full::default()).unwrap();
    client.send_request(request).await.unwrap();
    assert!(!other.seen()[0].headers.contains_key("authorization"));
    scene.client().await.send_request(get("/")).await.unwrap();
    assert_eq!(scene.web.seen().len(), 1, "the policy before it stays in force");
}

#[tokio::test]
async fn bytes_are_bounded_as_in_any_connection() {
    let scene = Scene::with(|file, _| file.limits.bytes = 4096).await;
    let mut client = scene.client().await;
    for _ in 0..40 {
        match client.send_request(get("/")).await {
            Ok(response) if response.status() == StatusCode::OK => drop(response.into_body().collect().await),
            _ => break,
        }
    }
    assert_eq!(scene.closed().await["end"], json!("too_many_bytes"));
}
