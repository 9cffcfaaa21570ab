use super::*;
use pretty_assertions::assert_eq;
use sallyport_policy::enforcement::KubernetesApi::{Allowed, Forbidden};
use sallyport_policy::enforcement::Observation;
use serde_json::{Value, json};

fn canary() -> SocketAddr {
    "10.96.0.7:15070".parse().unwrap()
}

fn report(canary: Verdict, api: Verdict) -> EnforcementReport {
    let seen = |destination, address: &str, verdict| Observation {
        destination,
        address: address.parse().unwrap(),
        verdict,
        detail: "as it was".to_owned(),
    };
    EnforcementReport {
        observations: vec![
            seen(Destination::Canary, "10.96.0.7:15070", canary),
            seen(Destination::KubernetesApi, "10.96.0.1:443", api),
        ],
    }
}

fn pod(guard: &Value, audit: &Value) -> Pod {
    let status = |name: &str, states: &Value| {
        let mut status = json!({"name": name, "image": "", "imageID": "", "ready": false, "restartCount": 0});
        status
            .as_object_mut()
            .unwrap()
            .extend(states.as_object().unwrap().clone());
        status
    };
    serde_json::from_value(json!({
        "metadata": {"name": "demo-1"},
        "status": {
            "podIP": "10.244.0.9",
            "initContainerStatuses": [status("guard", guard), status("audit", audit)],
        },
    }))
    .unwrap()
}

fn ended(code: i32, message: &str) -> Value {
    json!({"terminated": {"exitCode": code, "message": message}})
}

fn starting(pod: &Pod) -> Finding {
    match stage(pod) {
        Stage::Starting(finding) => finding,
        Stage::Running(address) => panic!("{address} runs"),
    }
}

#[test]
fn a_refusal_proves_only_what_the_operator_witnessed() {
    use Verdict::{Inconclusive, Reached, Refused};
    let open = |text: &str| Finding::Open(text.to_owned());
    let reached_canary = "the operator's canary (10.96.0.7:15070): as it was";
    let reached_api = "the Kubernetes API (10.96.0.1:443): as it was";
    for (canary_verdict, api_verdict, witnessed, expected) in [
        (Refused, Refused, true, Finding::Proven),
        (Refused, Refused, false, Finding::Unwitnessed),
        (Reached, Refused, true, open(reached_canary)),
        (Reached, Refused, false, open(reached_canary)),
        (Refused, Reached, false, open(reached_api)),
        (Refused, Inconclusive, true, Finding::Unproven(reached_api.to_owned())),
    ] {
        let found = judge(&report(canary_verdict, api_verdict), Forbidden, &[canary()], witnessed);
        assert_eq!(found, expected, "{canary_verdict:?} {api_verdict:?} {witnessed}");
    }
}

#[test]
fn an_api_server_that_a_rule_opens_is_no_finding_and_the_canary_still_is() {
    use Verdict::{Reached, Refused};
    let found = |canary_verdict, api_verdict, api| judge(&report(canary_verdict, api_verdict), api, &[canary()], true);
    assert_eq!(found(Refused, Reached, Allowed), Finding::Proven);
    assert!(matches!(found(Reached, Reached, Allowed), Finding::Open(why) if why.contains("canary")));
    // The same pod of an endpoint without such a rule is open.
    assert!(matches!(found(Refused, Reached, Forbidden), Finding::Open(_)));
    let (.., text) = Enforcement::of(&[("demo-1".to_owned(), Finding::Proven)], true, Allowed).condition();
    assert!(
        text.ends_with("the Kubernetes API is open to them by egress.allow"),
        "{text}"
    );
}

#[test]
fn a_refusal_somewhere_else_proves_nothing() {
    let elsewhere: SocketAddr = "10.96.0.8:15070".parse().unwrap();
    for canaries in [vec![elsewhere], vec![canary(), elsewhere]] {
        let found = judge(&report(Verdict::Refused, Verdict::Refused), Forbidden, &canaries, true);
        assert!(matches!(found, Finding::Unproven(_)), "{canaries:?}: {found:?}");
    }
}

#[test]
fn before_the_sidecar_runs_the_guard_speaks() {
    let none = json!({});
    let waiting = json!({"state": {"waiting": {"reason": "PodInitializing"}}});
    let table = [
        (none.clone(), Finding::Unproven("its guard is measuring".to_owned())),
        (
            json!({"state": {"running": {}}}),
            Finding::Unproven("its guard is measuring".to_owned()),
        ),
        (
            json!({"state": ended(3, "this pod reaches it\n")}),
            Finding::Open("this pod reaches it".to_owned()),
        ),
        (
            json!({"state": {"running": {}}, "lastState": ended(3, "")}),
            Finding::Open("exit code 3".to_owned()),
        ),
        (
            json!({"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ended(4, "no canary")}),
            Finding::Unproven("its guard failed: no canary".to_owned()),
        ),
        (
            json!({"state": ended(0, ""), "lastState": ended(3, "x")}),
            Finding::Unproven("its audit sidecar does not run yet".to_owned()),
        ),
    ];
    for (guard, expected) in table {
        assert_eq!(starting(&pod(&guard, &waiting)), expected, "{guard}");
    }
    let running = pod(&json!({"state": ended(0, "")}), &json!({"state": {"running": {}}}));
    assert!(matches!(stage(&running), Stage::Running(address) if address.to_string() == "10.244.0.9"));
}

#[test]
fn the_condition_counts_and_says_what_stands_in_the_way() {
    let find = |findings: &[Finding]| {
        let named: Vec<_> = findings
            .iter()
            .enumerate()
            .map(|(index, finding)| (format!("demo-{index}"), finding.clone()))
            .collect();
        Enforcement::of(&named, true, Forbidden)
    };
    let open = Finding::Open("reached".to_owned());
    let unproven = Finding::Unproven("its guard is measuring".to_owned());
    for (measured, status, reason, message) in [
        (
            find(&[Finding::Proven, Finding::Proven]),
            Status::True,
            reasons::ENFORCED,
            "2 of 2 pods are refused",
        ),
        (
            find(&[unproven.clone(), open, Finding::Proven]),
            Status::False,
            reasons::NOT_ENFORCED,
            "1 of 3 pods reach what no rule allows; pod demo-1: reached",
        ),
        (
            find(&[Finding::Proven, unproven]),
            Status::Unknown,
            reasons::NOT_MEASURED,
            "1 of 2 pods are proven closed; pod demo-1: its guard is measuring",
        ),
        (
            find(&[Finding::Unwitnessed]),
            Status::Unknown,
            reasons::CANARY_UNREACHABLE,
            "0 of 1 pods",
        ),
        (find(&[]), Status::Unknown, reasons::NOT_MEASURED, "no pod runs yet"),
        (
            Enforcement::NoCanary,
            Status::Unknown,
            reasons::CANARY_UNREACHABLE,
            "does not exist",
        ),
    ] {
        let (found, why, text) = measured.condition();
        assert_eq!((found, why), (status, reason), "{text}");
        assert!(text.contains(message), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_doubt_is_told_after_a_while_and_an_open_pod_at_once() {
    let measurements = Measurements::default();
    let doubt = || Enforcement::of(&[("demo-1".to_owned(), Finding::Unwitnessed)], true, Forbidden);
    let open = || {
        Enforcement::of(
            &[("demo-1".to_owned(), Finding::Open("reached".to_owned()))],
            true,
            Forbidden,
        )
    };
    let proven = || Enforcement::of(&[("demo-1".to_owned(), Finding::Proven)], true, Forbidden);
    let settle = |measured, was_proven| measurements.settle("team-a", "demo", measured, was_proven);
    assert!(measurements.is_due("team-a", "demo"));
    assert_eq!(settle(doubt(), false), Some(doubt()), "nothing was proven before");
    assert_eq!(settle(proven(), false), Some(proven()));
    assert!(!measurements.is_due("team-a", "demo"));
    tokio::time::advance(FRESH).await;
    assert!(measurements.is_due("team-a", "demo"));

    assert_eq!(settle(doubt(), true), None);
    assert!(measurements.is_due("team-a", "demo"), "a doubt is looked into");
    assert_eq!(settle(open(), true), Some(open()), "at once");
    assert_eq!(settle(doubt(), true), None);
    tokio::time::advance(GRACE.saturating_sub(Duration::from_secs(1))).await;
    assert_eq!(settle(doubt(), true), None);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(settle(doubt(), true), Some(doubt()));
    measurements.forget("team-a", "demo");
    assert!(measurements.is_due("team-a", "demo"));
}

#[test]
fn only_pods_that_can_be_asked_are_asked_again_soon() {
    let measured = |finding, asked| Enforcement::of(&[("demo-1".to_owned(), finding)], asked, Forbidden).again();
    assert_eq!(measured(Finding::Proven, true), EVERY);
    assert_eq!(measured(Finding::Unwitnessed, true), SOON);
    assert_eq!(measured(Finding::Open(String::new()), true), SOON);
    assert_eq!(measured(Finding::Open(String::new()), false), EVERY);
}
