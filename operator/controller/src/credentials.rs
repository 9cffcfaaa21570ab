//! What the sealed-secrets controller says of a credential. No Secret is ever read.
//!
//! The status that counts is the one of the ciphertext that is stored: `observedGeneration` equal to `generation`, and the
//! condition `Synced`. That controller sets no reason; its message holds the error and no plaintext.

use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject},
    core::GroupVersionKind,
};
use sallyport_api::v1alpha1::{CredentialStatus, NamedSecret};
use sallyport_policy::short_hash;
use sallyport_render::CredentialFact;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// The kind, which the cluster may not have.
pub fn sealed_secret() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("bitnami.com", "v1alpha1", "SealedSecret"))
}

/// What is known of each of `secrets`, by name.
///
/// # Errors
///
/// What the API server answered; the absence of an object or of its kind is no error.
pub async fn facts(
    client: &Client,
    namespace: &str,
    secrets: &[NamedSecret],
) -> Result<BTreeMap<String, CredentialFact>, kube::Error> {
    let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &sealed_secret());
    let mut facts = BTreeMap::new();
    for secret in secrets {
        let fact = match &secret.from.sealed_secret {
            None => CredentialFact::Unwatched,
            Some(source) => api
                .get_opt(&source.name)
                .await?
                .map_or(CredentialFact::Missing, |sealed| fact(&sealed)),
        };
        facts.insert(secret.name.clone(), fact);
    }
    Ok(facts)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default)]
    observed_generation: Option<i64>,
    #[serde(default)]
    conditions: Vec<StatusCondition>,
}

/// Looser than Kubernetes' condition type, which requires fields that the sealed-secrets controller never sets.
#[derive(Deserialize)]
struct StatusCondition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
    #[serde(default)]
    message: String,
}

fn fact(sealed: &DynamicObject) -> CredentialFact {
    let status = sealed
        .data
        .get("status")
        .cloned()
        .and_then(|status| serde_json::from_value::<Status>(status).ok());
    let Some(status) = status.filter(|status| status.observed_generation == sealed.metadata.generation) else {
        return CredentialFact::Pending;
    };
    match status
        .conditions
        .into_iter()
        .find(|condition| condition.type_ == "Synced")
    {
        Some(synced) if synced.status == "True" => CredentialFact::Synced {
            revision: revision(sealed),
        },
        Some(synced) if synced.status == "False" => CredentialFact::Failed {
            message: synced.message,
        },
        _ => CredentialFact::Pending,
    }
}

/// Hash of the ciphertext, its template and the object's identity; equal however the fields are ordered.
fn revision(sealed: &DynamicObject) -> String {
    let spec = canonical(sealed.data.get("spec").unwrap_or(&Value::Null));
    short_hash(format!("{}\n{spec}", sealed.uid().unwrap_or_default()).as_bytes())
}

/// JSON with the keys of every object sorted.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let sorted: BTreeMap<_, _> = fields.iter().collect();
            let fields: Vec<_> = sorted
                .into_iter()
                .map(|(name, value)| format!("{}:{}", Value::from(name.as_str()), canonical(value)))
                .collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        scalar => scalar.to_string(),
    }
}

/// What the status says of each credential and key.
pub fn statuses(secrets: &[NamedSecret], facts: &BTreeMap<String, CredentialFact>) -> Vec<CredentialStatus> {
    let status = |secret: &NamedSecret| {
        let fact = facts.get(&secret.name);
        CredentialStatus {
            name: secret.name.clone(),
            source: source(secret),
            ready: fact.is_some_and(CredentialFact::is_ready),
            revision: match fact {
                Some(CredentialFact::Synced { revision }) => Some(revision.clone()),
                _ => None,
            },
        }
    };
    secrets.iter().map(status).collect()
}

/// Kind and name of the object that a credential or key comes from.
pub fn source(secret: &NamedSecret) -> String {
    match (&secret.from.sealed_secret, &secret.from.secret) {
        (Some(sealed), _) => format!("SealedSecret {}", sealed.name),
        (None, Some(secret)) => format!("Secret {}", secret.name),
        (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sealed(generation: i64, status: &Value) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "bitnami.com/v1alpha1", "kind": "SealedSecret",
            "metadata": {"name": "upstream-token", "namespace": "team-a", "uid": "u", "generation": generation},
            "spec": {"encryptedData": {"token": "AgB", "other": "AgC"}},
            "status": status,
        }))
        .unwrap()
    }

    fn synced(status: &str, observed: i64, message: &str) -> Value {
        json!({"observedGeneration": observed, "conditions": [{"type": "Synced", "status": status, "message": message}]})
    }

    #[test]
    fn only_a_status_of_the_stored_ciphertext_counts() {
        let failed = CredentialFact::Failed {
            message: "no key could decrypt secret (token)".to_owned(),
        };
        let table = [
            ("no status", json!(null), CredentialFact::Pending),
            (
                "no condition",
                json!({"observedGeneration": 2}),
                CredentialFact::Pending,
            ),
            (
                "of the former ciphertext",
                synced("True", 1, ""),
                CredentialFact::Pending,
            ),
            (
                "failure of the former ciphertext",
                synced("False", 1, "old"),
                CredentialFact::Pending,
            ),
            ("unknown", synced("Unknown", 2, ""), CredentialFact::Pending),
            (
                "failed",
                synced("False", 2, "no key could decrypt secret (token)"),
                failed,
            ),
        ];
        for (name, status, expected) in table {
            assert_eq!(fact(&sealed(2, &status)), expected, "{name}");
        }
        assert!(matches!(
            fact(&sealed(2, &synced("True", 2, ""))),
            CredentialFact::Synced { .. }
        ));
    }

    #[test]
    fn the_revision_follows_the_ciphertext_and_nothing_else() {
        let first = revision(&sealed(1, &synced("True", 1, "")));
        assert_eq!(revision(&sealed(9, &json!(null))), first);
        let mut reordered = sealed(1, &json!(null));
        reordered.data["spec"] = serde_json::from_str(r#"{"encryptedData":{"other":"AgC","token":"AgB"}}"#).unwrap();
        assert_eq!(revision(&reordered), first);
        let mut rotated = sealed(1, &json!(null));
        rotated.data["spec"]["encryptedData"]["token"] = json!("AgD");
        assert_ne!(revision(&rotated), first);
        let mut recreated = sealed(1, &json!(null));
        recreated.metadata.uid = Some("v".to_owned());
        assert_ne!(revision(&recreated), first);
    }
}
