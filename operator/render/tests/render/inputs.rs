//! Endpoints of every form that validates.

use super::common::DIGEST;
use proptest::{collection, prelude::*, sample};
use sallyport_api::McpEndpoint;
use sallyport_render::{CredentialFact, Facts, Network, NodeFeatures, never_open};
use serde_json::{Value, json};
use std::net::IpAddr;

/// Endpoints that validate, with facts.
pub fn input() -> impl Strategy<Value = (McpEndpoint, Facts)> {
    (spec(), "[a-r][-a-z0-9]{0,50}[a-z0-9]", "[a-z]{1,63}", facts()).prop_map(|(spec, name, namespace, mut facts)| {
        let endpoint: McpEndpoint = serde_json::from_value(json!({
            "apiVersion": "sallyport.dev/v1alpha1",
            "kind": "McpEndpoint",
            "metadata": {"name": name, "namespace": namespace, "uid": "u"},
            "spec": spec,
        }))
        .unwrap();
        // Every second credential is known.
        for credential in endpoint.spec.credentials.iter().step_by(2) {
            let fact = CredentialFact::Synced { revision: "r".into() };
            facts.credentials.insert(credential.name.clone(), fact);
        }
        (endpoint, facts)
    })
}

fn facts() -> impl Strategy<Value = Facts> {
    // Inside the networks that `cidr` draws from.
    let ipv4 = (10..13_u8, any::<u8>(), any::<u8>()).prop_map(|(a, b, c)| IpAddr::from([a, b, c, 1]));
    let ipv6 = (ipv6_block(), 0..4_u16).prop_map(|((a, b), c)| IpAddr::from([a, b, c, 0, 0, 0, 0, 1]));
    let address = prop_oneof![ipv4, ipv6];
    let gateway = proptest::option::of(sample::select(vec!["10.96.0.77", "fd00:96::77"]));
    let booleans = (any::<bool>(), any::<bool>(), any::<bool>());
    (booleans, collection::vec(address, 0..3), gateway).prop_map(
        |((user_namespaces, groups, cilium), api_servers, gateway)| Facts {
            cilium,
            node_features: NodeFeatures {
                user_namespaces,
                supplemental_groups_policy: groups,
            },
            api_servers,
            gateway_address: gateway.map(|address| address.parse().unwrap()),
            ..Facts::default()
        },
    )
}

fn spec() -> impl Strategy<Value = Value> {
    let peers = collection::vec(peer(), 0..4);
    let egress = (
        collection::vec(prop_oneof![network(), service(), host()], 0..5),
        sample::select(vec!["Enforce", "Enforce", "Audit"]),
    );
    let credentials = collection::btree_map("[a-z]([-a-z0-9]{0,38}[a-z0-9])?", any::<bool>(), 0..4);
    let quota = sample::select(vec!["Managed", "None"]);
    (server(), credentials, peers, egress, quota, 1..=20, callers()).prop_map(
        |(mut server, credentials, peers, (egress, mode), quota, replicas, callers)| {
            let credentials: Vec<_> = credentials
                .into_iter()
                .map(|(name, sealed)| credential(&name, sealed))
                .collect();
            let egress = with_credential(egress, &credentials);
            let mut spec = json!({
                "credentials": credentials,
                "access": {"from": peers, "scrapers": peers},
                "egress": {"allow": egress, "mode": mode},
                "isolation": {"quota": quota},
                "replicas": replicas,
            });
            let Callers {
                authentication,
                confirmation,
                collector,
                stdio,
            } = callers;
            if let Some(authentication) = authentication {
                spec["authentication"] = authentication;
                spec["tls"] = json!({"from": {"secret": {"name": "tls"}}});
            }
            if let Some(confirmation) = confirmation {
                spec["confirmation"] = confirmation;
            }
            if let Some(collector) = collector {
                spec["audit"] = json!({"otlp": collector});
            }
            spec["sealing"] = json!({"from": {"sealedSecret": {"name": "sealing"}}});
            if let Some(sessions) = stdio.filter(|_| !server["command"].as_array().unwrap().is_empty()) {
                let name = credentials.first().map(|credential| credential["name"].clone());
                let taken: Vec<_> = server["env"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|variable| &variable["name"])
                    .collect();
                let from: Vec<_> = name
                    .filter(|_| !taken.contains(&&json!("TOKEN")))
                    .map(|name| json!({"name": "TOKEN", "credential": name, "key": "token"}))
                    .into_iter()
                    .collect();
                server["transport"] = json!({"stdio": {"sessions": sessions, "environmentFrom": from}});
            }
            spec["server"] = server;
            spec
        },
    )
}

/// Who may call, and what the audit sidecar needs besides.
#[derive(Clone, Debug)]
struct Callers {
    authentication: Option<Value>,
    confirmation: Option<Value>,
    collector: Option<Value>,
    stdio: Option<&'static str>,
}

fn callers() -> impl Strategy<Value = Callers> {
    let bundle = || json!({"configMap": {"name": "authorities"}});
    let issuer = json!({"issuer": "https://login.example.com", "jwks": {"url": "https://login.example.com/jwks"}, "caBundle": bundle()});
    let asked = json!({"issuer": "https://asked.example.com", "introspection": {
        "url": "https://asked.example.com:8443/i", "clientId": "a", "clientSecret": {"from": {"sealedSecret": {"name": "client"}}},
    }});
    let oauth = json!({"resource": "https://mcp.example.com/mcp", "issuers": [issuer, asked]});
    let authentication = sample::select(vec![
        json!({"anonymous": true}),
        json!({"apiKeys": {"from": {"sealedSecret": {"name": "keys"}}}}),
        json!({"anonymous": true, "oauth": oauth}),
        json!({"oauth": oauth, "clientCertificates": {"caBundle": bundle()}, "apiKeys": {"from": {"secret": {"name": "keys"}}}}),
    ]);
    let confirmation = sample::select(vec![
        json!({}),
        json!({"destructive": false}),
        json!({"tools": ["send_*"]}),
    ]);
    let collector = sample::select(vec![
        json!({"endpoint": "http://198.51.100.7:4318"}),
        json!({"endpoint": "https://10.96.0.9:4318", "caBundle": bundle(),
            "service": {"namespace": "observability", "selector": {"app": "collector"}, "ports": [4318]}}),
    ]);
    let stdio = sample::select(vec!["PerSession", "Shared"]);
    let option = proptest::option::of::<sample::Select<Value>>;
    (
        option(authentication),
        option(confirmation),
        option(collector),
        proptest::option::of(stdio),
    )
        .prop_map(|(authentication, confirmation, collector, stdio)| Callers {
            authentication,
            confirmation,
            collector,
            stdio,
        })
}

/// Rules that ask for a credential get the last of several, if they may have one; the first is the server's.
fn with_credential(rules: Vec<Value>, credentials: &[Value]) -> Vec<Value> {
    let names: Vec<_> = rules.iter().map(|rule| rule["host"].clone()).collect();
    let is_free = |rule: &Value| {
        let exact = rule["host"].as_str().is_some_and(|host| !host.starts_with('*'));
        let plain = rule["ports"].as_array().is_some_and(|ports| ports.contains(&json!(80)));
        exact && !plain && names.iter().filter(|name| **name == rule["host"]).count() == 1
    };
    let rules = rules.into_iter().map(|mut rule| {
        let asks = rule.as_object_mut().and_then(|rule| rule.remove("asks")) == Some(json!(true));
        if let Some(credential) = credentials.last()
            && credentials.len() > 1
            && asks
            && is_free(&rule)
        {
            rule["inject"] = json!({"credential": credential["name"], "key": "token"});
        }
        rule
    });
    rules.collect()
}

fn credential(name: &str, sealed: bool) -> Value {
    let source = if sealed { "sealedSecret" } else { "secret" };
    json!({"name": name, "from": {source: {"name": format!("{name}-token")}}})
}

fn server() -> impl Strategy<Value = Value> {
    let presets = prop_oneof![
        Just(json!([])),
        Just(json!(["Tmp"])),
        Just(json!(["NodeCache", "Tmp"])),
        Just(json!(["PythonCache"])),
    ];
    let paths = collection::btree_map("/(data|srv|opt|home|app)(/[a-z.]{3,8})?", 1..=65536_i64, 0..4);
    let env = collection::btree_map("[A-Z]{1,8}|HOME|TMPDIR|XDG_CACHE_HOME", "[ -~]{0,20}", 0..5);
    let port = (1024_u16..=65535).prop_filter("the sidecar's", |port| ![15080, 15081, 15090, 15091].contains(port));
    let texts = || collection::vec("[ -~]{1,12}", 0..3);
    let amounts = (10..=64_000_i64, 16..=4096_i64, 16..=4096_i64);
    (presets, paths, env, port, texts(), texts(), amounts).prop_map(
        |(presets, paths, env, port, command, args, (cpu, memory, disk))| {
            let paths: Vec<_> = paths
                .into_iter()
                .map(|(path, mebibytes)| json!({"path": path, "sizeLimit": format!("{mebibytes}Mi")}))
                .collect();
            let env: Vec<_> = env
                .into_iter()
                .map(|(name, value)| json!({"name": name, "value": value}))
                .collect();
            json!({
                "image": format!("registry.example/a@sha256:{DIGEST}"),
                "command": command,
                "args": args,
                "transport": {"http": {"port": port}},
                "writable": {"presets": presets, "paths": paths},
                "resources": {
                    "cpu": format!("{cpu}m"),
                    "memory": format!("{memory}Mi"),
                    "ephemeralStorage": format!("{disk}Mi"),
                },
                "env": env,
            })
        },
    )
}

fn labels() -> impl Strategy<Value = Value> {
    collection::btree_map("([a-z]{1,5}\\.[a-z]{1,5}/)?[a-zA-Z]{1,10}", "[a-z]{0,10}", 1..4)
        .prop_map(|labels| json!(labels))
}

fn peer() -> impl Strategy<Value = Value> {
    let selector = || labels().prop_map(|labels| json!({"matchLabels": labels}));
    prop_oneof![
        selector().prop_map(|namespace| json!({"namespace": namespace})),
        selector().prop_map(|pods| json!({"pods": pods})),
        (selector(), selector()).prop_map(|(namespace, pods)| json!({"namespace": namespace, "pods": pods})),
    ]
}

fn ports() -> impl Strategy<Value = Vec<i32>> {
    let port = (1..=65535_i32).prop_filter("never open", |port| ![53, 853, 5353, 6443, 15070].contains(port));
    collection::vec(port, 1..5)
}

/// Networks that a server may reach, some of which hold metadata services or the Kubernetes API, some with exceptions.
fn network() -> impl Strategy<Value = Value> {
    let networks = prop_oneof![ipv4_network(), ipv6_network()];
    (networks, any::<bool>(), ports()).prop_filter_map(
        "no server may reach it",
        |((address, prefix), except, ports)| {
            let network: Network = format!("{address}/{prefix}").parse().unwrap();
            let except = if except {
                vec![format!("{address}/{}", prefix + 4)]
            } else {
                vec![]
            };
            (!never_open().any(|closed| closed.contains(&network)))
                .then(|| json!({"cidr": network, "except": except, "ports": ports}))
        },
    )
}

/// Any width from 8 to 24.
fn ipv4_network() -> impl Strategy<Value = (IpAddr, u32)> {
    let first = sample::select(vec![10_u8, 11, 12, 100, 168, 169, 192, 203]);
    (first, any::<u16>(), 8..=24_u32).prop_map(|(first, rest, prefix)| {
        let [second, third] = rest.to_be_bytes();
        let address = u32::from_be_bytes([first, second, third, 0]) & (u32::MAX << (32 - prefix));
        (IpAddr::from(address.to_be_bytes()), prefix)
    })
}

/// Any width from 32 to 48.
fn ipv6_network() -> impl Strategy<Value = (IpAddr, u32)> {
    (ipv6_block(), 0..4_u16, 32..=48_u32).prop_map(|((first, second), third, prefix)| {
        let address = u128::from(first) << 112 | u128::from(second) << 96 | u128::from(third) << 80;
        let masked = address & (u128::MAX << (128 - prefix));
        (IpAddr::from(masked.to_be_bytes()), prefix)
    })
}

/// The first two groups of an IPv6 address: somebody's own, some of clouds' metadata services, and a public one.
fn ipv6_block() -> impl Strategy<Value = (u16, u16)> {
    sample::select(vec![(0xfd00, 0x96), (0xfd00, 0xec2), (0xfd20, 0xce), (0x2600, 0x1f00)])
}

fn host() -> impl Strategy<Value = Value> {
    (
        "(\\*\\.)?[a-z0-9]{1,8}(-[a-z0-9]{1,3})?\\.[a-z]{4,8}",
        proptest::option::of(ports()),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_filter_map("a name of this cluster", |(host, ports, transparent, asks)| {
            let local = [".local", ".localhost", ".arpa"]
                .iter()
                .any(|last| host.ends_with(last));
            let mapped =
                transparent && !host.starts_with('*') && ports.as_ref().is_none_or(|ports| ports.contains(&443));
            let mut rule = json!({"host": host, "transparent": mapped, "asks": asks});
            if let Some(ports) = ports {
                rule["ports"] = json!(ports);
            }
            (!local).then_some(rule)
        })
}

fn service() -> impl Strategy<Value = Value> {
    ("[a-j]{1,20}", labels(), ports())
        .prop_map(|(namespace, selector, ports)| json!({"service": {"namespace": namespace, "selector": selector, "ports": ports}}))
}
