//! The observer of fences passes what it should and fails what it should, on sequences that were recorded from a real
//! cluster.

use std::process::Command;

/// Whether the observer is content with the recording of this name.
fn passes(recording: &str) -> bool {
    let path = format!("{}/fixtures/observer/{recording}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let judged = Command::new(env!("CARGO_BIN_EXE_observer"))
        .args(["judge", &path])
        .status();
    judged.is_ok_and(|status| status.success())
}

#[test]
fn a_pod_that_ran_behind_its_policy_passes() {
    assert!(passes("fenced"));
}

#[test]
fn a_pod_that_ran_before_its_policy_was_there_fails_the_run() {
    assert!(!passes("unfenced"));
}
