//! A hostile server tries to get out of its endpoint, and out of a plain Deployment.

use sallyport_e2e::{
    Result, Scene,
    attempts::{self, TOKEN_FILE, attempts},
    endpoint,
    objects::apply,
    stage::Stage,
};
use serde_json::json;

#[tokio::test]
async fn every_attempt_to_escape_is_refused_and_succeeds_from_a_plain_deployment() -> Result<()> {
    Scene::play("escape", async |scene| {
        let caller = scene.allowed_caller().await?;
        let elsewhere = scene.namespace("elsewhere", &[]).await?;
        let stage = Stage::set(
            &scene.cluster,
            &scene.namespace,
            &elsewhere,
            Some(("escape", "192.52.193.20")),
        )
        .await?
        .in_a_cloud(&scene.cluster)
        .await?;

        let own = attempts::Attempt {
            title: "read its own credential",
            arguments: json!({ "attempt": "read_file", "path": TOKEN_FILE }),
        };
        let read = attempts::make(&caller, &stage.hardened, &own).await?;
        assert_eq!(read.content, stage.token, "the server reads its credential: {read:?}");

        for attempt in attempts(&stage.targets) {
            let outcome = attempts::make(&caller, &stage.hardened, &attempt).await?;
            println!(
                "hardened | {} | {} ({} ms)",
                attempt.title, outcome.detail, outcome.elapsed_ms
            );
            assert!(!outcome.succeeded, "{} succeeded: {}", attempt.title, outcome.detail);
        }
        let arrived = stage.arrivals()?;
        assert!(arrived.is_empty(), "something arrived outside: {arrived:?}");

        for attempt in attempts(&stage.targets) {
            let outcome = attempts::make(&caller, &stage.plain, &attempt).await?;
            println!(
                "plain    | {} | {} ({} ms)",
                attempt.title, outcome.detail, outcome.elapsed_ms
            );
            assert!(
                outcome.succeeded,
                "negative control: {} was refused: {}",
                attempt.title, outcome.detail
            );
        }
        for (protocol, port) in [("tcp", 80), ("tcp", 443), ("udp", 514)] {
            stage.betrayed(protocol, port).await?;
        }
        stage.strike(&scene.cluster).await
    })
    .await
}

#[tokio::test]
async fn an_allowed_destination_is_reached_at_its_ports_alone() -> Result<()> {
    Scene::play("egress", async |scene| {
        let caller = scene.allowed_caller().await?;
        let data = scene.namespace("data", &[]).await?;
        let stage = Stage::set(
            &scene.cluster,
            &scene.namespace,
            &data,
            Some(("egress", "192.52.193.21")),
        )
        .await?;
        let mut endpoint = endpoint::endpoint(&scene.cluster, "allowed", "hostile")?;
        endpoint.spec.egress = serde_json::from_value(json!({ "allow": [
            { "cidr": "192.52.193.21/32", "ports": [443] },
            { "service": { "namespace": data, "selector": { "app": "neighbour" }, "ports": [8080] } },
        ] }))?;
        apply(scene.client(), &scene.namespace, &endpoint).await?;
        let url = endpoint::url(&endpoint::ready(scene.client(), &scene.namespace, "allowed").await?)?;
        for (arguments, allowed) in [
            (json!({ "attempt": "tcp", "host": "192.52.193.21", "port": 443 }), true),
            (json!({ "attempt": "tcp", "host": "192.52.193.21", "port": 80 }), false),
            (
                json!({ "attempt": "http", "url": format!("http://{}:8080/", stage.targets.pod) }),
                true,
            ),
            (
                json!({ "attempt": "tcp", "host": stage.targets.pod, "port": 8081 }),
                false,
            ),
        ] {
            let attempt = attempts::Attempt { title: "", arguments };
            let outcome = attempts::make(&caller, &url, &attempt).await?;
            assert_eq!(outcome.succeeded, allowed, "{}: {}", attempt.arguments, outcome.detail);
        }
        stage.strike(&scene.cluster).await
    })
    .await
}
