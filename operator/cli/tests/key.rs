//! `kubectl mcpe key new` as users run it.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use pretty_assertions::assert_eq;
use serde_json::Value;
use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Command};

struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sallyport-cli-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new(env!("CARGO_BIN_EXE_kubectl-mcpe"))
            .args(["key", "new"])
            .args(arguments)
            .current_dir(&self.0)
            .output()
            .map_err(|error| error.to_string())?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        if output.status.success() {
            Ok(text(output.stdout))
        } else {
            Err(text(output.stderr))
        }
    }

    fn file(&self) -> String {
        fs::read_to_string(self.0.join("keys.json")).unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_new_key_is_printed_once_and_its_file_holds_a_hash_only() {
    let directory = Directory::new("new");
    let arguments = [
        "ci",
        "--subject",
        "alice",
        "--role",
        "dev",
        "--scope",
        "read",
        "--scope",
        "write",
    ];
    let key = directory
        .run(&[&arguments[..], &["--expires", "2027-01-31T00:00:00Z"]].concat())
        .unwrap();
    let secret = key.trim_end().strip_prefix("mcpe_ci_").unwrap();
    assert_eq!(secret.len(), 43);
    let second = directory
        .run(&["robot-2", "--client", "robot", "--days", "90"])
        .unwrap();
    assert!(second.starts_with("mcpe_robot-2_"), "{second}");

    let text = directory.file();
    assert!(!text.contains(secret), "{text}");
    let file: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(file["keys"][0]["subject"], "alice");
    assert_eq!(file["keys"][0]["scopes"], serde_json::json!(["read", "write"]));
    assert_eq!(file["keys"][0]["expires"], "2027-01-31T00:00:00Z");
    assert_eq!(file["keys"][0]["hash"].as_str().unwrap().len(), 71);
    assert_eq!(file["keys"][1]["client"], "robot");
    assert!(file["keys"][1]["expires"].is_string() && file["keys"][1].get("subject").is_none());
    let mode = fs::metadata(directory.0.join("keys.json"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_key_that_would_not_hold_is_not_made_and_the_file_stays_as_it_was() {
    let directory = Directory::new("refused");
    directory.run(&["ci", "--subject", "alice"]).unwrap();
    let before = directory.file();
    for (arguments, complaint) in [
        (&["ci", "--subject", "bob"][..], "two keys have the id \"ci\""),
        (&["a_b", "--subject", "bob"], "letters, digits and hyphens"),
        (&["new"], "--subject"),
        (&["new", "--subject", ""], "neither subject nor client"),
        (&["new", "--subject", "b", "--days", "0"], "--days"),
        (&["new", "--subject", "b", "--expires", "tomorrow"], "--expires"),
    ] {
        let error = directory.run(arguments).unwrap_err();
        assert!(error.contains(complaint), "{arguments:?}: {error}");
        assert_eq!(directory.file(), before, "{arguments:?}");
    }
    fs::write(directory.0.join("keys.json"), "not a key file").unwrap();
    assert!(
        directory
            .run(&["new", "--subject", "b"])
            .unwrap_err()
            .contains("keys.json")
    );
    assert_eq!(directory.file(), "not a key file");
}
