//! The set of objects that one endpoint becomes.

use crate::{CiliumNetworkPolicy, GatewayChildren};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use serde_json::Value;
use std::{fmt::Debug, marker::PhantomData};

/// Whether children are only rendered or already in the cluster.
pub trait State: Clone + Debug + PartialEq {
    /// The Deployment, which may be withheld when the other children are applied.
    type Workload: Clone + Debug + PartialEq;
}

/// Rendered, not yet applied.
#[derive(Clone, Debug, PartialEq)]
pub enum Prepared {}

/// Applied: the objects are as the API server answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Applied {}

impl State for Prepared {
    type Workload = Deployment;
}

impl State for Applied {
    /// `None`: withheld, because a credential or the address of the gateway is not there yet.
    type Workload = Option<Deployment>;
}

/// Children of one endpoint, in the order in which they are applied: fences first, workload last.
///
/// The state keeps the status from speaking of what was not applied: it is computed from `Children<Applied>` alone.
#[derive(Clone, Debug, PartialEq)]
pub struct Children<S: State> {
    /// Identity of the pods: without a token, without rights.
    pub service_account: ServiceAccount,
    /// Holds the policy file of the audit sidecar.
    pub config_map: ConfigMap,
    /// Closes the pods and opens what the endpoint allows.
    pub network_policy: NetworkPolicy,
    /// Denies what no policy of others may open, where the cluster has such policies.
    pub cilium_network_policy: Option<CiliumNetworkPolicy>,
    /// Lets nodes drain one pod at a time.
    pub pod_disruption_budget: PodDisruptionBudget,
    /// Leads to the sidecars.
    pub service: Service,
    /// The way out by host name; absent if the endpoint allows none.
    pub gateway: Option<GatewayChildren>,
    /// Runs the pods.
    pub deployment: S::Workload,
    state: PhantomData<S>,
}

impl Children<Prepared> {
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn prepared(
        service_account: ServiceAccount,
        config_map: ConfigMap,
        network_policy: NetworkPolicy,
        cilium_network_policy: Option<CiliumNetworkPolicy>,
        pod_disruption_budget: PodDisruptionBudget,
        service: Service,
        gateway: Option<GatewayChildren>,
        deployment: Deployment,
    ) -> Self {
        Self {
            service_account,
            config_map,
            network_policy,
            cilium_network_policy,
            pod_disruption_budget,
            service,
            gateway,
            deployment,
            state: PhantomData,
        }
    }

    /// Takes the objects as the API server answered. `deployment` is `None` when it was withheld.
    #[allow(clippy::too_many_arguments)]
    pub fn into_applied(
        self,
        service_account: ServiceAccount,
        config_map: ConfigMap,
        network_policy: NetworkPolicy,
        cilium_network_policy: Option<CiliumNetworkPolicy>,
        pod_disruption_budget: PodDisruptionBudget,
        service: Service,
        gateway: Option<GatewayChildren>,
        deployment: Option<Deployment>,
    ) -> Children<Applied> {
        Children {
            service_account,
            config_map,
            network_policy,
            cilium_network_policy,
            pod_disruption_budget,
            service,
            gateway,
            deployment,
            state: PhantomData,
        }
    }

    /// The objects as JSON documents, in the order in which they are applied.
    ///
    /// # Errors
    ///
    /// Never in practice: every object serializes.
    pub fn documents(&self) -> Result<Vec<Value>, serde_json::Error> {
        let mut documents = vec![
            serde_json::to_value(&self.service_account)?,
            serde_json::to_value(&self.config_map)?,
            serde_json::to_value(&self.network_policy)?,
        ];
        if let Some(policy) = &self.cilium_network_policy {
            documents.push(serde_json::to_value(policy)?);
        }
        documents.extend([
            serde_json::to_value(&self.pod_disruption_budget)?,
            serde_json::to_value(&self.service)?,
        ]);
        if let Some(gateway) = &self.gateway {
            documents.extend(gateway.documents()?);
        }
        documents.push(serde_json::to_value(&self.deployment)?);
        Ok(documents)
    }
}
