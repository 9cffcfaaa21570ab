//! What the journal writes, and what it says when it cannot.

use super::*;
use crate::verify::{Leniency, verify};
use pretty_assertions::assert_eq;
use sallyport_policy::{EndpointIdentity, LastWord};
use serde_json::json;
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, Ordering};

struct Numbered(u64);

impl Journaled for Numbered {
    fn render(&self, _: AuditFormat) -> Result<Map<String, Value>, serde_json::Error> {
        Ok([("number".to_owned(), json!(self.0))].into_iter().collect())
    }
}

/// Takes every line unless it is closed.
#[derive(Clone, Default)]
struct Log {
    bytes: Arc<Mutex<Vec<u8>>>,
    closed: Arc<AtomicBool>,
}

impl Log {
    fn close(&self, closed: bool) {
        self.closed.store(closed, Ordering::SeqCst);
    }

    fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }

    fn lines(&self) -> Vec<Value> {
        let text = String::from_utf8(self.bytes()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(ErrorKind::StorageFull.into());
        }
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn start(log: &Log, on_sink_failure: OnSinkFailure, capacity: usize) -> (Journal<Numbered>, JournalThread) {
    start_ending_in(log, on_sink_failure, capacity, None)
}

fn start_ending_in(
    log: &Log,
    on_sink_failure: OnSinkFailure,
    capacity: usize,
    last_word: Option<PathBuf>,
) -> (Journal<Numbered>, JournalThread) {
    let endpoint = EndpointIdentity {
        namespace: "team-a".into(),
        name: "demo".into(),
        uid: "u".into(),
    };
    let policy = AuditPolicy {
        on_sink_failure,
        ..AuditPolicy::default()
    };
    let settings = Settings::new(Program::here("test", "0", Arc::new(endpoint)), policy, capacity);
    Journal::start(log.clone(), settings.ending_in(last_word), JournalMetrics::default()).unwrap()
}

async fn until(mut holds: impl FnMut() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not reached in 5 s");
}

#[tokio::test]
async fn what_is_written_is_a_whole_chain_from_start_to_end() {
    let log = Log::default();
    let (journal, thread) = start(&log, OnSinkFailure::Block, 8);
    for number in 0..20 {
        journal.admit().await.unwrap().send(Numbered(number));
    }
    until(|| journal.anchor().is_some_and(|anchor| anchor.seq == 20)).await;
    let anchor = journal.anchor().unwrap();
    drop(journal);
    thread.finish(Duration::from_mins(1)).await.unwrap();
    let report = verify(&log.bytes(), &[anchor], Leniency::default());
    assert_eq!(report.findings, []);
    let chain = &report.chains[0];
    assert_eq!(
        (chain.records.first, chain.records.last, chain.ended, chain.anchored),
        (0, 21, true, Some(20))
    );
    let lines = log.lines();
    assert_eq!(
        (&lines[0]["kind"], &lines[21]["kind"]),
        (&json!("chain_start"), &json!("chain_end"))
    );
    assert_eq!(lines[1]["number"], 0);
}

#[tokio::test]
async fn two_starts_are_two_chains_in_one_log() {
    let log = Log::default();
    for _ in 0..2 {
        let (journal, thread) = start(&log, OnSinkFailure::Block, 8);
        journal.admit().await.unwrap().send(Numbered(1));
        drop(journal);
        thread.finish(Duration::from_mins(1)).await.unwrap();
    }
    let report = verify(&log.bytes(), &[], Leniency::default());
    assert!(report.is_whole(), "{:?}", report.findings);
    assert_eq!(report.chains.len(), 2);
}

#[tokio::test]
async fn block_refuses_while_the_sink_fails_and_loses_nothing() {
    let log = Log::default();
    let (journal, thread) = start(&log, OnSinkFailure::Block, 2);
    log.close(true);
    for number in 0..2 {
        journal.admit().await.unwrap().send(Numbered(number));
    }
    until(|| journal.check_sink().is_err()).await;
    log.close(false);
    until(|| journal.check_sink().is_ok()).await;
    drop(journal);
    thread.finish(Duration::from_mins(1)).await.unwrap();
    let report = verify(&log.bytes(), &[], Leniency::default());
    assert!(report.is_whole(), "{:?}", report.findings);
    assert_eq!(log.lines().len(), 4);
}

#[tokio::test]
async fn drop_lets_calls_pass_and_the_chain_says_what_it_lost() {
    let log = Log::default();
    let (journal, thread) = start(&log, OnSinkFailure::Drop, 4);
    until(|| journal.anchor().is_some()).await;
    log.close(true);
    let calls = 50;
    for number in 0..calls {
        journal.check_sink().unwrap();
        journal.admit().await.unwrap().send(Numbered(number));
    }
    log.close(false);
    until(|| log.lines().len() > 2).await;
    journal.admit().await.unwrap().send(Numbered(calls));
    drop(journal);
    thread.finish(Duration::from_mins(1)).await.unwrap();
    let written = log.lines().iter().filter(|line| line.get("number").is_some()).count() as u64;
    let report = verify(&log.bytes(), &[], Leniency::default());
    assert!(report.is_whole(), "{:?}", report.findings);
    let lost = report.chains[0].lost;
    assert!(lost > 0, "the queue of 4 was full");
    assert_eq!(written + lost, calls + 1);
}

#[tokio::test]
async fn the_end_of_the_chain_stands_where_the_kubelet_looks_before_and_after_the_programs_end() {
    let path = std::env::temp_dir().join(format!("sallyport-last-word-{}", std::process::id()));
    let said = || LastWord::parse(&std::fs::read_to_string(&path).unwrap()).map(|word| word.anchor.seq);
    // There is no file outside of a container, and none is made.
    let (log, missing) = (Log::default(), path.with_extension("missing"));
    let (journal, thread) = start_ending_in(&log, OnSinkFailure::Block, 8, Some(missing.clone()));
    drop(journal);
    thread.finish(Duration::from_mins(1)).await.unwrap();
    assert!(!missing.exists());
    // What an earlier run left is replaced.
    std::fs::write(&path, "x".repeat(100)).unwrap();
    let (journal, thread) = start_ending_in(&log, OnSinkFailure::Block, 8, Some(path.clone()));
    for number in 0..3 {
        journal.admit().await.unwrap().send(Numbered(number));
    }
    // Whoever kills the program now leaves this.
    until(|| said() == Some(3)).await;
    drop(journal);
    thread.finish(Duration::from_mins(1)).await.unwrap();
    assert_eq!(said(), Some(4));
    let last = log.lines().pop().unwrap();
    let word = LastWord::parse(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(
        (&last["kind"], &last["chain"]["hash"]),
        (&json!("chain_end"), &json!(word.anchor.hash))
    );
    assert_eq!(last["chain"]["id"], json!(word.anchor.chain));
    assert!(word.anchor.is_of_pod(word.anchor.chain.split('/').next().unwrap()));
    std::fs::remove_file(path).unwrap();
}

#[tokio::test]
async fn a_policy_without_a_sink_does_not_start() {
    let endpoint = EndpointIdentity {
        namespace: "team-a".into(),
        name: "demo".into(),
        uid: "u".into(),
    };
    let mut policy = AuditPolicy::default();
    policy.sinks.stdout = false;
    let settings = Settings::new(Program::here("test", "0", Arc::new(endpoint)), policy, 1);
    let started = Journal::<Numbered>::start(io::sink(), settings, JournalMetrics::default());
    assert!(matches!(started, Err(JournalError::Policy(AuditPolicyError::NoSink))));
}
