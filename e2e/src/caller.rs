//! The official MCP client, in a pod.

use crate::{
    Cluster, Context, Failure, Result,
    pods::{self, Executed},
};
use serde_json::{Value, json};

/// A pod in which the official client runs.
#[derive(Clone)]
pub struct Caller {
    cluster: Cluster,
    namespace: String,
    pod: String,
}

/// What came of a call.
#[derive(Clone, Debug)]
pub struct Called {
    /// 0: the call succeeded; 3: refused or unreachable; 5: the answer is an error.
    pub code: i32,
    /// What the client program printed.
    pub report: Value,
}

impl Caller {
    /// Starts a pod with the client in `namespace`.
    ///
    /// # Errors
    ///
    /// When it does not start.
    pub async fn start(cluster: &Cluster, namespace: &str) -> Result<Self> {
        let pod = "client".to_owned();
        let container = json!({
            "name": "client",
            "image": cluster.images.get("mcp-client")?,
            // The client program makes one call and ends; the pod waits for programs to run in it.
            "command": ["node", "-e", "setInterval(() => {}, 2 ** 30)"],
        });
        pods::start(cluster, namespace, &pod, container).await?;
        Ok(Self {
            cluster: cluster.clone(),
            namespace: namespace.to_owned(),
            pod,
        })
    }

    /// Runs a program in the pod.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub async fn exec(&self, command: &[&str]) -> Result<Executed> {
        pods::exec(&self.cluster.client, &self.namespace, &self.pod, "client", command).await
    }

    /// Connects to `url` and calls `tool`.
    ///
    /// # Errors
    ///
    /// When the client program itself does not run. A refused call is no error here.
    pub async fn call(&self, url: &str, tool: &str, arguments: &Value) -> Result<Called> {
        self.run(url, tool, arguments, &[]).await
    }

    /// As [`Caller::call`], showing `token`.
    ///
    /// # Errors
    ///
    /// When the client program itself does not run. A refused call is no error here.
    pub async fn call_as(&self, url: &str, token: &str, tool: &str, arguments: &Value) -> Result<Called> {
        let header = format!("Authorization=Bearer {token}");
        self.run(url, tool, arguments, &["--header", &header]).await
    }

    async fn run(&self, url: &str, tool: &str, arguments: &Value, more: &[&str]) -> Result<Called> {
        let arguments = arguments.to_string();
        let command = [
            "node",
            "/app/call.mjs",
            url,
            "--tool",
            tool,
            "--args",
            &arguments,
            "--timeout",
            "30",
        ];
        let command = [&command, more].concat();
        let Executed { stdout, stderr, code } = self.exec(&command).await?;
        let report = serde_json::from_str(&stdout);
        let report = report.context(format!("the client ended with {code} and said {stdout:?} {stderr:?}"))?;
        Ok(Called { code, report })
    }
}

impl Called {
    /// Text of the tool's result.
    ///
    /// # Errors
    ///
    /// When the call did not succeed.
    pub fn text(&self) -> Result<&str> {
        let text = self.report["result"]["content"][0]["text"].as_str();
        text.filter(|_| self.code == 0)
            .ok_or_else(|| Failure::new(format!("call not answered: {}", self.report)))
    }

    /// Why the call did not succeed.
    pub fn reason(&self) -> String {
        let error = &self.report["error"];
        let texts = [&error["cause"], &error["message"]].map(Value::as_str);
        texts
            .into_iter()
            .flatten()
            .next()
            .map_or_else(|| self.report.to_string(), str::to_owned)
    }
}
