//! What is left of an endpoint that is deleted.

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Pod, ResourceQuota, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, DynamicObject, ListParams},
    core::ApiResource,
};
use sallyport_api::{McpEndpoint, labels};
use sallyport_e2e::{Failure, Result, Scene, endpoint, eventually, objects::apply, pods};
use serde_json::json;

#[tokio::test]
async fn a_deleted_endpoint_leaves_nothing_and_its_neighbour_alone() -> Result<()> {
    Scene::play_with_cpu(650, "deletion", async |scene| {
        let client = scene.client();
        for name in ["leaving", "staying"] {
            let mut endpoint = endpoint::endpoint(&scene.cluster, name, "hostile")?;
            // An egress gateway is among the children.
            endpoint.spec.egress = serde_json::from_value(json!({ "allow": [{ "host": "api.example.com" }] }))?;
            apply(client, &scene.namespace, &endpoint).await?;
        }
        for name in ["leaving", "staying"] {
            endpoint::ready(client, &scene.namespace, name).await?;
        }
        let neighbour = format!("{}=staying", labels::ENDPOINT);
        let neighbours = names(&pods::list(client, &scene.namespace, &neighbour).await?);

        let api = Api::<McpEndpoint>::namespaced(client.clone(), &scene.namespace);
        api.delete("leaving", &DeleteParams::default()).await?;
        nothing_left(scene, &format!("{}=leaving", labels::ENDPOINT)).await?;
        let shared = children(scene, &format!("{}=namespace", labels::COMPONENT)).await?;
        let fences = ["NetworkPolicy sallyport-fence", "NetworkPolicy sallyport-fence-egress"];
        assert_eq!(shared, [&fences[..], &["ResourceQuota sallyport"]].concat());
        let after = names(&pods::list(client, &scene.namespace, &neighbour).await?);
        assert_eq!(after, neighbours, "the neighbour's pods are untouched");

        api.delete("staying", &DeleteParams::default()).await?;
        nothing_left(scene, &format!("{}={}", labels::MANAGED_BY, labels::OPERATOR)).await
    })
    .await
}

fn names(pods: &[Pod]) -> Vec<String> {
    pods.iter().map(ResourceExt::name_any).collect()
}

async fn nothing_left(scene: &Scene, selector: &str) -> Result<()> {
    eventually("nothing is left", endpoint::PATIENCE, async || {
        let left = children(scene, selector).await?;
        let pods = pods::list(scene.client(), &scene.namespace, selector).await?;
        if left.is_empty() && pods.is_empty() {
            Ok(())
        } else {
            Err(Failure::new(format!(
                "there are still {left:?} and {} pods",
                pods.len()
            )))
        }
    })
    .await
}

/// Kinds and names of the operator's objects that `selector` selects.
async fn children(scene: &Scene, selector: &str) -> Result<Vec<String>> {
    let kinds = [
        kind::<ServiceAccount>(),
        kind::<ConfigMap>(),
        kind::<NetworkPolicy>(),
        kind::<PodDisruptionBudget>(),
        kind::<Service>(),
        kind::<ResourceQuota>(),
        kind::<Deployment>(),
    ];
    let mut found = Vec::new();
    for resource in kinds {
        let api = Api::<DynamicObject>::namespaced_with(scene.client().clone(), &scene.namespace, &resource);
        let listed = api.list(&ListParams::default().labels(selector)).await?;
        found.extend(
            listed
                .iter()
                .map(|object| format!("{} {}", resource.kind, object.name_any())),
        );
    }
    Ok(found)
}

fn kind<K: Resource<DynamicType = ()>>() -> ApiResource {
    ApiResource::erase::<K>(&())
}
