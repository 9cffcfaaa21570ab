//! Reads what an endpoint refers to. The only reads of a reconcile that rendering depends on.

use crate::{context::Context, credentials, error::Error, pods};
use k8s_openapi::api::core::v1::{Pod, ResourceQuota, Service};
use kube::{Api, ResourceExt, api::ListParams};
use sallyport_api::{McpEndpoint, labels};
use sallyport_policy::egress::EgressClients;
use sallyport_render::Facts;
use std::net::IpAddr;

/// What an endpoint refers to.
#[derive(Clone, Debug)]
pub struct Dereferenced {
    /// What rendering depends on.
    pub facts: Facts,
    /// Every quota of the namespace.
    pub quotas: Vec<ResourceQuota>,
}

/// Reads what `endpoint` refers to.
///
/// # Errors
///
/// What the API server answered; that something does not exist is a fact, not an error.
pub async fn dereference(context: &Context, endpoint: &McpEndpoint) -> Result<Dereferenced, Error> {
    let namespace = endpoint.namespace().unwrap_or_default();
    let failed = |kind: &str, source| Error::Api {
        verb: "read",
        kind: kind.to_owned(),
        name: String::new(),
        source: Box::new(source),
    };
    let credentials = credentials::facts(&context.client, &namespace, &endpoint.spec.secrets()).await;
    let quotas = Api::<ResourceQuota>::namespaced(context.client.clone(), &namespace);
    let quotas = quotas
        .list(&ListParams::default())
        .await
        .map_err(|source| failed("ResourceQuota", source))?;
    let gateway_address = if endpoint.spec.needs_gateway() {
        gateway_address(context, &namespace, &endpoint.name_any()).await
    } else {
        Ok(None)
    };
    let clients = if endpoint.spec.needs_gateway() {
        clients(context, &namespace, &endpoint.name_any()).await
    } else {
        Ok(EgressClients::default())
    };
    let classes = context.classes.borrow().clone();
    Ok(Dereferenced {
        facts: Facts {
            node_features: context.node_features.borrow().unwrap_or_default(),
            api_servers: context.api_servers.borrow().clone().unwrap_or_default(),
            canaries: context.canaries.borrow().clone().unwrap_or_default(),
            cilium: context.cilium.borrow().unwrap_or_default(),
            class: classes.unwrap_or_default().resolve(endpoint.spec.class_name.as_deref()),
            gateway_address: gateway_address.map_err(|source| failed("Service", source))?,
            clients: clients.map_err(|source| failed("Pod", source))?,
            credentials: credentials.map_err(|source| failed("SealedSecret", source))?,
        },
        quotas: quotas.items,
    })
}

/// Which of the server's pods have which addresses.
async fn clients(context: &Context, namespace: &str, endpoint: &str) -> Result<EgressClients, kube::Error> {
    let api = Api::<Pod>::namespaced(context.client.clone(), namespace);
    let own = ListParams::default().labels(&format!("{}={endpoint}", labels::ENDPOINT));
    Ok(pods::clients(&api.list(&own).await?.items))
}

/// Address of the egress gateway's Service, if there is one.
async fn gateway_address(context: &Context, namespace: &str, endpoint: &str) -> Result<Option<IpAddr>, kube::Error> {
    let services = Api::<Service>::namespaced(context.client.clone(), namespace);
    let service = services.get_opt(&labels::gateway_of(endpoint)).await?;
    let address = service.and_then(|service| service.spec?.cluster_ip);
    Ok(address.and_then(|address| address.parse().ok()))
}
