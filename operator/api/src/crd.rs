//! The CustomResourceDefinition as it is installed.

use crate::{McpEndpoint, McpEndpointClass};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Value, json};

/// The CRD of [`McpEndpoint`], with what the derive cannot say:
///
/// - `status` defaults to `observedGeneration: -1`, so that kstatus reads a new object as in progress, not as current;
/// - no field is nullable: an absent field is left out, and the CEL rules need not know of `null`;
/// - no format that Kubernetes does not know, which it would warn of at each install.
///
/// # Errors
///
/// When the patched schema is not a CRD any more, which the tests rule out.
pub fn mcp_endpoint_crd() -> Result<CustomResourceDefinition, serde_json::Error> {
    patched(&McpEndpoint::crd(), |schema| {
        schema["properties"]["status"]["default"] = json!({ "observedGeneration": -1 });
    })
}

/// The CRD of [`McpEndpointClass`], as tidy as that of [`McpEndpoint`].
///
/// # Errors
///
/// When the patched schema is not a CRD any more, which the tests rule out.
pub fn mcp_endpoint_class_crd() -> Result<CustomResourceDefinition, serde_json::Error> {
    patched(&McpEndpointClass::crd(), |_| {})
}

fn patched(
    crd: &CustomResourceDefinition,
    patch: impl Fn(&mut Value),
) -> Result<CustomResourceDefinition, serde_json::Error> {
    let mut crd = serde_json::to_value(crd)?;
    for version in crd["spec"]["versions"].as_array_mut().into_iter().flatten() {
        let schema = &mut version["schema"]["openAPIV3Schema"];
        tidy(schema);
        patch(schema);
    }
    serde_json::from_value(crd)
}

fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            // A property may itself be called `nullable` or `format`: only the keywords have these types.
            if fields.get("nullable").is_some_and(Value::is_boolean) {
                fields.remove("nullable");
            }
            if fields
                .get("format")
                .and_then(Value::as_str)
                .is_some_and(|format| format.starts_with("uint"))
            {
                fields.remove("format");
            }
            fields.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_object_reads_as_not_yet_observed() {
        let crd = serde_json::to_value(mcp_endpoint_crd().unwrap()).unwrap();
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        assert_eq!(schema["properties"]["status"]["default"]["observedGeneration"], -1);
    }

    #[test]
    fn nothing_is_nullable() {
        for crd in [mcp_endpoint_crd(), mcp_endpoint_class_crd()] {
            let crd = serde_json::to_string(&crd.unwrap()).unwrap();
            assert!(!crd.contains("\"nullable\""));
        }
    }
}
