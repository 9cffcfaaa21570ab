use super::*;
use k8s_openapi::api::{
    core::v1::{ConfigMap, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use pretty_assertions::assert_eq;
use sallyport_api::v1alpha1::ToolStatus;
use sallyport_policy::enforcement::KubernetesApi;
use sallyport_render::{Amounts, ClusterNetworks, Facts, GatewayChildren, NodeFeatures, Settings, render, validate};
use serde_json::{Value, json};

const GENERATION: i64 = 3;

fn endpoint() -> McpEndpoint {
    serde_json::from_value(json!({
        "apiVersion": "sallyport.dev/v1alpha1", "kind": "McpEndpoint",
        "metadata": {"name": "demo", "namespace": "team-a", "uid": "u", "generation": GENERATION},
        "spec": {
            "server": {
                "image": format!("registry.example/mcp@sha256:{}", "b".repeat(64)),
                "transport": {"http": {"port": 3001, "path": "/mcp"}},
            },
            "credentials": [
                {"name": "first", "from": {"sealedSecret": {"name": "first-token"}}},
                {"name": "second", "from": {"sealedSecret": {"name": "second-token"}}},
                {"name": "plain", "from": {"secret": {"name": "plain-token"}}},
            ],
            "replicas": 2,
        },
    }))
    .unwrap()
}

fn settings() -> Settings {
    Settings {
        sidecar_image: format!("registry.example/sidecar@sha256:{}", "a".repeat(64)),
        egress_image: format!("registry.example/egress@sha256:{}", "a".repeat(64)),
        sidecar_amounts: Amounts::SIDECAR,
        priority_class: "sallyport-endpoint".to_owned(),
        cluster_domain: "cluster.local".to_owned(),
        operator_namespace: "sallyport-system".to_owned(),
        cluster_networks: ClusterNetworks::default(),
        operator_pod_labels: BTreeMap::new(),
    }
}

fn synced() -> CredentialFact {
    CredentialFact::Synced {
        revision: "0123456789abcdef".to_owned(),
    }
}

fn deployment(generation: i64, status: &Value) -> Deployment {
    serde_json::from_value(json!({
        "metadata": {"name": "demo", "generation": generation},
        "spec": {"replicas": 2, "selector": {}, "template": {}},
        "status": status,
    }))
    .unwrap()
}

fn replicas(observed: i64, total: i32, updated: i32, available: i32, conditions: &Value) -> Value {
    json!({
        "observedGeneration": observed, "replicas": total, "updatedReplicas": updated,
        "availableReplicas": available, "conditions": conditions,
    })
}

fn progressing(status: &str, reason: &str) -> Value {
    json!([{"type": "Progressing", "status": status, "reason": reason, "message": format!("{reason} says the controller")}])
}

#[test]
fn a_rollout_is_complete_only_when_every_pod_is_of_the_current_template() {
    let complete = progressing("True", "NewReplicaSetAvailable");
    let under_way = progressing("True", "ReplicaSetUpdated");
    let overdue = progressing("False", "ProgressDeadlineExceeded");
    let refused =
        json!([{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"}]);
    let table = [
        ("no status yet", json!({}), Rollout::Progressing),
        (
            "status of the former generation",
            replicas(1, 2, 2, 2, &complete),
            Rollout::Progressing,
        ),
        (
            "old pods remain",
            replicas(2, 3, 2, 3, &under_way),
            Rollout::Progressing,
        ),
        (
            "new pods are missing",
            replicas(2, 2, 1, 2, &under_way),
            Rollout::Progressing,
        ),
        (
            "new pods are not available",
            replicas(2, 2, 2, 1, &under_way),
            Rollout::Progressing,
        ),
        (
            "all are there",
            replicas(2, 2, 2, 2, &complete),
            Rollout::Complete { available: true },
        ),
        (
            "one crashed later",
            replicas(2, 2, 2, 1, &complete),
            Rollout::Complete { available: false },
        ),
        ("scaled up", replicas(2, 1, 1, 1, &complete), Rollout::Progressing),
        (
            "refused",
            replicas(2, 0, 0, 0, &refused),
            Rollout::Refused("exceeded quota".to_owned()),
        ),
        (
            "overdue",
            replicas(2, 2, 2, 0, &overdue),
            Rollout::Overdue("ProgressDeadlineExceeded says the controller".to_owned()),
        ),
        (
            "overdue, then it worked",
            replicas(2, 2, 2, 2, &overdue),
            Rollout::Complete { available: true },
        ),
    ];
    for (name, status, expected) in table {
        assert_eq!(Rollout::of(Some(&deployment(2, &status))), expected, "{name}");
    }
    assert_eq!(Rollout::of(None), Rollout::Absent);
}

/// What a table row changes of an endpoint whose every part is well.
#[derive(Default)]
struct Case {
    status: Value,
    facts: Vec<(&'static str, CredentialFact)>,
    withheld: bool,
    server: bool,
    tools: Option<ToolsStatus>,
    problems: Option<Vec<String>>,
    diagnosis: Option<Diagnosis>,
    /// Status of the gateway's Deployment.
    gateway: Option<Value>,
    gateway_diagnosis: Option<Diagnosis>,
    mode: EgressMode,
    widenings: Vec<Widening>,
    enforcement: Option<Enforcement>,
    network_enforcement: NetworkEnforcement,
}

fn computed(old: &McpEndpointStatus, case: &Case, second: i64) -> McpEndpointStatus {
    let endpoint = endpoint();
    let mut facts: BTreeMap<_, _> = ["first", "second"].map(|name| (name.to_owned(), synced())).into();
    facts.insert("plain".to_owned(), CredentialFact::Unwatched);
    facts.extend(case.facts.iter().map(|(name, fact)| ((*name).to_owned(), fact.clone())));
    let known = Facts {
        node_features: NodeFeatures::default(),
        credentials: facts.clone(),
        ..Facts::default()
    };
    let valid = validate(&endpoint, &settings(), &known).unwrap();
    // An endpoint without hosts has no gateway, so that one is made up.
    let gateway = case.gateway.as_ref().map(|status| GatewayChildren {
        service_account: ServiceAccount::default(),
        config_map: ConfigMap::default(),
        network_policy: NetworkPolicy::default(),
        cilium_network_policy: None,
        pod_disruption_budget: PodDisruptionBudget::default(),
        service: Service::default(),
        deployment: deployment(2, status),
    });
    let deployment = deployment(2, &case.status);
    let children = render(&valid).into_applied(
        ServiceAccount::default(),
        ConfigMap::default(),
        NetworkPolicy::default(),
        None,
        PodDisruptionBudget::default(),
        Service::default(),
        gateway,
        (!case.withheld).then(|| deployment.clone()),
    );
    let observed = Observed {
        children: &children,
        deployment: Some(&deployment),
        secrets: &endpoint.spec.secrets(),
        facts: &facts,
        url: valid.url(),
        replicas: valid.replicas(),
        footprint: Footprint::default(),
        server: case.server.then(ServerInfo::default),
        tools: case.tools.clone(),
        pinned: case.tools.is_some(),
        audit: None,
        problems: case.problems.as_deref(),
        posture: Some(Posture::default()),
        shortfalls: &[],
        diagnosis: case.diagnosis.clone(),
        gateway_diagnosis: case.gateway_diagnosis.clone(),
        mode: case.mode,
        widenings: &case.widenings,
        enforcement: case.enforcement.clone(),
        network_enforcement: case.network_enforcement,
    };
    compute(old, GENERATION, observed, Timestamp::from_second(second).unwrap())
}

fn measured(proven: usize, open: usize) -> Enforcement {
    Enforcement::Measured {
        pods: 2,
        proven,
        open,
        unwitnessed: 0,
        asked: true,
        api: KubernetesApi::Forbidden,
        obstacle: Some("pod demo-1: why not".to_owned()),
    }
}

fn well() -> Case {
    Case {
        enforcement: Some(measured(2, 0)),
        status: replicas(2, 2, 2, 2, &progressing("True", "NewReplicaSetAvailable")),
        server: true,
        ..Case::default()
    }
}

/// How kstatus reads it: what decides first wins.
fn kstatus(status: &McpEndpointStatus) -> &'static str {
    let is = |type_| conditions::get(&status.conditions, type_).is_some_and(|condition| condition.status == "True");
    if status.observed_generation != GENERATION || is(types::RECONCILING) {
        "InProgress"
    } else if is(types::STALLED) {
        "Failed"
    } else if is(types::READY) {
        "Current"
    } else {
        "InProgress"
    }
}

/// Checks rows of a case, how kstatus reads it, its reason, and a part of its message.
fn check(table: Vec<(Case, &str, &str, &str)>) {
    for (case, expected, reason, message) in table {
        let status = computed(&McpEndpointStatus::default(), &case, 1);
        let ready = conditions::get(&status.conditions, types::READY).unwrap();
        assert_eq!(
            (ready.reason.as_str(), kstatus(&status)),
            (reason, expected),
            "{}",
            ready.message
        );
        assert!(ready.message.contains(message), "{}", ready.message);
        for abnormal in [types::RECONCILING, types::STALLED] {
            let condition = conditions::get(&status.conditions, abnormal);
            assert!(
                condition.is_none_or(|condition| condition.status == "True"),
                "{abnormal} must be absent when false"
            );
        }
    }
}

#[test]
fn each_stage_of_a_rollout_has_its_reason_and_its_kstatus() {
    let with = |status: &Value| Case {
        status: status.clone(),
        ..well()
    };
    let stuck = |status: &Value| Case {
        diagnosis: Some(Diagnosis {
            reason: reasons::CONTAINER_NOT_STARTING,
            message: "the image cannot be pulled".to_owned(),
        }),
        ..with(status)
    };
    let under_way = replicas(2, 2, 2, 0, &progressing("True", "ReplicaSetUpdated"));
    let overdue = replicas(2, 2, 2, 0, &progressing("False", "ProgressDeadlineExceeded"));
    let crashed = replicas(2, 2, 2, 1, &progressing("True", "NewReplicaSetAvailable"));
    let failure = json!([{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}]);
    let refused = replicas(2, 0, 0, 0, &failure);
    let silent = Case {
        server: false,
        ..well()
    };
    let (no_image, late) = ("the image cannot be pulled", reasons::PROGRESS_DEADLINE_EXCEEDED);
    check(vec![
        (well(), "Current", reasons::READY, "answered the MCP handshake"),
        (silent, "InProgress", reasons::HANDSHAKE_PENDING, "MCP handshake"),
        (
            with(&under_way),
            "InProgress",
            reasons::PROGRESSING,
            "waiting for the pods",
        ),
        (
            stuck(&under_way),
            "InProgress",
            reasons::CONTAINER_NOT_STARTING,
            no_image,
        ),
        (stuck(&overdue), "Failed", late, no_image),
        (with(&overdue), "Failed", late, "says the controller"),
        (with(&crashed), "InProgress", reasons::UNAVAILABLE, "fewer pods"),
        (with(&refused), "InProgress", reasons::FAILED_CREATE, "exceeded quota"),
    ]);
}

#[test]
fn each_state_of_a_credential_has_its_reason_and_its_kstatus() {
    let second = |fact| Case {
        facts: vec![("second", fact)],
        withheld: true,
        ..well()
    };
    let failed = CredentialFact::Failed {
        message: "no key could decrypt secret".to_owned(),
    };
    check(vec![
        (
            second(CredentialFact::Missing),
            "InProgress",
            reasons::CREDENTIAL_MISSING,
            "SealedSecret second-token does not exist",
        ),
        (
            second(CredentialFact::Pending),
            "InProgress",
            reasons::CREDENTIAL_PENDING,
            "SealedSecret second-token is not unsealed",
        ),
        (
            second(failed),
            "Failed",
            reasons::UNSEAL_FAILED,
            "no key could decrypt secret",
        ),
    ]);
}

#[test]
fn a_failure_outranks_an_absence_and_that_a_delay() {
    let mut case = Case {
        facts: vec![("first", CredentialFact::Pending), ("second", CredentialFact::Missing)],
        withheld: true,
        ..well()
    };
    let reason = |case: &Case| {
        let status = computed(&McpEndpointStatus::default(), case, 1);
        conditions::get(&status.conditions, types::CREDENTIALS_READY)
            .unwrap()
            .reason
            .clone()
    };
    assert_eq!(reason(&case), reasons::CREDENTIAL_MISSING);
    case.facts.push((
        "plain",
        CredentialFact::Failed {
            message: "x".to_owned(),
        },
    ));
    assert_eq!(reason(&case), reasons::UNSEAL_FAILED);
}

#[test]
fn the_same_situation_gives_the_same_status_at_any_time() {
    let first = computed(&McpEndpointStatus::default(), &well(), 1);
    assert_eq!(computed(&first, &well(), 1000), first);
}

#[test]
fn a_stalled_endpoint_keeps_what_was_known_and_recovers() {
    let before = computed(&McpEndpointStatus::default(), &well(), 1);
    let conflict = Error::NameConflict {
        kind: "Service".to_owned(),
        name: "demo".to_owned(),
    };
    let stalled = stalled(&before, GENERATION, &conflict, Timestamp::from_second(2).unwrap());
    assert_eq!(kstatus(&stalled), "Failed");
    assert_eq!((&stalled.url, &stalled.server), (&before.url, &before.server));
    let after = computed(&stalled, &well(), 3);
    assert_eq!(kstatus(&after), "Current");
    assert_eq!(conditions::get(&after.conditions, types::STALLED), None);
}

#[test]
fn deviations_are_listed() {
    let posture = Posture {
        passed: 1,
        total: 2,
        deviations: vec!["user-namespace: the nodes cannot".to_owned()],
    };
    let (status, reason, message) = details::hardening(&posture);
    assert_eq!(
        (status, reason, message.as_str()),
        (false, reasons::NODE_SUPPORT_MISSING, "user-namespace: the nodes cannot")
    );
}

/// An endpoint whose server is well.
fn served() -> Case {
    Case {
        status: replicas(2, 2, 2, 2, &progressing("True", "NewReplicaSetAvailable")),
        server: true,
        enforcement: Some(measured(2, 0)),
        ..Case::default()
    }
}

#[test]
fn an_endpoint_is_ready_only_with_its_egress_gateway() {
    let complete = progressing("True", "NewReplicaSetAvailable");
    let refused =
        json!([{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota"}]);
    let table = [
        (
            replicas(2, 2, 2, 2, &complete),
            true,
            reasons::READY,
            "pods are available",
        ),
        (
            replicas(2, 1, 1, 0, &progressing("True", "ReplicaSetUpdated")),
            false,
            reasons::PROGRESSING,
            "of the egress gateway",
        ),
        (
            replicas(2, 2, 2, 1, &complete),
            false,
            reasons::UNAVAILABLE,
            "of the egress gateway",
        ),
        (
            replicas(2, 0, 0, 0, &refused),
            false,
            reasons::FAILED_CREATE,
            "egress gateway: exceeded quota",
        ),
        (
            replicas(2, 2, 2, 0, &progressing("False", "ProgressDeadlineExceeded")),
            false,
            reasons::PROGRESS_DEADLINE_EXCEEDED,
            "egress gateway: ",
        ),
    ];
    for (gateway, ready, reason, message) in table {
        let case = Case {
            gateway: Some(gateway),
            ..served()
        };
        let status = computed(&McpEndpointStatus::default(), &case, 1);
        let condition = conditions::get(&status.conditions, types::READY).unwrap();
        assert_eq!(
            (condition.status == "True", condition.reason.as_str()),
            (ready, reason),
            "{condition:?}"
        );
        assert!(condition.message.contains(message), "{condition:?}");
    }
    let case = Case {
        gateway: Some(json!({})),
        gateway_diagnosis: Some(Diagnosis {
            reason: reasons::CONTAINER_NOT_STARTING,
            message: "the image of container egress cannot be pulled: not found".to_owned(),
        }),
        ..served()
    };
    let status = computed(&McpEndpointStatus::default(), &case, 1);
    let condition = conditions::get(&status.conditions, types::READY).unwrap();
    assert_eq!(condition.reason, reasons::CONTAINER_NOT_STARTING);
    assert!(
        condition.message.starts_with("egress gateway: the image"),
        "{condition:?}"
    );
}

#[test]
fn what_widens_an_endpoint_is_named_and_the_condition_is_absent_without_it() {
    let other = |policy: &str| Widening {
        policy: policy.to_owned(),
        ingress: true,
        egress: false,
    };
    let table = [
        (EgressMode::Enforce, vec![], None),
        (
            EgressMode::Audit,
            vec![],
            Some((reasons::AUDIT_MODE, "egress.mode is Audit")),
        ),
        (
            EgressMode::Enforce,
            vec![other("allow-all"), other("b")],
            Some((reasons::OTHER_POLICIES, "allow-all (ingress), b (ingress)")),
        ),
        (
            EgressMode::Audit,
            vec![other("allow-all")],
            Some((reasons::OTHER_POLICIES, "; egress.mode is Audit")),
        ),
    ];
    let mut old = McpEndpointStatus::default();
    for (mode, widenings, expected) in table {
        let case = Case {
            mode,
            widenings,
            ..served()
        };
        old = computed(&old, &case, 1);
        let found = conditions::get(&old.conditions, types::EGRESS_WIDENED);
        assert_eq!(
            found.map(|condition| (condition.status.as_str(), condition.reason.as_str())),
            expected.map(|(reason, _)| ("True", reason))
        );
        if let (Some(condition), Some((_, message))) = (found, expected) {
            assert!(condition.message.contains(message), "{condition:?}");
        }
    }
    let cleared = computed(&old, &served(), 1);
    assert!(conditions::get(&cleared.conditions, types::EGRESS_WIDENED).is_none());
}

#[test]
fn a_deviation_that_no_node_causes_was_chosen() {
    let of = |deviations: &[&str]| {
        let deviations = deviations.iter().map(|&text| text.to_owned()).collect();
        details::hardening(&Posture {
            deviations,
            ..Posture::default()
        })
        .1
    };
    assert_eq!(
        of(&["user-namespace: x", "strict-groups: y"]),
        reasons::NODE_SUPPORT_MISSING
    );
    assert_eq!(of(&["user-namespace: x", "no-dns: y"]), reasons::CHOSEN);
}

fn told(status: &McpEndpointStatus, type_: &str) -> (String, String) {
    let condition = conditions::get(&status.conditions, type_).unwrap();
    (condition.status.clone(), condition.reason.clone())
}

#[test]
fn an_endpoint_is_ready_only_when_its_pods_are_proven_closed_unless_its_class_only_warns() {
    let overdue = replicas(2, 2, 2, 0, &progressing("False", "ProgressDeadlineExceeded"));
    let starting = replicas(2, 2, 2, 0, &progressing("True", "ReplicaSetUpdated"));
    let table = [
        (
            measured(2, 0),
            None,
            ("True", reasons::ENFORCED),
            (reasons::READY, "Current"),
        ),
        (
            measured(1, 0),
            None,
            ("Unknown", reasons::NOT_MEASURED),
            (reasons::NOT_MEASURED, "InProgress"),
        ),
        (
            measured(1, 1),
            None,
            ("False", reasons::NOT_ENFORCED),
            (reasons::NOT_ENFORCED, "InProgress"),
        ),
        (
            measured(0, 1),
            Some(starting),
            ("False", reasons::NOT_ENFORCED),
            (reasons::NOT_ENFORCED, "InProgress"),
        ),
        (
            measured(0, 1),
            Some(overdue),
            ("False", reasons::NOT_ENFORCED),
            (reasons::NOT_ENFORCED, "Failed"),
        ),
    ];
    for (enforcement, rollout, enforced, (reason, expected)) in table {
        let mut case = Case {
            enforcement: Some(enforcement),
            ..well()
        };
        case.status = rollout.unwrap_or(case.status);
        let status = computed(&McpEndpointStatus::default(), &case, 1);
        let (said, why) = told(&status, types::NETWORK_ENFORCED);
        assert_eq!((said.as_str(), why.as_str()), enforced);
        assert_eq!(
            (told(&status, types::READY).1.as_str(), kstatus(&status)),
            (reason, expected)
        );

        case.network_enforcement = NetworkEnforcement::Warn;
        let status = computed(&McpEndpointStatus::default(), &case, 1);
        let (said, why) = told(&status, types::NETWORK_ENFORCED);
        assert_eq!((said.as_str(), why.as_str()), enforced, "it is reported all the same");
        let available = told(&status, types::AVAILABLE).0 == "True";
        assert_eq!(kstatus(&status) == "Current", available);
    }
}

#[test]
fn what_was_proven_stands_until_it_is_measured_again() {
    let first = computed(&McpEndpointStatus::default(), &well(), 1);
    assert!(is_proven(&first, GENERATION) && !is_proven(&first, GENERATION + 1));
    let unmeasured = Case {
        enforcement: None,
        ..well()
    };
    assert_eq!(computed(&first, &unmeasured, 2), first);
    let never = computed(&McpEndpointStatus::default(), &unmeasured, 2);
    assert_eq!(told(&never, types::NETWORK_ENFORCED).0, "Unknown");
    assert!(!is_proven(&never, GENERATION));
}

#[test]
fn without_a_canary_the_roll_out_waits_and_says_for_what() {
    let case = Case {
        enforcement: Some(Enforcement::NoCanary),
        withheld: true,
        ..well()
    };
    let status = computed(&McpEndpointStatus::default(), &case, 1);
    let unreachable = reasons::CANARY_UNREACHABLE.to_owned();
    assert_eq!(
        told(&status, types::NETWORK_ENFORCED),
        ("Unknown".to_owned(), unreachable.clone())
    );
    assert_eq!(
        (told(&status, types::READY).1, kstatus(&status)),
        (unreachable, "InProgress")
    );
}

#[test]
fn drifted_tools_are_told_by_name_and_unpinned_endpoints_say_nothing_of_pins() {
    let seen = |state: &str, drifted| ToolsStatus {
        total: 1,
        drifted,
        list: vec![ToolStatus {
            name: "read_file".to_owned(),
            state: state.to_owned(),
            sha256: None,
        }],
    };
    let of = |tools| Case { tools, ..well() };
    let drifted = computed(&McpEndpointStatus::default(), &of(Some(seen("Drifted", 1))), 1);
    let pinned = told(&drifted, types::TOOLS_PINNED);
    assert_eq!(pinned, ("False".to_owned(), reasons::TOOLS_DRIFTED.to_owned()));
    let condition = conditions::get(&drifted.conditions, types::TOOLS_PINNED).unwrap();
    assert!(
        condition.message.contains("read_file (Drifted)"),
        "{}",
        condition.message
    );
    assert_eq!(kstatus(&drifted), "Current", "the endpoint serves what is as pinned");

    let mended = computed(&drifted, &of(Some(seen("Pinned", 0))), 2);
    assert_eq!(told(&mended, types::TOOLS_PINNED).0, "True");
    let unpinned = computed(&mended, &of(None), 3);
    assert!(conditions::get(&unpinned.conditions, types::TOOLS_PINNED).is_none());
}

#[test]
fn keys_that_no_sidecar_can_use_are_told_until_one_says_otherwise() {
    let of = |problems: Option<&[&str]>| Case {
        problems: problems.map(|list| list.iter().map(|&text| text.to_owned()).collect()),
        ..well()
    };
    let broken = computed(
        &McpEndpointStatus::default(),
        &of(Some(&["the key file is no JSON"])),
        1,
    );
    assert_eq!(told(&broken, types::CREDENTIALS_READY).1, reasons::KEYS_UNUSABLE);
    let unasked = computed(&broken, &of(None), 2);
    assert_eq!(unasked, broken);
    let mended = computed(&unasked, &of(Some(&[])), 3);
    assert_eq!(told(&mended, types::CREDENTIALS_READY).0, "True");
}
