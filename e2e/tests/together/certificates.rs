//! Callers with certificates of their own, at an endpoint with one of its own.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use sallyport_api::labels;
use sallyport_e2e::{
    Result, Scene,
    ask::Ask,
    authority::Authority,
    endpoint,
    objects::{apply, apply_json},
    pods,
};
use serde_json::json;

const CALLER: &str = "spiffe://agents.example/alice";

#[tokio::test]
async fn a_caller_is_who_its_certificate_names_and_nobody_comes_in_without_one() -> Result<()> {
    Scene::play("certificates", async |scene| {
        let client = scene.client();
        let (ours, theirs, strangers) = (Authority::new("ours")?, Authority::new("theirs")?, Authority::new("theirs")?);
        let own = ours.host(&format!("certified.{}.svc", scene.namespace))?;
        let certificate = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": { "name": "own" },
            "stringData": { "tls.crt": own.certificate, "tls.key": own.key },
        });
        apply_json::<Secret>(client, &scene.namespace, certificate).await?;
        let authority = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "callers" }, "data": { "ca.crt": theirs.pem },
        });
        apply_json::<ConfigMap>(client, &scene.namespace, authority).await?;
        let mut certified = endpoint::endpoint(&scene.cluster, "certified", "hostile")?;
        certified.spec.tls = serde_json::from_value(json!({ "from": { "secret": { "name": "own" } } }))?;
        certified.spec.authentication = serde_json::from_value(
            json!({ "clientCertificates": { "caBundle": { "configMap": { "name": "callers" } } } }),
        )?;
        certified.spec.tools =
            serde_json::from_value(json!({ "sideEffects": [{ "tools": ["*"], "sideEffect": "ReadOnly" }] }))?;
        apply(client, &scene.namespace, &certified).await?;
        let caller = scene.allowed_caller().await?;
        let url = endpoint::url(&endpoint::ready(client, &scene.namespace, "certified").await?)?;
        assert!(url.starts_with("https://"), "{url}");

        let call = Ask::new(&url, "escape", &json!({ "attempt": "whoami" })).trusting(&ours.pem);
        let named = theirs.caller(CALLER)?;
        let answer = call.clone().certified(&named.certificate, &named.key).from(&caller).await?;
        assert!(answer.text()?.contains("uid"), "{answer:?}");

        let nobody = call.from(&caller).await?;
        println!("without a certificate: {nobody:?}");
        assert_eq!(nobody.status, Some(401), "{nobody:?}");
        // The same name, by an authority that the endpoint does not know.
        let forged = strangers.caller(CALLER)?;
        let stranger = call.clone().certified(&forged.certificate, &forged.key).from(&caller).await?;
        println!("with a stranger's: {stranger:?}");
        assert_eq!(stranger.status, None, "{stranger:?}");
        // Nor is the endpoint taken for itself by who trusts another authority.
        let deceived = call.trusting(&strangers.pem).from(&caller).await?;
        assert_eq!(deceived.status, None, "{deceived:?}");

        let labels = format!("{}=certified", labels::ENDPOINT);
        let words = [CALLER, r#""outcome":"unauthenticated""#];
        pods::logs_with(client, &scene.namespace, &labels, "audit", &words).await?;
        Ok(())
    })
    .await
}
