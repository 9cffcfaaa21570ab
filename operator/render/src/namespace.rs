//! What the endpoints of one namespace share: the fences and the quota.

use crate::{
    Footprint, Settings, fences,
    metadata::{self, Part},
};
use k8s_openapi::{
    api::{
        core::v1::{ResourceQuota, ResourceQuotaSpec, ScopeSelector, ScopedResourceSelectorRequirement},
        networking::v1::NetworkPolicy,
    },
    apimachinery::pkg::api::resource::Quantity,
};
use sallyport_api::{labels, v1alpha1::QuotaMode};
use serde_json::Value;

/// One endpoint of the namespace, as far as the shared objects need to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamespaceMember {
    /// What it can use.
    pub footprint: Footprint,
    /// Whether it asks for the quota.
    pub quota: QuotaMode,
}

/// Objects that all endpoints of a namespace share. No single endpoint owns them.
#[derive(Clone, Debug, PartialEq)]
pub struct NamespaceChildren {
    /// Closes every server pod of the namespace, so that the loss of an endpoint's own policy only closes more.
    pub fence: NetworkPolicy,
    /// Closes every egress gateway's pod of the namespace likewise.
    pub gateway_fence: NetworkPolicy,
    /// Bounds all endpoints together; absent if none of them asks for it.
    pub quota: Option<ResourceQuota>,
}

impl NamespaceChildren {
    /// The objects as JSON documents, in the order in which they are applied.
    ///
    /// # Errors
    ///
    /// Never in practice: every object serializes.
    pub fn documents(&self) -> Result<Vec<Value>, serde_json::Error> {
        let fences = [&self.fence, &self.gateway_fence].map(serde_json::to_value);
        let quota = self.quota.as_ref().map(serde_json::to_value);
        fences.into_iter().chain(quota).collect()
    }
}

/// Renders what the endpoints of `namespace` share.
pub fn render_namespace(namespace: &str, members: &[NamespaceMember], settings: &Settings) -> NamespaceChildren {
    let managed = members.iter().any(|member| member.quota == QuotaMode::Managed);
    NamespaceChildren {
        fence: fences::fence(namespace, Part::Server),
        gateway_fence: fences::fence(namespace, Part::Gateway),
        quota: managed.then(|| quota(namespace, members, settings)),
    }
}

/// Hard limits are the sum of all footprints, also of endpoints that do not ask for a quota: the scope counts their
/// pods too. A quota with this scope can hold pods, CPU and memory only, so disk is bounded per pod.
fn quota(namespace: &str, members: &[NamespaceMember], settings: &Settings) -> ResourceQuota {
    let total = members
        .iter()
        .map(|member| member.footprint)
        .fold(Footprint::default(), |sum, next| sum + next);
    let (cpu, memory) = (total.amounts.cpu(), total.amounts.memory());
    let hard = [
        ("limits.cpu", cpu.clone()),
        ("limits.memory", memory.clone()),
        ("pods", total.pods.to_string()),
        ("requests.cpu", cpu),
        ("requests.memory", memory),
    ];
    ResourceQuota {
        metadata: metadata::of_namespace(labels::QUOTA, namespace),
        spec: Some(ResourceQuotaSpec {
            hard: Some(hard.map(|(name, amount)| (name.to_owned(), Quantity(amount))).into()),
            scope_selector: Some(ScopeSelector {
                match_expressions: Some(vec![ScopedResourceSelectorRequirement {
                    scope_name: "PriorityClass".to_owned(),
                    operator: "In".to_owned(),
                    values: Some(vec![settings.priority_class.clone()]),
                }]),
            }),
            ..ResourceQuotaSpec::default()
        }),
        ..ResourceQuota::default()
    }
}
