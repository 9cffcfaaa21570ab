//! The command as users run it.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use pretty_assertions::assert_eq;
use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
};

const VALID: &str = "\
apiVersion: v1
kind: Namespace
metadata: {name: team-a}
---
apiVersion: sallyport.dev/v1alpha1
kind: McpEndpoint
metadata: {name: demo, namespace: team-a}
spec:
  server:
    image: registry.example/a@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    transport: {http: {port: 3001}}
";

fn mcpe(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kubectl-mcpe"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn printed(arguments: &[&str], input: &str) -> String {
    let output = mcpe(arguments, input);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The first line of the complaint about a broken input.
fn complaint(input: &str) -> String {
    let output = mcpe(&["render", "-f", "-"], input);
    assert!(!output.status.success() && output.stdout.is_empty());
    String::from_utf8(output.stderr)
        .unwrap()
        .lines()
        .next()
        .unwrap()
        .to_owned()
}

#[test]
fn render_prints_what_is_shared_first_and_the_workload_last() {
    let text = printed(&["render", "-f", "-"], VALID);
    let kinds: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("kind: ")).collect();
    let expected = [
        "NetworkPolicy",
        "ResourceQuota",
        "ServiceAccount",
        "ConfigMap",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Service",
        "Deployment",
    ];
    assert_eq!(kinds, expected);
}

#[test]
fn several_endpoints_of_a_namespace_share_fence_and_quota() {
    let second = VALID.replace("name: demo", "name: other");
    let text = printed(&["render", "-f", "-"], &format!("{VALID}---\n{second}"));
    assert_eq!(text.matches("kind: ResourceQuota").count(), 1);
    assert_eq!(text.matches("kind: Deployment").count(), 2);
}

#[test]
fn posture_lists_every_check() {
    let recent = printed(&["posture", "-f", "-"], VALID);
    assert!(recent.starts_with("team-a/demo: passes"), "{recent}");
    assert!(!recent.contains("DEVIATES"), "{recent}");
    let old = printed(&["posture", "-f", "-", "--nodes", "old"], VALID);
    assert_eq!(old.matches("DEVIATES").count(), 2);
}

#[test]
fn a_misspelt_field_is_named_with_its_line() {
    let message = complaint(&VALID.replace("image:", "imgae:"));
    assert!(
        message.starts_with("error: -:10: unknown field spec.server.imgae"),
        "{message}"
    );
}

#[test]
fn a_value_of_the_wrong_form_is_named_with_its_line() {
    let message = complaint(&VALID.replace("3001", "http"));
    assert!(message.starts_with("error: -:11: "), "{message}");
}

#[test]
fn what_the_operator_would_refuse_is_refused_with_its_message() {
    let message = complaint(&VALID.replace("@sha256:", ":"));
    assert!(message.starts_with("error: -:5: demo: server.image"), "{message}");
    assert!(message.contains("must be pinned by digest"), "{message}");
}

#[test]
fn a_file_without_an_endpoint_is_no_success() {
    let message = complaint("kind: Namespace\n");
    assert!(message.contains("holds no object of kind McpEndpoint"), "{message}");
}
