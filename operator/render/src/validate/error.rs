//! Why an endpoint cannot be rendered.

use crate::ParseNetworkError;
use sallyport_api::quantity;
use sallyport_policy::egress::{InjectionError, ParseHostError};

/// Why an endpoint cannot be rendered. Each message says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValidateError {
    /// The object was never stored by an API server.
    #[error("{field} is missing: give the object one")]
    Incomplete {
        /// The field.
        field: &'static str,
    },
    /// The name cannot be a Service's.
    #[error(
        "metadata.name {name:?} becomes the name of a Service: write at most 52 characters of a-z, 0-9 and '-', starting with a letter"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// The name is that of an object of Kubernetes or of the operator.
    #[error(
        "metadata.name {name:?} must not be 'default' or 'kubernetes' or start with 'sallyport': objects of such names are Kubernetes' or the operator's own; choose another name"
    )]
    ReservedName {
        /// The name.
        name: String,
    },
    /// The name is that of an egress gateway's objects.
    #[error(
        "metadata.name {name:?} must not end with '-egress': objects of such names are egress gateways of other endpoints; choose another name"
    )]
    GatewayName {
        /// The name.
        name: String,
    },
    /// The class is not there.
    #[error(
        "className {name:?} names no McpEndpointClass of this cluster: ask the platform's administrators for one of that name, or choose one of `kubectl get mcpec`, or leave className out"
    )]
    ClassMissing {
        /// The class.
        name: String,
    },
    /// The class does not let endpoints ask for names.
    #[error(
        "egress.dns: ClusterDNS is not allowed by the endpoint's class, since data can leave inside the questions: reach hosts by name with egress.allow[].host, which needs no DNS, or ask the platform's administrators for a class with egress: {{allowClusterDns: true}}"
    )]
    ClassDns,
    /// The image is not pinned.
    #[error(
        "server.image {image:?} must be pinned by digest, as in registry.example/mcp/server@sha256:<64 hex digits>; a tag alone can change under you"
    )]
    Image {
        /// The image.
        image: String,
    },
    /// The command's program has no name.
    #[error("server.command[0] must name the program to run")]
    Command,
    /// There is no transport.
    #[error("server.transport needs http: {{port: ..., path: /mcp}}")]
    Transport,
    /// There is no bridge for stdio servers.
    #[error(
        "server.transport.stdio is not available yet: this version has no bridge for stdio servers; run the server with its Streamable HTTP transport and write http: {{port: ..., path: /mcp}}"
    )]
    Stdio,
    /// The port is privileged or the sidecar's.
    #[error(
        "server.transport.http.port {port} must be 1024 or above and not 15080, 15090 or 15091, which belong to the audit sidecar"
    )]
    Port {
        /// The port.
        port: u16,
    },
    /// The path is not one.
    #[error(
        "server.transport.http.path {path:?} must start with '/' and hold only letters, digits and -._~/, without '..' or '//'; as in /mcp"
    )]
    Path {
        /// The path.
        path: String,
    },
    /// An amount is not one.
    #[error("{field}: {source}")]
    Amount {
        /// The field.
        field: String,
        /// What is wrong with it.
        source: quantity::ParseError,
    },
    /// An amount is out of bounds.
    #[error("{field} {amount} must be from {least} to {most}")]
    AmountRange {
        /// The field.
        field: String,
        /// What was written.
        amount: String,
        /// Smallest that is allowed.
        least: &'static str,
        /// Largest that is allowed.
        most: &'static str,
    },
    /// A writable path is not a directory's.
    #[error(
        "writable.paths[].path {path:?} must be an absolute directory without '..', '.' or a trailing '/', as in /data"
    )]
    WritablePath {
        /// The path.
        path: String,
    },
    /// A writable path is the system's.
    #[error(
        "writable.paths[].path {path:?} must not be or hold or lie under a system directory; write a directory of the server's own, as in /data; for /tmp use presets: [Tmp]"
    )]
    SystemPath {
        /// The path.
        path: String,
    },
    /// Two presets set the same variable.
    #[error(
        "writable.presets: NodeCache and PythonCache both set XDG_CACHE_HOME; choose one and write other directories under writable.paths"
    )]
    Presets,
    /// An environment variable has no valid name.
    #[error("server.env[].name {name:?} must be letters, digits and '_', not starting with a digit")]
    EnvName {
        /// The name.
        name: String,
    },
    /// An environment variable is the operator's.
    #[error(
        "server.env {name:?} is the operator's: it sets proxy variables itself and refuses LD_*, SALLYPORT_* and KUBERNETES_* names; remove it"
    )]
    EnvReserved {
        /// The name.
        name: String,
    },
    /// An environment variable looks like a secret.
    #[error(
        "server.env {name:?} must not hold secrets: seal the value, name it under spec.credentials and give the server the path of the file, as in /var/run/secrets/sallyport/upstream/token"
    )]
    EnvSecret {
        /// The name.
        name: String,
    },
    /// A name appears twice.
    #[error("{field} {name:?} appears twice: remove one")]
    Duplicate {
        /// The field.
        field: &'static str,
        /// The name.
        name: String,
    },
    /// A credential's name cannot be a directory's and a volume's.
    #[error("credentials[].name {name:?} must be at most 40 characters of a-z, 0-9 and '-', as in upstream")]
    CredentialName {
        /// The name.
        name: String,
    },
    /// A credential has no source, or two.
    #[error(
        "credentials {name:?}: from needs exactly one of sealedSecret and secret, as in from: {{sealedSecret: {{name: upstream-token}}}}"
    )]
    CredentialSource {
        /// The credential's name.
        name: String,
    },
    /// The name of a secret is not one.
    #[error("the name of a secret is a-z, 0-9, '-' and '.', as in upstream-token; not {name:?}")]
    SecretName {
        /// The name.
        name: String,
    },
    /// A peer selects nothing.
    #[error("access.from[{index}] needs namespace, pods or both, as in namespace: {{matchLabels: {{team: agents}}}}")]
    AccessPeer {
        /// Position in the list.
        index: usize,
    },
    /// Labels that Kubernetes does not allow, or none.
    #[error("{field} holds at least one label, with key and value as Kubernetes allows them, as in team: agents")]
    Labels {
        /// The field.
        field: String,
    },
    /// A host is not a name, or one that is never open.
    #[error("egress.allow[{index}].host: {source}")]
    EgressHost {
        /// Position in the list.
        index: usize,
        /// What is wrong with it.
        source: ParseHostError,
    },
    /// A host is not written as it is compared.
    #[error(
        "egress.allow[{index}].host {host:?} must be in lower case and without a trailing dot, international names in their xn-- form: write {canonical}"
    )]
    EgressHostForm {
        /// Position in the list.
        index: usize,
        /// The host.
        host: String,
        /// As it is compared.
        canonical: String,
    },
    /// A host of this cluster.
    #[error(
        "egress.allow[{index}].host {host:?} must not be a name of this cluster, of this host or of a metadata service; for pods write service: {{namespace: ..., selector: ..., ports: [...]}}"
    )]
    EgressLocalHost {
        /// Position in the list.
        index: usize,
        /// The host.
        host: String,
    },
    /// A destination has no form, or two.
    #[error(
        "egress.allow[{index}] needs exactly one of host, cidr and service; ports beside host and cidr alone, except beside cidr alone; as in {{host: api.example.com}} or {{cidr: 203.0.113.10/32, ports: [443]}}"
    )]
    EgressForm {
        /// Position in the list.
        index: usize,
    },
    /// A host whose name cannot lead to the gateway.
    #[error(
        "egress.allow[{index}] with transparent needs a host with one name and port 443: a wildcard cannot be mapped to an address, and only TLS on port 443 is led by server name; write one rule with transparent for each name"
    )]
    EgressTransparent {
        /// Position in the list.
        index: usize,
    },
    /// A host to which no credential can be added.
    #[error(
        "egress.allow[{index}].inject needs a host with one name, without port 80: a credential goes to the host that is named, in TLS, and to no other; write one rule for each name"
    )]
    EgressInjectHost {
        /// Position in the list.
        index: usize,
    },
    /// A host that is named twice, and to which a credential is added.
    #[error("egress.allow[{index}] names {host} again, to which another rule adds a credential: write one rule for it")]
    EgressInjectTwice {
        /// Position in the list.
        index: usize,
        /// The host.
        host: String,
    },
    /// A header that cannot carry a credential.
    #[error("egress.allow[{index}].inject: {source}")]
    EgressInject {
        /// Position in the list.
        index: usize,
        /// What is wrong with it.
        source: InjectionError,
    },
    /// A key that is no file's name.
    #[error("egress.allow[{index}].inject: {key:?} is not a key: letters, digits, '-', '_' and '.', as in token")]
    EgressInjectKey {
        /// Position in the list.
        index: usize,
        /// The key.
        key: String,
    },
    /// A credential that the endpoint does not have.
    #[error("egress.allow[{index}].inject.credential {name:?} must be the name of a credential under spec.credentials")]
    EgressInjectCredential {
        /// Position in the list.
        index: usize,
        /// The name.
        name: String,
    },
    /// The name of a ConfigMap is not one.
    #[error(
        "egress.allow[{index}].inject.authorities.configMap {name:?}: the name of a ConfigMap is a-z, 0-9, '-' and '.', as in company-authorities"
    )]
    EgressInjectAuthorities {
        /// Position in the list.
        index: usize,
        /// The name.
        name: String,
    },
    /// A destination has no ports.
    #[error("egress.allow[{index}] needs ports, as in ports: [443]")]
    EgressPorts {
        /// Position in the list.
        index: usize,
    },
    /// A port is never open.
    #[error(
        "egress.allow[{index}] port {port}: ports are 1 to 65535; 6443 (Kubernetes API), 53, 853 and 5353 (DNS, a way to leak data) and 15070 (the operator's canary) are never open to a server; remove it"
    )]
    EgressPort {
        /// Position in the list.
        index: usize,
        /// The port.
        port: i32,
    },
    /// A network is not one.
    #[error("egress.allow[{index}]: {source}")]
    EgressNetwork {
        /// Position in the list.
        index: usize,
        /// What is wrong with it.
        source: ParseNetworkError,
    },
    /// A network is too wide to have been thought through.
    #[error(
        "egress.allow[{index}].cidr {cidr} is too wide: write the networks that the server needs, at least /8 for IPv4 and /32 for IPv6"
    )]
    EgressTooWide {
        /// Position in the list.
        index: usize,
        /// The network.
        cidr: String,
    },
    /// A network that no server may reach.
    #[error(
        "egress.allow[{index}].cidr {cidr} names loopback, link-local, multicast, the Kubernetes API or a cloud's metadata service, which no server may reach; remove it"
    )]
    EgressForbidden {
        /// Position in the list.
        index: usize,
        /// The network.
        cidr: String,
    },
    /// An exception is not inside its network.
    #[error(
        "egress.allow[{index}].except {except} must lie inside cidr, as in cidr: 10.0.0.0/8 with except: [10.1.0.0/16]"
    )]
    EgressExcept {
        /// Position in the list.
        index: usize,
        /// The exception.
        except: String,
    },
    /// A namespace that no server may reach, or none.
    #[error(
        "egress.allow[{index}].service.namespace {namespace:?} must be the name of a namespace other than kube-system"
    )]
    EgressNamespace {
        /// Position in the list.
        index: usize,
        /// The namespace.
        namespace: String,
    },
    /// The number of pods is out of bounds.
    #[error("replicas {replicas} must be from 1 to 20")]
    Replicas {
        /// The number.
        replicas: i32,
    },
}
