//! TLS without a proxy request: the server name leads the way.

use super::support::{ALLOWED, Client, GREETING, Lab, OTHER, OTHER_IP, fragmented, hello, hello_for, record};
use pretty_assertions::assert_eq;
use sallyport_policy::egress::EgressMode;
use serde_json::json;

const ALERT: &[u8] = &[21, 3, 3, 0, 2, 2, 49];

#[tokio::test]
async fn tls_is_led_to_the_host_that_it_names() {
    let lab = Lab::start().await;
    let host = lab.host().await;
    let mut client = Client::to(lab.gateway.transparent).await;
    let bytes = fragmented(&hello(Some(ALLOWED), &[]), 9);
    client.send(&bytes).await;
    client.expect(GREETING).await;
    client.send(b"ping").await;
    client.expect(b"ping").await;
    client.half_close().await;
    client.rest().await;
    assert_eq!(host.received(), [[bytes.as_slice(), b"ping"].concat()]);
    assert_eq!(lab.network.dialled(), ["9.9.9.9:443"]);
    let events = lab.events.wait(2).await;
    assert_eq!(
        (&events[0]["via"], &events[0]["event"]),
        (&json!("transparent"), &json!("open"))
    );
    assert_eq!((&events[0]["host"], &events[0]["port"]), (&json!(ALLOWED), &json!(443)));
}

#[tokio::test]
async fn what_names_no_allowed_host_is_refused() {
    for (bytes, reason) in [
        (hello_for(OTHER), "host_not_allowed"),
        (record(&hello(None, &[])), "no_server_name"),
        (
            record(&hello(Some(ALLOWED), &[(0xfe0d, vec![0; 9])])),
            "encrypted_client_hello",
        ),
        (b"GET / HTTP/1.1\r\nhost: api.example.com\r\n\r\n".to_vec(), "not_tls"),
        (b"CONNECT api.example.com:443 HTTP/1.1\r\n\r\n".to_vec(), "not_tls"),
        (vec![], "hello_timed_out"),
    ] {
        let lab = Lab::start().await;
        lab.host_at(OTHER_IP, 443).await;
        let mut client = Client::to(lab.gateway.transparent).await;
        client.send(&bytes).await;
        assert_eq!(client.rest().await, ALERT, "{reason}");
        let event = lab.refusal().await;
        assert_eq!(
            (&event["reason"], &event["via"]),
            (&json!(reason), &json!("transparent"))
        );
        assert_eq!(lab.network.dialled(), [""; 0]);
    }
}

#[tokio::test]
async fn in_audit_mode_another_host_is_reached_but_never_one_without_a_name() {
    let lab = Lab::with(|file| file.mode = EgressMode::Audit).await;
    lab.host_at(OTHER_IP, 443).await;
    let mut client = Client::to(lab.gateway.transparent).await;
    client.send(&hello_for(OTHER)).await;
    client.expect(GREETING).await;
    assert_eq!(lab.events.wait(1).await[0]["decision"], json!("would_deny"));
    let mut client = Client::to(lab.gateway.transparent).await;
    client.send(&record(&hello(None, &[]))).await;
    assert_eq!(client.rest().await, ALERT);
}
