//! Sealed credentials, from the real `kubeseal` to a file in the server's container.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use kube::{Api, ResourceExt, api::ListParams};
use sallyport_e2e::{
    Result, Scene,
    attempts::{self, Attempt, Outcome, TOKEN_FILE},
    caller::Caller,
    endpoint, eventually,
    objects::apply,
    seal,
};
use serde_json::json;
use std::time::Duration;

async fn read_token(caller: &Caller, url: &str) -> Result<Outcome> {
    let arguments = json!({ "attempt": "read_file", "path": TOKEN_FILE });
    attempts::make(caller, url, &Attempt { title: "", arguments }).await
}

#[tokio::test]
async fn a_sealed_secret_is_read_as_a_file_and_its_rotation_rolls_out_once() -> Result<()> {
    Scene::play("sealed", async |scene| {
        let caller = scene.allowed_caller().await?;
        let mut endpoint = endpoint::endpoint(&scene.cluster, "sealed", "hostile")?;
        endpoint.spec.credentials = serde_json::from_value(
            json!([{ "name": "upstream", "from": { "sealedSecret": { "name": "upstream-token" } } }]),
        )?;
        apply(scene.client(), &scene.namespace, &endpoint).await?;
        let waiting = ("CredentialsReady", "False", Some("CredentialMissing"));
        let message = endpoint::condition(scene.client(), &scene.namespace, "sealed", waiting).await?;
        assert!(message.contains("upstream-token"), "{message}");

        let sealed = seal::seal(&scene.cluster, &scene.namespace, "upstream-token", "first").await?;
        assert!(!sealed.to_string().contains("first"), "kubeseal seals");
        seal::apply(&scene.cluster, &scene.namespace, &sealed).await?;
        let ready = endpoint::ready(scene.client(), &scene.namespace, "sealed").await?;
        let url = endpoint::url(&ready)?;
        let read = read_token(&caller, &url).await?;
        assert_eq!(read.content, "first", "{read:?}");
        assert_eq!(replica_sets(scene).await?, 1);

        let sealed = seal::seal(&scene.cluster, &scene.namespace, "upstream-token", "second").await?;
        seal::apply(&scene.cluster, &scene.namespace, &sealed).await?;
        eventually("the rotated credential is read", endpoint::PATIENCE, async || {
            let read = read_token(&caller, &url).await?;
            if read.content == "second" {
                Ok(())
            } else {
                Err(sallyport_e2e::Failure::new(format!("{read:?}")))
            }
        })
        .await?;
        let rotated = endpoint::ready(scene.client(), &scene.namespace, "sealed").await?;
        assert_eq!(replica_sets(scene).await?, 2, "a rotation rolls out once");
        let revision =
            |endpoint: sallyport_api::McpEndpoint| endpoint.status.and_then(|s| s.credentials[0].revision.clone());
        assert_ne!(
            revision(ready),
            revision(rotated),
            "the status tells the revisions apart"
        );

        // What has settled stays: nothing rolls out again.
        let deployments = Api::<Deployment>::namespaced(scene.client().clone(), &scene.namespace);
        let generation = deployments.get("sealed").await?.metadata.generation;
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(deployments.get("sealed").await?.metadata.generation, generation);
        assert_eq!(replica_sets(scene).await?, 2);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_secret_that_cannot_be_unsealed_is_reported_with_the_controllers_message() -> Result<()> {
    Scene::play("broken", async |scene| {
        let mut endpoint = endpoint::endpoint(&scene.cluster, "broken", "hostile")?;
        endpoint.spec.credentials = serde_json::from_value(
            json!([{ "name": "upstream", "from": { "sealedSecret": { "name": "upstream-token" } } }]),
        )?;
        apply(scene.client(), &scene.namespace, &endpoint).await?;
        // Sealed for another name: strict scope makes that part of the ciphertext.
        let mut sealed = seal::seal(&scene.cluster, &scene.namespace, "another-name", "stolen").await?;
        sealed["metadata"]["name"] = json!("upstream-token");
        sealed["spec"]["template"]["metadata"]["name"] = json!("upstream-token");
        seal::apply(&scene.cluster, &scene.namespace, &sealed).await?;

        let said = eventually(
            "the controller reports the failure",
            Duration::from_mins(1),
            async || {
                let api = Api::<kube::api::DynamicObject>::namespaced_with(
                    scene.client().clone(),
                    &scene.namespace,
                    &sallyport_e2e::objects::sealed_secret(),
                );
                let said = api.get("upstream-token").await?.data["status"]["conditions"][0]["message"]
                    .as_str()
                    .map(str::to_owned);
                sallyport_e2e::Context::context(said, "no message yet")
            },
        )
        .await?;
        let failed = ("CredentialsReady", "False", Some("UnsealFailed"));
        let message = endpoint::condition(scene.client(), &scene.namespace, "broken", failed).await?;
        println!("controller: {said}\nendpoint:   {message}");
        assert!(message.contains(&said), "{message} does not quote {said}");
        endpoint::condition(scene.client(), &scene.namespace, "broken", ("Stalled", "True", None)).await?;
        let deployments = Api::<Deployment>::namespaced(scene.client().clone(), &scene.namespace);
        assert!(
            deployments.get_opt("broken").await?.is_none(),
            "no server starts without its credential"
        );
        Ok(())
    })
    .await
}

/// How many roll-outs the endpoint's Deployment has seen.
async fn replica_sets(scene: &Scene) -> Result<usize> {
    let sets = Api::<ReplicaSet>::namespaced(scene.client().clone(), &scene.namespace)
        .list(&ListParams::default())
        .await?;
    Ok(sets.iter().filter(|set| set.name_any().starts_with("sealed-")).count())
}
