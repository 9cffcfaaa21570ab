//! Callers with API keys: what each may call, and what the record says of it.

use k8s_openapi::api::core::v1::Secret;
use sallyport_api::labels;
use sallyport_e2e::{
    Result, Scene, endpoint,
    keys::{self, key, secret},
    objects::{apply, apply_json},
    pods,
};
use serde_json::json;

#[tokio::test]
async fn each_role_calls_its_own_tools_and_nobody_without_a_key_calls_any() -> Result<()> {
    Scene::play("callers", async |scene| {
        let client = scene.client();
        let caller = scene.allowed_caller().await?;
        let keys = keys::keys(&[("alice", "reader"), ("bob", "admin")]);
        apply_json::<Secret>(client, &scene.namespace, keys).await?;
        let mut guarded = endpoint::endpoint(&scene.cluster, "guarded", "everything")?;
        guarded.spec.authentication =
            serde_json::from_value(json!({ "apiKeys": { "from": { "secret": { "name": "keys" } } } }))?;
        guarded.spec.authorization = serde_json::from_value(json!({ "rules": [
            { "name": "readers", "from": [{ "roles": ["reader", "admin"] }], "tools": ["echo"] },
            { "name": "admins", "from": [{ "roles": ["admin"] }], "tools": ["*"] },
        ] }))?;
        guarded.spec.tools =
            serde_json::from_value(json!({ "sideEffects": [{ "tools": ["*"], "sideEffect": "ReadOnly" }] }))?;
        apply(client, &scene.namespace, &guarded).await?;
        let ready = endpoint::ready(client, &scene.namespace, "guarded").await?;
        let url = endpoint::url(&ready)?;

        let echo = json!({ "message": "hello" });
        let sum = json!({ "a": 2, "b": 3 });
        let nobody = caller.call(&url, "echo", &echo).await?;
        assert_ne!(nobody.code, 0, "a caller without a key is answered: {nobody:?}");
        let forged = caller
            .call_as(&url, &format!("{}0", key("alice")), "echo", &echo)
            .await?;
        assert_ne!(forged.code, 0, "a forged key is taken: {forged:?}");
        let alice = caller.call_as(&url, &key("alice"), "echo", &echo).await?;
        assert!(alice.text()?.contains("hello"), "{alice:?}");
        let alice = caller.call_as(&url, &key("alice"), "get-sum", &sum).await?;
        assert_ne!(alice.code, 0, "a reader calls an admin's tool: {alice:?}");
        let bob = caller.call_as(&url, &key("bob"), "get-sum", &sum).await?;
        assert!(bob.text()?.contains('5'), "{bob:?}");

        let labels = format!("{}=guarded", labels::ENDPOINT);
        let named = [r#""alice""#, r#""bob""#];
        let log = pods::logs_with(client, &scene.namespace, &labels, "audit", &named).await?;
        for id in ["alice", "bob"] {
            assert!(!log.contains(&secret(id)), "the secret of {id} is in the records");
        }
        Ok(())
    })
    .await
}
