//! What GitOps tools make of an endpoint: the upstream kstatus library judges objects that were recorded from a real run.

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, PostParams, WatchEvent, WatchParams},
};
use sallyport_api::McpEndpoint;
use sallyport_e2e::{
    Context, Failure, Result, Scene,
    command::run_with_input,
    endpoint::{self, PATIENCE, why},
    eventually,
    objects::apply_json,
    seal, settled,
};
use serde_json::json;

#[tokio::test]
async fn kstatus_reads_every_phase_of_an_endpoint_as_it_is() -> Result<()> {
    Scene::play("kstatus", async |scene| {
        let client = scene.client();
        let api = Api::<McpEndpoint>::namespaced(client.clone(), &scene.namespace);
        let mut recorded: Vec<(&str, McpEndpoint, &str)> = Vec::new();

        let endpoint = endpoint::endpoint(&scene.cluster, "phases", "hostile")?;
        let created = api.create(&PostParams::default(), &endpoint).await?;
        let creating = first_status(&api, &created).await?;
        recorded.push(("just created", created, "InProgress"));
        recorded.push(("being created", creating, "InProgress"));
        recorded.push(("ready", endpoint::ready(client, &scene.namespace, "phases").await?, "Current"));

        // No pod may be made any more, and the one there is goes.
        let none = json!({
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": { "name": "none" }, "spec": { "hard": { "pods": "0" } }
        });
        apply_json::<ResourceQuota>(client, &scene.namespace, none).await?;
        settled::quota(client, &scene.namespace, "none").await?;
        let pods = Api::<Pod>::namespaced(client.clone(), &scene.namespace);
        pods.delete_collection(&DeleteParams::default(), &kube::api::ListParams::default()).await?;
        let degraded = eventually("the endpoint degrades", PATIENCE, async || {
            let endpoint = api.get("phases").await?;
            let message = why(&endpoint);
            if !endpoint::is_ready(&endpoint) && message.contains("exceeded quota") {
                Ok(endpoint)
            } else {
                Err(Failure::new(message))
            }
        })
        .await?;
        println!("degraded: {}", why(&degraded));
        recorded.push(("degraded", degraded, "InProgress"));

        let mut stuck = endpoint::endpoint(&scene.cluster, "stuck", "hostile")?;
        stuck.spec.credentials =
            serde_json::from_value(json!([{ "name": "upstream", "from": { "sealedSecret": { "name": "upstream-token" } } }]))?;
        api.create(&PostParams::default(), &stuck).await?;
        let mut sealed = seal::seal(&scene.cluster, &scene.namespace, "another-name", "stolen").await?;
        sealed["metadata"]["name"] = json!("upstream-token");
        seal::apply(&scene.cluster, &scene.namespace, &sealed).await?;
        endpoint::condition(client, &scene.namespace, "stuck", ("Stalled", "True", None)).await?;
        recorded.push(("stalled", api.get("stuck").await?, "Failed"));

        let answer = api.delete("phases", &DeleteParams::foreground()).await?;
        let deleting = answer.left().context("the API server does not show what it deletes")?;
        recorded.push(("being deleted", deleting, "Terminating"));

        let mut stream = String::new();
        for (_, endpoint, _) in &recorded {
            stream += &serde_json::to_string(endpoint)?;
            stream += "\n---\n";
        }
        let kstatus = scene.cluster.program("kstatus", &[]).await?;
        let verdicts = run_with_input(kstatus, &stream).await.context("judge by kstatus")?;
        assert_eq!(verdicts.lines().count(), recorded.len(), "{verdicts}");
        for (verdict, (phase, endpoint, expected)) in verdicts.lines().zip(&recorded) {
            println!("{phase}: {verdict}");
            assert!(verdict.contains(&format!(": {expected}")), "{phase}: {verdict}; {}", why(endpoint));
        }
        Ok(())
    })
    .await
}

/// The endpoint as it was when the operator first said anything of it.
async fn first_status(api: &Api<McpEndpoint>, created: &McpEndpoint) -> Result<McpEndpoint> {
    let one = WatchParams::default().fields(&format!("metadata.name={}", created.name_any()));
    let revision = created.resource_version().context("it has a version")?;
    let mut changes = api.watch(&one, &revision).await?.boxed();
    while let Some(change) = changes.next().await {
        let (WatchEvent::Added(endpoint) | WatchEvent::Modified(endpoint)) = change? else {
            continue;
        };
        if endpoint
            .status
            .as_ref()
            .is_some_and(|status| status.observed_generation == 1)
        {
            return Ok(endpoint);
        }
    }
    Err(Failure::new("the watch ended before the endpoint had a status"))
}
