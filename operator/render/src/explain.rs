//! Whether a server may reach a destination, by which rule, and through which path.

use crate::{
    Network, ValidatedEndpoint,
    endpoint::{Destination, Origin, Rule},
    gateway,
    metadata::Part,
    transparent,
    validate::is_never_open,
};
use sallyport_api::v1alpha1::GATEWAY_PORT;
use sallyport_policy::egress::{Decision, EgressHostRule, EgressMode, HostDenial, HostName, ParseHostError};
use std::{fmt, net::IpAddr, str::FromStr};

/// Port of a destination that names none.
const HTTPS: u16 = 443;

/// Where a server wants to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A host by name.
    Host(HostName, u16),
    /// An address.
    Address(IpAddr, u16),
}

/// Why a text is no destination.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseTargetError {
    /// The part before the port is no host.
    #[error(transparent)]
    Host(#[from] ParseHostError),
    /// The part after the host is no port.
    #[error("{0:?} is not a port from 1 to 65535, as in api.example.com:443")]
    Port(String),
}

impl FromStr for Target {
    type Err = ParseTargetError;

    /// Reads `api.example.com`, `203.0.113.10:5432`, `[2001:db8::1]:443` or `2001:db8::1`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address, HTTPS));
        }
        let (host, port) = match text.rsplit_once(':') {
            None => (text, HTTPS),
            Some((host, port)) => {
                let number = port.parse().ok().filter(|port| *port > 0);
                (host, number.ok_or_else(|| ParseTargetError::Port(port.to_owned()))?)
            }
        };
        let bare = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(host);
        match bare.parse() {
            Ok(address) => Ok(Self::Address(address, port)),
            Err(_) => Ok(Self::Host(host.parse()?, port)),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host, port) => write!(formatter, "{host}:{port}"),
            Self::Address(IpAddr::V6(address), port) => write!(formatter, "[{address}]:{port}"),
            Self::Address(IpAddr::V4(address), port) => write!(formatter, "{address}:{port}"),
        }
    }
}

/// Whether a destination is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// A rule opens it.
    Allowed,
    /// No rule opens it; it passes because the mode is Audit, and is recorded.
    Audited,
    /// It is closed.
    Refused,
}

/// Whether a destination is open, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Whether it is open.
    pub reach: Reach,
    /// The rule that opens it, or why none does.
    pub why: String,
    /// The way that the connection takes, or how to open it.
    pub how: String,
}

/// Explains what happens when a server of `endpoint` connects to `target`.
///
/// What a name resolves to is not known here: the gateway refuses addresses that are neither public nor allowed.
pub fn explain(endpoint: &ValidatedEndpoint, target: &Target) -> Explanation {
    match target {
        Target::Host(host, port) => by_name(endpoint, host, *port),
        Target::Address(address, port) => by_address(endpoint, *address, *port),
    }
}

fn by_name(endpoint: &ValidatedEndpoint, host: &HostName, port: u16) -> Explanation {
    let to_allow = if port == HTTPS {
        format!("to allow it, add {{host: {host}}} to egress.allow")
    } else {
        format!("to allow it, add {{host: {host}, ports: [{port}]}} to egress.allow")
    };
    let Some(file) = gateway::file_of(endpoint) else {
        return refused(
            "egress.allow names no host, and the server has no other way to reach one by name",
            to_allow,
        );
    };
    match file.decide(host, port) {
        Decision::Allowed { rule } => Explanation {
            reach: Reach::Allowed,
            why: match origin_of(endpoint, |destination| *destination == Destination::Host(rule.clone())) {
                Some(origin) => format!("{origin} allows {rule}"),
                None => format!("{rule} is allowed"),
            },
            how: through_gateway(endpoint, host, port) + &injected(rule),
        },
        Decision::Denied(denial) => {
            let why = match denial {
                HostDenial::HostNotAllowed => "no rule of egress.allow names this host".to_owned(),
                HostDenial::PortNotAllowed => format!("a rule of egress.allow names this host, but not port {port}"),
            };
            if file.mode == EgressMode::Audit && gateway::dialled_ports(&file).contains(&port) {
                Explanation {
                    reach: Reach::Audited,
                    why: format!("{why}; egress.mode is Audit, so that it passes and is recorded as would_deny"),
                    how: through_gateway(endpoint, host, port),
                }
            } else {
                refused(why, to_allow)
            }
        }
    }
}

fn through_gateway(endpoint: &ValidatedEndpoint, host: &HostName, port: u16) -> String {
    let service = Part::Gateway.name(endpoint);
    let by_name = if transparent::leads(endpoint, host, port) {
        format!(", or /etc/hosts -> Service {service}:{port}, by TLS server name")
    } else {
        String::new()
    };
    format!(
        "server -> HTTPS_PROXY -> Service {service}:{GATEWAY_PORT}{by_name} -> egress gateway, which resolves the name and dials {host}:{port}"
    )
}

/// What happens on the way, if TLS is ended there.
fn injected(rule: &EgressHostRule) -> String {
    rule.inject.as_ref().map_or_else(String::new, |injection| {
        format!(
            "; it ends TLS and adds {} from {}, which the server does not have",
            injection.header, injection.file
        )
    })
}

fn by_address(endpoint: &ValidatedEndpoint, address: IpAddr, port: u16) -> Explanation {
    let to_allow = format!(
        "to allow it, add {{cidr: {}, ports: [{port}]}} to egress.allow; for pods of this cluster write service instead",
        Network::host(address)
    );
    let nothing: &[Network] = &[];
    let mut why = "no cidr rule of egress.allow holds this address".to_owned();
    for Rule { origin, destination } in &endpoint.egress {
        let (network, except, ports) = match destination {
            Destination::Network { network, except, ports } => (*network, &**except, ports),
            Destination::KubernetesApi { address, ports } => (Network::host(*address), nothing, ports),
            Destination::Host(_) | Destination::Service { .. } => continue,
        };
        if !network.holds(address) {
            continue;
        }
        if let Some(closed) = except.iter().find(|closed| closed.holds(address)) {
            why = format!("{origin} holds this address, but {closed} stays closed");
        } else if ports.contains(&port) {
            return Explanation {
                reach: Reach::Allowed,
                why: format!("{origin} allows {network} on port {port}"),
                how: format!("server -> {}, directly", Target::Address(address, port)),
            };
        } else {
            why = format!("{origin} holds this address, but not port {port}");
        }
    }
    let how = if is_never_open(address) {
        "no rule can open it: it is loopback, link-local, multicast, reserved or a metadata service".to_owned()
    } else {
        to_allow
    };
    refused(pods_note(endpoint, why), how)
}

/// Rules for pods open whatever addresses those have.
fn pods_note(endpoint: &ValidatedEndpoint, why: String) -> String {
    let services = endpoint.egress.iter().filter_map(|rule| match &rule.destination {
        Destination::Service { namespace, .. } => Some(format!("{} (pods of {namespace})", rule.origin)),
        Destination::Host(_) | Destination::Network { .. } | Destination::KubernetesApi { .. } => None,
    });
    let services: Vec<_> = services.collect();
    if services.is_empty() {
        why
    } else {
        format!(
            "{why}; unless it is a pod's that one of these selects: {}",
            services.join(", ")
        )
    }
}

fn origin_of(endpoint: &ValidatedEndpoint, wanted: impl Fn(&Destination) -> bool) -> Option<&Origin> {
    let rule = endpoint.egress.iter().find(|rule| wanted(&rule.destination));
    rule.map(|rule| &rule.origin)
}

fn refused(why: impl Into<String>, how: String) -> Explanation {
    Explanation {
        reach: Reach::Refused,
        why: why.into(),
        how,
    }
}
