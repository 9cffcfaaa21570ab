//! Networks of the cluster: where pods, Services and nodes have their addresses.

use crate::{Network, ParseNetworkError};
use sallyport_policy::egress::{DeniedNetwork, DeniedNetworkKind};
use std::{fmt, str::FromStr};

/// The cluster's networks, as far as the operator is told of them. Nothing finds them by itself.
///
/// No host may lie in one, unless a rule of the endpoint opens the address as `cidr`. Private networks are closed anyway, so
/// that only those matter that have public addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterNetworks {
    /// Where pods have their addresses.
    pub pods: Vec<ClusterNetwork>,
    /// Where Services have theirs.
    pub services: Vec<ClusterNetwork>,
    /// Where nodes have theirs, those by which they are reached from outside included.
    pub nodes: Vec<ClusterNetwork>,
}

/// A network of at least /8 for IPv4 and /16 for IPv6: none that would close the Internet by mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterNetwork(Network);

/// Why a text is no network of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseClusterNetworkError {
    /// Not a network at all.
    #[error(transparent)]
    Network(#[from] ParseNetworkError),
    /// Wider than a cluster is.
    #[error(
        "{0} is too wide for a network of one cluster: write those that the cluster has, at least /8 for IPv4 and /16 for IPv6, as in 2001:db8:1::/48"
    )]
    TooWide(Network),
}

impl FromStr for ClusterNetwork {
    type Err = ParseClusterNetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let network: Network = text.parse()?;
        if network.prefix() < if network.is_ipv4() { 8 } else { 16 } {
            return Err(ParseClusterNetworkError::TooWide(network));
        }
        Ok(Self(network))
    }
}

impl fmt::Display for ClusterNetwork {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl ClusterNetworks {
    /// All of them, each with what lies in it.
    pub(crate) fn denied(&self) -> impl Iterator<Item = DeniedNetwork> {
        let kinds = [
            (DeniedNetworkKind::Pods, &self.pods),
            (DeniedNetworkKind::Services, &self.services),
            (DeniedNetworkKind::Nodes, &self.nodes),
        ];
        let of_kind = |(kind, networks): (_, &Vec<ClusterNetwork>)| {
            let networks = networks.iter().map(move |network| DeniedNetwork {
                network: network.0,
                kind,
            });
            networks.collect::<Vec<_>>()
        };
        kinds.into_iter().flat_map(of_kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_network_of_a_cluster_is_refused_with_an_example() {
        for (text, example) in [
            ("", "as in 203.0.113.10/32"),
            ("10.244.0.0", "as in 203.0.113.10/32"),
            ("10.244.0.1/16", "all host bits zero"),
            (" 10.244.0.0/16", "as in 203.0.113.10/32"),
            ("0.0.0.0/0", "at least /8"),
            ("2000::/3", "at least /8 for IPv4 and /16 for IPv6"),
        ] {
            let error = text.parse::<ClusterNetwork>().unwrap_err().to_string();
            assert!(error.contains(example), "{text}: {error}");
        }
        for text in ["10.0.0.0/8", "203.0.113.7/32", "2600::/16", "2001:db8:1::/48"] {
            assert_eq!(text.parse::<ClusterNetwork>().unwrap().to_string(), text);
        }
    }
}
