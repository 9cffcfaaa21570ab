//! What becomes of records that the collector does not take now, or not ever.

use super::*;
use pretty_assertions::assert_eq;
use prometheus_client::registry::Registry;
use tokio::task::JoinSet;

const REJECTED: &str = r#"{"partialSuccess":{"rejectedLogRecords":"1","errorMessage":"too old"}}"#;
const ALL_REJECTED: &str = r#"{"partialSuccess":{"rejectedLogRecords":"1000","errorMessage":"too old"}}"#;

/// Calls of one scene. One of them is [`POISON`].
const CALLS: u64 = 20;
const POISON: u64 = 7;

/// A journal whose records wait for a collector that is not there yet.
struct Scene {
    receiver: Receiver,
    journal: Journal<Call>,
    thread: crate::journal::JournalThread,
    registry: Registry,
}

impl Scene {
    /// With or without standard output as a sink besides.
    async fn waiting(on_sink_failure: OnSinkFailure, stdout: bool) -> Self {
        let receiver = Receiver::default();
        receiver.answer(Some((StatusCode::SERVICE_UNAVAILABLE, "")));
        let port = receiver.start().await;
        let mut policy = policy(format!("http://127.0.0.1:{port}/base"), None, on_sink_failure);
        policy.sinks.stdout = stdout;
        let metrics = JournalMetrics::default();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let (journal, thread) = start_with(policy, 64, metrics);
        let scene = Self {
            receiver,
            journal,
            thread,
            registry,
        };
        for number in 0..CALLS {
            send(&scene.journal, number).await;
        }
        until(|| scene.journal.anchor().is_some_and(|anchor| anchor.seq == CALLS)).await;
        until(|| scene.metric("audit_sink_failures_total") == 1).await;
        scene
    }

    /// The collector is there, and answers as `judge` says.
    fn judged(
        &self,
        judge: impl Fn(&mut Vec<LogRecord>) -> Option<(StatusCode, &'static str)> + Send + Sync + 'static,
    ) {
        self.receiver.judge(judge);
        self.receiver.answer(None);
    }

    fn metric(&self, name: &str) -> u64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().unwrap())
    }

    /// Another call, and the journal's end. What the collector has then.
    async fn end(self) -> crate::verify::Report {
        send(&self.journal, CALLS).await;
        drop(self.journal);
        self.thread.finish(Duration::from_mins(1)).await.unwrap();
        verify(&self.receiver.log(), &[], Leniency::default())
    }

    fn numbers(&self) -> Vec<u64> {
        let logs = self.receiver.logs.lock().unwrap();
        let lines = logs
            .iter()
            .filter_map(|record| serde_json::from_str::<Value>(record.line()).ok());
        lines.filter_map(|line| line["number"].as_u64()).collect()
    }
}

fn is_poison(record: &LogRecord) -> bool {
    record.line().contains(&format!("\"number\":{POISON}}}"))
}

#[tokio::test]
async fn what_is_too_much_at_once_is_sent_in_smaller_parts_and_nothing_is_lost() {
    // A collector may also break off, where it reads no further than it must.
    for answer in [Some((StatusCode::PAYLOAD_TOO_LARGE, "")), None] {
        let scene = Scene::waiting(OnSinkFailure::Block, false).await;
        scene.judged(move |records| {
            if records.len() <= 2 {
                return Some((StatusCode::OK, "{}"));
            }
            records.clear();
            answer
        });
        until(|| scene.numbers().len() as u64 == CALLS).await;
        until(|| scene.journal.check_sink().is_ok()).await;
        assert_eq!(scene.metric("audit_records_lost_total"), 0);
        let report = scene.end().await;
        assert_eq!((report.findings, report.chains[0].lost), (vec![], 0));
    }
}

#[tokio::test]
async fn a_record_that_is_refused_alone_is_given_up_where_another_sink_has_it_and_the_chain_says_so() {
    let answers = [
        (StatusCode::BAD_REQUEST, ""),
        (StatusCode::PAYLOAD_TOO_LARGE, ""),
        (StatusCode::INTERNAL_SERVER_ERROR, ""),
        (StatusCode::OK, REJECTED),
    ];
    let mut scenes = JoinSet::new();
    for (on_failure, stdout) in [(OnSinkFailure::Block, true), (OnSinkFailure::Drop, false)] {
        for answer in answers {
            scenes.spawn(refuses_one(on_failure, stdout, answer));
        }
    }
    scenes.join_all().await;
}

async fn refuses_one(on_failure: OnSinkFailure, stdout: bool, answer: (StatusCode, &'static str)) {
    let scene = Scene::waiting(on_failure, stdout).await;
    scene.judged(move |records| {
        if !records.iter().any(is_poison) {
            return Some((StatusCode::OK, "{}"));
        }
        match answer.0 {
            StatusCode::OK => records.retain(|record| !is_poison(record)),
            _ => records.clear(),
        }
        Some(answer)
    });
    until(|| scene.metric("audit_records_lost_total") == 1).await;
    until(|| scene.journal.check_sink().is_ok()).await;
    let refused = format!("audit_records_refused_total{{status=\"{}\"}}", answer.0.as_str());
    assert_eq!(scene.metric(&refused), 1);
    until(|| scene.numbers().len() as u64 == CALLS - 1).await;
    let others: Vec<_> = (0..CALLS).filter(|number| *number != POISON).collect();
    assert_eq!(scene.numbers(), others);
    let report = scene.end().await;
    assert_eq!((report.findings, report.chains[0].lost), (vec![], 1), "{answer:?}");
}

#[tokio::test]
async fn a_record_that_only_the_collector_is_to_have_is_kept_and_it_is_said_what_to_change() {
    let scene = Scene::waiting(OnSinkFailure::Block, false).await;
    scene.judged(|records| {
        if !records.iter().any(is_poison) {
            return Some((StatusCode::OK, "{}"));
        }
        records.clear();
        Some((StatusCode::PAYLOAD_TOO_LARGE, ""))
    });
    let said = "the audit sink takes no records: the collector answered 413 Payload Too Large: raise the size of a request that it takes";
    until(|| scene.journal.check_sink().is_err_and(|error| error.to_string() == said)).await;
    scene.judged(|_| Some((StatusCode::OK, "{}")));
    until(|| scene.journal.check_sink().is_ok()).await;
    let report = scene.end().await;
    assert_eq!((report.findings, report.chains[0].lost), (vec![], 0));
}

#[tokio::test]
async fn a_collector_that_refuses_everything_is_a_sink_that_fails_and_costs_no_record() {
    let answers = [
        (StatusCode::BAD_REQUEST, ""),
        (StatusCode::UNAUTHORIZED, ""),
        (StatusCode::NOT_FOUND, ""),
        (StatusCode::PAYLOAD_TOO_LARGE, ""),
        (StatusCode::INTERNAL_SERVER_ERROR, ""),
        (StatusCode::OK, ALL_REJECTED),
    ];
    let mut scenes = JoinSet::new();
    for on_failure in [OnSinkFailure::Block, OnSinkFailure::Drop] {
        for answer in answers {
            scenes.spawn(refuses_everything(on_failure, answer));
        }
    }
    scenes.join_all().await;
}

async fn refuses_everything(on_failure: OnSinkFailure, answer: (StatusCode, &'static str)) {
    let scene = Scene::waiting(on_failure, true).await;
    let before = *scene.receiver.requests.lock().unwrap();
    // All but the first record, which is on its way alone.
    scene.judged(move |records| {
        if records.iter().all(|record| record.line().contains("chain_start")) {
            return Some((StatusCode::OK, "{}"));
        }
        records.clear();
        Some(answer)
    });
    // As many as it takes to come down to one record, and one more for it and for a notice each.
    until(|| *scene.receiver.requests.lock().unwrap() > before + 8).await;
    let said = format!("the collector answered {}", answer.0);
    let closed = || {
        scene
            .journal
            .check_sink()
            .is_err_and(|error| error.to_string().contains(&said))
    };
    match on_failure {
        OnSinkFailure::Block => until(closed).await,
        OnSinkFailure::Drop => scene.journal.check_sink().unwrap(),
    }
    scene.judged(|_| Some((StatusCode::OK, "{}")));
    until(|| scene.numbers().len() as u64 == CALLS).await;
    assert_eq!(scene.metric("audit_records_lost_total"), 0, "{answer:?}");
    let report = scene.end().await;
    assert_eq!((report.findings, report.chains[0].lost), (vec![], 0), "{answer:?}");
}

#[tokio::test]
async fn what_is_given_up_after_the_end_of_the_chain_is_told_when_the_program_ends() {
    let scene = Scene::waiting(OnSinkFailure::Drop, true).await;
    scene.judged(|records| {
        if !records.iter().any(|record| record.line().contains("chain_end")) {
            return Some((StatusCode::OK, "{}"));
        }
        records.clear();
        Some((StatusCode::BAD_REQUEST, ""))
    });
    drop(scene.journal);
    let end = scene.thread.finish(Duration::from_mins(1)).await;
    assert_eq!(end, Err(crate::journal::UnwrittenRecords::Failed { count: 1 }));
}
