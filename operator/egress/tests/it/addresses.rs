//! Addresses: a name decides nothing until each of its addresses was looked at.

use super::support::{ALLOWED, GREETING, Lab, a, aaaa, cname, hello_for};
use pretty_assertions::assert_eq;
use sallyport_policy::egress::PermittedNetwork;
use serde_json::json;

#[tokio::test]
async fn a_name_with_closed_addresses_only_is_refused_and_never_dialled() {
    for (ip, reason) in [
        ("10.0.0.5", "address_private"),
        ("192.168.1.1", "address_private"),
        ("100.64.0.1", "address_private"),
        ("10.244.0.7", "address_pods"),
        ("2600:1f00::7", "address_nodes"),
        ("127.0.0.1", "address_loopback"),
        ("0.0.0.0", "address_reserved"),
        ("169.254.169.254", "address_metadata"),
        ("169.254.1.1", "address_link_local"),
        ("168.63.129.16", "address_metadata"),
        ("224.0.0.1", "address_reserved"),
        ("::1", "address_loopback"),
        ("fd12::1", "address_private"),
        ("fe80::1", "address_link_local"),
        ("::ffff:10.0.0.5", "address_private"),
        ("::ffff:169.254.169.254", "address_metadata"),
        ("64:ff9b::10.0.0.5", "address_embedded_ipv4"),
        ("64:ff9b::169.254.169.254", "address_metadata"),
        ("2002:a00:5::1", "address_embedded_ipv4"),
        ("2001:0:a00:5::1", "address_embedded_ipv4"),
    ] {
        let lab = Lab::start().await;
        let parsed: std::net::IpAddr = ip.parse().unwrap();
        let dialled = parsed.to_canonical().to_string();
        lab.host_at(&dialled, 443).await;
        let answer = if ip.contains(':') { aaaa(ip) } else { a(ip) };
        lab.dns.set(ALLOWED, [answer]);
        let answer = lab.client().await.connect("api.example.com:443").await;
        assert_eq!((answer.status, answer.reason()), (403, Some(reason)), "{ip}");
        assert!(answer.head.contains("error=destination_ip_prohibited"), "{answer:?}");
        let event = lab.refusal().await;
        assert_eq!(
            (&event["decision"], &event["reason"]),
            (&json!("denied"), &json!(reason))
        );
        assert_eq!(event["refusedAddresses"], json!([parsed]));
        assert_eq!(lab.network.dialled(), [""; 0]);
        assert!(
            lab.network.reaches(&dialled, 443).await,
            "the network would lead to {ip}"
        );
    }
}

#[tokio::test]
async fn an_answer_that_changes_after_the_check_changes_nothing() {
    let lab = Lab::start().await;
    let public = lab.host().await;
    let private = lab.host_at("10.0.0.5", 443).await;
    lab.dns.script(ALLOWED, [vec![a("9.9.9.9")], vec![a("10.0.0.5")]]);
    let mut client = lab.tunnel("api.example.com:443").await;
    client.send(&hello_for(ALLOWED)).await;
    client.expect(GREETING).await;
    assert_eq!(lab.dns.queries(ALLOWED), 2, "one A and one AAAA");
    assert_eq!(lab.network.dialled(), ["9.9.9.9:443"]);
    // The next connection is checked anew.
    let answer = lab.client().await.connect("api.example.com:443").await;
    assert_eq!(answer.reason(), Some("address_private"));
    assert_eq!((public.received().len(), private.received().len()), (1, 0));
    // Whoever checked the first answer and then connected by name would have been led astray: the answer did change,
    // and the network does lead there.
    assert_eq!(lab.dns.queries(ALLOWED), 4);
    assert!(lab.network.reaches("10.0.0.5", 443).await);
}

#[tokio::test]
async fn of_a_mixed_answer_only_the_public_addresses_are_ever_dialled() {
    let lab = Lab::start().await;
    let private = lab.host_at("10.0.0.5", 443).await;
    let ula = lab.host_at("fd12::1", 443).await;
    lab.dns.set(
        ALLOWED,
        [a("10.0.0.5"), a("9.9.9.9"), aaaa("fd12::1"), aaaa("64:ff9b::a00:5")],
    );
    // The public address does not answer: no reason to try the others.
    let answer = lab.client().await.connect("api.example.com:443").await;
    assert_eq!((answer.status, answer.reason()), (502, Some("connect_failed")));
    assert_eq!(lab.network.dialled(), ["9.9.9.9:443"]);
    let event = lab.refusal().await;
    assert_eq!(event["event"], json!("failed"));
    assert_eq!(event["refusedAddresses"].as_array().unwrap().len(), 3);
    assert_eq!((private.received().len(), ula.received().len()), (0, 0));
    assert!(lab.network.reaches("10.0.0.5", 443).await && lab.network.reaches("fd12::1", 443).await);
}

#[tokio::test]
async fn an_alias_is_judged_by_where_it_ends() {
    let lab = Lab::start().await;
    lab.host().await;
    let inside = lab.host_at("10.96.0.1", 443).await;
    lab.dns.set(ALLOWED, [cname("a.cdn.test")]);
    lab.dns.set("a.cdn.test", [cname("b.cdn.test")]);
    lab.dns.set("b.cdn.test", [a("9.9.9.9")]);
    let mut client = lab.tunnel("api.example.com:443").await;
    client.send(&hello_for(ALLOWED)).await;
    client.expect(GREETING).await;
    lab.dns
        .set("b.cdn.test", [cname("kubernetes.default.svc.cluster.local")]);
    lab.dns.set("kubernetes.default.svc.cluster.local", [a("10.96.0.1")]);
    let answer = lab.client().await.connect("api.example.com:443").await;
    assert_eq!(answer.reason(), Some("address_private"));
    assert_eq!(inside.received().len(), 0);
    assert!(lab.network.reaches("10.96.0.1", 443).await);
}

#[tokio::test]
async fn a_cidr_rule_opens_a_network_and_nothing_else() {
    let permitted = PermittedNetwork {
        network: "10.0.0.0/8".parse().unwrap(),
        except: vec!["10.9.0.0/16".parse().unwrap(), "10.244.9.0/24".parse().unwrap()],
    };
    let lab = Lab::with(|file| file.addresses.permitted = vec![permitted]).await;
    for (ip, expected) in [
        ("10.0.0.5", Ok(())),
        ("10.9.0.5", Err("address_private")),
        ("10.244.0.7", Ok(())),
        ("10.244.9.7", Err("address_pods")),
        ("192.168.0.1", Err("address_private")),
    ] {
        lab.host_at(ip, 443).await;
        lab.dns.set(ALLOWED, [a(ip)]);
        let answer = lab.client().await.connect("api.example.com:443").await;
        match expected {
            Ok(()) => assert_eq!(answer.status, 200, "{ip}"),
            Err(reason) => assert_eq!(answer.reason(), Some(reason), "{ip}"),
        }
    }
    assert_eq!(lab.network.dialled(), ["10.0.0.5:443", "10.244.0.7:443"]);
}

#[tokio::test]
async fn a_mapped_address_is_dialled_as_the_one_that_it_stands_for() {
    let lab = Lab::start().await;
    lab.host().await;
    lab.dns.set(ALLOWED, [aaaa("::ffff:9.9.9.9")]);
    lab.tunnel("api.example.com:443").await;
    assert_eq!(lab.network.dialled(), ["9.9.9.9:443"]);
}

#[tokio::test]
async fn an_address_that_hangs_does_not_hold_up_the_others() {
    let lab = Lab::start().await;
    lab.network.swallow("2606:4700::1111", 443);
    lab.host().await;
    lab.dns.set(ALLOWED, [aaaa("2606:4700::1111"), a("9.9.9.9")]);
    lab.tunnel("api.example.com:443").await;
    assert_eq!(lab.network.dialled(), ["[2606:4700::1111]:443", "9.9.9.9:443"]);
}

#[tokio::test]
async fn a_name_without_answer_says_what_is_wrong() {
    let lab = Lab::start().await;
    lab.dns.set("no-address.wild.example", []);
    lab.dns.script("silent.wild.example", []);
    for (host, status, reason) in [
        ("missing.wild.example", 502, "no_address"),
        ("no-address.wild.example", 502, "no_address"),
        ("silent.wild.example", 504, "resolver_timed_out"),
        ("api.example.com", 502, "connect_failed"),
    ] {
        let answer = lab.client().await.connect(&format!("{host}:443")).await;
        assert_eq!((answer.status, answer.reason()), (status, Some(reason)), "{host}");
    }
    lab.network.swallow("9.9.9.9", 443);
    let answer = lab.client().await.connect("api.example.com:443").await;
    assert_eq!((answer.status, answer.reason()), (504, Some("connect_timed_out")));
}

#[tokio::test]
async fn a_name_server_that_swallows_queries_for_ipv6_does_not_hide_ipv4() {
    let lab = Lab::start().await;
    lab.host().await;
    lab.dns.swallow_aaaa();
    lab.tunnel("api.example.com:443").await;
}

#[tokio::test]
async fn an_answer_is_kept_for_its_bounded_time() {
    let lab = Lab::with(|file| file.resolver.min_ttl_seconds = 30).await;
    lab.host().await;
    lab.dns.set(ALLOWED, [a("9.9.9.9"), aaaa("2606:4700::1111")]);
    for _ in 0..3 {
        lab.tunnel("api.example.com:443").await;
    }
    assert_eq!(lab.dns.queries(ALLOWED), 2, "one A and one AAAA");
}
