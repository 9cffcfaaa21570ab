//! The decisions of the egress gateway: may this name and port be called, may this address be dialled.

use super::{
    Address, AddressClass, DeniedNetworkKind, EgressFile, EgressHostRule, ForbiddenRange, HostName, Injection,
};
use std::net::IpAddr;

/// Whether a host and port may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision<'a> {
    /// By this rule.
    Allowed {
        /// The rule.
        rule: &'a EgressHostRule,
    },
    /// By no rule.
    Denied(HostDenial),
}

/// Why a host and port may not be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HostDenial {
    /// No rule names the host.
    HostNotAllowed,
    /// A rule names the host, but not this port.
    PortNotAllowed,
}

/// Why an address may not be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressDenial {
    /// A metadata service.
    Metadata,
    /// A range that nothing opens.
    Forbidden(ForbiddenRange),
    /// A network of the cluster that no CIDR rule opens; the API server's, whatever the rules say.
    Cluster(DeniedNetworkKind),
    /// A private network that no CIDR rule opens.
    PrivateNotPermitted,
}

impl HostDenial {
    /// As in events and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HostNotAllowed => "host_not_allowed",
            Self::PortNotAllowed => "port_not_allowed",
        }
    }
}

impl AddressDenial {
    /// As in events and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Metadata => "address_metadata",
            Self::Forbidden(ForbiddenRange::Loopback) => "address_loopback",
            Self::Forbidden(ForbiddenRange::LinkLocal) => "address_link_local",
            Self::Forbidden(ForbiddenRange::EmbeddedIpv4) => "address_embedded_ipv4",
            Self::Forbidden(_) => "address_reserved",
            Self::Cluster(DeniedNetworkKind::Pods) => "address_pods",
            Self::Cluster(DeniedNetworkKind::Services) => "address_services",
            Self::Cluster(DeniedNetworkKind::Nodes) => "address_nodes",
            Self::Cluster(DeniedNetworkKind::ApiServer) => "address_api_server",
            Self::PrivateNotPermitted => "address_private",
        }
    }

    /// Whether the `Audit` mode lets it pass: a private address that a rule could open. Networks of the cluster stay closed.
    pub const fn is_overridable(self) -> bool {
        matches!(self, Self::PrivateNotPermitted)
    }
}

impl EgressFile {
    /// Whether `port` of `host` may be called. Of several rules that allow it, an exact one is named before a wildcard,
    /// and a longer wildcard before a shorter.
    pub fn decide(&self, host: &HostName, port: u16) -> Decision<'_> {
        let mut denial = HostDenial::HostNotAllowed;
        let mut best: Option<&EgressHostRule> = None;
        for rule in self.rules.iter().filter(|rule| rule.host.fits(host)) {
            denial = HostDenial::PortNotAllowed;
            // Every wildcard that fits is shorter than the name, so length alone ranks.
            let rank = |rule: &EgressHostRule| rule.host.name().as_str().len();
            if rule.ports.contains(&port) && best.is_none_or(|best| rank(rule) > rank(best)) {
                best = Some(rule);
            }
        }
        best.map_or(Decision::Denied(denial), |rule| Decision::Allowed { rule })
    }

    /// What is added to requests to `port` of `host`; nothing, if no rule allows it or the one that does says nothing.
    pub fn injection(&self, host: &HostName, port: u16) -> Option<&Injection> {
        match self.decide(host, port) {
            Decision::Allowed { rule } => rule.inject.as_ref(),
            Decision::Denied(_) => None,
        }
    }

    /// Whether an allowed host may have the address `ip`; the result is the address to dial.
    ///
    /// # Errors
    ///
    /// See [`AddressDenial`].
    pub fn decide_address(&self, ip: IpAddr) -> Result<IpAddr, AddressDenial> {
        let address = Address::of(ip);
        match address.class {
            AddressClass::Metadata => return Err(AddressDenial::Metadata),
            AddressClass::Forbidden(range) => return Err(AddressDenial::Forbidden(range)),
            AddressClass::Public | AddressClass::Private(_) => {}
        }
        let ip = address.ip;
        let holding = self.addresses.denied.iter().filter(|denied| denied.network.holds(ip));
        let of_cluster: Vec<_> = holding.map(|denied| denied.kind).collect();
        if of_cluster.contains(&DeniedNetworkKind::ApiServer) {
            return Err(AddressDenial::Cluster(DeniedNetworkKind::ApiServer));
        }
        let permitted =
            self.addresses.permitted.iter().any(|permitted| {
                permitted.network.holds(ip) && !permitted.except.iter().any(|except| except.holds(ip))
            });
        match of_cluster.first() {
            _ if permitted => Ok(ip),
            Some(kind) => Err(AddressDenial::Cluster(*kind)),
            None if address.class == AddressClass::Public => Ok(ip),
            None => Err(AddressDenial::PrivateNotPermitted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::tests::file;
    use super::*;
    use crate::egress::{DeniedNetwork, EgressMode, PermittedNetwork};
    use pretty_assertions::assert_eq;
    use proptest::prelude::*;

    fn rule(host: &str, ports: &[u16]) -> EgressHostRule {
        EgressHostRule {
            host: host.parse().unwrap(),
            ports: ports.iter().copied().collect(),
            inject: None,
        }
    }

    #[test]
    fn the_narrowest_rule_that_allows_is_named() {
        let mut file = file();
        file.rules = vec![
            rule("*.example.com", &[443, 80]),
            rule("*.api.example.com", &[443]),
            rule("v1.api.example.com", &[443]),
        ];
        for (host, port, expected) in [
            ("v1.api.example.com", 443, Some("v1.api.example.com:443")),
            ("v2.api.example.com", 443, Some("*.api.example.com:443")),
            ("v1.api.example.com", 80, Some("*.example.com:80,443")),
            ("v1.api.example.com", 22, None),
        ] {
            let found = match file.decide(&host.parse().unwrap(), port) {
                Decision::Allowed { rule } => Some(rule.to_string()),
                Decision::Denied(_) => None,
            };
            assert_eq!(found.as_deref(), expected, "{host}:{port}");
        }
    }

    #[test]
    fn a_denial_says_whether_the_host_or_the_port_is_missing() {
        let file = file();
        let decide = |host: &str, port| file.decide(&host.parse().unwrap(), port);
        assert_eq!(decide("evil.test", 443), Decision::Denied(HostDenial::HostNotAllowed));
        assert_eq!(decide("example.com", 443), Decision::Denied(HostDenial::HostNotAllowed));
        assert_eq!(
            decide("a.example.com", 22),
            Decision::Denied(HostDenial::PortNotAllowed)
        );
    }

    #[test]
    fn the_mode_changes_no_decision() {
        let mut audit = file();
        audit.mode = EgressMode::Audit;
        assert_eq!(
            audit.decide(&"evil.test".parse().unwrap(), 443),
            Decision::Denied(HostDenial::HostNotAllowed)
        );
    }

    #[test]
    fn only_public_and_permitted_private_addresses_are_dialled() {
        let file = file();
        for (ip, expected) in [
            ("9.9.9.9", Ok("9.9.9.9")),
            ("::ffff:9.9.9.9", Ok("9.9.9.9")),
            ("2606:4700::1111", Ok("2606:4700::1111")),
            ("10.1.2.3", Ok("10.1.2.3")),
            ("::ffff:10.1.2.3", Ok("10.1.2.3")),
            ("10.9.2.3", Err("address_private")),
            ("10.9.244.7", Err("address_pods")),
            ("::ffff:10.9.244.7", Err("address_pods")),
            ("2600:1f00::7", Err("address_nodes")),
            ("192.168.1.1", Err("address_private")),
            ("fd12::1", Err("address_private")),
            ("100.64.0.1", Err("address_private")),
            ("127.0.0.1", Err("address_loopback")),
            ("0.0.0.0", Err("address_reserved")),
            ("169.254.169.254", Err("address_metadata")),
            ("64:ff9b::10.1.2.3", Err("address_embedded_ipv4")),
            ("2002:a01:203::1", Err("address_embedded_ipv4")),
        ] {
            let found = file.decide_address(ip.parse().unwrap());
            let found = found.map(|ip| ip.to_string()).map_err(AddressDenial::as_str);
            assert_eq!(found, expected.map(str::to_owned), "{ip}");
        }
    }

    #[test]
    fn permitting_everything_opens_no_metadata_service_and_no_forbidden_range() {
        let mut file = file();
        file.addresses.permitted[0].network = "0.0.0.0/0".parse().unwrap();
        for ip in ["169.254.169.254", "168.63.129.16", "127.0.0.1", "0.0.0.0", "224.0.0.1"] {
            assert!(file.decide_address(ip.parse().unwrap()).is_err(), "{ip}");
        }
    }

    #[test]
    fn a_cidr_rule_opens_networks_of_the_cluster_but_never_an_api_server() {
        let mut file = file();
        let denied = |network: &str, kind| DeniedNetwork {
            network: network.parse().unwrap(),
            kind,
        };
        file.addresses.denied = vec![
            denied("203.0.112.0/24", DeniedNetworkKind::Nodes),
            denied("203.0.112.9/32", DeniedNetworkKind::ApiServer),
            denied("2600:1f00::/48", DeniedNetworkKind::Services),
        ];
        let all = |file: &EgressFile| {
            ["203.0.112.7", "203.0.112.9", "2600:1f00::7", "203.0.111.7"].map(|ip| {
                file.decide_address(ip.parse().unwrap())
                    .map_err(AddressDenial::as_str)
                    .err()
            })
        };
        let closed = [
            Some("address_nodes"),
            Some("address_api_server"),
            Some("address_services"),
            None,
        ];
        assert_eq!(all(&file), closed);
        file.mode = EgressMode::Audit;
        assert_eq!(all(&file), closed);
        assert!(!AddressDenial::Cluster(DeniedNetworkKind::Nodes).is_overridable());
        file.addresses.permitted = ["203.0.112.0/25", "2600:1f00::7/128"]
            .map(|network| PermittedNetwork {
                network: network.parse().unwrap(),
                except: vec![],
            })
            .into();
        assert_eq!(all(&file), [None, Some("address_api_server"), None, None]);
    }

    proptest! {
        #[test]
        fn adding_a_rule_never_takes_away_what_was_allowed(
            labels in proptest::collection::vec("[ab]{1,2}", 2..4),
            other in "(\\*\\.)?[ab]{1,2}\\.[ab]{1,2}",
            port in 1u16..4,
        ) {
            let host: HostName = labels.join(".").parse().unwrap();
            let mut file = file();
            file.rules = vec![rule(&format!("*.{}", labels[1..].join(".") + ".test"), &[1]), rule("*.a.a", &[2])];
            let before = matches!(file.decide(&host, port), Decision::Allowed { .. });
            file.rules.push(rule(&other, &[3]));
            let after = matches!(file.decide(&host, port), Decision::Allowed { .. });
            prop_assert!(!before || after);
        }
    }
}
