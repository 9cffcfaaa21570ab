//! Roll-outs without a gap, of a server that keeps no sessions: a legacy session ends with its pod.

use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use sallyport_e2e::{Context, Failure, Result, Scene, endpoint, eventually, objects::apply, pods::Executed};
use serde_json::json;

/// Calls again and again, each time as a new client, until a file appears; prints what came of it.
const CALLS: &str = include_str!("../../fixtures/calls.mjs");
/// Arguments of those calls.
const ARGUMENTS: &str = r#"{"attempt": "whoami"}"#;

#[tokio::test]
async fn every_call_during_a_roll_out_succeeds() -> Result<()> {
    Scene::play("rollout", async |scene| {
        let client = scene.client();
        let mut endpoint = endpoint::endpoint(&scene.cluster, "rolling", "hostile")?;
        apply(client, &scene.namespace, &endpoint).await?;
        let caller = scene.allowed_caller().await?;
        let url = endpoint::url(&endpoint::ready(client, &scene.namespace, "rolling").await?)?;
        let deployments = Api::<Deployment>::namespaced(client.clone(), &scene.namespace);
        let before = deployments.get("rolling").await?.metadata.generation;

        let calling = [
            "node",
            "--input-type=module",
            "-e",
            CALLS,
            &url,
            "/tmp/stop",
            "escape",
            ARGUMENTS,
        ];
        let roll_out = async {
            endpoint.spec.server.env = serde_json::from_value(json!([{ "name": "ROLLED", "value": "out" }]))?;
            apply(client, &scene.namespace, &endpoint).await?;
            eventually("the roll-out begins", endpoint::PATIENCE, async || {
                let now = deployments.get("rolling").await?.metadata.generation;
                if now == before {
                    Err(Failure::new("the Deployment is as before"))
                } else {
                    Ok(())
                }
            })
            .await?;
            endpoint::ready(client, &scene.namespace, "rolling").await?;
            eventually("the old pod is gone", endpoint::PATIENCE, async || {
                let labels = format!("{}=rolling", sallyport_api::labels::ENDPOINT);
                let pods = Api::<k8s_openapi::api::core::v1::Pod>::namespaced(client.clone(), &scene.namespace);
                let count = pods
                    .list(&kube::api::ListParams::default().labels(&labels))
                    .await?
                    .items
                    .len();
                if count == 1 {
                    Ok(())
                } else {
                    Err(Failure::new(format!("{count} pods")))
                }
            })
            .await?;
            caller
                .exec(&["node", "-e", "require('fs').writeFileSync('/tmp/stop', '')"])
                .await
        };
        let (calls, rolled) = futures::join!(caller.exec(&calling), roll_out);
        rolled?;
        let Executed { stdout, stderr, .. } = calls?;
        let report: serde_json::Value = serde_json::from_str(&stdout).context(format!("read {stdout:?} {stderr:?}"))?;
        println!("{report}");
        assert_eq!(report["failed"], json!([]), "{report}");
        assert!(report["succeeded"].as_u64().is_some_and(|count| count > 20), "{report}");
        Ok(())
    })
    .await
}
