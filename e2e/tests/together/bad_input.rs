//! What the API server refuses, with the message that users get.

use futures::{StreamExt, stream};
use http::Request;
use sallyport_e2e::{Context, Result, Scene, tool::checkout};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

/// One row of the table.
#[derive(Deserialize)]
struct Case {
    name: String,
    /// A merge patch (RFC 7386) on the valid object.
    patch: Value,
    /// A part of the message; empty if the object is accepted.
    message: String,
}

#[tokio::test]
async fn bad_input_is_refused_with_a_message_that_says_what_to_write_instead() -> Result<()> {
    Scene::play("input", async |scene| {
        let valid: Value = fixture("valid.yaml")?;
        let cases: Vec<Case> = fixture("refused.yaml")?;
        let refused = cases.iter().filter(|case| !case.message.is_empty()).count();
        assert!(refused >= 60, "{refused} refused specs");

        let wrong: Vec<String> = stream::iter(&cases)
            .map(|case| check(scene, &valid, case))
            .buffer_unordered(8)
            .filter_map(async |verdict| verdict.err())
            .collect()
            .await;
        println!("{refused} specs refused, {} accepted", cases.len() - refused);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(())
    })
    .await
}

fn fixture<T: DeserializeOwned>(name: &str) -> Result<T> {
    let path = checkout().join("e2e/fixtures").join(name);
    let text = std::fs::read_to_string(&path).context(format!("read {}", path.display()))?;
    serde_saphyr::from_str(&text).context(format!("read {} as YAML", path.display()))
}

/// Sends one object as a dry run with strict field validation, as `kubectl create --dry-run=server` does.
async fn check(scene: &Scene, valid: &Value, case: &Case) -> Result<(), String> {
    let mut object = valid.clone();
    merge(&mut object, &case.patch);
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("namespace");
    }
    let url = format!(
        "/apis/sallyport.dev/v1alpha1/namespaces/{}/mcpendpoints",
        scene.namespace
    );
    let request = Request::post(format!("{url}?dryRun=All&fieldValidation=Strict"))
        .header("Content-Type", "application/json")
        .body(object.to_string().into_bytes())
        .map_err(|error| format!("{}: {error}", case.name))?;
    match (scene.client().request::<Value>(request).await, case.message.as_str()) {
        (Ok(_), "") => Ok(()),
        (Ok(_), expected) => Err(format!("{}: accepted, not refused with {expected:?}", case.name)),
        (Err(kube::Error::Api(status)), expected) if !expected.is_empty() && status.message.contains(expected) => {
            Ok(())
        }
        (Err(error), expected) => Err(format!("{}: expected {expected:?}, got {error}", case.name)),
    }
}

/// Merge patch: null removes, objects merge, everything else replaces.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    for (key, value) in fields {
        if value.is_null() {
            if let Some(target) = target.as_object_mut() {
                target.remove(key);
            }
        } else {
            merge(&mut target[key], value);
        }
    }
}
