//! A confirmation at an endpoint with two replicas.

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use sallyport_api::v1alpha1::SIDECAR_PORT;
use sallyport_e2e::{
    Failure, Result, Scene,
    ask::{Ask, Asked},
    endpoint,
    keys::{self, key},
    objects::{apply, apply_json},
    pods,
};
use serde_json::{Value, json};

/// The call did not run: its user is asked, for the first time or anew.
fn asked_again(answer: &Asked) -> Result<()> {
    let message = answer.message()?;
    assert!(answer.text().is_err(), "it ran: {answer:?}");
    assert!(
        message["result"]["inputRequests"].is_object(),
        "nobody is asked: {answer:?}"
    );
    Ok(())
}

#[tokio::test]
async fn what_one_replica_asked_is_answered_at_the_other_once() -> Result<()> {
    Scene::play("confirmed", async |scene| {
        let client = scene.client();
        apply_json::<Secret>(
            client,
            &scene.namespace,
            keys::keys(&[("alice", "admin"), ("bob", "admin")]),
        )
        .await?;
        let sealing = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "sealing" },
            // 32 bytes.
            "stringData": { "keys": "c2VhbGluZyBrZXkgb2YgYSB0ZXN0LCBubyBzZWNyZXQ=" },
        });
        apply_json::<Secret>(client, &scene.namespace, sealing).await?;
        let mut asking = endpoint::endpoint(&scene.cluster, "asking", "hostile")?;
        asking.spec.replicas = 2;
        asking.spec.authentication =
            serde_json::from_value(json!({ "apiKeys": { "from": { "secret": { "name": "keys" } } } }))?;
        asking.spec.sealing = serde_json::from_value(json!({ "from": { "secret": { "name": "sealing" } } }))?;
        // Nothing is declared of the tool, so it is destructive.
        asking.spec.confirmation = serde_json::from_value(json!({}))?;
        apply(client, &scene.namespace, &asking).await?;
        let caller = scene.allowed_caller().await?;
        let url = endpoint::url(&endpoint::ready(client, &scene.namespace, "asking").await?)?;
        let replicas = endpoint::ready_pods(client, &scene.namespace, "asking").await?;
        let [first, second] = replicas.as_slice() else {
            return Err(Failure::new(format!("{} replicas are ready", replicas.len())));
        };
        let (home, other) = (pods::address(first)?, pods::address(second)?);
        let call = Ask::new(&url, "escape", &json!({ "attempt": "whoami" }));
        let send = async |call: &Ask, who: &str, replica: &str| {
            let call = call.clone().bearing(&key(who)).at(replica, SIDECAR_PORT);
            call.from(&caller).await
        };

        let asked = send(&call, "alice", &home).await?;
        asked_again(&asked)?;
        let confirmed = call.clone().confirmed(&asked)?;
        let stolen = send(&confirmed, "bob", &other).await?;
        assert!(
            stolen.text().is_err(),
            "somebody else's confirmation is taken: {stolen:?}"
        );
        let ran: Value = serde_json::from_str(&send(&confirmed, "alice", &other).await?.text()?)?;
        assert_eq!(ran["content"]["hostname"], second.name_any(), "it ran elsewhere: {ran}");
        for replica in [&home, &other] {
            let replayed = send(&confirmed, "alice", replica).await?;
            println!("replayed: {}", replayed.message()?);
            asked_again(&replayed)?;
        }
        // Another one runs at home: what is refused is the second run, not the replica.
        let asked = send(&call, "alice", &home).await?;
        let ran = send(&call.confirmed(&asked)?, "alice", &home).await?.text()?;
        let ran: Value = serde_json::from_str(&ran)?;
        assert_eq!(ran["content"]["hostname"], first.name_any(), "it ran elsewhere: {ran}");
        Ok(())
    })
    .await
}
