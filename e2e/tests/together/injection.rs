//! Hosts that a server reaches without a proxy setting, and hosts whose credential it never holds.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use sallyport_api::{McpEndpoint, labels, quantity::Amount};
use sallyport_e2e::{
    Context, Result, Scene,
    attempts::{self, Attempt},
    endpoint,
    objects::{apply, apply_json},
    outside::Host,
    pods,
};
use serde_json::{Value, json};

fn attempt(arguments: Value) -> Attempt {
    Attempt { title: "", arguments }
}

/// Applies the endpoint `name` that may reach `allow`, and gives where it is called.
async fn hostile(scene: &Scene, name: &str, credentials: Value, allow: Value) -> Result<String> {
    let mut endpoint: McpEndpoint = endpoint::endpoint(&scene.cluster, name, "hostile")?;
    endpoint.spec.credentials = serde_json::from_value(credentials)?;
    endpoint.spec.egress = serde_json::from_value(json!({ "allow": allow }))?;
    apply(scene.client(), &scene.namespace, &endpoint).await?;
    endpoint::url(&endpoint::ready(scene.client(), &scene.namespace, name).await?)
}

#[tokio::test]
async fn a_server_that_knows_no_proxy_reaches_a_transparent_host_by_name_alone() -> Result<()> {
    Scene::play_with_cpu(650, "transparent", async |scene| {
        let caller = scene.allowed_caller().await?;
        let host = Host::add(&scene.cluster, "transparent-host", "192.52.193.70").await?;
        let name = "transparent-host.outside.test";
        let led = hostile(scene, "led", json!([]), json!([{ "host": name, "transparent": true }])).await?;
        let unled = hostile(scene, "unled", json!([]), json!([{ "host": name }])).await?;

        let direct = |url: String| {
            attempt(json!({ "attempt": "tunnel", "url": url, "ca": host.authority().ok(), "direct": true }))
        };
        let reached = attempts::make(&caller, &led, &direct(format!("https://{name}/"))).await?;
        println!("transparent: {}", reached.detail);
        assert!(
            reached.succeeded && reached.detail.contains("ok from transparent-host"),
            "{reached:?}"
        );
        let past = attempts::make(&caller, &led, &direct(format!("https://{}/", host.address))).await?;
        assert!(!past.succeeded, "the address itself is reached: {past:?}");
        let refused = attempts::make(&caller, &unled, &direct(format!("https://{name}/"))).await?;
        println!("negative control, without the field: {}", refused.detail);
        assert!(!refused.succeeded, "{refused:?}");
        host.remove(&scene.cluster).await
    })
    .await
}

#[tokio::test]
async fn an_injected_credential_reaches_its_host_and_never_the_server() -> Result<()> {
    Scene::play_with_cpu(750, "injection", async |scene| {
        let client = scene.client();
        let caller = scene.allowed_caller().await?;
        let host = Host::add(&scene.cluster, "inject-host", "192.52.193.71").await?;
        let token = format!("injected-{}", scene.namespace);
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "upstream" }, "stringData": { "token": token },
        });
        apply_json::<Secret>(client, &scene.namespace, secret).await?;
        let authorities = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "authorities" },
            "data": { "ca.crt": host.authority()? },
        });
        apply_json::<ConfigMap>(client, &scene.namespace, authorities).await?;

        let name = "inject-host.outside.test";
        let credentials = json!([{ "name": "upstream", "from": { "secret": { "name": "upstream" } } }]);
        let inject = json!({ "credential": "upstream", "key": "token", "authorities": { "configMap": { "name": "authorities" } } });
        let url = hostile(scene, "given", credentials, json!([{ "host": name, "inject": inject }])).await?;
        // The server sends a token of its own, as one that it was told to use.
        let page = json!({
            "attempt": "tunnel", "url": format!("https://{name}/repos"), "headers": { "authorization": "Bearer planted" },
        });
        let reached = attempts::make(&caller, &url, &attempt(page)).await?;
        assert!(reached.succeeded && reached.detail.contains("ok from inject-host"), "{reached:?}");
        let request = host.arrival("the request", |arrival| arrival.data.contains("GET /repos")).await?;
        let head = request.data.to_lowercase();
        assert!(request.tls, "{request:?}");
        assert!(head.contains(&format!("authorization: bearer {}", token.to_lowercase())), "{head}");
        assert!(!head.contains("planted"), "{head}");

        // The server has it nowhere.
        let file = json!({ "attempt": "read_file", "path": attempts::TOKEN_FILE });
        let read = attempts::make(&caller, &url, &attempt(file)).await?;
        println!("the credential's file in the server: {}", read.detail);
        assert!(!read.succeeded, "{read:?}");
        let environment = attempts::make(&caller, &url, &attempt(json!({ "attempt": "env" }))).await?;
        assert!(!environment.content.to_string().contains(&token), "the token is a variable");
        let gateway = format!("{}=given", labels::EGRESS_OF);
        let log = pods::logs_with(client, &scene.namespace, &gateway, "egress", &[r#""injected":true"#]).await?;
        assert!(!log.contains(&token), "the token is in the log");

        let plain = hostile(scene, "plain", json!([]), json!([{ "host": name }])).await?;
        let page = json!({ "attempt": "tunnel", "url": format!("https://{name}/plain"), "ca": host.authority()? });
        let reached = attempts::make(&caller, &plain, &attempt(page)).await?;
        assert!(reached.succeeded, "{reached:?}");
        let request = host.arrival("the request", |arrival| arrival.data.contains("GET /plain")).await?;
        assert!(!request.data.contains(&token), "negative control: {request:?}");
        host.remove(&scene.cluster).await
    })
    .await
}

#[tokio::test]
async fn the_fetch_server_reads_a_page_with_a_credential_that_it_never_holds() -> Result<()> {
    Scene::play_with_cpu(1450, "fetched", async |scene| {
        let client = scene.client();
        let caller = scene.allowed_caller().await?;
        let host = Host::add(&scene.cluster, "fetch-injected", "192.52.193.72").await?;
        let token = format!("injected-{}", scene.namespace);
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "upstream" }, "stringData": { "token": token },
        });
        apply_json::<Secret>(client, &scene.namespace, secret).await?;
        let authorities = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "authorities" },
            "data": { "ca.crt": host.authority()? },
        });
        apply_json::<ConfigMap>(client, &scene.namespace, authorities).await?;
        let mut fetch = endpoint::endpoint(&scene.cluster, "fetch", "fetch")?;
        fetch.spec.server.command = serde_json::from_value(json!(["python3.11", "-m", "mcp_server_fetch"]))?;
        fetch.spec.server.transport = serde_json::from_value(json!({ "stdio": {} }))?;
        // Python takes seconds of CPU to import it.
        fetch.spec.server.resources.cpu = Amount::new("500m");
        fetch.spec.credentials =
            serde_json::from_value(json!([{ "name": "upstream", "from": { "secret": { "name": "upstream" } } }]))?;
        let inject = json!({ "credential": "upstream", "key": "token", "authorities": { "configMap": { "name": "authorities" } } });
        fetch.spec.egress = serde_json::from_value(json!({ "allow": [
            { "host": "fetch-injected.outside.test", "inject": inject },
        ] }))?;
        apply(client, &scene.namespace, &fetch).await?;
        let url = endpoint::url(&endpoint::ready(client, &scene.namespace, "fetch").await?)?;

        let page = json!({ "url": "https://fetch-injected.outside.test/page" });
        let read = caller.call(&url, "fetch", &page).await?;
        assert!(read.text()?.contains("ok from fetch-injected"), "{read:?}");
        let request = host.arrival("the page's request", |arrival| arrival.data.contains("GET /page")).await?;
        let head = request.data.to_lowercase();
        assert!(request.tls, "{request:?}");
        assert!(head.contains(&format!("authorization: bearer {}", token.to_lowercase())), "{head}");

        // The server has it neither in its environment nor in a file, and no way to the host but the one that adds it.
        let pods = endpoint::ready_pods(client, &scene.namespace, "fetch").await?;
        let pod = pods.first().and_then(|pod| pod.metadata.name.as_deref()).context("the endpoint has no ready pod")?;
        let search = "import glob, os; print(os.environ); [print(f, open(f).read()) \
            for f in glob.glob('/var/run/secrets/**', recursive=True) if os.path.isfile(f)]";
        let found = pods::exec(client, &scene.namespace, pod, "server", &["python3.11", "-c", search]).await?;
        assert_eq!(found.code, 0, "{found:?}");
        assert!(!found.stdout.contains(&token), "the server holds it: {found:?}");

        // Negative control: without the injection the same server sees a certificate that it does not trust.
        fetch.spec.credentials = vec![];
        fetch.spec.egress = serde_json::from_value(json!({ "allow": [{ "host": "fetch-injected.outside.test" }] }))?;
        fetch.metadata.name = Some("bare".to_owned());
        apply(client, &scene.namespace, &fetch).await?;
        let url = endpoint::url(&endpoint::ready(client, &scene.namespace, "bare").await?)?;
        let read = caller.call(&url, "fetch", &page).await?;
        println!("negative control, without the injection: {}", read.report);
        assert_ne!(read.code, 0, "{read:?}");
        host.remove(&scene.cluster).await
    })
    .await
}
