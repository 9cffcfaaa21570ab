//! Destinations: what a server may reach, with what no server may reach cut out.

use super::{ValidateError, label_map};
use crate::{Network, endpoint::Destination, syntax};
use sallyport_api::v1alpha1::{Egress, EgressRule, ServiceDestination};
use std::net::IpAddr;

/// Networks that no server may reach, whatever its endpoint says: this host, link-local, multicast, reserved, the
/// metadata services of the large clouds, and IPv6 forms that carry an IPv4 address past a rule.
const FORBIDDEN: &[&str] = &[
    "0.0.0.0/8",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "168.63.129.16/32",
    "100.100.100.200/32",
    "192.0.0.192/32",
    "::/8",
    "2001::/32",
    "2002::/16",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
    "fd00:ec2::/32",
];

/// The Kubernetes API's usual port, and those of DNS, DNS over TLS and multicast DNS.
const FORBIDDEN_PORTS: &[u16] = &[6443, 53, 853, 5353];

const SYSTEM_NAMESPACE: &str = "kube-system";

pub(super) fn egress(egress: &Egress, api_servers: &[IpAddr]) -> Result<Vec<Destination>, ValidateError> {
    let fixed = FORBIDDEN.iter().filter_map(|network| network.parse().ok());
    let forbidden: Vec<Network> = fixed.chain(api_servers.iter().copied().map(Network::host)).collect();
    egress
        .allow
        .iter()
        .enumerate()
        .map(|(index, rule)| destination(index, rule, &forbidden))
        .collect()
}

fn destination(index: usize, rule: &EgressRule, forbidden: &[Network]) -> Result<Destination, ValidateError> {
    match rule {
        EgressRule { host: Some(_), .. } => Err(ValidateError::EgressHost { index }),
        EgressRule {
            cidr: Some(cidr),
            except,
            ports,
            service: None,
            host: None,
        } => network(index, cidr, except, ports, forbidden),
        EgressRule {
            cidr: None,
            except,
            ports,
            service: Some(destination),
            host: None,
        } if except.is_empty() && ports.is_empty() => service(index, destination),
        _ => Err(ValidateError::EgressForm { index }),
    }
}

fn network(
    index: usize,
    cidr: &str,
    except: &[String],
    ports: &[i32],
    forbidden: &[Network],
) -> Result<Destination, ValidateError> {
    let parse = |text: &str| {
        text.parse()
            .map_err(|source| ValidateError::EgressNetwork { index, source })
    };
    let network: Network = parse(cidr)?;
    if network.prefix() < if network.is_ipv4() { 8 } else { 32 } {
        return Err(ValidateError::EgressTooWide {
            index,
            cidr: cidr.to_owned(),
        });
    }
    if forbidden.iter().any(|closed| closed.contains(&network)) {
        return Err(ValidateError::EgressForbidden {
            index,
            cidr: cidr.to_owned(),
        });
    }
    let mut cut: Vec<Network> = forbidden
        .iter()
        .filter(|closed| network.contains(closed))
        .copied()
        .collect();
    for text in except {
        let except = parse(text)?;
        if !network.contains(&except) || network == except {
            return Err(ValidateError::EgressExcept {
                index,
                except: text.clone(),
            });
        }
        cut.push(except);
    }
    Ok(Destination::Network {
        network,
        except: outermost(cut),
        ports: open_ports(index, ports)?,
    })
}

fn service(index: usize, service: &ServiceDestination) -> Result<Destination, ValidateError> {
    let namespace = &service.namespace;
    if !syntax::is_dns_label(namespace) || namespace == SYSTEM_NAMESPACE {
        return Err(ValidateError::EgressNamespace {
            index,
            namespace: namespace.clone(),
        });
    }
    Ok(Destination::Service {
        namespace: namespace.clone(),
        selector: label_map(&service.selector, || format!("egress.allow[{index}].service.selector"))?,
        ports: open_ports(index, &service.ports)?,
    })
}

fn open_ports(index: usize, ports: &[i32]) -> Result<Vec<u16>, ValidateError> {
    if ports.is_empty() {
        return Err(ValidateError::EgressPorts { index });
    }
    let mut open = ports
        .iter()
        .map(|&port| {
            let valid = u16::try_from(port)
                .ok()
                .filter(|port| *port > 0 && !FORBIDDEN_PORTS.contains(port));
            valid.ok_or(ValidateError::EgressPort { index, port })
        })
        .collect::<Result<Vec<_>, _>>()?;
    open.sort_unstable();
    open.dedup();
    Ok(open)
}

/// Sorted, and without those that lie inside another.
fn outermost(mut networks: Vec<Network>) -> Vec<Network> {
    networks.sort_unstable();
    networks.dedup();
    let all = networks.clone();
    networks.retain(|network| !all.iter().any(|other| other != network && other.contains(network)));
    networks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_forbidden_network_is_well_formed() {
        for network in FORBIDDEN {
            assert!(network.parse::<Network>().is_ok(), "{network}");
        }
    }
}
