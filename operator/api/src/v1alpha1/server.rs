//! The MCP server container: image, transport, what it may write and use.

use crate::quantity::Amount;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    #[x_kube(validation = Rule::new("self != 15080 && self != 15090").message("ports 15080 and 15090 belong to the audit sidecar; let the server listen on another port"))]
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

impl Writable {
    pub(super) fn is_default(&self) -> bool {
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

fn mcp_path() -> String {
    "/mcp".to_owned()
}
