//! Which crates may know of Kubernetes.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::process::Command;

/// Names of all crates that `package` is built from.
fn dependencies(package: &str) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
            "--package",
            package,
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_data_plane_is_built_without_a_kubernetes_client() {
    for package in [
        "sallyport-policy",
        "sallyport-core",
        "sallyport-audit",
        "sallyport-auth",
        "sallyport-bridge",
        "sallyport-sidecar",
        "sallyport-egress",
    ] {
        let dependencies = dependencies(package);
        assert!(dependencies.iter().any(|name| name == "serde"), "{package} is listed");
        let kubernetes: Vec<_> = dependencies
            .iter()
            .filter(|name| name.starts_with("kube") || *name == "k8s-openapi")
            .collect();
        assert!(kubernetes.is_empty(), "{package} must not depend on {kubernetes:?}");
    }
}

#[test]
fn rendering_is_built_without_a_kubernetes_client() {
    let dependencies = dependencies("sallyport-render");
    assert!(
        dependencies.iter().any(|name| name == "kube-core"),
        "the types of Kubernetes are there"
    );
    assert!(
        !dependencies
            .iter()
            .any(|name| name == "kube-client" || name == "hyper" || name == "tokio")
    );
}
