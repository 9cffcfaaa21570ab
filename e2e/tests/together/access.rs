//! Who may call an endpoint, and where.

use sallyport_e2e::{Result, Scene, caller::Caller, endpoint, eventually, objects::apply, pods};
use serde_json::json;
use std::time::Duration;

/// Exit status of the client program when it was refused or reached nobody.
const REFUSED: i32 = 3;

#[tokio::test]
async fn the_unmodified_server_is_called_from_an_allowed_namespace_and_from_no_other() -> Result<()> {
    Scene::play("access", async |scene| {
        let endpoint = endpoint::endpoint(&scene.cluster, "everything", "everything")?;
        apply(scene.client(), &scene.namespace, &endpoint).await?;
        let allowed = scene.allowed_caller().await?;
        let stranger = Caller::start(&scene.cluster, &scene.namespace("strangers", &[]).await?).await?;
        let neighbour = Caller::start(&scene.cluster, &scene.namespace).await?;
        let ready = endpoint::ready(scene.client(), &scene.namespace, "everything").await?;
        let url = endpoint::url(&ready)?;
        let message = json!({ "message": "hello" });

        let called = allowed.call(&url, "echo", &message).await?;
        assert_eq!(called.text()?, "Echo: hello");
        let server = ready.status.and_then(|status| status.server);
        assert_eq!(
            server.map(|server| server.name),
            called.report["server"]["name"].as_str().map(str::to_owned)
        );

        for caller in [&stranger, &neighbour] {
            let refused = caller.call(&url, "echo", &message).await?;
            assert_eq!(refused.code, REFUSED, "{}", refused.report);
        }

        // Past the sidecar there is no way in, not even for those who may call.
        let pods = endpoint::ready_pods(scene.client(), &scene.namespace, "everything").await?;
        for pod in &pods {
            let address = pods::address(pod)?;
            for port in [3001, 15090] {
                let refused = allowed
                    .call(&format!("http://{address}:{port}/mcp"), "echo", &message)
                    .await?;
                assert_eq!(refused.code, REFUSED, "port {port}: {}", refused.report);
            }
        }

        let image = scene.cluster.images.get("everything")?;
        let container = json!({ "name": "server", "image": image });
        let plain = pods::start(&scene.cluster, &scene.namespace, "plain", container).await?;
        let plain = format!("http://{}:3001/mcp", pods::address(&plain)?);
        let reached = eventually(
            "negative control: a plain server is called past everything",
            endpoint::PATIENCE,
            async || {
                let called = allowed.call(&plain, "echo", &message).await?;
                called.text().map(str::to_owned)
            },
        )
        .await?;
        assert_eq!(reached, "Echo: hello");

        let record = eventually("the audit record of the call", Duration::from_mins(1), async || {
            let records = endpoint::audit_records(scene.client(), &scene.namespace, "everything").await?;
            let found = records
                .into_iter()
                .find(|record| record["toolName"] == "echo" && record["event"] != "stream_open");
            sallyport_e2e::Context::context(found, "no record of a call of echo")
        })
        .await?;
        println!("{record}");
        // SHA-256 of the bytes {"message":"hello"}.
        let digest = "9b2d43affbf49a367028df2e1414f84c0e099ac98c3d54a8a80157fd7771af25";
        for (field, value) in [
            ("kind", json!("audit")),
            ("outcome", json!("allowed")),
            ("mcpMethod", json!("tools/call")),
            ("httpMethod", json!("POST")),
            ("status", json!(200)),
            ("argumentsSha256", json!(digest)),
        ] {
            assert_eq!(record[field], value, "{field} in {record}");
        }
        assert_eq!(record["endpoint"]["name"], "everything");
        assert!(
            !record.to_string().contains("hello"),
            "arguments are never recorded: {record}"
        );
        for field in [
            "timestamp",
            "requestId",
            "clientIp",
            "latencyMs",
            "requestBytes",
            "responseBytes",
        ] {
            assert!(!record[field].is_null(), "{field} in {record}");
        }
        Ok(())
    })
    .await
}
