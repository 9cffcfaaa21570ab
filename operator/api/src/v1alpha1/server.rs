//! The MCP server container: image, transport, what it may write and use.

use crate::quantity::Amount;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The MCP server container.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.transport.stdio) || (has(self.command) && size(self.command) > 0)").message("server.command is needed with transport.stdio: the bridge runs the server, and the image's entry point is known only once it is pulled; write the program and its arguments, as in command: [node, /app/index.js, stdio]"),
    validation = Rule::new("!has(self.transport.stdio) || !has(self.transport.stdio.environmentFrom) || !has(self.env) || self.transport.stdio.environmentFrom.all(v, !self.env.exists(e, e.name == v.name))").message("a variable is set both by server.env and by transport.stdio.environmentFrom; remove one")
)]
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
#[x_kube(validation = Rule::new("has(self.http) != has(self.stdio)").message("server.transport needs exactly one of http and stdio, as in http: {port: 3001, path: /mcp} or stdio: {}"))]
pub struct Transport {
    /// The server speaks Streamable HTTP on a port of the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpTransport>,
    /// The server speaks over its standard input and output. The bridge runs it in its own container and speaks to the
    /// audit sidecar over a unix socket, so that it listens on nothing. Needs server.command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdio: Option<StdioTransport>,
}

/// Streamable HTTP.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct HttpTransport {
    /// Port that the server listens on, on the loopback address or on all. No other pod can reach it.
    #[schemars(range(min = 1024, max = 65535))]
    #[x_kube(validation = Rule::new("!(self in [15080, 15081, 15090, 15091])").message("ports 15080, 15081, 15090 and 15091 belong to the audit sidecar; let the server listen on another port"))]
    pub port: u16,
    /// Path of the MCP endpoint, both inside and outside.
    #[serde(default = "mcp_path")]
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new("self.matches('^/[-A-Za-z0-9._~/]*$') && !self.contains('//') && !self.matches('/[.][.]?(/|$)')").message("transport.http.path must start with '/' and hold only letters, digits and -._~/, without '..' or '//'; as in /mcp"))]
    pub path: String,
}

/// Standard input and output.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct StdioTransport {
    /// Who shares a process of the server. PerSession: each MCP session has one of its own. Shared: one process serves all
    /// sessions; for servers that keep nothing of one caller that another must not see.
    #[serde(default)]
    pub sessions: StdioSessions,
    /// Path of the MCP endpoint outside.
    #[serde(default = "mcp_path")]
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new("self.matches('^/[-A-Za-z0-9._~/]*$') && !self.contains('//') && !self.matches('/[.][.]?(/|$)')").message("transport.stdio.path must start with '/' and hold only letters, digits and -._~/, without '..' or '//'; as in /mcp"))]
    pub path: String,
    /// Variables that the bridge sets from files of credentials, for the server's process alone. For servers that read a
    /// token from nowhere else: the pod's own environment never holds it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub environment_from: Vec<EnvironmentFrom>,
}

/// Who shares a process of a stdio server.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StdioSessions {
    /// Each MCP session has one of its own.
    #[default]
    PerSession,
    /// One process serves all sessions.
    Shared,
}

/// A variable of a stdio server, from a file of a credential.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct EnvironmentFrom {
    /// Name of the variable.
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(
        validation = Rule::new("self.matches('^[A-Za-z_][A-Za-z0-9_]*$')").message("environmentFrom[].name must be letters, digits and '_', not starting with a digit"),
        validation = Rule::new("!(self.upperAscii() in ['PATH', 'HOME', 'TMPDIR', 'HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY', 'NO_PROXY', 'NODE_USE_ENV_PROXY', 'NODE_OPTIONS', 'PYTHONPATH', 'LD_PRELOAD', 'LD_LIBRARY_PATH', 'LD_AUDIT']) && !self.upperAscii().startsWith('SALLYPORT_') && !self.upperAscii().startsWith('KUBERNETES_')").message("environmentFrom[].name is a variable that steers how the server runs, not a token; write it literally under server.env if it is yours to set, or choose another name")
    )]
    pub name: String,
    /// Name of the credential, as in spec.credentials.
    #[schemars(length(min = 1, max = 40))]
    pub credential: String,
    /// Key of the Secret: the name of the file.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[-._a-zA-Z0-9]+$') && self != '.' && self != '..'").message("environmentFrom[].key is a key of the Secret: letters, digits and -._, as in token"))]
    pub key: String,
}

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
        validation = Rule::new("!['/proc', '/sys', '/dev', '/etc', '/bin', '/sbin', '/lib', '/lib64', '/usr', '/boot', '/root', '/run', '/var/run', '/var/lib', '/var/cache/sallyport', '/sallyport', '/tmp'].exists(p, self == p || self.startsWith(p + '/') || p.startsWith(self + '/'))").message("writable.paths[].path must not be, hold or lie under a system directory (/proc, /sys, /dev, /etc, /bin, /sbin, /lib, /lib64, /usr, /boot, /root, /run, /var/run, /var/lib, /var/cache/sallyport, /sallyport); for /tmp use presets: [Tmp]")
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
