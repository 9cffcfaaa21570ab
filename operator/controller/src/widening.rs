//! Looks for NetworkPolicies of others that widen an endpoint's.

use crate::{context::Context, error::Error};
use k8s_openapi::api::{core::v1::Pod, networking::v1::NetworkPolicy};
use kube::{Api, ResourceExt, api::ListParams};
use sallyport_api::labels;
use sallyport_render::{ValidatedEndpoint, Widening, may_widen, widenings};
use std::collections::BTreeMap;

/// The policies of the endpoint's namespace that open more than it says.
///
/// # Errors
///
/// What the API server answered.
pub async fn find(context: &Context, endpoint: &ValidatedEndpoint) -> Result<Vec<Widening>, Error> {
    let api = Api::<NetworkPolicy>::namespaced(context.client.clone(), endpoint.namespace());
    let listed = api.list(&ListParams::default()).await;
    let policies = listed.map_err(|source| failed("NetworkPolicy", source))?.items;
    // Where a lone endpoint without a gateway has its own alone, there is no need to know the pods.
    if !policies.iter().any(|policy| may_widen(endpoint, policy)) {
        return Ok(vec![]);
    }
    let mut pods = pod_labels(context, endpoint, labels::ENDPOINT).await?;
    pods.extend(pod_labels(context, endpoint, labels::EGRESS_OF).await?);
    Ok(widenings(endpoint, &policies, &pods))
}

/// Labels of the endpoint's pods of one part, as they are.
async fn pod_labels(
    context: &Context,
    endpoint: &ValidatedEndpoint,
    label: &str,
) -> Result<Vec<BTreeMap<String, String>>, Error> {
    let api = Api::<Pod>::namespaced(context.client.clone(), endpoint.namespace());
    let own = ListParams::default().labels(&format!("{label}={}", endpoint.name()));
    let pods = api.list_metadata(&own).await.map_err(|source| failed("Pod", source))?;
    Ok(pods.items.iter().map(|pod| pod.labels().clone()).collect())
}

fn failed(kind: &str, source: kube::Error) -> Error {
    Error::Api {
        verb: "list",
        kind: kind.to_owned(),
        name: String::new(),
        source: Box::new(source),
    }
}
