//! The CustomResourceDefinitions as YAML.

use crate::{files::Error, yaml};
use serde::Serialize;

/// `crds/mcpendpoints.yaml` and the chart's copy of it.
pub fn endpoints() -> Result<String, Error> {
    yaml(&sallyport_api::mcp_endpoint_crd()?)
}

/// `crds/mcpendpointclasses.yaml` and the chart's copy of it.
pub fn classes() -> Result<String, Error> {
    yaml(&sallyport_api::mcp_endpoint_class_crd()?)
}

fn yaml(crd: &impl Serialize) -> Result<String, Error> {
    Ok(format!("{}{}", yaml::HEADER, yaml::document(crd)?))
}
