//! The `sallyport.dev` API: custom resource types, names, labels and conditions. No client, no I/O.

pub mod conditions;
mod crd;
pub mod labels;
pub mod quantity;
pub mod v1alpha1;

pub use crd::{mcp_endpoint_class_crd, mcp_endpoint_crd};
pub use v1alpha1::{McpEndpoint, McpEndpointClass, McpEndpointClassSpec, McpEndpointSpec, McpEndpointStatus};

/// API group of every kind of this project.
pub const GROUP: &str = "sallyport.dev";
