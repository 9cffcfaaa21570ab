//! Callers with access tokens of an authorization server outside of the cluster.

use k8s_openapi::api::core::v1::ConfigMap;
use sallyport_api::labels;
use sallyport_e2e::{
    Context, Result, Scene,
    ask::Ask,
    endpoint,
    objects::{apply, apply_json},
    outside::Host,
    pods,
};
use sallyport_loopback::Signer;
use serde_json::json;

const ISSUER: &str = "https://login-host.outside.test/";
const RESOURCE: &str = "https://mcp.example.com/mcp";

#[tokio::test]
async fn a_token_counts_by_keys_that_the_sidecar_fetches_from_outside_and_by_nothing_else() -> Result<()> {
    Scene::play_with_cpu(550, "tokens", async |scene| {
        let client = scene.client();
        let signer = Signer::new(ISSUER.to_owned(), RESOURCE.to_owned());
        let signer = signer.ok().context("make a key")?;
        let host = Host::publishing(&scene.cluster, "login-host", "192.52.193.80", &signer.key_set()).await?;
        let authority = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "login-ca" },
            "data": { "ca.crt": host.authority()? },
        });
        apply_json::<ConfigMap>(client, &scene.namespace, authority).await?;
        let mut guarded = endpoint::endpoint(&scene.cluster, "guarded", "everything")?;
        guarded.spec.authentication = serde_json::from_value(json!({ "oauth": {
            "resource": RESOURCE,
            "issuers": [{
                "issuer": ISSUER,
                "jwks": { "url": format!("{ISSUER}keys") },
                "caBundle": { "configMap": { "name": "login-ca" } },
            }],
        } }))?;
        guarded.spec.authorization = serde_json::from_value(json!({ "rules": [
            { "name": "users", "tools": ["echo"] },
            { "name": "strong", "tools": ["get-sum"], "requires": { "stepUp": { "acr": ["gold"] } } },
        ] }))?;
        guarded.spec.tools =
            serde_json::from_value(json!({ "sideEffects": [{ "tools": ["*"], "sideEffect": "ReadOnly" }] }))?;
        apply(client, &scene.namespace, &guarded).await?;
        // The same without authentication.
        let mut open = endpoint::endpoint(&scene.cluster, "open", "everything")?;
        open.spec.tools = guarded.spec.tools.clone();
        apply(client, &scene.namespace, &open).await?;
        let caller = scene.allowed_caller().await?;
        let url = endpoint::url(&endpoint::ready(client, &scene.namespace, "guarded").await?)?;
        let open = endpoint::url(&endpoint::ready(client, &scene.namespace, "open").await?)?;

        let echo = json!({ "message": "hello" });
        let good = signer.token(&json!({}));
        let answer = caller.call_as(&url, &good, "echo", &echo).await?;
        assert_eq!(answer.text()?, "Echo: hello");
        let fetched = host
            .arrival("a request for the keys", |arrival| {
                arrival.data.starts_with("GET /keys")
            })
            .await?;
        assert!(fetched.tls, "{fetched:?}");
        let gateways = pods::list(client, &scene.namespace, &format!("{}=guarded", labels::EGRESS_OF)).await?;
        let gateway = pods::address(gateways.first().context("the endpoint has no egress gateway")?)?;
        assert!(
            fetched.peer.starts_with(&format!("{gateway}:")),
            "not by the gateway, {gateway}: {fetched:?}"
        );

        for (what, claims) in [
            (
                "is for somebody else",
                json!({ "aud": "https://other.example.com/mcp" }),
            ),
            ("has expired", json!({ "iat": 1_700_000_000, "exp": 1_700_000_600 })),
            ("is of another issuer", json!({ "iss": "https://evil.outside.test/" })),
        ] {
            let refused = caller.call_as(&url, &signer.token(&claims), "echo", &echo).await?;
            assert_eq!(
                refused.report["error"]["httpStatus"], 401,
                "a token that {what}: {refused:?}"
            );
        }
        let refused = caller.call(&url, "echo", &echo).await?;
        assert_eq!(refused.report["error"]["httpStatus"], 401, "no token: {refused:?}");
        let answer = caller.call(&open, "echo", &echo).await?;
        assert_eq!(
            answer.text()?,
            "Echo: hello",
            "negative control, without authentication"
        );

        // A stronger authentication is asked for by the challenge of RFC 9470.
        let sum = json!({ "a": 2, "b": 3 });
        let asked = Ask::new(&url, "get-sum", &sum).bearing(&good).from(&caller).await?;
        let challenge = asked.header("www-authenticate");
        println!("step-up: {:?} {challenge}", asked.status);
        assert_eq!(asked.status, Some(401), "{asked:?}");
        for part in [r#"error="insufficient_user_authentication""#, r#"acr_values="gold""#] {
            assert!(challenge.contains(part), "{part}: {challenge}");
        }
        let strong = signer.token(&json!({ "acr": "gold" }));
        let answer = caller.call_as(&url, &strong, "get-sum", &sum).await?;
        assert!(answer.text()?.contains('5'), "{answer:?}");

        let labels = format!("{}=guarded", labels::ENDPOINT);
        let log = pods::logs_with(client, &scene.namespace, &labels, "audit", &[r#""alice""#]).await?;
        assert!(
            !log.contains(&good) && !log.contains(&strong),
            "a token is in the records"
        );
        host.remove(&scene.cluster).await
    })
    .await
}
