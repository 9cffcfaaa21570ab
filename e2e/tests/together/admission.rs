//! Who may hand a Secret to a server: only those who may read it themselves.

use http::Request;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use sallyport_e2e::{Result, Scene, objects::apply_json, settled};
use serde_json::{Value, json};

/// May write endpoints and read the Secret `own`, nothing else.
const AUTHOR: &str = "author";
const MERGE_PATCH: &str = "application/merge-patch+json";

#[tokio::test]
async fn an_author_hands_only_those_secrets_to_a_server_that_they_may_read_themselves() -> Result<()> {
    Scene::play("admit-new", async |scene| {
        let_author_write_endpoints(scene).await?;
        let own = json!([{ "name": "token", "from": { "secret": { "name": "own" } } }]);
        let foreign = json!([{ "name": "token", "from": { "secret": { "name": "foreign" } } }]);
        let sealed = json!([{ "name": "token", "from": { "sealedSecret": { "name": "foreign" } } }]);

        accepted(&create(scene, Some(AUTHOR), &endpoint(&own, &["own"])).await);
        refused(&create(scene, Some(AUTHOR), &endpoint(&foreign, &[])).await);
        refused(&create(scene, Some(AUTHOR), &endpoint(&sealed, &[])).await);
        refused(&create(scene, Some(AUTHOR), &endpoint(&own, &["foreign"])).await);
        accepted(&create(scene, None, &endpoint(&foreign, &[])).await);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_author_changes_no_server_that_reads_a_secret_which_they_may_not_read() -> Result<()> {
    Scene::play("admit-change", async |scene| {
        let_author_write_endpoints(scene).await?;
        let foreign = json!([{ "name": "token", "from": { "secret": { "name": "foreign" } } }]);
        accepted(&send(scene, None, "POST", "", "application/json", &endpoint(&foreign, &[])).await);

        let label = json!({ "metadata": { "labels": { "team": "a" } } });
        let server = json!({ "spec": { "server": { "args": ["--print-token"] } } });
        accepted(&send(scene, Some(AUTHOR), "PATCH", "/demo?dryRun=All", MERGE_PATCH, &label).await);
        refused(&send(scene, Some(AUTHOR), "PATCH", "/demo?dryRun=All", MERGE_PATCH, &server).await);
        accepted(&send(scene, None, "PATCH", "/demo?dryRun=All", MERGE_PATCH, &server).await);
        Ok(())
    })
    .await
}

/// The rights of the chart's `sallyport-edit` and `sallyport-view`, and `get` on one Secret.
async fn let_author_write_endpoints(scene: &Scene) -> Result<()> {
    let own = json!({
        "metadata": { "name": "own-secret" },
        "rules": [{ "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["own"], "verbs": ["get"] }],
    });
    apply_json::<Role>(scene.client(), &scene.namespace, own).await?;
    for (kind, role) in [
        ("Role", "own-secret"),
        ("ClusterRole", "sallyport-edit"),
        ("ClusterRole", "sallyport-view"),
    ] {
        let binding = json!({
            "metadata": { "name": role },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role },
            "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": AUTHOR }],
        });
        apply_json::<RoleBinding>(scene.client(), &scene.namespace, binding).await?;
    }
    // One right of each binding.
    let endpoints = |verb| json!({ "group": "sallyport.dev", "resource": "mcpendpoints", "verb": verb });
    for right in [
        json!({ "resource": "secrets", "name": "own", "verb": "get" }),
        endpoints("create"),
        endpoints("patch"),
        endpoints("get"),
    ] {
        settled::right(scene.client(), &scene.namespace, AUTHOR, &right).await?;
    }
    Ok(())
}

fn endpoint(credentials: &Value, pull_secrets: &[&str]) -> Value {
    json!({
        "apiVersion": "sallyport.dev/v1alpha1",
        "kind": "McpEndpoint",
        "metadata": { "name": "demo" },
        "spec": {
            "server": {
                "image": format!("registry.example/server@sha256:{}", "0".repeat(64)),
                "imagePullSecrets": pull_secrets,
                "transport": { "http": { "port": 3001 } },
            },
            "credentials": credentials,
        },
    })
}

async fn create(scene: &Scene, user: Option<&str>, object: &Value) -> Result<Value, kube::Error> {
    send(scene, user, "POST", "?dryRun=All", "application/json", object).await
}

/// Sends a request about endpoints as `user`, or as the administrator.
async fn send(
    scene: &Scene,
    user: Option<&str>,
    method: &str,
    target: &str,
    content_type: &str,
    body: &Value,
) -> Result<Value, kube::Error> {
    let url = format!(
        "/apis/sallyport.dev/v1alpha1/namespaces/{}/mcpendpoints{target}",
        scene.namespace
    );
    let request = Request::builder()
        .method(method)
        .uri(url)
        .header("Content-Type", content_type);
    let request = match user {
        Some(user) => request.header("Impersonate-User", user),
        None => request,
    };
    let request = request
        .body(body.to_string().into_bytes())
        .map_err(kube::Error::HttpError)?;
    scene.client().request(request).await
}

fn accepted<T: std::fmt::Debug>(answer: &Result<T, kube::Error>) {
    assert!(answer.is_ok(), "{answer:?}");
}

fn refused<T>(answer: &Result<T, kube::Error>) {
    let message = match answer {
        Err(kube::Error::Api(status)) if status.code == 403 => status.message.as_str(),
        _ => "not refused as forbidden",
    };
    let expected = format!("hands the Secret foreign to its server, but {AUTHOR} may not get that Secret");
    assert!(message.contains(&expected), "{message}");
}
