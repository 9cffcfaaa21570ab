//! Where the Kubernetes API is, so that no server is let near it.

use crate::watch;
use futures::StreamExt;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{
    Api, Client,
    runtime::watcher::{self, Event},
};
use std::{collections::BTreeSet, net::IpAddr, pin::pin};
use tokio::sync::watch::Sender;

/// Name of the Service and of the EndpointSlice that the API server keeps for itself in namespace `default`.
const KUBERNETES: &str = "kubernetes";

/// Follows the API servers' addresses and tells `addresses`, for as long as it is polled.
///
/// The Service's own address is taken from the environment that the kubelet sets.
pub async fn follow(client: Client, addresses: Sender<Option<Vec<IpAddr>>>) {
    let service = std::env::var("KUBERNETES_SERVICE_HOST")
        .ok()
        .and_then(|host| host.parse().ok());
    let config = watcher::Config::default().fields(&format!("metadata.name={KUBERNETES}"));
    let mut events = pin!(watch::events(
        Api::<EndpointSlice>::namespaced(client, "default"),
        config,
        "EndpointSlice"
    ));
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::InitApply(slice) | Event::Apply(slice)) => {
                let next = known(service, &slice);
                addresses.send_if_modified(|known| known.replace(next.clone()).as_ref() != Some(&next));
            }
            // Also when the list turned out empty: nothing more is to be learned.
            Ok(Event::InitDone) | Err(()) if addresses.borrow().is_none() => {
                addresses.send_replace(Some(service.into_iter().collect()));
            }
            _ => {}
        }
    }
}

fn known(service: Option<IpAddr>, slice: &EndpointSlice) -> Vec<IpAddr> {
    let behind = slice.endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
    let all: BTreeSet<IpAddr> = behind
        .filter_map(|address| address.parse().ok())
        .chain(service)
        .collect();
    all.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_service_and_every_server_behind_it_count_once() {
        let slice = serde_json::from_value(json!({
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["172.30.0.2"]}, {"addresses": ["172.30.0.1", "not an address"]}],
        }))
        .unwrap();
        let service: IpAddr = "10.96.0.1".parse().unwrap();
        let known: Vec<_> = known(Some(service), &slice).iter().map(ToString::to_string).collect();
        assert_eq!(known, ["10.96.0.1", "172.30.0.1", "172.30.0.2"]);
    }
}
