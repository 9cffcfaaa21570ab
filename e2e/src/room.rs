//! Room on the nodes: tests that play side by side never ask for more CPU than there is. Else their pods wait for each other's
//! end, and a test fails because of what another one does.

use crate::{Context, Failure, Result, eventually};
use k8s_openapi::{
    api::core::v1::{Container, Node, Pod},
    apimachinery::pkg::api::resource::Quantity,
};
use kube::{Api, Client, api::ListParams};
use sallyport_api::quantity::Amount;
use std::{collections::BTreeMap, time::Duration};
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

/// How long terminated pods may take to go: their grace period, on a busy machine.
const PATIENCE: Duration = Duration::from_mins(3);

/// What no pod has requested when the first test begins.
static FREE: OnceCell<Free> = OnceCell::const_new();

struct Free {
    /// In thousandths of a CPU.
    amount: u32,
    not_held: Semaphore,
}

/// A part of the nodes' CPU that a test holds.
#[derive(Debug)]
pub struct Room {
    _held: SemaphorePermit<'static>,
}

impl Room {
    /// Waits for room for pods that request `milli` thousandths of a CPU, or for all that there is, if that is less.
    ///
    /// # Errors
    ///
    /// When the cluster does not say how much there is.
    pub async fn take(client: &Client, milli: u32) -> Result<Self> {
        let free = FREE.get_or_try_init(async || {
            let amount = free(client).await?;
            Ok::<_, Failure>(Free {
                amount,
                not_held: Semaphore::new(amount.try_into().context("the nodes' CPU")?),
            })
        });
        let free = free.await.context("find out how much CPU is free")?;
        let held = free.not_held.acquire_many(milli.min(free.amount)).await;
        Ok(Self {
            _held: held.context("wait for room")?,
        })
    }

    /// Gives it back once the last pod of `namespaces` is gone, as pods that are still stopping are counted by the scheduler.
    ///
    /// # Errors
    ///
    /// When they do not go.
    pub async fn give_back(self, client: &Client, namespaces: &[String]) -> Result<()> {
        for namespace in namespaces {
            let pods = Api::<Pod>::namespaced(client.clone(), namespace);
            eventually(&format!("the pods of {namespace} are gone"), PATIENCE, async || {
                let left = pods.list(&ListParams::default()).await?.items.len();
                if left == 0 {
                    Ok(())
                } else {
                    Err(Failure::new(format!("{left} are left")))
                }
            })
            .await?;
        }
        Ok(())
    }
}

/// What all nodes have and no pod requests, in thousandths of a CPU.
async fn free(client: &Client) -> Result<u32> {
    let nodes = Api::<Node>::all(client.clone()).list(&ListParams::default()).await?;
    let pods = Api::<Pod>::all(client.clone()).list(&ListParams::default()).await?;
    let mut free = 0;
    for node in nodes {
        free += cpu(node.status.and_then(|status| status.allocatable).as_ref())?;
    }
    for pod in pods {
        free -= requested(&pod)?;
    }
    u32::try_from(free.max(1)).context("the nodes' CPU")
}

/// What the scheduler counts for `pod` (KEP 753): containers and restartable init containers together, or the largest of
/// the other init containers with the restartable ones before it.
fn requested(pod: &Pod) -> Result<i128> {
    let of = |container: &Container| {
        let resources = container.resources.as_ref();
        cpu(resources.and_then(|resources| resources.requests.as_ref()))
    };
    let Some(spec) = &pod.spec else { return Ok(0) };
    let (mut beside, mut most) = (0, 0);
    for container in spec.init_containers.iter().flatten() {
        let request = of(container)?;
        if container.restart_policy.as_deref() == Some("Always") {
            beside += request;
        } else {
            most = most.max(beside + request);
        }
    }
    for container in &spec.containers {
        beside += of(container)?;
    }
    Ok(most.max(beside))
}

fn cpu(amounts: Option<&BTreeMap<String, Quantity>>) -> Result<i128> {
    match amounts.and_then(|amounts| amounts.get("cpu")) {
        Some(amount) => Amount::new(&amount.0).milli().context("an amount of CPU"),
        None => Ok(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_counts_as_the_scheduler_counts_it() {
        let of = |cpu: &str| json!({ "name": "c", "resources": { "requests": { "cpu": cpu } } });
        let mut sidecar = of("50m");
        sidecar["restartPolicy"] = json!("Always");
        let pod = |init: &[serde_json::Value]| {
            let spec = json!({ "initContainers": init, "containers": [of("100m"), { "name": "d" }] });
            requested(&serde_json::from_value(json!({ "metadata": {}, "spec": spec })).unwrap()).unwrap()
        };
        assert_eq!(pod(&[]), 100);
        assert_eq!(pod(&[of("20m"), sidecar.clone()]), 150);
        assert_eq!(pod(&[sidecar, of("0.12")]), 170);
    }
}
