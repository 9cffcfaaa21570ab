//! What was written and is not in force yet: those who enforce it learn of it by watches of their own.

use crate::{Context, Failure, Result, eventually};
use k8s_openapi::api::{
    authorization::v1::SubjectAccessReview,
    core::v1::{ResourceQuota, ServiceAccount},
};
use kube::{Api, Client, api::PostParams};
use serde_json::{Value, json};
use std::time::Duration;

/// How long it may take, on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// Waits until the API server allows `user` what `attributes` say (those of a `SubjectAccessReview`, without the namespace).
/// It is asked itself: whatever it answers, it also does, for its authorizer is the same.
///
/// # Errors
///
/// When the right is not given.
pub async fn right(client: &Client, namespace: &str, user: &str, attributes: &Value) -> Result<()> {
    let mut attributes = attributes.clone();
    attributes["namespace"] = json!(namespace);
    let review = json!({ "metadata": {}, "spec": { "user": user, "resourceAttributes": attributes } });
    let review: SubjectAccessReview = serde_json::from_value(review)?;
    let api = Api::all(client.clone());
    eventually(&format!("{user} may do {attributes}"), PATIENCE, async || {
        let answer = api.create(&PostParams::default(), &review).await?;
        match answer.status {
            Some(status) if status.allowed => Ok(()),
            status => Err(Failure::new(format!("{status:?}"))),
        }
    })
    .await
}

/// Waits until the quota counts: until then, nothing that it bounds is made or refused for sure.
///
/// # Errors
///
/// When it does not.
pub async fn quota(client: &Client, namespace: &str, name: &str) -> Result<()> {
    let api = Api::<ResourceQuota>::namespaced(client.clone(), namespace);
    eventually(&format!("quota {name} counts"), PATIENCE, async || {
        let quota = api.get(name).await?;
        let hard = quota.spec.and_then(|spec| spec.hard);
        let counted = quota.status.and_then(|status| status.hard);
        if counted == hard {
            Ok(())
        } else {
            Err(Failure::new(format!("wanted {hard:?}, counted {counted:?}")))
        }
    })
    .await
}

/// Waits until a new namespace has the account without which no pod is made in it.
///
/// # Errors
///
/// When it does not get it.
pub async fn namespace(client: &Client, name: &str) -> Result<()> {
    let api = Api::<ServiceAccount>::namespaced(client.clone(), name);
    eventually(&format!("namespace {name} has its account"), PATIENCE, async || {
        api.get("default")
            .await
            .map(drop)
            .context("read ServiceAccount default")
    })
    .await
}
