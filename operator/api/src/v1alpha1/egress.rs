//! What the server may reach.

use super::CredentialInjection;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the server may reach.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct Egress {
    /// Destinations, each entry adding to the others. None, if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub allow: Vec<EgressRule>,
    /// Whether the server has a resolver. Closed: it has none; the egress gateway resolves the hosts that it asks for.
    /// ClusterDNS: it asks the cluster's own, and data can leave inside the questions.
    #[serde(default)]
    pub dns: EgressDns,
    /// What the egress gateway does with a host that is not allowed. Enforce: it refuses. Audit: it lets the connection
    /// through and records what it would have refused, so that the list of hosts can be learned; addresses that no server
    /// may reach stay closed.
    #[serde(default)]
    pub mode: EgressMode,
}

/// Whether the server has a resolver.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EgressDns {
    /// It has none.
    #[default]
    Closed,
    /// It asks the cluster's name servers.
    #[serde(rename = "ClusterDNS")]
    ClusterDns,
}

/// What the egress gateway does with a host that is not allowed.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EgressMode {
    /// It refuses.
    #[default]
    Enforce,
    /// It lets the connection through and records what it would have refused.
    Audit,
}

/// One destination: exactly one of host, cidr and service.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[x_kube(
    validation = Rule::new("[has(self.host), has(self.cidr), has(self.service)].filter(form, form).size() == 1").message("egress.allow[] needs exactly one of host, cidr and service, as in {host: api.example.com} or {cidr: 203.0.113.10/32, ports: [443]}"),
    validation = Rule::new("!has(self.cidr) || has(self.ports)").message("egress.allow[] with cidr needs ports, as in ports: [443]"),
    validation = Rule::new("!has(self.service) || !has(self.ports)").message("egress.allow[].ports belongs to host and cidr; for a service write service: {..., ports: [5432]}"),
    validation = Rule::new("!has(self.transparent) || !self.transparent || has(self.host)").message("egress.allow[].transparent belongs to host; a server reaches networks and pods directly anyway"),
    validation = Rule::new("!has(self.transparent) || !self.transparent || !has(self.host) || !self.host.startsWith('*')").message("egress.allow[] with transparent needs one name: a wildcard cannot be mapped to an address; write one rule with transparent for each name"),
    validation = Rule::new("!has(self.transparent) || !self.transparent || !has(self.ports) || 443 in self.ports").message("egress.allow[] with transparent needs port 443, the only one that is led by TLS server name; add it to ports or leave ports out"),
    validation = Rule::new("!has(self.inject) || (has(self.host) && !self.host.startsWith('*'))").message("egress.allow[].inject needs a host with one name: a credential goes to the host that is named and to no other; write one rule for each name"),
    validation = Rule::new("!has(self.inject) || !has(self.ports) || !(80 in self.ports)").message("egress.allow[] with inject speaks TLS alone; remove port 80"),
    validation = Rule::new("!has(self.ports) || !(6443 in self.ports) || has(self.cidr)").message("egress port 6443 (Kubernetes API) is never open by a host's name; remove it, or, where the endpoint's class says egress: {allowKubernetesApi: true}, write the API server's address as cidr, as in {cidr: 10.96.0.1/32, ports: [443]}"),
    validation = Rule::new("!has(self.except) || has(self.cidr)").message("egress.allow[].except belongs to cidr"),
    validation = Rule::new("!has(self.cidr) || !has(self.except) || !isCIDR(self.cidr) || self.except.all(e, isCIDR(e) && cidr(self.cidr).containsCIDR(e) && cidr(self.cidr).prefixLength() < cidr(e).prefixLength())").message("egress.allow[].except must lie inside cidr, as in cidr: 10.0.0.0/8 with except: [10.1.0.0/16]")
)]
pub struct EgressRule {
    /// A host by name, as in api.example.com, or every name below one, as in *.example.com, which does not hold
    /// example.com itself. The server reaches it through the endpoint's egress gateway, which HTTPS_PROXY names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(
        validation = Rule::new("!isIP(self)").message("egress.allow[].host is a name; write an address as cidr, as in {cidr: 203.0.113.10/32, ports: [443]}"),
        validation = Rule::new("isIP(self) || !self.matches('^([*][.])?[^.]*$')").message("egress.allow[].host must have at least two labels, as in api.example.com or *.example.com: '*', single names and whole top-level domains are never open"),
        validation = Rule::new("isIP(self) || self.matches('^([*][.])?[^.]*$') || self.matches('^([*][.])?([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?[.])+[a-z]([-a-z0-9]{0,61}[a-z0-9])?$')").message("egress.allow[].host must be a host name in lower case, with at most one leading '*.' and without a trailing dot, as in api.example.com or *.example.com; write international names in their xn-- form"),
        validation = Rule::new("!self.matches('[.](svc|local|localhost|arpa)$') && self != 'metadata.google.internal'").message("egress.allow[].host must not be a name of this cluster, of this host or of a metadata service; for pods write service: {namespace: ..., selector: ..., ports: [...]}")
    )]
    pub host: Option<String>,
    /// Addresses outside the cluster. For pods use service: whether a Service's address is matched before or after its
    /// translation is undefined. Metadata addresses and the API server's are cut out of wider networks; a rule for the very
    /// address of the API server needs a class that says egress: {allowKubernetesApi: true}.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 49))]
    #[x_kube(
        validation = Rule::new("isCIDR(self) && cidr(self) == cidr(self).masked()").message("egress.allow[].cidr must be a network in CIDR notation with all host bits zero, as in 203.0.113.10/32 or 2001:db8::/64"),
        validation = Rule::new("!isCIDR(self) || cidr(self).prefixLength() >= (cidr(self).ip().family() == 4 ? 8 : 32)").message("egress.allow[].cidr is too wide: write the networks that the server needs, at least /8 for IPv4 and /32 for IPv6"),
        validation = Rule::new("!isCIDR(self) || !['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/4', '240.0.0.0/4', '168.63.129.16/32', '100.100.100.200/32', '192.0.0.192/32'].exists(n, cidr(n).containsCIDR(self)) && !['::/8', '2001::/32', '2002::/16', 'fe80::/10', 'fec0::/10', 'ff00::/8', 'fd00:ec2::/32', 'fd20:ce::/32'].exists(n, cidr(n).containsCIDR(self))").message("egress.allow[].cidr names loopback, link-local, multicast or a cloud's metadata service, which no server may reach; remove it")
    )]
    pub cidr: Option<String>,
    /// Networks inside cidr that stay closed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(max = 49)), extend("x-kubernetes-list-type" = "atomic"))]
    pub except: Vec<String>,
    /// TCP ports. 443 for a host, if left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16), inner(range(min = 1, max = 65535)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new("self.all(p, !(p in [53, 853, 5353, 15070]))").message("egress ports 53, 853 and 5353 (DNS, a way to leak data) and 15070 (the operator's canary) are never open to a server; remove them"))]
    pub ports: Vec<i32>,
    /// For a server that ignores HTTPS_PROXY: the pod's /etc/hosts leads the host's name to the egress gateway, which leads
    /// TLS on port 443 by its server name. One name, no wildcard.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub transparent: bool,
    /// A credential that the egress gateway adds to every request to the host, so that the server never holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inject: Option<CredentialInjection>,
    /// Pods of this cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceDestination>,
}

/// The pods behind a Service.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct ServiceDestination {
    /// Namespace of the pods.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(
        validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("egress.allow[].service.namespace must be the name of a namespace, as in data"),
        validation = Rule::new("self != 'kube-system'").message("egress.allow[].service.namespace must not be kube-system: no server may reach the cluster's own pods; remove the rule")
    )]
    pub namespace: String,
    /// Labels of the pods, as in the Service's selector.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 8, "additionalProperties" = {"type": "string", "maxLength": 63}))]
    #[x_kube(validation = Rule::new("self.all(k, size(k) <= 317 && k.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$') && self[k].matches('^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$'))").message("service.selector holds label keys and values as Kubernetes allows them, as in app: postgres"))]
    pub selector: BTreeMap<String, String>,
    /// TCP ports that the pods listen on (the Service's targetPort), not the Service's own.
    #[schemars(length(min = 1, max = 16), inner(range(min = 1, max = 65535)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new("self.all(p, !(p in [6443, 53, 853, 5353, 15070]))").message("egress ports 6443 (Kubernetes API), 53, 853 and 5353 (DNS, a way to leak data) and 15070 (the operator's canary) are never open to a server; remove them"))]
    pub ports: Vec<i32>,
}

impl Egress {
    /// Whether the endpoint has an egress gateway: to reach hosts by name, or to learn which ones are asked for.
    pub fn needs_gateway(&self) -> bool {
        self.mode == EgressMode::Audit || self.allow.iter().any(|rule| rule.host.is_some())
    }

    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
