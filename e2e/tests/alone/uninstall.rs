//! The operator uninstalled and installed again.

use k8s_openapi::{
    api::{apps::v1::Deployment, networking::v1::NetworkPolicy},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{Api, ResourceExt};
use sallyport_e2e::{
    Context, Result, Scene,
    endpoint::{self, endpoint},
    install,
    objects::apply,
};
use serde_json::json;

#[tokio::test]
async fn endpoints_outlive_the_operator_and_are_taken_up_again() -> Result<()> {
    Scene::play("uninstall", async |scene| {
        let client = scene.client();
        apply(
            client,
            &scene.namespace,
            &endpoint(&scene.cluster, "lasting", "hostile")?,
        )
        .await?;
        let caller = scene.allowed_caller().await?;
        let before = endpoint::ready(client, &scene.namespace, "lasting").await?;
        let deployments = Api::<Deployment>::namespaced(client.clone(), &scene.namespace);
        let generation = deployments.get("lasting").await?.metadata.generation;

        let said = install::uninstall(&scene.cluster).await?;
        println!("{said}");
        let crds = Api::<CustomResourceDefinition>::all(client.clone());
        crds.get("mcpendpoints.sallyport.dev").await.context("the CRD stays")?;
        let after = endpoint::get(client, &scene.namespace, "lasting").await?;
        assert_eq!(after.uid(), before.uid(), "the endpoint stays");
        Api::<NetworkPolicy>::namespaced(client.clone(), &scene.namespace)
            .get("lasting")
            .await
            .context("its fence stays")?;
        let answer = caller
            .call(&endpoint::url(&before)?, "escape", &json!({ "attempt": "whoami" }))
            .await?;
        answer.text().context("it is still served")?;

        install::operator(&scene.cluster, install::SMALL).await?;
        endpoint::ready(client, &scene.namespace, "lasting").await?;
        assert_eq!(
            deployments.get("lasting").await?.metadata.generation,
            generation,
            "nothing rolls out"
        );
        Ok(())
    })
    .await
}
