//! Servers that speak over standard input and output, unmodified, behind the bridge.

use sallyport_api::{McpEndpoint, quantity::Amount};
use sallyport_e2e::{Context, Failure, Result, Scene, endpoint, eventually, objects::apply, outside::Host, pods};
use serde_json::{Value, json};
use std::time::Duration;

/// Runs `command` of the image by the bridge.
fn over_stdio(endpoint: &mut McpEndpoint, command: Value, transport: &Value) -> Result<()> {
    endpoint.spec.server.command = serde_json::from_value(command)?;
    endpoint.spec.server.transport = serde_json::from_value(json!({ "stdio": transport }))?;
    Ok(())
}

#[tokio::test]
async fn the_fetch_server_reads_an_allowed_page_by_name_and_no_other() -> Result<()> {
    Scene::play_with_cpu(700, "fetch", async |scene| {
        let caller = scene.allowed_caller().await?;
        let allowed = Host::add(&scene.cluster, "fetch-allowed", "192.52.193.60").await?;
        let other = Host::add(&scene.cluster, "fetch-other", "192.52.193.61").await?;
        let mut fetch = endpoint::endpoint(&scene.cluster, "fetch", "fetch")?;
        over_stdio(&mut fetch, json!(["python3.11", "-m", "mcp_server_fetch"]), &json!({}))?;
        // Python takes seconds of CPU to import it.
        fetch.spec.server.resources.cpu = Amount::new("500m");
        fetch.spec.egress = serde_json::from_value(json!({ "allow": [
            { "host": "fetch-allowed.outside.test", "ports": [80] },
        ] }))?;
        apply(scene.client(), &scene.namespace, &fetch).await?;
        let url = endpoint::url(&endpoint::ready(scene.client(), &scene.namespace, "fetch").await?)?;

        let page = json!({ "url": "http://fetch-allowed.outside.test/page" });
        let read = caller.call(&url, "fetch", &page).await?;
        assert!(read.text()?.contains("ok from fetch-allowed"), "{read:?}");
        for refused in [
            "http://fetch-other.outside.test/",
            "http://192.52.193.61/",
            "http://fetch-allowed.outside.test:443/",
        ] {
            let read = caller.call(&url, "fetch", &json!({ "url": refused })).await?;
            println!("{refused}: {}", read.report);
            assert_ne!(read.code, 0, "{refused} is read: {read:?}");
        }
        allowed
            .arrival("the allowed request", |arrival| arrival.data.starts_with("GET /page"))
            .await?;
        assert!(other.arrivals()?.is_empty(), "something arrived at the other host");
        allowed.remove(&scene.cluster).await?;
        other.remove(&scene.cluster).await
    })
    .await
}

#[tokio::test]
async fn the_filesystem_server_works_in_its_writable_directory() -> Result<()> {
    Scene::play("filesystem", async |scene| {
        let caller = scene.allowed_caller().await?;
        let mut files = endpoint::endpoint(&scene.cluster, "files", "filesystem")?;
        let program = "/app/node_modules/@modelcontextprotocol/server-filesystem/dist/index.js";
        over_stdio(&mut files, json!(["node", program, "/data"]), &json!({ "sessions": "PerSession" }))?;
        files.spec.server.writable = serde_json::from_value(json!({ "paths": [{ "path": "/data", "sizeLimit": "16Mi" }] }))?;
        apply(scene.client(), &scene.namespace, &files).await?;
        let url = endpoint::url(&endpoint::ready(scene.client(), &scene.namespace, "files").await?)?;

        let write = json!({ "path": "/data/note.txt", "content": "kept" });
        caller.call(&url, "write_file", &write).await?.text()?;
        // Another session, another process, the same directory.
        let read = caller.call(&url, "read_text_file", &json!({ "path": "/data/note.txt" })).await?;
        assert_eq!(read.text()?, "kept");
        let outside = caller.call(&url, "read_text_file", &json!({ "path": "/etc/passwd" })).await?;
        assert_ne!(outside.code, 0, "{outside:?}");

        let pods = endpoint::ready_pods(scene.client(), &scene.namespace, "files").await?;
        let pod = pods.first().and_then(|pod| pod.metadata.name.clone()).context("the endpoint has no ready pod")?;
        // Every process of the server's container: none is left over from a session that ended, and none is a zombie.
        let script = "const fs = require('fs'); const all = fs.readdirSync('/proc').filter((p) => /^[0-9]+$/.test(p)); \
            console.log(JSON.stringify(all.map((p) => fs.readFileSync(`/proc/${p}/stat`, 'utf8').split(') ')[1][0])))";
        // One that ends just now is a zombie for a moment.
        eventually("no zombie is left", Duration::from_secs(10), async || {
            let listed = pods::exec(scene.client(), &scene.namespace, &pod, "server", &["node", "-e", script]).await?;
            let states: Vec<String> = serde_json::from_str(&listed.stdout).context(format!("{listed:?}"))?;
            if states.iter().any(|state| state == "Z") {
                return Err(Failure::new(format!("{states:?}")));
            }
            Ok(())
        })
        .await?;
        // The socket answers the sidecar's user alone.
        let script = "const c = require('net').connect('/run/sallyport/mcp.sock'); \
            c.on('close', () => console.log('closed')); c.on('error', (e) => console.log(e.code)); c.write('GET / HTTP/1.1\\r\\nhost: a\\r\\n\\r\\n'); \
            c.on('data', (d) => { console.log('answered ' + d); process.exit() })";
        let answer = pods::exec(scene.client(), &scene.namespace, &pod, "server", &["node", "-e", script]).await?;
        assert!(!answer.stdout.contains("answered"), "the socket answers the server's own user: {answer:?}");
        Ok(())
    })
    .await
}
