//! The CustomResourceDefinition as YAML.

use crate::{files::Error, yaml};

/// `crds/mcpendpoints.yaml` and the chart's copy of it.
pub fn yaml() -> Result<String, Error> {
    Ok(format!(
        "{}{}",
        yaml::HEADER,
        yaml::document(&sallyport_api::mcp_endpoint_crd()?)?
    ))
}
