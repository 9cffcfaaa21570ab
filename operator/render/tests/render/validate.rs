//! One spec for each thing that can be wrong.

use super::common::{endpoint, facts, minimal, settings, with};
use sallyport_api::{McpEndpoint, v1alpha1::NetworkEnforcement};
use sallyport_policy::enforcement::KubernetesApi;
use sallyport_render::{ClassFact, Facts, ValidateError as E, footprint, render, validate};
use serde_json::{Value, json};

/// Validates a spec that must be refused.
fn refused(value: Value) -> E {
    let endpoint: McpEndpoint = serde_json::from_value(value).unwrap();
    validate(&endpoint, &settings(), &facts()).unwrap_err()
}

macro_rules! refused {
    ($($name:ident: $endpoint:expr => $error:pat,)*) => {
        $(
            #[test]
            fn $name() {
                let error = refused($endpoint);
                assert!(matches!(error, $error), "{error:?}");
            }
        )*
    };
}

fn egress(rule: Value) -> Value {
    with("/spec/egress", json!({"allow": [rule]}))
}

/// These rules, beside a credential `a`.
fn inject(rules: Value) -> Value {
    let mut endpoint = with("/spec/egress", json!({"allow": rules}));
    endpoint["spec"]["credentials"] = json!([{"name": "a", "from": {"secret": {"name": "a"}}}]);
    endpoint
}

fn env(name: &str, value: &str) -> Value {
    with("/spec/server/env", json!([{"name": name, "value": value}]))
}

fn path(path: &str, size: &str) -> Value {
    with(
        "/spec/server/writable",
        json!({"paths": [{"path": path, "sizeLimit": size}]}),
    )
}

fn resources(field: &str, amount: &str) -> Value {
    with("/spec/server/resources", json!({field: amount}))
}

fn stdio(transport: Value) -> Value {
    let mut endpoint = with("/spec/server/command", json!(["a"]));
    endpoint["spec"]["server"]["transport"] = json!({"stdio": transport});
    endpoint["spec"]["credentials"] = json!([{"name": "a", "from": {"secret": {"name": "a"}}}]);
    endpoint
}

fn issuer(rest: Value) -> Value {
    let mut issuer = json!({"issuer": "https://login.example.com"});
    issuer
        .as_object_mut()
        .unwrap()
        .extend(rest.as_object().unwrap().clone());
    with(
        "/spec/authentication",
        json!({"oauth": {"resource": "https://a.example/mcp", "issuers": [issuer]}}),
    )
}

/// A credential for this port of the host that an issuer's keys come from.
fn inject_beside_an_issuer(port: u16) -> Value {
    let rule = json!({"host": "login.example.com", "ports": [8443, port], "inject": {"credential": "a", "key": "b"}});
    let mut endpoint = inject(json!([{"host": "a.example"}, rule]));
    let keys = json!({"jwks": {"url": "https://login.example.com/keys"}});
    endpoint["spec"]["authentication"] = issuer(keys)["spec"]["authentication"].clone();
    endpoint
}

#[test]
fn a_credential_for_another_port_of_an_issuers_host_is_accepted_and_what_is_refused_is_named() {
    let endpoint = endpoint(inject_beside_an_issuer(9443));
    assert!(validate(&endpoint, &settings(), &facts()).is_ok());
    let refusal = refused(inject_beside_an_issuer(443)).to_string();
    for part in [
        "egress.allow[1] ",
        "login.example.com:443",
        "authentication.oauth.issuers[0]",
    ] {
        assert!(refusal.contains(part), "{refusal}");
    }
}

fn rule(rule: Value) -> Value {
    with("/spec/authorization", json!({"rules": [rule]}))
}

fn without(part: &str) -> Value {
    let mut endpoint = minimal();
    endpoint["metadata"].as_object_mut().unwrap().remove(part);
    endpoint
}

refused! {
    an_endpoint_without_a_name: without("name") => E::Incomplete { field: "metadata.name" },
    an_endpoint_without_a_namespace: without("namespace") => E::Incomplete { field: "metadata.namespace" },
    an_endpoint_without_a_uid: without("uid") => E::Incomplete { field: "metadata.uid" },
    a_name_that_no_service_can_have: with("/metadata/name", json!("a.b")) => E::Name { .. },
    a_name_that_is_too_long: with("/metadata/name", json!("a".repeat(53))) => E::Name { .. },
    a_name_of_the_operator: with("/metadata/name", json!("sallyport")) => E::ReservedName { .. },
    the_name_of_every_namespaces_service_account: with("/metadata/name", json!("default")) => E::ReservedName { .. },
    an_image_by_tag: with("/spec/server/image", json!("registry.example/a:latest")) => E::Image { .. },
    a_command_without_a_program: with("/spec/server/command", json!([""])) => E::Command,
    no_transport: with("/spec/server/transport", json!({})) => E::Transport,
    two_transports: with("/spec/server/transport/stdio", json!({})) => E::Transport,
    a_stdio_server_without_a_command: with("/spec/server/transport", json!({"stdio": {}})) => E::StdioCommand,
    a_privileged_port: with("/spec/server/transport/http/port", json!(80)) => E::Port { port: 80 },
    the_sidecars_port: with("/spec/server/transport/http/port", json!(15090)) => E::Port { port: 15090 },
    a_path_that_climbs: with("/spec/server/transport/http/path", json!("/a/../b")) => E::Path { .. },
    an_amount_in_words: resources("cpu", "one") => E::Amount { .. },
    too_little_memory: resources("memory", "1Mi") => E::AmountRange { least: "16Mi", .. },
    too_much_disk: resources("ephemeralStorage", "1Ti") => E::AmountRange { most: "64Gi", .. },
    a_directory_without_room: path("/data", "0") => E::AmountRange { .. },
    a_relative_directory: path("data", "1Mi") => E::WritablePath { .. },
    a_directory_of_the_system: path("/etc/app", "1Mi") => E::SystemPath { .. },
    a_directory_that_holds_the_credentials: path("/var", "1Mi") => E::SystemPath { .. },
    two_presets_of_one_variable: with("/spec/server/writable", json!({"presets": ["NodeCache", "PythonCache"]})) => E::Presets,
    a_variable_that_no_shell_reads: env("A-B", "x") => E::EnvName { .. },
    a_proxy_variable: env("https_proxy", "x") => E::EnvReserved { .. },
    a_variable_of_kubernetes: env("KUBERNETES_PORT", "x") => E::EnvReserved { .. },
    a_token_in_the_environment: env("GITHUB_TOKEN", "ghp_a") => E::EnvSecret { .. },
    a_variable_twice: with("/spec/server/env", json!([{"name": "A"}, {"name": "A"}])) => E::Duplicate { .. },
    a_credential_in_capitals: with("/spec/credentials", json!([{"name": "A", "from": {"secret": {"name": "a"}}}])) => E::CredentialName { .. },
    a_credential_without_a_source: with("/spec/credentials", json!([{"name": "a", "from": {}}])) => E::CredentialSource { .. },
    a_secret_with_a_slash: with("/spec/credentials", json!([{"name": "a", "from": {"secret": {"name": "a/b"}}}])) => E::SecretName { .. },
    a_caller_without_a_selector: with("/spec/access", json!({"from": [{}]})) => E::AccessPeer { index: 0, .. },
    a_selector_that_selects_all: with("/spec/access", json!({"from": [{"pods": {"matchLabels": {}}}]})) => E::Labels { .. },
    a_label_that_is_none: with("/spec/access", json!({"from": [{"pods": {"matchLabels": {"a b": ""}}}]})) => E::Labels { .. },
    the_name_of_a_gateways_objects: with("/metadata/name", json!("demo-egress")) => E::GatewayName { .. },
    every_host: egress(json!({"host": "*"})) => E::EgressHost { .. },
    a_top_level_domain: egress(json!({"host": "*.com"})) => E::EgressHost { .. },
    a_bare_host: egress(json!({"host": "localhost"})) => E::EgressHost { .. },
    an_address_as_a_host: egress(json!({"host": "203.0.113.10"})) => E::EgressHost { .. },
    a_host_in_capitals: egress(json!({"host": "API.example.com"})) => E::EgressHostForm { .. },
    a_host_in_unicode: egress(json!({"host": "b\u{fc}cher.example"})) => E::EgressHostForm { .. },
    a_host_of_the_cluster: egress(json!({"host": "db.data.svc"})) => E::EgressLocalHost { .. },
    a_metadata_service_by_name: egress(json!({"host": "metadata.google.internal"})) => E::EgressLocalHost { .. },
    a_host_beside_a_network: egress(json!({"host": "a.example", "cidr": "203.0.113.0/24", "ports": [1]})) => E::EgressForm { .. },
    an_exception_beside_a_host: egress(json!({"host": "a.example", "except": ["203.0.113.0/24"]})) => E::EgressForm { .. },
    the_port_of_the_kubernetes_api_of_a_host: egress(json!({"host": "a.example", "ports": [6443]})) => E::EgressPort { .. },
    a_destination_of_nothing: egress(json!({})) => E::EgressForm { .. },
    ports_beside_a_service: egress(json!({"service": {"namespace": "a", "selector": {"a": "b"}, "ports": [1]}, "ports": [1]})) => E::EgressForm { .. },
    a_network_without_ports: egress(json!({"cidr": "203.0.113.0/24"})) => E::EgressPorts { .. },
    the_port_of_dns: egress(json!({"cidr": "203.0.113.0/24", "ports": [53]})) => E::EgressPort { port: 53, .. },
    a_port_beyond_the_last: egress(json!({"cidr": "203.0.113.0/24", "ports": [65536]})) => E::EgressPort { port: 65536, .. },
    a_network_with_host_bits: egress(json!({"cidr": "203.0.113.1/24", "ports": [1]})) => E::EgressNetwork { .. },
    every_address: egress(json!({"cidr": "0.0.0.0/0", "ports": [1]})) => E::EgressTooWide { .. },
    the_metadata_service: egress(json!({"cidr": "169.254.169.254/32", "ports": [80]})) => E::EgressForbidden { .. },
    the_kubernetes_api: egress(json!({"cidr": "10.96.0.1/32", "ports": [443]})) => E::ClassKubernetesApi { .. },
    the_port_of_another_kubernetes_api: egress(json!({"cidr": "203.0.113.10/32", "ports": [6443]})) => E::EgressPort { .. },
    an_exception_elsewhere: egress(json!({"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"], "ports": [1]})) => E::EgressExcept { .. },
    an_exception_that_is_all_of_it: egress(json!({"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"], "ports": [1]})) => E::EgressExcept { .. },
    a_service_of_the_cluster: egress(json!({"service": {"namespace": "kube-system", "selector": {"a": "b"}, "ports": [1]}})) => E::EgressNamespace { .. },
    a_variable_of_no_credential: stdio(json!({"environmentFrom": [{"name": "A", "credential": "b", "key": "c"}]})) => E::EnvironmentCredential { .. },
    a_path_out_of_a_credential: stdio(json!({"environmentFrom": [{"name": "A", "credential": "a", "key": ".."}]})) => E::DataKey { .. },
    a_library_path_out_of_a_credential: stdio(json!({"environmentFrom": [{"name": "LD_PRELOAD", "credential": "a", "key": "c"}]})) => E::EnvironmentReserved { .. },
    an_authentication_by_nothing: with("/spec/authentication", json!({})) => E::AuthenticationMethod,
    certificates_without_tls: with("/spec/authentication", json!({"clientCertificates": {"caBundle": {"configMap": {"name": "a"}}}})) => E::CertificatesWithoutTls,
    keys_without_a_source: with("/spec/authentication", json!({"apiKeys": {"from": {}}})) => E::CredentialSource { .. },
    a_resource_in_the_clear: with("/spec/authentication", json!({"oauth": {"resource": "http://a.example/mcp", "issuers": []}})) => E::Resource { .. },
    no_issuers: with("/spec/authentication", json!({"oauth": {"resource": "https://a.example/mcp", "issuers": []}})) => E::Issuers,
    an_issuer_that_is_not_verified: issuer(json!({})) => E::IssuerForm { .. },
    keys_by_an_address: issuer(json!({"jwks": {"url": "https://10.0.0.1/jwks"}})) => E::EgressHost { .. },
    keys_in_the_clear: issuer(json!({"jwks": {"url": "http://login.example.com/jwks"}})) => E::TargetUrl { .. },
    keys_of_this_cluster: issuer(json!({"jwks": {"url": "https://keycloak.auth.svc/jwks"}})) => E::EgressLocalHost { .. },
    keys_on_the_port_of_the_kubernetes_api: issuer(json!({"jwks": {"url": "https://login.example.com:6443/jwks"}})) => E::EgressPort { .. },
    a_bundle_of_a_wrong_name: issuer(json!({"jwks": {"url": "https://login.example.com/jwks"}, "caBundle": {"configMap": {"name": "A"}}})) => E::ConfigMapName { .. },
    no_rules: with("/spec/authorization", json!({"rules": []})) => E::Rules,
    a_rule_about_nothing: rule(json!({"name": "a"})) => E::Policy { field: "authorization", .. },
    a_rule_for_a_method_that_is_none: rule(json!({"name": "a", "methods": ["tools/run"]})) => E::Policy { .. },
    a_claim_twice: rule(json!({"name": "a", "tools": ["b"], "from": [{"claims": {"c": ["d"]}, "flags": {"c": true}}]})) => E::Duplicate { .. },
    a_tool_that_nobody_sees: with("/spec/tools", json!({"sideEffects": [{"tools": ["a\u{200b}"], "sideEffect": "ReadOnly"}]})) => E::Policy { field: "tools", .. },
    a_pin_that_is_no_digest: with("/spec/tools", json!({"pins": [{"name": "a", "sha256": "b"}]})) => E::Policy { field: "tools", .. },
    confirmed_tools_beside_none: with("/spec/confirmation", json!({"destructive": false, "tools": ["a"]})) => E::ConfirmedTools,
    a_question_for_ever: with("/spec/confirmation", json!({"expirySeconds": 100_000})) => E::Limit { .. },
    a_body_of_nothing: with("/spec/limits", json!({"bodyBytes": 0})) => E::Limit { field: "limits.bodyBytes", .. },
    a_rate_of_nothing: with("/spec/limits", json!({"rates": {"perTool": {"requests": 0}}})) => E::Limit { .. },
    an_origin_in_the_clear: with("/spec/access", json!({"origins": ["http://a.example"]})) => E::Origin { .. },
    an_external_url_with_a_query: with("/spec/access", json!({"externalUrl": "https://a.example/?b"})) => E::ExternalUrl { .. },
    a_scraper_without_a_selector: with("/spec/access", json!({"scrapers": [{}]})) => E::AccessPeer { field: "access.scrapers", .. },
    a_collector_by_name: with("/spec/audit", json!({"otlp": {"endpoint": "http://collector.observability.svc:4318"}})) => E::TargetAddress { .. },
    a_collector_that_is_a_metadata_service: with("/spec/audit", json!({"otlp": {"endpoint": "http://169.254.169.254:80"}})) => E::EgressForbidden { .. },
    a_collector_that_is_the_kubernetes_api: with("/spec/audit", json!({"otlp": {"endpoint": "http://10.96.0.1:443"}})) => E::EgressForbidden { .. },
    a_collector_of_the_cluster_itself: with("/spec/audit", json!({"otlp": {"endpoint": "http://10.96.0.9:4318", "service": {"namespace": "kube-system", "selector": {"a": "b"}, "ports": [1]}}})) => E::EgressNamespace { .. },
    a_collector_whose_certificate_nobody_vouches_for: with("/spec/audit", json!({"otlp": {"endpoint": "https://203.0.113.9:4318"}})) => E::Policy { field: "audit", .. },
    a_wildcard_that_is_to_be_mapped: egress(json!({"host": "*.example.com", "transparent": true})) => E::EgressTransparent { .. },
    a_mapped_host_without_the_port_of_tls: egress(json!({"host": "a.example", "ports": [8443], "transparent": true})) => E::EgressTransparent { .. },
    a_network_that_is_to_be_mapped: egress(json!({"cidr": "203.0.113.0/24", "ports": [443], "transparent": true})) => E::EgressForm { .. },
    a_credential_for_every_host_below: inject(json!([{"host": "*.example.com", "inject": {"credential": "a", "key": "b"}}])) => E::EgressInjectHost { .. },
    a_credential_without_tls: inject(json!([{"host": "a.example", "ports": [80, 443], "inject": {"credential": "a", "key": "b"}}])) => E::EgressInjectHost { .. },
    a_credential_for_a_network: inject(json!([{"cidr": "203.0.113.0/24", "ports": [443], "inject": {"credential": "a", "key": "b"}}])) => E::EgressForm { .. },
    a_credential_that_the_endpoint_does_not_have: inject(json!([{"host": "a.example", "inject": {"credential": "b", "key": "b"}}])) => E::EgressInjectCredential { .. },
    a_host_with_and_without_a_credential: inject(json!([{"host": "a.example", "ports": [8443]}, {"host": "a.example", "inject": {"credential": "a", "key": "b"}}])) => E::EgressInjectTwice { .. },
    a_credential_for_the_host_of_an_issuer: inject_beside_an_issuer(443) => E::EgressInjectSidecar { .. },
    a_credential_in_the_host_header: inject(json!([{"host": "a.example", "inject": {"credential": "a", "key": "b", "header": "Host"}}])) => E::EgressInject { .. },
    a_prefix_that_ends_the_header: inject(json!([{"host": "a.example", "inject": {"credential": "a", "key": "b", "prefix": "x\r\ny: "}}])) => E::EgressInject { .. },
    a_key_that_climbs: inject(json!([{"host": "a.example", "inject": {"credential": "a", "key": "../b"}}])) => E::EgressInjectKey { .. },
    authorities_with_a_slash: inject(json!([{"host": "a.example", "inject": {"credential": "a", "key": "b", "authorities": {"configMap": {"name": "a/b"}}}}])) => E::EgressInjectAuthorities { .. },
    the_signers_port: with("/spec/server/transport/http/port", json!(15091)) => E::Port { port: 15091 },
    no_pods: with("/spec/replicas", json!(0)) => E::Replicas { replicas: 0 },
    too_many_pods: with("/spec/replicas", json!(21)) => E::Replicas { replicas: 21 },
}

#[test]
fn what_only_looks_like_a_secret_is_accepted() {
    for (name, value) in [
        ("MAX_TOKENS", "4096"),
        ("TOKEN_LIMIT", "10"),
        ("API_KEY_FILE", "/var/run/a"),
        ("USE_SECRET", "true"),
    ] {
        let endpoint: McpEndpoint = serde_json::from_value(env(name, value)).unwrap();
        assert!(validate(&endpoint, &settings(), &facts()).is_ok(), "{name}");
    }
}

#[test]
fn a_credential_that_is_not_there_yet_is_no_error() {
    let value = with(
        "/spec/credentials",
        json!([{"name": "a", "from": {"sealedSecret": {"name": "a"}}}]),
    );
    let endpoint: McpEndpoint = serde_json::from_value(value).unwrap();
    assert!(validate(&endpoint, &settings(), &facts()).is_ok());
}

#[test]
fn the_class_decides_about_names_and_enforcement() {
    let validated = |value: Value, class: ClassFact| {
        let endpoint: McpEndpoint = serde_json::from_value(value).unwrap();
        validate(&endpoint, &settings(), &Facts { class, ..facts() })
    };
    let class = |spec: Value| ClassFact::Found(serde_json::from_value(spec).unwrap());
    let plain = |class| validated(minimal(), class).unwrap().network_enforcement();
    assert_eq!(plain(ClassFact::BuiltIn), NetworkEnforcement::Required);
    assert_eq!(plain(class(json!({}))), NetworkEnforcement::Required);
    assert_eq!(
        plain(class(json!({"networkEnforcement": "Warn"}))),
        NetworkEnforcement::Warn
    );

    let names = || with("/spec/egress", json!({"dns": "ClusterDNS"}));
    let allowing = class(json!({"egress": {"allowClusterDns": true}}));
    assert!(matches!(validated(names(), ClassFact::BuiltIn), Err(E::ClassDns)));
    assert!(matches!(validated(names(), class(json!({}))), Err(E::ClassDns)));
    assert!(validated(names(), allowing).is_ok());

    let absent = with("/spec/className", json!("absent"));
    let missing = validated(absent, ClassFact::Missing).unwrap_err();
    assert!(missing.to_string().contains("className \"absent\""), "{missing}");
}

#[test]
fn the_class_decides_about_the_kubernetes_api() {
    let validated = |rule: &Value, class: Value| {
        let endpoint = serde_json::from_value(with("/spec/egress/allow", json!([rule]))).unwrap();
        let class = ClassFact::Found(serde_json::from_value(class).unwrap());
        validate(&endpoint, &settings(), &Facts { class, ..facts() })
    };
    let allowing = || json!({"egress": {"allowKubernetesApi": true}});
    let api = json!({"cidr": "10.96.0.1/32", "ports": [443, 6443]});
    let opened = validated(&api, allowing()).unwrap();
    assert_eq!(opened.kubernetes_api(), KubernetesApi::Allowed);
    // The same rule without the class.
    let refused = validated(&api, json!({})).unwrap_err();
    assert!(refused.to_string().contains("allowKubernetesApi: true"), "{refused}");
    // Only the very address opens it: of a wider network it stays cut out, and nothing else is opened by the class.
    let wide = validated(&json!({"cidr": "10.96.0.0/16", "ports": [443]}), allowing()).unwrap();
    assert_eq!(wide.kubernetes_api(), KubernetesApi::Forbidden);
    for rule in [
        json!({"cidr": "10.96.0.0/16", "ports": [6443]}),
        json!({"cidr": "10.96.0.2/32", "ports": [6443]}),
        json!({"cidr": "10.96.0.1/32", "ports": [53]}),
        json!({"cidr": "10.96.0.1/32", "ports": [15070]}),
        json!({"cidr": "10.96.0.1/32"}),
        json!({"host": "api.example.com", "ports": [6443]}),
        json!({"cidr": "169.254.169.254/32", "ports": [443]}),
        json!({"cidr": "10.96.0.1/32", "except": ["10.96.0.1/32"], "ports": [443]}),
    ] {
        assert!(validated(&rule, allowing()).is_err(), "{rule}");
    }
}

#[test]
fn the_class_decides_about_callers_confirmation_and_ceilings() {
    let validated = |value: Value, class: Value| {
        let endpoint: McpEndpoint = serde_json::from_value(value).unwrap();
        let class = ClassFact::Found(serde_json::from_value(class).unwrap());
        validate(&endpoint, &settings(), &Facts { class, ..facts() })
    };
    let known = || json!({"allowAnonymous": false});
    assert!(matches!(validated(minimal(), known()), Err(E::ClassAnonymous)));
    let anonymous = with("/spec/authentication", json!({"anonymous": true}));
    assert!(matches!(validated(anonymous.clone(), known()), Err(E::ClassAnonymous)));
    assert!(validated(anonymous, json!({})).is_ok());
    let keys = with(
        "/spec/authentication",
        json!({"apiKeys": {"from": {"secret": {"name": "a"}}}}),
    );
    assert!(validated(keys, known()).is_ok());

    let token = || with("/spec/confirmation", json!({"legacy": "Token"}));
    assert!(matches!(validated(token(), json!({})), Err(E::ClassToken)));
    assert!(validated(token(), json!({"allowTokenConfirmation": true})).is_ok());

    let ceilings = json!({"limits": {"bodyBytes": 2048, "requestsPerMinute": 60}, "maxReplicas": 2});
    assert!(
        validated(minimal(), ceilings.clone()).is_ok(),
        "what is left out gives way"
    );
    for (pointer, value, field) in [
        ("/spec/limits", json!({"bodyBytes": 4096}), "limits.bodyBytes"),
        (
            "/spec/limits",
            json!({"rates": {"perPrincipal": {"requests": 2, "seconds": 1}}}),
            "limits.rates.perPrincipal",
        ),
        ("/spec/replicas", json!(3), "replicas"),
    ] {
        let refused = validated(with(pointer, value), ceilings.clone()).unwrap_err();
        assert!(
            matches!(&refused, E::Ceiling { field: found, .. } if *found == field),
            "{refused:?}"
        );
    }
}

#[test]
fn replicas_that_know_their_callers_share_keys() {
    let validated = |change: fn(&mut Value)| {
        let mut object = with("/spec/replicas", json!(2));
        change(&mut object["spec"]);
        validate(&serde_json::from_value(object).unwrap(), &settings(), &facts())
    };
    assert!(validated(|_| {}).is_ok());
    let keys = |spec: &mut Value| spec["authentication"] = json!({"apiKeys": {"from": {"secret": {"name": "a"}}}});
    assert!(matches!(validated(keys), Err(E::SealingMissing)));
    assert!(matches!(
        validated(|spec| spec["confirmation"] = json!({})),
        Err(E::SealingMissing)
    ));
    let effects = |spec: &mut Value| {
        spec["tools"] = json!({"sideEffects": [{"tools": ["read"], "sideEffect": "ReadOnly"}]});
    };
    assert!(matches!(validated(effects), Err(E::SealingMissing)));
    assert!(validated(|spec| spec["confirmation"] = json!({"destructive": false})).is_ok());
    let sealed = |spec: &mut Value| {
        spec["confirmation"] = json!({});
        spec["sealing"] = json!({"from": {"secret": {"name": "a"}}});
    };
    assert!(validated(sealed).is_ok());
}

/// The table that is sent to a real API server in the end-to-end tests.
#[derive(serde::Deserialize)]
struct Case {
    name: String,
    patch: Value,
    message: String,
}

#[test]
fn rendering_refuses_what_the_api_server_refuses_by_a_rule_and_accepts_what_it_accepts() {
    let base: Value = serde_saphyr::from_str(include_str!("../../../../e2e/fixtures/valid.yaml")).unwrap();
    let cases: Vec<Case> = serde_saphyr::from_str(include_str!("../../../../e2e/fixtures/refused.yaml")).unwrap();
    for Case { name, patch, message } in cases {
        let mut object = base.clone();
        merge(&mut object, &patch);
        object["metadata"]["uid"] = json!("u");
        let verdict = serde_json::from_value::<McpEndpoint>(object)
            .map_err(|error| error.to_string())
            .and_then(|endpoint| validate(&endpoint, &settings(), &facts()).map_err(|error| error.to_string()));
        // The schema's own checks: unknown fields, and lists whose entries differ or which are not empty.
        let by_schema = [
            "unknown field",
            "Duplicate value",
            "should have at least",
            "should be at least",
            "should be greater than",
        ];
        if !by_schema.iter().any(|text| message.contains(text)) {
            assert_eq!(verdict.is_ok(), message.is_empty(), "{name}: {verdict:?}");
        }
    }
}

/// Merge patch (RFC 7386).
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in fields {
        if value.is_null() {
            target.as_object_mut().map(|target| target.remove(key));
        } else {
            merge(&mut target[key], value);
        }
    }
}

#[test]
fn the_sidecar_gets_the_memory_that_its_limits_can_come_to_and_the_footprint_follows() {
    let memory = |limits: Value, tls: bool| {
        let mut object = with("/spec/limits", limits);
        if tls {
            object["spec"]["tls"] = json!({"from": {"secret": {"name": "tls"}}});
        }
        let endpoint = validate(&endpoint(object), &settings(), &facts()).unwrap();
        let pod = render(&endpoint).deployment.spec.unwrap().template.spec.unwrap();
        let sidecar = pod.init_containers.unwrap().remove(2);
        assert_eq!(sidecar.name, "audit");
        let limit = sidecar.resources.unwrap().limits.unwrap()["memory"].0.clone();
        (limit, footprint(&endpoint).amounts.memory_bytes)
    };
    let (limit, least) = memory(json!({}), false);
    assert_eq!(limit, "208Mi");
    assert_eq!(memory(json!({"connections": 8}), false), (limit, least));
    assert_eq!(memory(json!({}), true).0, "232Mi");
    let (limit, most) = memory(json!({"connections": 4096, "concurrentRequests": 4096}), false);
    assert_eq!(limit, "1480Mi");
    // Two pods, the surge of a roll-out among them.
    assert_eq!(most - least, 2 * ((1480 - 208) << 20));
}

#[test]
fn the_limits_that_the_reference_tells_are_those_that_hold() {
    let crd = serde_json::to_value(sallyport_api::mcp_endpoint_crd().unwrap()).unwrap();
    let limits = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["limits"];
    let policy = serde_json::to_value(sallyport_policy::Limits::default()).unwrap();
    let described = |field: &Value| {
        field["description"]
            .as_str()
            .unwrap()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    let mut told = 0;
    for (name, field) in limits["properties"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| *name != "rates")
    {
        let default = format!("Default: {}", policy[name]);
        let text = described(field);
        let rest = text.split_once(&default).map(|(_, rest)| rest);
        assert!(
            rest.is_some_and(|rest| rest.starts_with(['.', ' '])),
            "{name} is {default}, but: {text}"
        );
        told += 1;
    }
    let rates = &limits["properties"]["rates"]["properties"];
    for name in ["perPrincipal", "perTool"] {
        let rate = &policy["rates"][name];
        let default = format!(
            "Default: {} in {} seconds, {} at once.",
            rate["requests"], rate["seconds"], rate["burst"]
        );
        let text = described(&rates[name]);
        assert!(text.contains(&default), "{name} is {default}, but: {text}");
    }
    assert_eq!(told, 11);
}
