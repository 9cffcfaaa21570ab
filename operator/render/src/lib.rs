//! Pure rendering of an endpoint into Kubernetes objects, and the hardening checks on them.
//!
//! Data flows one way: [`validate`] turns an `McpEndpoint`, the operator's [`Settings`] and the [`Facts`] that were
//! read from the cluster into a [`ValidatedEndpoint`], and is the only step that can fail. [`render`] turns that into
//! [`Children`]. Nothing here reads, writes or knows the time: equal input gives equal bytes.

mod amounts;
mod bridge;
mod children;
mod cidr;
mod cilium;
mod cluster_networks;
mod config;
mod containers;
mod endpoint;
mod explain;
mod facts;
mod fences;
mod footprint;
mod gateway;
pub mod hardening;
mod holder;
mod identity;
mod injection;
mod keys;
mod metadata;
mod namespace;
mod policy_file;
mod syntax;
mod transparent;
mod validate;
mod widening;
mod workload;
mod writable;

pub use amounts::Amounts;
pub use children::{Applied, Children, Prepared, State};
pub use cilium::CiliumNetworkPolicy;
pub use cluster_networks::{ClusterNetwork, ClusterNetworks, ParseClusterNetworkError};
pub use containers::{GUARD as GUARD_CONTAINER, SIDECAR as SIDECAR_CONTAINER};
pub use endpoint::ValidatedEndpoint;
pub use explain::{Explanation, ParseTargetError, Reach, Target, explain};
pub use facts::{ClassFact, CredentialFact, Facts, NodeFeatures, Settings};
pub use footprint::{Footprint, footprint};
pub use gateway::{CONTAINER as GATEWAY_CONTAINER, GatewayChildren};
pub use namespace::{NamespaceChildren, NamespaceMember, render_namespace};
pub use sallyport_policy::{Network, ParseNetworkError};
pub use validate::{ValidateError, never_open, validate};
pub use widening::{Widening, may_widen, widenings};

use metadata::Part;

/// Renders all children of one endpoint.
pub fn render(endpoint: &ValidatedEndpoint) -> Children<Prepared> {
    let file = policy_file::policy_file(endpoint);
    let policy = file.to_string();
    // A new generation alone is no reason for new pods: they read the file again.
    let lasting = sallyport_policy::PolicyFile { generation: 0, ..file }.to_string();
    Children::prepared(
        identity::service_account(endpoint, Part::Server),
        config::config_map(endpoint, Part::Server, [(sallyport_policy::FILE_NAME, &policy)]),
        fences::network_policy(endpoint),
        cilium::server_policy(endpoint),
        identity::pod_disruption_budget(endpoint, Part::Server),
        identity::service(endpoint, Part::Server),
        gateway::children(endpoint),
        workload::deployment(endpoint, &lasting),
    )
}
