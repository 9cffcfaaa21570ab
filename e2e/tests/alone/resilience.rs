//! The operator killed at random, and idle.

use k8s_openapi::{api::core::v1::Pod, jiff::Timestamp};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams},
};
use sallyport_e2e::{
    Failure, Result, Scene,
    apiserver_log::{Mark, Request},
    endpoint::{self, endpoint},
    eventually,
    install::{NAMESPACE, OPERATOR_PODS, OPERATOR_USER, RELEASE, available},
    node,
    objects::apply,
    pods,
};
use serde_json::json;
use std::time::Duration;

/// How many endpoints are made.
const ENDPOINTS: usize = 20;
/// How often all operators are killed meanwhile.
const KILLS: usize = 5;
/// How long the operator has nothing to do.
const IDLE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn all_endpoints_converge_though_the_operator_is_killed_and_then_nothing_is_written() -> Result<()> {
    Scene::play("killed", async |scene| {
        let (made, killed) = futures::join!(make_endpoints(scene), kill_operators(scene));
        made?;
        killed?;
        available(&scene.cluster, NAMESPACE, RELEASE).await?;
        for n in 0..ENDPOINTS {
            endpoint::ready(scene.client(), &scene.namespace, &name(n)).await?;
        }
        println!("{ENDPOINTS} endpoints are ready after {KILLS} kills");

        // Events that came late are written first.
        tokio::time::sleep(Duration::from_secs(10)).await;
        let writes = writes_of_an_idle_minute(scene).await?;
        println!("{} writes in {} idle seconds", writes.len(), IDLE.as_secs());
        assert!(writes.is_empty(), "written though nothing changed: {}", show(&writes));

        let mark = Mark::now(&scene.cluster)?;
        let mut touched = endpoint(&scene.cluster, &name(0), "hostile")?;
        small(&mut touched)?;
        touched.spec.access.from.clear();
        apply(scene.client(), &scene.namespace, &touched).await?;
        let writes = eventually(
            "negative control: a change is written",
            Duration::from_secs(30),
            async || {
                let writes = mark.writes_since(OPERATOR_USER)?;
                if writes.is_empty() {
                    Err(Failure::new("no write"))
                } else {
                    Ok(writes)
                }
            },
        )
        .await?;
        println!("after a change: {}", show(&writes));
        Ok(())
    })
    .await
}

/// What the operator writes in a minute in which nothing happens to what it watches.
async fn writes_of_an_idle_minute(scene: &Scene) -> Result<Vec<Request>> {
    for _ in 0..5 {
        let before = versions(scene).await?;
        let mark = Mark::now(&scene.cluster)?;
        tokio::time::sleep(IDLE).await;
        let writes = mark.writes_since(OPERATOR_USER)?;
        if versions(scene).await? == before {
            return Ok(writes);
        }
        println!("a pod changed meanwhile; another minute");
    }
    Err(Failure::new("pods change every minute"))
}

/// Every pod of the endpoints, as it is.
async fn versions(scene: &Scene) -> Result<Vec<(Option<String>, Option<String>)>> {
    let pods = Api::<Pod>::namespaced(scene.client().clone(), &scene.namespace);
    let pods = pods.list(&ListParams::default()).await?;
    Ok(pods
        .into_iter()
        .map(|pod| (pod.uid(), pod.resource_version()))
        .collect())
}

fn name(n: usize) -> String {
    format!("endpoint-{n}")
}

/// Twenty have to fit on one small node.
fn small(endpoint: &mut sallyport_api::McpEndpoint) -> Result<()> {
    endpoint.spec.server.resources =
        serde_json::from_value(json!({ "cpu": "20m", "memory": "128Mi", "ephemeralStorage": "16Mi" }))?;
    Ok(())
}

async fn make_endpoints(scene: &Scene) -> Result<()> {
    for n in 0..ENDPOINTS {
        let mut endpoint = endpoint(&scene.cluster, &name(n), "hostile")?;
        small(&mut endpoint)?;
        apply(scene.client(), &scene.namespace, &endpoint).await?;
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
    Ok(())
}

/// Kills all operators at random times, by turns in place (the kubelet starts them again) and with their pods.
async fn kill_operators(scene: &Scene) -> Result<()> {
    let mut random = Random::from_clock();
    let api = Api::<Pod>::namespaced(scene.client().clone(), NAMESPACE);
    for kill in 1..=KILLS {
        let pause = Duration::from_millis(2000 + random.below(7000));
        tokio::time::sleep(pause).await;
        let operators = pods::list(scene.client(), NAMESPACE, OPERATOR_PODS).await?;
        let in_place = kill % 2 == 1;
        for operator in &operators {
            if in_place {
                for container in ready_containers(operator) {
                    node::kill(&scene.cluster, operator, container).await?;
                }
            } else {
                // It may be gone already.
                let _ = api
                    .delete(&operator.name_any(), &DeleteParams::default().grace_period(0))
                    .await;
            }
        }
        let how = if in_place { "in place" } else { "with their pods" };
        println!(
            "kill {kill} after {} ms: {} operators {how}",
            pause.as_millis(),
            operators.len()
        );
    }
    Ok(())
}

fn ready_containers(pod: &Pod) -> impl Iterator<Item = &str> {
    let statuses = pod
        .status
        .iter()
        .flat_map(|status| status.container_statuses.iter().flatten());
    statuses
        .filter(|status| status.ready)
        .map(|status| status.name.as_str())
}

fn show(writes: &[Request]) -> String {
    writes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// A small generator (xorshift): random enough to hit different moments in each run.
struct Random(u64);

impl Random {
    fn from_clock() -> Self {
        let nanoseconds = u64::try_from(Timestamp::now().subsec_nanosecond()).unwrap_or_default();
        println!("seed {}", nanoseconds | 1);
        Self(nanoseconds | 1)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
