//! `McpEndpoint` v1alpha1.
//!
//! The doc comments below are the user's documentation (`kubectl explain`, `docs/reference`). Every string and list is
//! bounded, both for its own sake and because the API server estimates the cost of the CEL rules from the bounds.

use crate::quantity::Amount;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

mod class;
mod inject;

pub use class::{EgressCeiling, McpEndpointClass, McpEndpointClassSpec, NetworkEnforcement};
pub use inject::{ConfigMapKey, CredentialInjection};

/// Port on which the audit sidecar serves MCP in the pod.
pub const SIDECAR_PORT: u16 = 15080;
/// Port on which the audit sidecar serves health and metrics in the pod.
pub const SIDECAR_ADMIN_PORT: u16 = 15090;
/// Port on which the audit sidecar certifies to the endpoint's egress gateway that it may end TLS, if credentials are
/// injected.
pub const SIGNER_PORT: u16 = 15091;
/// Port of the operator's canary: a listener that every endpoint's pods must be refused, which proves that their egress is
/// closed. No endpoint may open it.
pub const CANARY_PORT: u16 = 15070;
/// Port of an endpoint's Service.
pub const SERVICE_PORT: u16 = 8080;
/// Port on which an egress gateway takes proxy requests, both in its pod and at its Service.
pub const GATEWAY_PORT: u16 = 3128;
/// Port on which an egress gateway takes TLS without a proxy request, in its pod.
pub const GATEWAY_TRANSPARENT_PORT: u16 = 3129;
/// Port of the gateway's Service for TLS without a proxy request: clients believe that it is the host's.
pub const TRANSPARENT_SERVICE_PORT: u16 = 443;
/// Port on which an egress gateway serves health and metrics in its pod.
pub const GATEWAY_ADMIN_PORT: u16 = 15090;

/// What an endpoint runs and what it may do. Everything that is not allowed here is refused.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "sallyport.dev",
    version = "v1alpha1",
    kind = "McpEndpoint",
    plural = "mcpendpoints",
    singular = "mcpendpoint",
    namespaced,
    status = "McpEndpointStatus",
    derive = "PartialEq",
    shortname = "mcpe",
    category = "mcp",
    doc = "An MCP server that is locked down: nothing gets in, gets out or gets called that this object does not allow, and every call is on the record.",
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= 52").message("metadata.name becomes the name of a Service: write at most 52 characters of a-z, 0-9 and '-', starting with a letter"),
    validation = Rule::new("!self.metadata.name.endsWith('-egress')").message("metadata.name must not end with '-egress': objects of such names are egress gateways of other endpoints; choose another name"),
    validation = Rule::new("!self.metadata.name.startsWith('sallyport') && !(self.metadata.name in ['default', 'kubernetes'])").message("metadata.name must not be 'default' or 'kubernetes' or start with 'sallyport': objects of such names are Kubernetes' or the operator's own; choose another name"),
    validation = Rule::new("!has(self.spec.egress) || !has(self.spec.egress.allow) || self.spec.egress.allow.all(r, !has(r.inject) || (has(self.spec.credentials) && self.spec.credentials.exists(c, c.name == r.inject.credential)))").message("egress.allow[].inject.credential must be the name of a credential under spec.credentials"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Replicas", type_ = "string", json_path = ".status.readyReplicas"),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1),
    printcolumn(name = "Server", type_ = "string", json_path = ".status.server.name", priority = 1),
    printcolumn(name = "Image", type_ = "string", json_path = ".spec.server.image", priority = 1)
)]
#[serde(rename_all = "camelCase")]
pub struct McpEndpointSpec {
    /// Name of the McpEndpointClass that holds for this endpoint. The class that is marked as default, if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message("className is the name of an McpEndpointClass: a-z, 0-9, '-' and '.', as in standard"))]
    pub class_name: Option<String>,
    /// The MCP server: image, command, transport and what it may use.
    pub server: Server,
    /// Tokens that the server needs, mounted as read-only files under /var/run/secrets/sallyport/<name>/.
    /// Never as environment variables. A token that egress.allow[].inject names is mounted into the egress gateway alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub credentials: Vec<Credential>,
    /// Who may call the endpoint. Nobody, if left out.
    #[serde(default, skip_serializing_if = "Access::is_default")]
    pub access: Access,
    /// What the server may reach. Nothing, not even DNS, if left out.
    #[serde(default, skip_serializing_if = "Egress::is_default")]
    pub egress: Egress,
    /// What the audit sidecar records of each call.
    #[serde(default)]
    pub audit: Audit,
    /// How the endpoint is bounded within its namespace.
    #[serde(default)]
    pub isolation: Isolation,
    /// How many pods run. Legacy MCP sessions live in one pod, so use 1 unless the server keeps no sessions.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 20))]
    pub replicas: i32,
}

/// The MCP server container.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    /// Container image, pinned by digest, so that what runs is what was reviewed.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9._]*[a-z0-9])?(:[0-9]+)?(/[a-z0-9]+([-._]+[a-z0-9]+)*)*(:[A-Za-z0-9_][-A-Za-z0-9._]*)?@sha256:[a-f0-9]{64}$')").message("server.image must be pinned by digest, as in registry.example/mcp/server@sha256:<64 hex digits>; a tag alone can change under you"))]
    pub image: String,
    /// Names of Secrets of type kubernetes.io/dockerconfigjson in the endpoint's namespace that the kubelet pulls the image with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4), inner(length(min = 1, max = 253)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new("self.all(n, n.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$'))").message("server.imagePullSecrets holds names of Secrets: a-z, 0-9, '-' and '.'"))]
    pub image_pull_secrets: Vec<String>,
    /// Program and arguments. The image's entry point, if left out. $(NAME) stands for a variable of env, as in any pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 4096)), extend("x-kubernetes-list-type" = "atomic"))]
    #[x_kube(validation = Rule::new("size(self) == 0 || size(self[0]) > 0").message("server.command[0] must name the program to run"))]
    pub command: Vec<String>,
    /// Arguments to the image's entry point, or to the command. $(NAME) stands for a variable of env, as in any pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 4096)), extend("x-kubernetes-list-type" = "atomic"))]
    pub args: Vec<String>,
    /// How the audit sidecar reaches the server.
    pub transport: Transport,
    /// What the server may write. Its root file system is read-only.
    #[serde(default, skip_serializing_if = "Writable::is_default")]
    pub writable: Writable,
    /// What the server may use. Requests equal limits, so that it neither starves nor crowds out.
    #[serde(default)]
    pub resources: Resources,
    /// Environment variables without secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub env: Vec<EnvVar>,
}

/// How the audit sidecar reaches the server: exactly one form.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.stdio)").message("server.transport.stdio is not available yet: this version has no bridge for stdio servers; run the server with its Streamable HTTP transport and write http: {port: ..., path: /mcp}"),
    validation = Rule::new("has(self.http) || has(self.stdio)").message("server.transport needs http: {port: ..., path: /mcp}")
)]
pub struct Transport {
    /// The server speaks Streamable HTTP on a port of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpTransport>,
    /// Reserved for servers that speak over standard input and output; refused by this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdio: Option<StdioTransport>,
}

/// Streamable HTTP.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HttpTransport {
    /// Port that the server listens on, on the loopback address or on all. No other pod can reach it.
    #[schemars(range(min = 1024, max = 65535))]
    #[x_kube(validation = Rule::new("self != 15080 && self != 15090 && self != 15091").message("ports 15080, 15090 and 15091 belong to the audit sidecar; let the server listen on another port"))]
    pub port: u16,
    /// Path of the MCP endpoint, both inside and outside.
    #[serde(default = "mcp_path")]
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new("self.matches('^/[-A-Za-z0-9._~/]*$') && !self.contains('//') && !self.matches('/[.][.]?(/|$)')").message("transport.http.path must start with '/' and hold only letters, digits and -._~/, without '..' or '//'; as in /mcp"))]
    pub path: String,
}

/// Standard input and output; refused by this version.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
pub struct StdioTransport {}

/// What the server may write: bounded, empty at each start, gone with the pod.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Writable {
    /// Ready-made sets. Tmp: /tmp (64Mi), with HOME and TMPDIR set to it. NodeCache: a directory (128Mi) that npm's and
    /// XDG's cache variables name. PythonCache: a directory (128Mi) that Python's byte code, numba's, matplotlib's and
    /// XDG's cache variables name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new("!('NodeCache' in self && 'PythonCache' in self)").message("writable.presets: NodeCache and PythonCache both set XDG_CACHE_HOME; choose one and write other directories under writable.paths"))]
    pub presets: Vec<WritablePreset>,
    /// Directories of your own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["path"]))]
    pub paths: Vec<WritablePath>,
}

/// A ready-made set of writable directories.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WritablePreset {
    /// /tmp, named by HOME and TMPDIR.
    Tmp,
    /// A cache directory for Node.js programs.
    NodeCache,
    /// A cache directory for Python programs.
    PythonCache,
}

/// One writable directory.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct WritablePath {
    /// Absolute path of the directory in the server's container.
    #[schemars(length(min = 2, max = 256))]
    #[x_kube(
        validation = Rule::new("self.matches('^(/[A-Za-z0-9._-]+)+$') && !self.matches('/[.][.]?(/|$)')").message("writable.paths[].path must be an absolute directory without '..', '.' or a trailing '/', as in /data"),
        validation = Rule::new("!['/proc', '/sys', '/dev', '/etc', '/bin', '/sbin', '/lib', '/lib64', '/usr', '/boot', '/root', '/run', '/var/run', '/var/lib', '/var/cache/sallyport', '/tmp'].exists(p, self == p || self.startsWith(p + '/') || p.startsWith(self + '/'))").message("writable.paths[].path must not be, hold or lie under a system directory (/proc, /sys, /dev, /etc, /bin, /sbin, /lib, /lib64, /usr, /boot, /root, /run, /var/run, /var/lib, /var/cache/sallyport); for /tmp use presets: [Tmp]")
    )]
    pub path: String,
    /// Largest size. The kubelet evicts the pod when it is passed.
    #[x_kube(validation = Rule::new("string(self).matches('^[0-9]{1,12}([.][0-9]{1,6})?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$') && quantity(string(self)).isGreaterThan(quantity('0')) && quantity(string(self)).compareTo(quantity('64Gi')) <= 0").message("writable.paths[].sizeLimit must be a quantity above 0 and at most 64Gi, as in 64Mi"))]
    pub size_limit: Amount,
}

/// CPU, memory and disk of the server container.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// CPU time.
    #[serde(default = "Resources::default_cpu")]
    #[x_kube(validation = Rule::new("string(self).matches('^[0-9]{1,12}([.][0-9]{1,6})?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$') && quantity(string(self)).compareTo(quantity('10m')) >= 0 && quantity(string(self)).compareTo(quantity('64')) <= 0").message("resources.cpu must be a quantity from 10m to 64, as in 250m or 1"))]
    pub cpu: Amount,
    /// Memory. The kernel ends the server when it is passed.
    #[serde(default = "Resources::default_memory")]
    #[x_kube(validation = Rule::new("string(self).matches('^[0-9]{1,12}([.][0-9]{1,6})?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$') && quantity(string(self)).compareTo(quantity('16Mi')) >= 0 && quantity(string(self)).compareTo(quantity('512Gi')) <= 0").message("resources.memory must be a quantity from 16Mi to 512Gi, as in 256Mi"))]
    pub memory: Amount,
    /// Disk for logs and the like, besides the writable directories.
    #[serde(default = "Resources::default_ephemeral_storage")]
    #[x_kube(validation = Rule::new("string(self).matches('^[0-9]{1,12}([.][0-9]{1,6})?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$') && quantity(string(self)).compareTo(quantity('16Mi')) >= 0 && quantity(string(self)).compareTo(quantity('64Gi')) <= 0").message("resources.ephemeralStorage must be a quantity from 16Mi to 64Gi, as in 128Mi"))]
    pub ephemeral_storage: Amount,
}

/// One environment variable.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(validation = Rule::new("!self.name.upperAscii().matches('(TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|PRIVATE_?KEY|ACCESS_?KEY|CREDENTIALS?)(_|$)') || !has(self.value) || self.value.matches('^(/.*|[0-9.]{1,10}|true|false|)$')").message("server.env must not hold secrets: seal the value, name it under spec.credentials and give the server the path of the file, as in /var/run/secrets/sallyport/upstream/token"))]
pub struct EnvVar {
    /// Name.
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(
        validation = Rule::new("self.matches('^[A-Za-z_][A-Za-z0-9_]*$')").message("server.env[].name must be letters, digits and '_', not starting with a digit"),
        validation = Rule::new("!(self.upperAscii() in ['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY', 'NO_PROXY', 'NODE_USE_ENV_PROXY', 'LD_PRELOAD', 'LD_LIBRARY_PATH', 'LD_AUDIT']) && !self.upperAscii().startsWith('SALLYPORT_') && !self.upperAscii().startsWith('KUBERNETES_')").message("this environment variable is the operator's: it sets proxy variables itself and refuses LD_*, SALLYPORT_* and KUBERNETES_* names; remove it")
    )]
    pub name: String,
    /// Value, taken literally.
    #[serde(default)]
    #[schemars(length(max = 4096))]
    pub value: String,
}

/// A token that the server needs.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Credential {
    /// Name of the directory under /var/run/secrets/sallyport/ that holds one file per key of the Secret.
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("credentials[].name must be a-z, 0-9 and '-', as in upstream"))]
    pub name: String,
    /// Where the token comes from: exactly one source.
    pub from: CredentialSource,
}

/// Where a token comes from: exactly one source.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.sealedSecret) != has(self.secret)").message("credentials[].from needs exactly one of sealedSecret and secret, as in from: {sealedSecret: {name: upstream-token}}"))]
pub struct CredentialSource {
    /// A SealedSecret of the same namespace. The operator waits until it is unsealed, reports the controller's own
    /// message when that fails, and rolls out when its ciphertext changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed_secret: Option<SecretRef>,
    /// A Secret of the same namespace. The operator never reads it, so a change of its content rolls out nothing: the
    /// kubelet updates the file within about a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretRef>,
}

/// Name of an object in the endpoint's namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct SecretRef {
    /// Name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message("the name of a secret is a-z, 0-9, '-' and '.', as in upstream-token"))]
    pub name: String,
}

/// Who may call the endpoint.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct Access {
    /// Pods that may call, each entry adding to the others. Nobody, if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub from: Vec<AccessPeer>,
}

/// Pods that may call: those that fit every part that is written.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(validation = Rule::new("has(self.namespace) || has(self.pods)").message("access.from[] needs namespace, pods or both, as in namespace: {matchLabels: {team: agents}}"))]
pub struct AccessPeer {
    /// Namespaces of the callers. The endpoint's own, if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<MatchLabels>,
    /// Labels of the calling pods. All pods of the namespaces, if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<MatchLabels>,
}

/// Objects that carry all of these labels. At least one label, so that nothing is selected by accident.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct MatchLabels {
    /// Labels with their values. A namespace carries its own name as kubernetes.io/metadata.name.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 8, "additionalProperties" = {"type": "string", "maxLength": 63}))]
    #[x_kube(validation = Rule::new("self.all(k, size(k) <= 317 && k.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$') && self[k].matches('^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$'))").message("matchLabels holds label keys and values as Kubernetes allows them, as in team: agents"))]
    pub match_labels: BTreeMap<String, String>,
}

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
    /// translation is undefined. Metadata addresses and the API server's are cut out of wider networks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 49))]
    #[x_kube(
        validation = Rule::new("isCIDR(self) && cidr(self) == cidr(self).masked()").message("egress.allow[].cidr must be a network in CIDR notation with all host bits zero, as in 203.0.113.10/32 or 2001:db8::/64"),
        validation = Rule::new("!isCIDR(self) || cidr(self).prefixLength() >= (cidr(self).ip().family() == 4 ? 8 : 32)").message("egress.allow[].cidr is too wide: write the networks that the server needs, at least /8 for IPv4 and /32 for IPv6"),
        validation = Rule::new("!isCIDR(self) || !['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '224.0.0.0/4', '240.0.0.0/4', '168.63.129.16/32', '100.100.100.200/32', '192.0.0.192/32'].exists(n, cidr(n).containsCIDR(self)) && !['::/8', '2001::/32', '2002::/16', 'fe80::/10', 'fec0::/10', 'ff00::/8', 'fd00:ec2::/32'].exists(n, cidr(n).containsCIDR(self))").message("egress.allow[].cidr names loopback, link-local, multicast or a cloud's metadata service, which no server may reach; remove it")
    )]
    pub cidr: Option<String>,
    /// Networks inside cidr that stay closed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(max = 49)), extend("x-kubernetes-list-type" = "atomic"))]
    pub except: Vec<String>,
    /// TCP ports. 443 for a host, if left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16), inner(range(min = 1, max = 65535)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new("self.all(p, !(p in [6443, 53, 853, 5353, 15070]))").message("egress ports 6443 (Kubernetes API), 53, 853 and 5353 (DNS, a way to leak data) and 15070 (the operator's canary) are never open to a server; remove them"))]
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

/// What the audit sidecar records of each call. It always records who, when, which method and tool, the outcome and the latency.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
pub struct Audit {
    /// What is recorded of the arguments. Digest: their SHA-256, never their text.
    #[serde(default)]
    pub arguments: AuditArguments,
}

/// What is recorded of a call's arguments.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuditArguments {
    /// Their SHA-256.
    #[default]
    Digest,
}

/// How the endpoint is bounded within its namespace.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
pub struct Isolation {
    /// Managed: one ResourceQuota `sallyport` bounds all endpoints of the namespace, and nothing else, to the sum of
    /// their footprints. None: the operator keeps no quota for this namespace's endpoints; every container stays limited.
    #[serde(default)]
    pub quota: QuotaMode,
}

/// Whether the operator keeps the namespace's quota of endpoints.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QuotaMode {
    /// The operator keeps it. One endpoint that says so is enough.
    #[default]
    Managed,
    /// The operator keeps none.
    None,
}

/// What the operator observed.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct McpEndpointStatus {
    /// Generation of the spec that this status speaks of; -1 before the operator saw the object.
    #[serde(default)]
    pub observed_generation: i64,
    /// Ready sums up the others. Reconciling and Stalled follow kstatus and are absent when false.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Where clients inside the cluster reach the endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Pods that are wanted.
    #[serde(default)]
    pub replicas: i32,
    /// Pods that are available.
    #[serde(default)]
    pub ready_replicas: i32,
    /// The most that the endpoint can use, one surge pod of a roll-out included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub footprint: Option<Footprint>,
    /// What the server said of itself in the MCP handshake through the sidecar. Unverified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerInfo>,
    /// The credentials as far as the operator may see them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub credentials: Vec<CredentialStatus>,
    /// Hardening checks that the rendered pods pass, and those that they deviate from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub posture: Option<Posture>,
}

/// The most that an endpoint can use.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Footprint {
    /// Pods, one surge pod of a roll-out included.
    pub pods: i32,
    /// CPU of all containers.
    pub cpu: String,
    /// Memory of all containers.
    pub memory: String,
    /// Disk of all containers, writable directories included.
    pub ephemeral_storage: String,
}

/// What a server said of itself.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ServerInfo {
    /// Name.
    pub name: String,
    /// Version.
    #[serde(default)]
    pub version: String,
    /// MCP protocol version that it answered with.
    pub protocol_version: String,
}

/// One credential as far as the operator may see it.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CredentialStatus {
    /// Name, as in the spec.
    pub name: String,
    /// Kind and name of the object that it comes from.
    pub source: String,
    /// Whether the object is there and unsealed. True for a plain Secret, which the operator may not look at.
    pub ready: bool,
    /// SHA-256 (first 16 hex digits) of the ciphertext that is mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// The hardening checks of the rendered pods.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
pub struct Posture {
    /// Checks that pass.
    pub passed: i32,
    /// Checks in all.
    pub total: i32,
    /// Checks that the pods deviate from, each with its reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deviations: Vec<String>,
}

impl Access {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Egress {
    /// Whether the endpoint has an egress gateway: to reach hosts by name, or to learn which ones are asked for.
    pub fn needs_gateway(&self) -> bool {
        self.mode == EgressMode::Audit || self.allow.iter().any(|rule| rule.host.is_some())
    }

    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Writable {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Resources {
    fn default_cpu() -> Amount {
        Amount::new("250m")
    }

    fn default_memory() -> Amount {
        Amount::new("256Mi")
    }

    fn default_ephemeral_storage() -> Amount {
        Amount::new("128Mi")
    }
}

impl Default for Resources {
    fn default() -> Self {
        Self {
            cpu: Self::default_cpu(),
            memory: Self::default_memory(),
            ephemeral_storage: Self::default_ephemeral_storage(),
        }
    }
}

fn one() -> i32 {
    1
}

fn mcp_path() -> String {
    "/mcp".to_owned()
}
