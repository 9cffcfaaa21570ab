//! The most that an endpoint can use.

use crate::{Amounts, ValidatedEndpoint, containers, gateway, holder, workload};
use std::ops::Add;

/// The most that an endpoint, or all endpoints of a namespace, can use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Pods, one surge pod of each roll-out included.
    pub pods: i64,
    /// What those pods use together.
    pub amounts: Amounts,
}

/// Computes the footprint of `endpoint`: its pods, each a server, an audit sidecar and the holder of its ports, and those of its egress gateway.
pub fn footprint(endpoint: &ValidatedEndpoint) -> Footprint {
    let pods = i64::from(endpoint.replicas) + i64::from(workload::MAX_SURGE);
    let servers = Footprint {
        pods,
        amounts: (containers::server_amounts(endpoint) + containers::sidecar_amounts(endpoint) + holder::AMOUNTS)
            * pods,
    };
    servers + gateway::footprint(endpoint)
}

impl Add for Footprint {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            pods: self.pods + other.pods,
            amounts: self.amounts + other.amounts,
        }
    }
}

impl From<Footprint> for sallyport_api::v1alpha1::Footprint {
    fn from(footprint: Footprint) -> Self {
        Self {
            pods: i32::try_from(footprint.pods).unwrap_or(i32::MAX),
            cpu: footprint.amounts.cpu(),
            memory: footprint.amounts.memory(),
            ephemeral_storage: footprint.amounts.ephemeral_storage(),
        }
    }
}
