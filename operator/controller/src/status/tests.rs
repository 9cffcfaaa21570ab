use super::*;
use k8s_openapi::api::{
    core::v1::{ConfigMap, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use pretty_assertions::assert_eq;
use sallyport_render::{Amounts, Facts, NodeFeatures, Settings, render, validate};
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
        sidecar_amounts: Amounts::SIDECAR,
        priority_class: "sallyport-endpoint".to_owned(),
        cluster_domain: "cluster.local".to_owned(),
        operator_namespace: "sallyport-system".to_owned(),
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
    diagnosis: Option<Diagnosis>,
}

fn computed(old: &McpEndpointStatus, case: &Case, second: i64) -> McpEndpointStatus {
    let endpoint = endpoint();
    let mut facts: BTreeMap<_, _> = ["first", "second"].map(|name| (name.to_owned(), synced())).into();
    facts.insert("plain".to_owned(), CredentialFact::Unwatched);
    facts.extend(case.facts.iter().map(|(name, fact)| ((*name).to_owned(), fact.clone())));
    let known = Facts {
        node_features: NodeFeatures::default(),
        api_servers: vec![],
        credentials: facts.clone(),
    };
    let valid = validate(&endpoint, &settings(), &known).unwrap();
    let deployment = deployment(2, &case.status);
    let children = render(&valid).into_applied(
        ServiceAccount::default(),
        ConfigMap::default(),
        NetworkPolicy::default(),
        PodDisruptionBudget::default(),
        Service::default(),
        (!case.withheld).then(|| deployment.clone()),
    );
    let observed = Observed {
        children: &children,
        deployment: Some(&deployment),
        credentials: &endpoint.spec.credentials,
        facts: &facts,
        url: valid.url(),
        replicas: valid.replicas(),
        footprint: Footprint::default(),
        server: case.server.then(ServerInfo::default),
        posture: Some(Posture::default()),
        shortfalls: &[],
        diagnosis: case.diagnosis.clone(),
    };
    compute(old, GENERATION, observed, Timestamp::from_second(second).unwrap())
}

fn well() -> Case {
    Case {
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
        deviations: vec!["host-users: the nodes cannot".to_owned()],
    };
    let (status, reason, message) = hardening(&posture);
    assert_eq!(
        (status, reason, message.as_str()),
        (false, reasons::NODE_SUPPORT_MISSING, "host-users: the nodes cannot")
    );
}
