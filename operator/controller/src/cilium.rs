//! Whether the cluster serves CiliumNetworkPolicies.

use crate::{backoff::jittered, error::is_not_found};
use kube::{Client, Error};
use sallyport_render::CiliumNetworkPolicy;
use std::time::Duration;
use tokio::{sync::watch::Sender, time::sleep};

/// How often it is looked for: its kind may be installed and removed while the operator runs, and who watches for that has
/// to have a right on every kind of the cluster.
const EVERY: Duration = if cfg!(test) {
    Duration::from_millis(200)
} else {
    Duration::from_secs(30)
};
/// Until an API server that did not say is asked again.
const RETRY: Duration = Duration::from_secs(2);

/// Asks now and then and tells `served`, for as long as it is polled. While nobody answers, what was told before holds.
pub async fn follow(client: Client, served: Sender<Option<bool>>) {
    loop {
        let wait = match is_served(&client).await {
            Ok(now) => {
                if served.send_if_modified(|known| known.replace(now) != Some(now)) {
                    tracing::info!(served = now, "CiliumNetworkPolicies");
                }
                EVERY
            }
            Err(error) => {
                tracing::warn!(%error, "the API server does not say whether it serves CiliumNetworkPolicies");
                RETRY
            }
        };
        sleep(jittered(wait)).await;
    }
}

async fn is_served(client: &Client) -> Result<bool, Error> {
    let version = format!("{}/{}", CiliumNetworkPolicy::GROUP, CiliumNetworkPolicy::VERSION);
    match client.list_api_group_resources(&version).await {
        Ok(list) => Ok(list
            .resources
            .iter()
            .any(|kind| kind.name == CiliumNetworkPolicy::PLURAL)),
        Err(error) if is_not_found(&error) => Ok(false),
        Err(error) => Err(error),
    }
}
