//! Sets of networks.

use crate::Network;

/// Sorted, and without those that lie inside another.
pub(crate) fn outermost(mut networks: Vec<Network>) -> Vec<Network> {
    networks.sort_unstable();
    networks.dedup();
    let all = networks.clone();
    networks.retain(|network| !all.iter().any(|other| other != network && other.contains(network)));
    networks
}
