//! Each check has a pod that fails it and nothing else; otherwise nobody knows that it bites.

use super::common::{endpoint, facts, minimal, settings};
use k8s_openapi::api::core::v1::PodSpec;
use pretty_assertions::assert_eq;
use sallyport_api::v1alpha1::Posture;
use sallyport_render::{ClassFact, Facts, hardening, render, validate};
use serde_json::{Value, json};

/// A change for each check: a pointer into the pod (RFC 6901) and what is put there; `null` removes.
fn spoilers() -> Vec<(&'static str, &'static str, Value)> {
    let secret = |mode| json!({"name": "other", "secret": {"secretName": "a", "defaultMode": mode}});
    let mount = |name| json!({"name": name, "mountPath": "/other", "readOnly": true});
    vec![
        ("pss-host-namespaces", "/hostNetwork", json!(true)),
        ("pss-host-namespaces", "/hostPID", json!(true)),
        ("pss-host-namespaces", "/hostIPC", json!(true)),
        (
            "pss-privileged",
            "/containers/0/securityContext/privileged",
            json!(true),
        ),
        (
            "pss-capabilities-dropped",
            "/containers/0/securityContext/capabilities/drop",
            json!(["NET_RAW"]),
        ),
        (
            "pss-capabilities-added",
            "/initContainers/0/securityContext/capabilities/add",
            json!(["NET_ADMIN"]),
        ),
        (
            "pss-volume-types",
            "/volumes/-",
            json!({"name": "other", "hostPath": {"path": "/"}}),
        ),
        (
            "pss-volume-types",
            "/volumes/-",
            json!({"name": "other", "nfs": {"path": "/", "server": "a"}}),
        ),
        ("pss-host-ports", "/initContainers/2/ports/0/hostPort", json!(80)),
        (
            "pss-proc-mount",
            "/containers/0/securityContext/procMount",
            json!("Unmasked"),
        ),
        (
            "pss-selinux",
            "/containers/0/securityContext/seLinuxOptions",
            json!({"type": "spc_t"}),
        ),
        (
            "pss-selinux",
            "/securityContext/seLinuxOptions",
            json!({"user": "root"}),
        ),
        (
            "pss-apparmor",
            "/containers/0/securityContext/appArmorProfile",
            json!({"type": "Unconfined"}),
        ),
        (
            "pss-apparmor",
            "/securityContext/appArmorProfile",
            json!({"type": "Unconfined"}),
        ),
        (
            "pss-seccomp",
            "/containers/0/securityContext/seccompProfile/type",
            json!("Unconfined"),
        ),
        (
            "pss-sysctls",
            "/securityContext/sysctls",
            json!([{"name": "kernel.msgmax", "value": "1"}]),
        ),
        (
            "pss-host-process",
            "/containers/0/securityContext/windowsOptions",
            json!({"hostProcess": true}),
        ),
        (
            "pss-probe-hosts",
            "/containers/0/livenessProbe/httpGet/host",
            json!("169.254.169.254"),
        ),
        (
            "pss-probe-hosts",
            "/containers/0/lifecycle",
            json!({"preStop": {"tcpSocket": {"host": "a", "port": 1}}}),
        ),
        (
            "pss-privilege-escalation",
            "/containers/0/securityContext/allowPrivilegeEscalation",
            Value::Null,
        ),
        (
            "pss-run-as-non-root",
            "/containers/0/securityContext/runAsNonRoot",
            json!(false),
        ),
        ("pss-run-as-user", "/containers/0/securityContext/runAsUser", json!(0)),
        ("pss-run-as-user", "/securityContext/runAsUser", json!(0)),
        (
            "pss-ephemeral-containers",
            "/ephemeralContainers",
            json!([{"name": "debug"}]),
        ),
        (
            "read-only-root",
            "/containers/0/securityContext/readOnlyRootFilesystem",
            Value::Null,
        ),
        ("own-user", "/containers/0/securityContext/runAsUser", json!(1000)),
        ("own-user", "/initContainers/0/securityContext/runAsUser", Value::Null),
        ("own-group", "/containers/0/securityContext/runAsGroup", json!(0)),
        ("own-group", "/securityContext/fsGroup", Value::Null),
        (
            "users-apart",
            "/initContainers/0/securityContext/runAsUser",
            json!(65532),
        ),
        (
            "users-apart",
            "/initContainers/1/securityContext/runAsUser",
            json!(65532),
        ),
        (
            "non-root-everywhere",
            "/containers/0/securityContext/runAsNonRoot",
            Value::Null,
        ),
        (
            "seccomp-everywhere",
            "/initContainers/0/securityContext/seccompProfile",
            Value::Null,
        ),
        ("user-namespace", "/hostUsers", Value::Null),
        (
            "strict-groups",
            "/securityContext/supplementalGroupsPolicy",
            json!("Merge"),
        ),
        ("no-token", "/automountServiceAccountToken", Value::Null),
        (
            "no-projected-token",
            "/volumes/-",
            json!({"name": "other", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}),
        ),
        ("own-service-account", "/serviceAccountName", json!("default")),
        ("no-service-links", "/enableServiceLinks", Value::Null),
        ("no-shared-processes", "/shareProcessNamespace", json!(true)),
        (
            "no-host-aliases",
            "/hostAliases",
            json!([{"ip": "127.0.0.1", "hostnames": ["a"]}]),
        ),
        ("no-dns", "/dnsPolicy", json!("ClusterFirst")),
        ("no-dns", "/dnsConfig/nameservers", json!(["10.96.0.10"])),
        ("priority-class", "/priorityClassName", Value::Null),
        ("scheduled-as-any", "/nodeName", json!("control-plane")),
        ("scheduled-as-any", "/tolerations", json!([{"operator": "Exists"}])),
        (
            "pinned-images",
            "/containers/0/image",
            json!("registry.example/mcp/server:latest"),
        ),
        ("pull-always", "/containers/0/imagePullPolicy", json!("IfNotPresent")),
        ("limits", "/containers/0/resources", json!({})),
        (
            "requests-equal-limits",
            "/containers/0/resources/requests/cpu",
            json!("1m"),
        ),
        (
            "bounded-empty-dirs",
            "/volumes/-",
            json!({"name": "other", "emptyDir": {}}),
        ),
        (
            "read-only-mounts",
            "/initContainers/0/volumeMounts/0/readOnly",
            Value::Null,
        ),
        (
            "no-sub-paths",
            "/initContainers/0/volumeMounts/0/subPath",
            json!("policy.json"),
        ),
        (
            "no-mount-propagation",
            "/initContainers/0/volumeMounts/0/mountPropagation",
            json!("HostToContainer"),
        ),
        (
            "no-devices",
            "/containers/0/volumeDevices",
            json!([{"name": "a", "devicePath": "/dev/a"}]),
        ),
        ("no-devices", "/resourceClaims", json!([{"name": "gpu"}])),
        (
            "no-secrets-in-env",
            "/containers/0/env",
            json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}]),
        ),
        (
            "no-secrets-in-env",
            "/containers/0/envFrom",
            json!([{"secretRef": {"name": "a"}}]),
        ),
        ("secret-mode", "/volumes/-", secret(0o644)),
        (
            "secret-mode",
            "/volumes/-",
            json!({"name": "other", "secret": {"secretName": "a"}}),
        ),
        ("secret-in-one-container", "*", json!([secret(0o440), mount("other")])),
        (
            "one-writer",
            "*",
            json!([{"name": "other", "emptyDir": {"sizeLimit": "1Mi"}}, {"name": "other", "mountPath": "/other"}]),
        ),
        ("guarded-start", "/initContainers/0/restartPolicy", json!("Always")),
        ("audited-entrance", "/initContainers/2/restartPolicy", Value::Null),
        (
            "audited-entrance",
            "/containers/0/ports",
            json!([{"containerPort": 3001}]),
        ),
        ("held-ports", "/initContainers/1/restartPolicy", Value::Null),
        ("held-ports", "/initContainers/1/startupProbe", Value::Null),
        (
            "held-ports",
            "/initContainers/0/volumeMounts/-",
            json!({"name": "ports", "mountPath": "/run/sallyport-ports", "readOnly": true}),
        ),
        (
            "no-exec",
            "/containers/0/livenessProbe/exec",
            json!({"command": ["true"]}),
        ),
        (
            "no-exec",
            "/containers/0/lifecycle",
            json!({"preStop": {"exec": {"command": ["true"]}}}),
        ),
        ("no-terminal", "/containers/0/tty", json!(true)),
    ]
}

#[test]
fn a_rendered_pod_passes_every_check() {
    assert_eq!(deviating(&pod()), Vec::<String>::new());
}

#[test]
fn a_gateways_pod_passes_every_check_but_those_of_servers() {
    let mut endpoint = minimal();
    endpoint["spec"]["egress"] = json!({"allow": [{"host": "api.example.com"}]});
    let endpoint = validate(&super::common::endpoint(endpoint), &settings(), &facts()).unwrap();
    let pod = render(&endpoint)
        .gateway
        .unwrap()
        .deployment
        .spec
        .unwrap()
        .template
        .spec
        .unwrap();
    assert_eq!(hardening::judge_gateway(&pod).deviations, Vec::<String>::new());
    let all: Vec<_> = hardening::judge(&pod)
        .deviations
        .iter()
        .map(|text| text.split(':').next().unwrap().to_owned())
        .collect();
    assert_eq!(all, ["no-dns", "guarded-start", "audited-entrance", "held-ports"]);
}

#[test]
fn adding_credentials_costs_no_check_and_leading_names_one() {
    let mut endpoint = minimal();
    endpoint["spec"]["credentials"] = json!([{"name": "a", "from": {"secret": {"name": "a"}}}]);
    let inject = json!({"credential": "a", "key": "token", "authorities": {"configMap": {"name": "b"}}});
    for (transparent, expected) in [(false, vec![]), (true, vec!["no-host-aliases"])] {
        let rule = json!({"host": "api.example.com", "transparent": transparent, "inject": inject});
        endpoint["spec"]["egress"] = json!({"allow": [rule]});
        let endpoint = validate(&super::common::endpoint(endpoint.clone()), &settings(), &facts()).unwrap();
        let children = render(&endpoint);
        let server = children.deployment.spec.unwrap().template.spec.unwrap();
        assert_eq!(deviating(&serde_json::to_value(server).unwrap()), expected);
        let gateway = children
            .gateway
            .unwrap()
            .deployment
            .spec
            .unwrap()
            .template
            .spec
            .unwrap();
        assert_eq!(hardening::judge_gateway(&gateway).deviations, Vec::<String>::new());
    }
}

#[test]
fn opening_the_kubernetes_api_costs_the_check_that_says_so() {
    let class = serde_json::from_value(json!({"egress": {"allowKubernetesApi": true}})).unwrap();
    let facts = Facts {
        class: ClassFact::Found(class),
        ..facts()
    };
    let mut endpoint = minimal();
    endpoint["spec"]["authentication"] = json!({"apiKeys": {"from": {"secret": {"name": "keys"}}}});
    for (cidr, expected) in [("10.96.0.1/32", 1), ("203.0.113.10/32", 0)] {
        endpoint["spec"]["egress"] = json!({"allow": [{"cidr": cidr, "ports": [443]}]});
        let endpoint = validate(&super::common::endpoint(endpoint.clone()), &settings(), &facts).unwrap();
        let server = render(&endpoint).deployment.spec.unwrap().template.spec.unwrap();
        let deviations = hardening::judge_endpoint(&endpoint, &server).deviations;
        assert_eq!(deviations.len(), expected, "{deviations:?}");
        assert!(
            deviations.iter().all(|text| text.starts_with("no-kubernetes-api: ")),
            "{deviations:?}"
        );
    }
}

#[test]
fn a_network_that_opens_more_than_the_hosts_costs_the_check_that_says_so() {
    let mut endpoint = minimal();
    endpoint["spec"]["authentication"] = json!({"apiKeys": {"from": {"secret": {"name": "keys"}}}});
    for (cilium, mode, deviates) in [(true, "Audit", true), (true, "Enforce", false), (false, "Audit", false)] {
        let facts = Facts { cilium, ..facts() };
        endpoint["spec"]["egress"] = json!({"allow": [{"host": "api.example.com"}], "mode": mode});
        let endpoint = validate(&super::common::endpoint(endpoint.clone()), &settings(), &facts).unwrap();
        let server = render(&endpoint).deployment.spec.unwrap().template.spec.unwrap();
        let deviations = hardening::judge_endpoint(&endpoint, &server).deviations;
        assert_eq!(deviations.len(), usize::from(deviates), "{deviations:?}");
        assert!(deviations.iter().all(|text| text.starts_with("hosts-by-name: ")));
    }
}

#[test]
fn every_check_bites_alone() {
    for (id, pointer, value) in spoilers() {
        let spoilt = spoilt(pointer, value);
        assert_eq!(deviating(&spoilt), [id], "{pointer}");
    }
}

#[test]
fn every_check_has_a_pod_that_fails_it() {
    let spoilers = spoilers();
    for check in hardening::CHECKS.iter() {
        assert!(
            spoilers.iter().any(|(id, ..)| *id == check.id),
            "{} has no negative control",
            check.id
        );
    }
}

#[test]
fn an_endpoint_that_does_not_ask_who_calls_deviates_and_one_that_does_passes() {
    let judged = |authentication: Option<Value>| {
        let mut object = minimal();
        if let Some(authentication) = authentication {
            object["spec"]["authentication"] = authentication;
        }
        let endpoint = validate(&endpoint(object), &settings(), &facts()).unwrap();
        let pod = render(&endpoint).deployment.spec.unwrap().template.spec.unwrap();
        hardening::judge_endpoint(&endpoint, &pod)
    };
    let absent = judged(None);
    assert_eq!(absent.total - absent.passed, 1);
    assert_eq!(
        absent.deviations,
        ["callers-known: authentication is absent, so whoever reaches the endpoint may call"]
    );
    let anonymous = judged(Some(json!({"anonymous": true}))).deviations;
    assert!(anonymous[0].contains("anonymous: true"), "{anonymous:?}");
    let keys = json!({"apiKeys": {"from": {"sealedSecret": {"name": "keys"}}}});
    assert_eq!(judged(Some(keys)).deviations, Vec::<String>::new());
}

#[test]
fn the_posture_counts_and_gives_reasons() {
    let posture = judged(&spoilt("/hostNetwork", json!(true)));
    assert_eq!(posture.total - posture.passed, 1);
    assert_eq!(
        posture.deviations,
        ["pss-host-namespaces: shares namespaces with the node (hostNetwork)"]
    );
}

fn pod() -> Value {
    let endpoint = validate(&endpoint(minimal()), &settings(), &facts()).unwrap();
    let pod = render(&endpoint).deployment.spec.unwrap().template.spec.unwrap();
    serde_json::to_value(pod).unwrap()
}

fn spoilt(pointer: &str, value: Value) -> Value {
    let mut pod = pod();
    if pointer == "*" {
        // One volume in two containers.
        pod["volumes"].as_array_mut().unwrap().push(value[0].clone());
        pod["initContainers"][0]["volumeMounts"]
            .as_array_mut()
            .unwrap()
            .push(value[1].clone());
        pod["containers"][0]["volumeMounts"] = json!([value[1]]);
        return pod;
    }
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match (pod.pointer_mut(parent).unwrap(), key) {
        (Value::Array(items), "-") => items.push(value),
        (Value::Object(fields), key) if value.is_null() => assert!(fields.remove(key).is_some(), "{pointer}"),
        (Value::Object(fields), key) => drop(fields.insert(key.to_owned(), value)),
        (other, _) => panic!("{pointer} leads to {other}"),
    }
    pod
}

fn deviating(pod: &Value) -> Vec<String> {
    let pod: PodSpec = serde_json::from_value(pod.clone()).unwrap();
    let deviations = hardening::judge(&pod).deviations;
    deviations
        .iter()
        .filter_map(|text| text.split_once(':'))
        .map(|(id, _)| id.to_owned())
        .collect()
}

fn judged(pod: &Value) -> Posture {
    let pod: PodSpec = serde_json::from_value(pod.clone()).unwrap();
    hardening::judge(&pod)
}
