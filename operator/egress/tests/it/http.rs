//! Plain HTTP in absolute form: one exchange a connection, nothing of the hop, nothing hidden in it.

use super::support::{ALLOWED, Client, Host, Lab, OTHER_IP, hello_for, until};
use pretty_assertions::assert_eq;
use sallyport_policy::egress::EgressMode;
use serde_json::json;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nkeep-alive: timeout=5\r\n\r\nhello";

async fn web(lab: &Lab, answer: &str) -> Host {
    let host = Host::web(answer).await;
    lab.network.lead("9.9.9.9", 80, host.address());
    host
}

#[tokio::test]
async fn an_exchange_is_forwarded_as_the_host_expects_it_and_recorded() {
    let lab = Lab::start().await;
    let host = web(&lab, OK).await;
    let mut client = lab.client().await;
    let answer = client
        .ask(
            "GET http://API.example.com/a/b?c=d HTTP/1.1\r\nhost: api.example.com\r\nproxy-authorization: Basic eA==\r\n\
             proxy-connection: keep-alive\r\nconnection: x-hop\r\nx-hop: 1\r\nx-end: 2\r\nupgrade: h2c\r\n\r\n",
        )
        .await;
    assert_eq!(answer.status, 200);
    assert!(
        answer.head.contains("via: 1.1 sallyport") && !answer.head.contains("keep-alive"),
        "{answer:?}"
    );
    assert_eq!(client.rest().await, b"hello");
    let request = host.text();
    assert!(
        request.starts_with("GET /a/b?c=d HTTP/1.1\r\nhost: api.example.com\r\n"),
        "{request}"
    );
    for (header, kept) in [
        ("x-end: 2", true),
        ("via: 1.1 sallyport", true),
        ("connection: close", true),
    ] {
        assert_eq!(request.contains(header), kept, "{header}");
    }
    for header in ["proxy-", "x-hop", "upgrade", "h2c"] {
        assert!(!request.contains(header), "{header} in {request}");
    }
    let events = lab.events.wait(2).await;
    assert_eq!(
        (&events[0]["event"], &events[0]["via"]),
        (&json!("open"), &json!("http"))
    );
    assert_eq!((&events[0]["host"], &events[0]["port"]), (&json!(ALLOWED), &json!(80)));
    assert_eq!(events[1]["end"], json!("completed"));
    assert!(
        events[0].get("path").is_none(),
        "what was asked for is nobody's business"
    );
}

#[tokio::test]
async fn a_request_body_is_forwarded_whole() {
    let lab = Lab::start().await;
    let host = web(&lab, OK).await;
    let mut client = lab.client().await;
    let request = "POST http://api.example.com/ HTTP/1.1\r\nhost: api.example.com\r\ncontent-length: 4\r\n\r\nbody";
    assert_eq!(client.ask(request).await.status, 200);
    assert!(host.text().ends_with("\r\n\r\nbody") && host.text().contains("content-length: 4"));
}

#[tokio::test]
async fn a_redirect_leads_nowhere_that_is_not_allowed() {
    let redirect = "HTTP/1.1 302 Found\r\nlocation: http://evil.test/\r\ncontent-length: 0\r\n\r\n";
    for (mode, status) in [(EgressMode::Enforce, 403), (EgressMode::Audit, 200)] {
        let lab = Lab::with(|file| file.mode = mode).await;
        web(&lab, redirect).await;
        let evil = Host::web(OK).await;
        lab.network.lead(OTHER_IP, 80, evil.address());
        let answer = lab
            .client()
            .await
            .ask("GET http://api.example.com/ HTTP/1.1\r\nhost: api.example.com\r\n\r\n")
            .await;
        assert_eq!(answer.status, 302);
        let followed = lab
            .client()
            .await
            .ask("GET http://evil.test/ HTTP/1.1\r\nhost: evil.test\r\n\r\n")
            .await;
        assert_eq!(followed.status, status, "{mode:?}");
        assert_eq!(evil.received().len(), usize::from(mode == EgressMode::Audit));
    }
}

#[tokio::test]
async fn a_host_header_for_another_host_never_leaves() {
    let lab = Lab::start().await;
    let host = web(&lab, OK).await;
    let fronted = "GET http://api.example.com/ HTTP/1.1\r\nhost: evil.test\r\n\r\n";
    let answer = lab.client().await.ask(fronted).await;
    assert_eq!((answer.status, answer.reason()), (400, Some("host_header_mismatch")));
    assert_eq!(host.received().len(), 0);
    // The host itself would have taken it.
    assert_eq!(Client::to(host.address()).await.ask(fronted).await.status, 200);
}

/// Requests that one parser reads as one and another as two.
pub const SMUGGLED: [&str; 4] = [
    // Both framings.
    "POST http://api.example.com/ HTTP/1.1\r\nhost: api.example.com\r\ncontent-length: 42\r\n\
     transfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: evil.test\r\n\r\n",
    // Two lengths.
    "POST http://api.example.com/ HTTP/1.1\r\nhost: api.example.com\r\ncontent-length: 0\r\ncontent-length: 42\r\n\r\n\
     GET /smuggled HTTP/1.1\r\nhost: evil.test\r\n\r\n",
    // A coding that hides.
    "POST http://api.example.com/ HTTP/1.1\r\nhost: api.example.com\r\ntransfer-encoding: chunked, identity\r\n\r\n\
     0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: evil.test\r\n\r\n",
    // Pipelining.
    "GET http://api.example.com/ HTTP/1.1\r\nhost: api.example.com\r\n\r\n\
     GET /smuggled HTTP/1.1\r\nhost: evil.test\r\n\r\n",
];

#[tokio::test]
async fn no_request_hides_in_another() {
    for smuggled in SMUGGLED {
        let lab = Lab::start().await;
        let host = web(&lab, OK).await;
        let mut client = lab.client().await;
        let answer = client.ask(smuggled).await;
        assert!(answer.status == 200 || answer.status == 400, "{answer:?}");
        client.rest().await;
        lab.events.wait(1).await;
        let got = host.text();
        assert!(!got.contains("smuggled") && !got.contains("evil"), "{got}");
        assert!(
            !(got.contains("content-length") && got.contains("transfer-encoding")),
            "{got}"
        );
        // On the wire to the host itself nothing takes them apart.
        let mut direct = Client::to(host.address()).await;
        direct.send(smuggled.as_bytes()).await;
        until("the smuggled request", async || host.text().contains("smuggled")).await;
    }
}

#[tokio::test]
async fn an_oversized_head_is_refused() {
    let request = |bytes: usize| {
        format!(
            "GET http://api.example.com/ HTTP/1.1\r\nhost: api.example.com\r\nx: {}\r\n\r\n",
            "x".repeat(bytes)
        )
    };
    let many = |count: usize| {
        let headers: Vec<String> = (0..count).map(|at| format!("x-{at}: 1\r\n")).collect();
        let headers = headers.concat();
        format!("GET http://api.example.com/ HTTP/1.1\r\nhost: api.example.com\r\n{headers}\r\n")
    };
    for (request, status) in [
        (request(1000), 200),
        (request(40_000), 431),
        (many(50), 200),
        (many(200), 431),
    ] {
        let lab = Lab::start().await;
        let host = web(&lab, OK).await;
        let answer = lab.client().await.ask(&request).await;
        assert_eq!(answer.status, status, "{} bytes", request.len());
        assert_eq!(host.received().len(), usize::from(status == 200));
        if status != 200 {
            // The host itself would have read on.
            assert_eq!(Client::to(host.address()).await.ask(&request).await.status, 200);
            let reason = lab.refusal().await["reason"].clone();
            assert!(reason == "head_too_large" || reason == "not_http", "{reason}");
        }
    }
}

#[tokio::test]
async fn a_head_that_trickles_in_is_not_waited_for() {
    let trickle = async |lab: &Lab| {
        let mut client = lab.client().await;
        let request = "GET http://api.example.com/ HTTP/1.1\r\nhost: api.example.com\r\n\r\n";
        for byte in request.bytes() {
            client.send(&[byte]).await;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        client.answer().await.status
    };
    let lab = Lab::start().await;
    web(&lab, OK).await;
    assert_ne!(trickle(&lab).await, 200);
    assert_eq!(lab.refusal().await["reason"], json!("not_http"));
    // With more patience the same request is served.
    let patient = Lab::with(|file| file.limits.head_seconds = 30).await;
    web(&patient, OK).await;
    assert_eq!(trickle(&patient).await, 200);
}

#[tokio::test]
async fn tls_inside_a_plain_request_goes_nowhere() {
    let lab = Lab::start().await;
    let mut client = lab.client().await;
    client.send(&hello_for(ALLOWED)).await;
    client.rest().await;
    assert_eq!(lab.refusal().await["reason"], json!("not_http"));
}

#[tokio::test]
async fn a_host_that_breaks_off_is_reported() {
    let lab = Lab::start().await;
    web(&lab, "").await;
    let answer = lab
        .client()
        .await
        .ask("GET http://api.example.com/ HTTP/1.1\r\nhost: api.example.com\r\n\r\n")
        .await;
    assert_eq!((answer.status, answer.reason()), (502, Some("upstream_failed")));
    let events = lab.events.wait(2).await;
    assert_eq!(events[1]["event"], json!("close"));
}
