//! `kubectl mcpe audit`, as it is called from a shell.

// Helpers of tests may panic as tests do.
#![allow(clippy::unwrap_used, reason = "tests")]

use pretty_assertions::assert_eq;
use sallyport_audit::chain::Chain;
use sallyport_audit::{Anchor, ChainId};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Command, Output};

const ENDPOINT: &str = "
apiVersion: v1
kind: List
items:
- apiVersion: sallyport.dev/v1alpha1
  kind: McpEndpoint
  metadata: {name: demo, namespace: team-a}
  spec:
    tools:
      pins:
      - {name: echo, sha256: \"0\"}
      - {name: read_file, sha256: \"0\"}
      - {name: drop_table, sha256: \"0\"}
    authorization:
      rules:
      - {name: all, tools: [\"*\"]}
      - {name: never, effect: Deny, tools: [\"drop_*\"]}
";

/// A directory that is gone with the test.
struct Files(PathBuf);

impl Files {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mcpe-audit-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn with(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn mcpe(args: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_kubectl-mcpe"))
        .args(args)
        .output()
        .unwrap();
    let text = String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap();
    (status.code(), text)
}

fn call(tool: &str, outcome: &str, subject: &str) -> Value {
    json!({
        "kind": "audit",
        "endpoint": {"namespace": "team-a", "name": "demo", "uid": "u"},
        "toolName": tool,
        "outcome": outcome,
        "caller": {"kind": "api-key", "subject": subject},
    })
}

/// A log of calls as `kubectl logs --prefix` prints it, and the anchor of its end.
fn log(calls: &[Value]) -> (String, Anchor) {
    let mut chain = Chain::begin(ChainId::mint("demo-0"));
    let mut log = "[pod/demo-0/audit] Starting\n".to_owned();
    for call in calls {
        let line = chain.append(call.as_object().unwrap().clone());
        log.push_str("[pod/demo-0/audit] ");
        log.push_str(&line);
        log.push('\n');
    }
    (log, chain.anchor("2026-11-21T05:06:07Z".parse().unwrap()).unwrap())
}

fn calls() -> Vec<Value> {
    vec![
        call("echo", "allowed", "alice"),
        call("echo", "allowed", "bob"),
        call("echo", "limited", "bob"),
        call("delete_all", "denied", "bob"),
    ]
}

fn endpoint_with(anchor: &Anchor) -> String {
    let anchor = serde_json::to_string(anchor).unwrap();
    format!(
        "kind: McpEndpoint\nmetadata: {{name: demo}}\nstatus:\n  audit:\n    anchors:\n    - {}\n",
        anchor.replacen('{', "{\"pod\": \"demo-0\", ", 1)
    )
}

#[test]
fn a_whole_log_is_told_to_be_whole() {
    let files = Files::new("whole");
    let (log, anchor) = log(&calls());
    let (log, status) = (
        files.with("log", &log),
        files.with("mcpe.yaml", &endpoint_with(&anchor)),
    );
    let (code, text) = mcpe(&["audit", "verify", "--anchor", &status, &log]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(": records 0 to 3, not ended"), "{text}");
    assert!(text.contains("anchored up to 3"), "{text}");
    assert!(
        text.ends_with("whole (1 chains, 1 lines that are no records)\n"),
        "{text}"
    );
}

#[test]
fn a_cut_off_log_is_found_with_the_anchor_of_the_endpoint_s_status() {
    let files = Files::new("cut");
    let (log, anchor) = log(&calls());
    let cut = log.lines().take(3).collect::<Vec<_>>().join("\n");
    let (cut, status) = (
        files.with("log", &cut),
        files.with("mcpe.yaml", &endpoint_with(&anchor)),
    );
    let (code, text) = mcpe(&["audit", "verify", &cut]);
    assert_eq!(
        code,
        Some(0),
        "the control: without an anchor nothing says that there was more: {text}"
    );
    let (code, text) = mcpe(&["audit", "verify", "--anchor", &status, &cut]);
    assert_eq!(code, Some(3), "{text}");
    assert!(
        text.contains("cut off after record 1, an anchor knows record 3"),
        "{text}"
    );
    // What an admin port answers at /anchor is an anchor too.
    let status = files.with("anchor.json", &serde_json::to_string(&anchor).unwrap());
    assert_eq!(mcpe(&["audit", "verify", "--anchor", &status, &cut]).0, Some(3));
}

#[test]
fn an_edited_record_is_found_and_cannot_forge_the_answer() {
    let files = Files::new("edited");
    let (log, _) = log(&calls());
    let edited = files.with("log", &log.replace("denied", "allowed"));
    let (code, text) = mcpe(&["audit", "verify", &edited]);
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("FOUND line 5 of file 1 was edited"), "{text}");

    let mut chain = Chain::begin(ChainId::mint("a\nwhole (1 chains\u{1b}[2J"));
    let forged = chain.append(calls()[0].as_object().unwrap().clone());
    let (_, text) = mcpe(&["audit", "verify", &files.with("forged", &forged)]);
    assert!(
        !text.contains('\u{1b}') && !text.contains("\nwhole (1 chains\\u"),
        "{text}"
    );
}

#[test]
fn the_log_of_an_egress_gateway_is_verified_by_its_own_anchor() {
    let files = Files::new("gateway");
    let event = json!({"kind": "egress", "event": "refused", "host": "evil.test"});
    let (_, of_sidecar) = log(&calls());
    let (events, of_gateway) = log(&[event.clone(), event.clone(), event]);
    let listed = |anchor: &Anchor, writer: &str| {
        let mut anchor = serde_json::to_value(anchor).unwrap();
        anchor["writer"] = json!(writer);
        anchor
    };
    let anchors = [listed(&of_sidecar, "Sidecar"), listed(&of_gateway, "EgressGateway")];
    let status = json!({"kind": "McpEndpoint", "status": {"audit": {"anchors": anchors}}});
    let status = files.with("mcpe.yaml", &status.to_string());
    let whole = files.with("log", &events);
    let cut = files.with("cut", &events.lines().take(3).collect::<Vec<_>>().join("\n"));
    let verify = |log: &str, writer: &str| {
        let arguments = ["audit", "verify", "--anchor", &status, "--writer", writer, log];
        mcpe(&arguments)
    };
    let (code, text) = verify(&whole, "egress-gateway");
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("anchored up to 2"), "{text}");
    let (code, text) = verify(&cut, "egress-gateway");
    assert_eq!(code, Some(3), "{text}");
    assert!(
        text.contains("cut off after record 1, an anchor knows record 2"),
        "{text}"
    );
    // The sidecar's chain is missing from this log.
    for arguments in [
        vec!["audit", "verify", "--anchor", &status, &whole],
        vec!["audit", "verify", "--anchor", &status, "--writer", "sidecar", &whole],
    ] {
        let (code, text) = mcpe(&arguments);
        assert_eq!(code, Some(3), "{text}");
        assert!(
            text.contains("no record of it is there, an anchor knows record 3"),
            "{text}"
        );
    }
}

#[test]
fn an_anchor_file_without_an_anchor_is_an_error() {
    let files = Files::new("none");
    let (log, _) = log(&calls());
    let (log, status) = (files.with("log", &log), files.with("mcpe.yaml", ENDPOINT));
    let (code, text) = mcpe(&["audit", "verify", "--anchor", &status, &log]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("holds no anchor"), "{text}");
}

#[test]
fn calls_are_counted_by_tool_beside_what_is_allowed() {
    let files = Files::new("diff");
    let (log, _) = log(&calls());
    let (log, endpoint) = (files.with("log", &log), files.with("mcpe.yaml", ENDPOINT));
    let (code, text) = mcpe(&["audit", "diff", "-f", &endpoint, &log]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(
        text,
        "team-a/demo
  TOOL        ALLOWED    PASSED   REFUSED    FAILED   CALLERS
  delete_all  no              0         1         0         1
  drop_table  no              0         0         0         0
  echo        yes             2         1         0         2
  read_file   yes             0         0         0         0  never called
"
    );
}

#[test]
fn a_call_that_passed_and_is_not_allowed_now_shows() {
    let files = Files::new("passed");
    let mut calls = calls();
    calls.push(call("drop_table", "confirmed", "alice"));
    let (log, _) = log(&calls);
    let (log, endpoint) = (files.with("log", &log), files.with("mcpe.yaml", ENDPOINT));
    let (code, text) = mcpe(&["audit", "diff", "-f", &endpoint, &log]);
    assert_eq!(code, Some(3), "{text}");
    assert!(
        text.contains("1         0         0         1  passed, but is not allowed now"),
        "{text}"
    );
}

#[test]
fn edited_records_do_not_count_as_calls() {
    let files = Files::new("counted");
    let (log, _) = log(&calls());
    let (log, endpoint) = (
        files.with("log", &log.replace("delete_all", "echo")),
        files.with("mcpe.yaml", ENDPOINT),
    );
    let (code, text) = mcpe(&["audit", "diff", "-f", &endpoint, &log]);
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("1 edited or damaged records are not counted"), "{text}");
}
