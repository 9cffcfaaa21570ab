//! Policies of other kinds, with the kinds' real definitions. Nothing enforces them here: what is shown is that the API server
//! takes them, and that they come, are kept, and go.

use futures::FutureExt;
use k8s_openapi::{
    api::{apps::v1::Deployment, events::v1::Event, networking::v1::NetworkPolicy},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams},
    core::{ApiResource, GroupVersionKind},
};
use sallyport_e2e::{
    Cluster, Context, Failure, Result, Scene,
    crds::{self, Crd},
    endpoint::{self, PATIENCE, endpoint},
    eventually, install,
    objects::{apply, apply_yaml},
};
use serde_json::{Value, json};
use std::panic::{AssertUnwindSafe, resume_unwind};

const NAME: &str = "native";
const GATEWAY: &str = "native-egress";
/// Field manager of the edits.
const INTRUDER: &str = "intruder";
const WITH_CILIUM: &str = "nativePolicies.cilium=Auto";
const WITHOUT: &str = "nativePolicies.clusterNetworkPolicy=Never";

#[tokio::test]
async fn policies_of_other_kinds_come_with_the_kind_are_kept_and_go_with_it() -> Result<()> {
    Scene::play("native", async |scene| {
        let ended = AssertUnwindSafe(play(scene)).catch_unwind().await;
        clean_up(&scene.cluster).await?;
        ended.unwrap_or_else(|panic| resume_unwind(panic))
    })
    .await
}

async fn play(scene: &Scene) -> Result<()> {
    let (client, namespace) = (scene.client(), scene.namespace.as_str());
    for crd in [crds::CILIUM, crds::CLUSTER] {
        establish(client, crd).await?;
    }
    installed(&scene.cluster, WITH_CILIUM).await?;
    let floor = cluster_policies(client).list(&ListParams::default()).await?;
    let floor: Vec<_> = floor
        .items
        .into_iter()
        .filter_map(|policy| policy.metadata.name)
        .collect();
    println!("ClusterNetworkPolicies: {}", floor.join(", "));
    assert_eq!(floor.len(), 3, "Helm sees the kind and installs them");

    let mut hosts = endpoint(&scene.cluster, NAME, "hostile")?;
    hosts.spec.egress.allow = serde_json::from_value(json!([
        {"host": "api.example.com"}, {"host": "*.cdn.example.com", "ports": [8443]},
    ]))?;
    apply(client, namespace, &hosts).await?;
    endpoint::ready(client, namespace, NAME).await?;
    written(client, namespace).await?;
    let before = generations(client, namespace).await?;

    let policies = cilium(client, namespace);
    refuses_a_misspelt_field(&policies).await?;
    repaired(client, namespace).await?;

    // Its objects go with the kind.
    delete(client, crds::CILIUM).await?;
    opens_the_world(client, namespace, true).await?;
    endpoint::ready(client, namespace, NAME).await?;
    println!("without the kind, the NetworkPolicy opens public addresses again");

    establish(client, crds::CILIUM).await?;
    written(client, namespace).await?;
    installed(&scene.cluster, WITHOUT).await?;
    opens_the_world(client, namespace, true).await?;
    eventually("an operator that writes none has removed them", PATIENCE, async || {
        let left = policies.list(&ListParams::default()).await?.items.len();
        if left == 0 {
            Ok(())
        } else {
            Err(Failure::new(format!("{left} are left")))
        }
    })
    .await?;
    endpoint::ready(client, namespace, NAME).await?;
    assert_eq!(
        generations(client, namespace).await?,
        before,
        "nothing rolled out meanwhile"
    );
    Ok(())
}

/// Both are there, and the gateway's NetworkPolicy leaves public addresses to Cilium.
async fn written(client: &Client, namespace: &str) -> Result<()> {
    let policies = cilium(client, namespace);
    eventually("the CiliumNetworkPolicies", PATIENCE, async || {
        policies.get(NAME).await?;
        policies.get(GATEWAY).await?;
        Ok(())
    })
    .await?;
    opens_the_world(client, namespace, false).await?;
    let gateway = policies.get(GATEWAY).await?.data;
    let names: Vec<_> = [1, 2].map(|rule| &gateway["spec"]["egress"][rule]["toFQDNs"][0]).into();
    println!("the gateway's names: {names:?}");
    assert!(names.contains(&&json!({"matchName": "api.example.com"})));
    assert!(names.contains(&&json!({"matchPattern": "**.cdn.example.com"})));
    Ok(())
}

async fn opens_the_world(client: &Client, namespace: &str, expected: bool) -> Result<()> {
    let policies = Api::<NetworkPolicy>::namespaced(client.clone(), namespace);
    let what = format!("the gateway's NetworkPolicy opens public addresses: {expected}");
    eventually(&what, PATIENCE, async || {
        let policy = policies.get(GATEWAY).await?;
        let opens = serde_json::to_string(&policy.spec)?.contains("0.0.0.0/0");
        if opens == expected {
            Ok(())
        } else {
            Err(Failure::new(format!("it is {opens}")))
        }
    })
    .await
}

/// Negative control: that the API server took the policies means something.
async fn refuses_a_misspelt_field(policies: &Api<DynamicObject>) -> Result<()> {
    let mut misspelt = policies.get(NAME).await?;
    misspelt.metadata.managed_fields = None;
    let denied = misspelt.data["spec"]["egressDeny"].clone();
    misspelt.data["spec"]["egressDenied"] = denied;
    let parameters = PatchParams::apply(INTRUDER).force().dry_run().validation_strict();
    let refused = policies.patch(NAME, &parameters, &Patch::Apply(&misspelt)).await;
    let message = refused.err().context("a misspelt field is taken")?.to_string();
    println!("{message}");
    assert!(message.contains("egressDenied"), "{message}");
    Ok(())
}

async fn repaired(client: &Client, namespace: &str) -> Result<()> {
    let policies = cilium(client, namespace);
    for name in [NAME, GATEWAY] {
        let before = policies.get(name).await?.data["spec"].clone();
        policies.delete(name, &DeleteParams::default()).await?;
        is_again(&policies, name, &before).await?;
        for edit in [
            json!({"spec": {"egressDeny": [{"toEntities": ["unmanaged"]}]}}),
            json!({"spec": {"endpointSelector": {"matchLabels": {"nobody": "here"}}}}),
            json!({"spec": {"enableDefaultDeny": {"egress": false}}}),
            json!({"specs": [{"endpointSelector": {}, "egress": [{"toEntities": ["all"]}]}]}),
        ] {
            let parameters = PatchParams {
                field_manager: Some(INTRUDER.to_owned()),
                ..PatchParams::default()
            };
            policies.patch(name, &parameters, &Patch::Merge(&edit)).await?;
            is_again(&policies, name, &before).await?;
        }
        let blamed = format!("CiliumNetworkPolicy {name} was changed or deleted by field manager {INTRUDER}");
        named_in_an_event(client, namespace, &blamed).await?;
    }
    Ok(())
}

async fn is_again(policies: &Api<DynamicObject>, name: &str, spec: &Value) -> Result<()> {
    eventually(&format!("{name} is as it was"), PATIENCE, async || {
        let policy = policies.get(name).await?.data;
        if policy["spec"] == *spec && policy["specs"].is_null() {
            Ok(())
        } else {
            Err(Failure::new(policy.to_string()))
        }
    })
    .await
}

async fn named_in_an_event(client: &Client, namespace: &str, note: &str) -> Result<()> {
    let events = Api::<Event>::namespaced(client.clone(), namespace);
    eventually(&format!("an event says: {note}"), PATIENCE, async || {
        let all = events.list(&ListParams::default()).await?.items;
        let notes = all.iter().filter_map(|event| event.note.as_deref());
        let found = notes.into_iter().any(|said| said.contains(note));
        found.then_some(()).context("no such event")
    })
    .await
}

/// Of both Deployments: they change when pods are replaced.
async fn generations(client: &Client, namespace: &str) -> Result<Vec<Option<i64>>> {
    let deployments = Api::<Deployment>::namespaced(client.clone(), namespace);
    let mut all = vec![];
    for name in [NAME, GATEWAY] {
        all.push(deployments.get(name).await?.metadata.generation);
    }
    Ok(all)
}

async fn establish(client: &Client, crd: Crd) -> Result<()> {
    apply_yaml(client, &crd.yaml().await?).await?;
    let api = Api::<CustomResourceDefinition>::all(client.clone());
    eventually(&format!("{} is served", crd.name), PATIENCE, async || {
        let status = api.get(crd.name).await?.status.unwrap_or_default();
        let conditions = status.conditions.into_iter().flatten();
        let established = conditions
            .into_iter()
            .any(|condition| condition.type_ == "Established" && condition.status == "True");
        established.then_some(()).context("not established yet")?;
        // Discovery follows a moment later.
        let (plural, group) = crd.name.split_once('.').context("a name without a group")?;
        let found = client
            .list_api_group_resources(&version_of(client, group).await?)
            .await?;
        let listed = found.resources.iter().any(|resource| resource.name == plural);
        listed.then_some(()).context("not discovered yet")
    })
    .await
}

/// A group with the version that clients are to use.
async fn version_of(client: &Client, group: &str) -> Result<String> {
    let groups = client.list_api_groups().await?.groups;
    let found = groups.into_iter().find(|found| found.name == group);
    let preferred = found.and_then(|found| found.preferred_version);
    Ok(preferred
        .context(format!("{group} is not discovered yet"))?
        .group_version)
}

async fn delete(client: &Client, crd: Crd) -> Result<()> {
    let api = Api::<CustomResourceDefinition>::all(client.clone());
    if api.get_opt(crd.name).await?.is_some() {
        api.delete(crd.name, &DeleteParams::default()).await?;
    }
    eventually(&format!("{} is gone", crd.name), PATIENCE, async || {
        match api.get_opt(crd.name).await? {
            None => Ok(()),
            Some(_) => Err(Failure::new("it is still there")),
        }
    })
    .await
}

/// As every other test expects it. Helm has to forget the ClusterNetworkPolicies while it still knows their kind.
async fn clean_up(cluster: &Cluster) -> Result<()> {
    installed(cluster, WITHOUT).await?;
    for crd in [crds::CILIUM, crds::CLUSTER] {
        delete(&cluster.client, crd).await?;
    }
    install::operator(cluster, install::SMALL).await
}

/// The operator as every other test has it, with one more `value`.
async fn installed(cluster: &Cluster, value: &str) -> Result<()> {
    install::operator(cluster, &[install::SMALL, &[value]].concat()).await
}

fn cilium(client: &Client, namespace: &str) -> Api<DynamicObject> {
    let kind = ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("cilium.io", "v2", "CiliumNetworkPolicy"),
        "ciliumnetworkpolicies",
    );
    Api::namespaced_with(client.clone(), namespace, &kind)
}

fn cluster_policies(client: &Client) -> Api<DynamicObject> {
    let kind = ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("policy.networking.k8s.io", "v1alpha2", "ClusterNetworkPolicy"),
        "clusternetworkpolicies",
    );
    Api::all_with(client.clone(), &kind)
}
