//! Destinations: what a server may reach, with what no server may reach cut out.

use super::{ValidateError, label_map};
use crate::{
    Facts, Network, cidr,
    endpoint::{Destination, Gateway, Injected, Origin, Rule},
    keys::Bundle,
    syntax,
};
use sallyport_api::{
    McpEndpointSpec,
    v1alpha1::{self as api, CANARY_PORT, CredentialInjection, Egress, EgressCeiling, EgressRule, ServiceDestination},
};
use sallyport_policy::egress::{EgressHostRule, EgressMode, HostName, HostPattern};
use std::{collections::BTreeSet, net::IpAddr};

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
    "fd20:ce::/32",
];

/// The Kubernetes API's usual port.
const API_PORT: u16 = 6443;

/// The Kubernetes API's usual port, those of DNS, DNS over TLS and multicast DNS, and the canary's, which must be refused
/// for anything to be proven.
const FORBIDDEN_PORTS: &[u16] = &[API_PORT, 53, 853, 5353, CANARY_PORT];

const SYSTEM_NAMESPACE: &str = "kube-system";

/// Networks that no rule can open: this host, link-local, multicast, reserved, metadata services.
pub fn never_open() -> impl Iterator<Item = Network> {
    FORBIDDEN.iter().filter_map(|network| network.parse().ok())
}

/// Whether no rule can open `address`.
pub(crate) fn is_never_open(address: IpAddr) -> bool {
    never_open().any(|network| network.holds(address))
}

/// Port of a host whose rule names none.
const HTTPS: u16 = 443;

/// Port of plain HTTP.
const HTTP: u16 = 80;

/// Last labels of names that mean something of this cluster or of this host.
const LOCAL_DOMAINS: &[&str] = &["svc", "local", "localhost", "arpa"];

/// Name of a metadata service.
const METADATA_HOST: &str = "metadata.google.internal";

/// What is closed to every pod, unless the class says otherwise.
pub(super) struct Closed<'a> {
    /// Networks that nothing in the pod may reach: the fixed ones, and the Kubernetes API.
    pub forbidden: Vec<Network>,
    api_servers: &'a [IpAddr],
    /// Whether a rule for the very address of the Kubernetes API opens it.
    api_may_open: bool,
}

impl<'a> Closed<'a> {
    pub fn new(api_servers: &'a [IpAddr], class: &EgressCeiling) -> Self {
        let fixed = never_open();
        Self {
            forbidden: fixed.chain(api_servers.iter().copied().map(Network::host)).collect(),
            api_servers,
            api_may_open: class.allow_kubernetes_api,
        }
    }
}

pub(super) fn rules(egress: &Egress, closed: &Closed<'_>) -> Result<Vec<Rule>, ValidateError> {
    let rule = |(index, rule)| {
        let origin = Origin::Allow(index);
        let destination = destination(&origin, rule, closed)?;
        Ok(Rule { origin, destination })
    };
    egress.allow.iter().enumerate().map(rule).collect()
}

/// The host of an https URL, which the audit sidecar reaches through the egress gateway.
pub(super) fn https_target(origin: &Origin, text: &str) -> Result<Destination, ValidateError> {
    let url = syntax::url(text).filter(|url| url.tls);
    let url = url.ok_or_else(|| ValidateError::TargetUrl {
        field: origin.to_string(),
        url: text.to_owned(),
    })?;
    host(origin, url.host, &[i32::from(url.port.unwrap_or(HTTPS))], false, None)
}

/// The address of a URL, which the audit sidecar reaches directly: pods of the cluster, or an address outside of it.
pub(super) fn address_target(
    origin: &Origin,
    text: &str,
    pods: Option<&ServiceDestination>,
    forbidden: &[Network],
) -> Result<Destination, ValidateError> {
    let parsed = syntax::url(text).and_then(|url| Some((url.host.parse::<IpAddr>().ok()?, url.port?)));
    let (address, port) = parsed.ok_or_else(|| ValidateError::TargetAddress {
        field: origin.to_string(),
        url: text.to_owned(),
    })?;
    match pods {
        Some(pods) => service(origin, pods),
        None => network(
            origin,
            &Network::host(address).to_string(),
            &[],
            &[i32::from(port)],
            forbidden,
        ),
    }
}

pub(super) fn gateway(
    spec: &McpEndpointSpec,
    facts: &Facts,
    injected: Injected,
    collector: Option<Bundle>,
) -> Option<Gateway> {
    let mode = match spec.egress.mode {
        api::EgressMode::Enforce => EgressMode::Enforce,
        api::EgressMode::Audit => EgressMode::Audit,
    };
    spec.needs_gateway().then(|| Gateway {
        mode,
        address: facts.gateway_address,
        api_servers: facts.api_servers.clone(),
        clients: facts.clients.clone(),
        collector,
        transparent: transparent(&spec.egress),
        injected,
    })
}

/// Hosts whose names are to lead to the gateway; `rules` has refused those that cannot.
fn transparent(egress: &Egress) -> BTreeSet<HostName> {
    let rules = egress.allow.iter().filter(|rule| rule.transparent);
    rules.filter_map(|rule| rule.host.as_ref()?.parse().ok()).collect()
}

fn destination(origin: &Origin, rule: &EgressRule, closed: &Closed<'_>) -> Result<Destination, ValidateError> {
    match rule {
        EgressRule {
            host: Some(pattern),
            cidr: None,
            except,
            ports,
            service: None,
            transparent,
            inject,
        } if except.is_empty() => host(origin, pattern, ports, *transparent, inject.as_ref()),
        EgressRule {
            host: None,
            cidr: Some(cidr),
            except,
            ports,
            service: None,
            transparent: false,
            inject: None,
        } => match api_server(cidr, closed) {
            Some(address) => kubernetes_api(origin, address, except, ports, closed),
            None => network(origin, cidr, except, ports, &closed.forbidden),
        },
        EgressRule {
            host: None,
            cidr: None,
            except,
            ports,
            service: Some(destination),
            transparent: false,
            inject: None,
        } if except.is_empty() && ports.is_empty() => service(origin, destination),
        _ => Err(ValidateError::EgressForm {
            rule: origin.to_string(),
        }),
    }
}

fn host(
    origin: &Origin,
    text: &str,
    ports: &[i32],
    transparent: bool,
    inject: Option<&CredentialInjection>,
) -> Result<Destination, ValidateError> {
    let host: HostPattern = text.parse().map_err(|source| ValidateError::EgressHost {
        rule: origin.to_string(),
        source,
    })?;
    let canonical = host.to_string();
    if canonical != text {
        return Err(ValidateError::EgressHostForm {
            rule: origin.to_string(),
            host: text.to_owned(),
            canonical,
        });
    }
    let last = text.rsplit('.').next().unwrap_or_default();
    if LOCAL_DOMAINS.contains(&last) || text == METADATA_HOST {
        return Err(ValidateError::EgressLocalHost {
            rule: origin.to_string(),
            host: text.to_owned(),
        });
    }
    let ports = if ports.is_empty() {
        vec![HTTPS]
    } else {
        open_ports(origin, ports)?
    };
    if transparent && (matches!(host, HostPattern::Below(_)) || !ports.contains(&HTTPS)) {
        return Err(ValidateError::EgressTransparent {
            rule: origin.to_string(),
        });
    }
    if inject.is_some() && (matches!(host, HostPattern::Below(_)) || ports.contains(&HTTP)) {
        return Err(ValidateError::EgressInjectHost {
            rule: origin.to_string(),
        });
    }
    Ok(Destination::Host(EgressHostRule {
        host,
        ports: ports.into_iter().collect(),
        inject: inject
            .map(|inject| super::inject::injection(origin, inject))
            .transpose()?,
    }))
}

fn network(
    origin: &Origin,
    cidr: &str,
    except: &[String],
    ports: &[i32],
    forbidden: &[Network],
) -> Result<Destination, ValidateError> {
    let parse = |text: &str| {
        text.parse().map_err(|source| ValidateError::EgressNetwork {
            rule: origin.to_string(),
            source,
        })
    };
    let network: Network = parse(cidr)?;
    if network.prefix() < if network.is_ipv4() { 8 } else { 32 } {
        return Err(ValidateError::EgressTooWide {
            rule: origin.to_string(),
            cidr: cidr.to_owned(),
        });
    }
    if forbidden.iter().any(|closed| closed.contains(&network)) {
        return Err(ValidateError::EgressForbidden {
            rule: origin.to_string(),
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
                rule: origin.to_string(),
                except: text.clone(),
            });
        }
        cut.push(except);
    }
    Ok(Destination::Network {
        network,
        except: cidr::outermost(cut),
        ports: open_ports(origin, ports)?,
    })
}

/// The address of the Kubernetes API, if `cidr` holds that and no other.
fn api_server(cidr: &str, closed: &Closed<'_>) -> Option<IpAddr> {
    let address = cidr.parse::<Network>().ok()?.single()?;
    let is_api_server = closed.api_servers.contains(&address) && !is_never_open(address);
    is_api_server.then_some(address)
}

fn kubernetes_api(
    origin: &Origin,
    address: IpAddr,
    except: &[String],
    ports: &[i32],
    closed: &Closed<'_>,
) -> Result<Destination, ValidateError> {
    if !closed.api_may_open {
        return Err(ValidateError::ClassKubernetesApi {
            rule: origin.to_string(),
            address,
        });
    }
    if let Some(except) = except.first() {
        return Err(ValidateError::EgressExcept {
            rule: origin.to_string(),
            except: except.clone(),
        });
    }
    let never: Vec<_> = FORBIDDEN_PORTS
        .iter()
        .filter(|port| **port != API_PORT)
        .copied()
        .collect();
    Ok(Destination::KubernetesApi {
        address,
        ports: ports_but(origin, ports, &never)?,
    })
}

fn service(origin: &Origin, service: &ServiceDestination) -> Result<Destination, ValidateError> {
    let namespace = &service.namespace;
    if !syntax::is_dns_label(namespace) || namespace == SYSTEM_NAMESPACE {
        return Err(ValidateError::EgressNamespace {
            rule: origin.to_string(),
            namespace: namespace.clone(),
        });
    }
    Ok(Destination::Service {
        namespace: namespace.clone(),
        selector: label_map(&service.selector, || format!("{origin}.service.selector"))?,
        ports: open_ports(origin, &service.ports)?,
    })
}

fn open_ports(origin: &Origin, ports: &[i32]) -> Result<Vec<u16>, ValidateError> {
    ports_but(origin, ports, FORBIDDEN_PORTS)
}

fn ports_but(origin: &Origin, ports: &[i32], never: &[u16]) -> Result<Vec<u16>, ValidateError> {
    if ports.is_empty() {
        return Err(ValidateError::EgressPorts {
            rule: origin.to_string(),
        });
    }
    let mut open = ports
        .iter()
        .map(|&port| {
            let valid = u16::try_from(port)
                .ok()
                .filter(|port| *port > 0 && !never.contains(port));
            valid.ok_or(ValidateError::EgressPort {
                rule: origin.to_string(),
                port,
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    open.sort_unstable();
    open.dedup();
    Ok(open)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sallyport_policy::egress::{Address, AddressClass, not_public};

    #[test]
    fn no_rule_opens_an_address_at_which_a_cloud_hands_out_credentials() {
        let hosts = not_public().filter_map(|network| network.single());
        let services: Vec<_> = hosts
            .filter(|host| Address::of(*host).class == AddressClass::Metadata)
            .collect();
        assert!(services.contains(&"fd20:ce::254".parse().unwrap()), "{services:?}");
        for service in services {
            assert!(is_never_open(service), "{service}");
        }
    }

    #[test]
    fn every_forbidden_network_is_well_formed() {
        for network in FORBIDDEN {
            assert!(network.parse::<Network>().is_ok(), "{network}");
        }
    }
}
