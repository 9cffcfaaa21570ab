//! The command as users run it.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use pretty_assertions::assert_eq;
use std::{
    io::{ErrorKind, Write as _},
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
    // A command that refuses its arguments ends without reading its input.
    let written = child.stdin.take().unwrap().write_all(input.as_bytes());
    assert!(written.map_or_else(|error| error.kind() == ErrorKind::BrokenPipe, |()| true));
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
    assert_eq!(recent.matches("DEVIATES").count(), 1);
    assert!(
        recent.contains("DEVIATES  callers-known: authentication is absent"),
        "{recent}"
    );
    let keys = format!("{VALID}  authentication: {{apiKeys: {{from: {{secret: {{name: keys}}}}}}}}\n");
    let known = printed(&["posture", "-f", "-"], &keys);
    assert!(!known.contains("DEVIATES"), "{known}");
    let old = printed(&["posture", "-f", "-", "--nodes", "old"], &keys);
    assert_eq!(old.matches("DEVIATES").count(), 2);
}

#[test]
fn the_class_that_is_given_holds() {
    let names = format!("{VALID}  egress: {{dns: ClusterDNS}}\n");
    let refused = complaint(&names);
    assert!(refused.contains("is not allowed by the endpoint's class"), "{refused}");
    let path = std::env::temp_dir().join(format!("mcpe-class-{}.yaml", std::process::id()));
    let class = "apiVersion: sallyport.dev/v1alpha1\nkind: McpEndpointClass\nmetadata: {name: lax}\n\
                 spec: {networkEnforcement: Warn, egress: {allowClusterDns: true}}\n";
    std::fs::write(&path, class).unwrap();
    let text = printed(&["render", "-f", "-", "--class", path.to_str().unwrap()], &names);
    std::fs::remove_file(path).unwrap();
    assert!(text.contains("\"mode\": \"Warn\""), "{text}");
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

const WITH_EGRESS: &str = "
  credentials:
    - {name: upstream, from: {secret: {name: upstream-token}}}
  egress:
    allow:
      - {cidr: 10.0.0.0/8, except: [10.1.0.0/16], ports: [5432]}
      - {host: api.example.com}
      - {host: \"*.cdn.example.com\", ports: [8443]}
      - {host: mapped.example.com, transparent: true}
      - {host: injected.example.com, inject: {credential: upstream, key: token}}
";

/// What is said of a destination, and whether the exit status says refused.
fn explained(target: &str) -> (String, bool) {
    let output = mcpe(
        &["egress", "explain", "-f", "-", target],
        &format!("{VALID}{WITH_EGRESS}"),
    );
    let code = output.status.code();
    assert!(
        matches!(code, Some(0 | 3)),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    (String::from_utf8(output.stdout).unwrap(), code == Some(3))
}

#[test]
fn a_destination_is_explained_by_rule_and_path() {
    for (target, refused, parts) in [
        (
            "api.example.com",
            false,
            ["egress.allow[1] allows api.example.com:443", "Service demo-egress:3128"],
        ),
        (
            "x.y.cdn.example.com:8443",
            false,
            ["egress.allow[2] allows *.cdn.example.com:8443", "egress gateway"],
        ),
        (
            "API.Example.com.",
            false,
            ["api.example.com:443 is allowed", "HTTPS_PROXY"],
        ),
        (
            "mapped.example.com",
            false,
            ["HTTPS_PROXY", "/etc/hosts -> Service demo-egress:443"],
        ),
        (
            "injected.example.com",
            false,
            [
                "it ends TLS and adds authorization from /var/run/secrets/sallyport/upstream/token",
                "the server does not have",
            ],
        ),
        (
            "api.example.com:80",
            true,
            [
                "names this host, but not port 80",
                "{host: api.example.com, ports: [80]}",
            ],
        ),
        (
            "evil.example",
            true,
            ["no rule of egress.allow names this host", "{host: evil.example}"],
        ),
        (
            "10.2.3.4:5432",
            false,
            ["egress.allow[0] allows 10.0.0.0/8 on port 5432", "directly"],
        ),
        ("10.1.3.4:5432", true, ["10.1.0.0/16 stays closed", "to allow it"]),
        ("10.2.3.4", true, ["not port 443", "to allow it"]),
        ("169.254.169.254:80", true, ["no cidr rule", "no rule can open it"]),
        (
            "[2001:db8::1]:5432",
            true,
            ["no cidr rule", "{cidr: 2001:db8::1/128, ports: [5432]}"],
        ),
    ] {
        let (text, closed) = explained(target);
        assert_eq!(closed, refused, "{target}: {text}");
        for part in parts {
            assert!(text.contains(part), "{target}: {part} is not in {text}");
        }
    }
}

#[test]
fn a_target_that_is_none_is_an_error() {
    for target in ["localhost", "a_b.example", "api.example.com:0", "*.example.com"] {
        let output = mcpe(&["egress", "explain", "-f", "-", target], VALID);
        assert!(
            output.status.code().is_some_and(|code| code != 0 && code != 3),
            "{target}"
        );
    }
}

#[test]
fn suggestions_are_rules_that_the_operator_takes() {
    let event = r#"{"kind":"egress","endpoint":{"namespace":"team-a","name":"demo"},"host":"a.example.com","port":8443,"decision":"would_deny","reason":"host_not_allowed"}"#;
    let rules = printed(&["egress", "suggest"], event);
    let indented: Vec<_> = rules.lines().map(|line| format!("  {line}")).collect();
    let text = printed(&["render", "-f", "-"], &format!("{VALID}{}\n", indented.join("\n")));
    assert!(text.contains("name: demo-egress"), "{text}");
}

#[test]
fn pin_prints_a_part_of_the_spec_and_says_what_cannot_be_pinned() {
    let tool = r#"{"name":"a","inputSchema":{"type":"object"}}"#;
    let pins =
        "tools:\n  pins:\n  - name: a\n    sha256: 60d4353e9a5499b483d09f13d9e28060e70f34edf787bb7040ba30bd390f85af\n";
    assert_eq!(printed(&["pin", "-f", "-"], &format!("{{\"tools\":[{tool}]}}")), pins);
    let event =
        format!("event: message\ndata: {{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{{\"tools\":[{tool},{{}}]}}}}\n\n");
    let output = mcpe(&["pin", "-f", "-"], &event);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), pins);
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .starts_with("warning: 1 definitions have no usable name")
    );
    let output = mcpe(&["pin", "-f", "-"], "{\"prompts\":[]}");
    assert_eq!(output.status.code(), Some(1));
}
