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
    /// The class does not let endpoints open the Kubernetes API.
    #[error(
        "{rule}.cidr is {address}, the Kubernetes API's address, which the endpoint's class does not open: remove the rule, or ask the platform's administrators for a class with egress: {{allowKubernetesApi: true}}"
    )]
    ClassKubernetesApi {
        /// Which field opens it.
        rule: String,
        /// The address.
        address: std::net::IpAddr,
    },
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
    /// There is no transport, or two.
    #[error(
        "server.transport needs exactly one of http and stdio, as in http: {{port: 3001, path: /mcp}} or stdio: {{}}"
    )]
    Transport,
    /// The bridge does not know what to run.
    #[error(
        "server.command is needed with transport.stdio: the bridge runs the server, and the image's entry point is known only once it is pulled; write the program and its arguments, as in command: [node, /app/index.js, stdio]"
    )]
    StdioCommand,
    /// A variable comes from a credential that the endpoint does not name.
    #[error(
        "server.transport.stdio.environmentFrom {variable:?}: credential {credential:?} must be the name of one of spec.credentials"
    )]
    EnvironmentCredential {
        /// The variable.
        variable: String,
        /// The credential.
        credential: String,
    },
    /// A variable that is no token.
    #[error(
        "server.transport.stdio.environmentFrom {name:?} is a variable that steers how the server runs, not a token; write it literally under server.env if it is yours to set, or choose another name"
    )]
    EnvironmentReserved {
        /// The variable.
        name: String,
    },
    /// The port is privileged or the sidecar's.
    #[error(
        "server.transport.http.port {port} must be 1024 or above and not 15080, 15081, 15090 or 15091, which belong to the audit sidecar"
    )]
    Port {
        /// The port.
        port: u16,
    },
    /// The path is not one.
    #[error(
        "server.transport path {path:?} must start with '/' and hold only letters, digits and -._~/, without '..' or '//'; as in /mcp"
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
    /// A credential or key has no source, or two.
    #[error(
        "{name}: from needs exactly one of sealedSecret and secret, as in from: {{sealedSecret: {{name: upstream-token}}}}"
    )]
    CredentialSource {
        /// The credential's name, or the key's field.
        name: String,
    },
    /// A key of a Secret or ConfigMap is not one.
    #[error("{field}: {key:?} is no key of a Secret or ConfigMap: write letters, digits and -._, as in keys.json")]
    DataKey {
        /// The field.
        field: String,
        /// The key.
        key: String,
    },
    /// The name of a ConfigMap is not one.
    #[error("the name of a ConfigMap is a-z, 0-9, '-' and '.', as in corporate-ca; not {name:?}")]
    ConfigMapName {
        /// The name.
        name: String,
    },
    /// The name of a secret is not one.
    #[error("the name of a secret is a-z, 0-9, '-' and '.', as in upstream-token; not {name:?}")]
    SecretName {
        /// The name.
        name: String,
    },
    /// A peer selects nothing.
    #[error("{field}[{index}] needs namespace, pods or both, as in namespace: {{matchLabels: {{team: agents}}}}")]
    AccessPeer {
        /// The field.
        field: &'static str,
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
    #[error("{rule}.host: {source}")]
    EgressHost {
        /// Which field opens it.
        rule: String,
        /// What is wrong with it.
        source: ParseHostError,
    },
    /// A host is not written as it is compared.
    #[error(
        "{rule}.host {host:?} must be in lower case and without a trailing dot, international names in their xn-- form: write {canonical}"
    )]
    EgressHostForm {
        /// Which field opens it.
        rule: String,
        /// The host.
        host: String,
        /// As it is compared.
        canonical: String,
    },
    /// A host of this cluster.
    #[error(
        "{rule}.host {host:?} must not be a name of this cluster, of this host or of a metadata service; for pods write service: {{namespace: ..., selector: ..., ports: [...]}}"
    )]
    EgressLocalHost {
        /// Which field opens it.
        rule: String,
        /// The host.
        host: String,
    },
    /// A destination has no form, or two.
    #[error(
        "{rule} needs exactly one of host, cidr and service; ports beside host and cidr alone, except beside cidr alone; as in {{host: api.example.com}} or {{cidr: 203.0.113.10/32, ports: [443]}}"
    )]
    EgressForm {
        /// Which field opens it.
        rule: String,
    },
    /// A host whose name cannot lead to the gateway.
    #[error(
        "{rule} with transparent needs a host with one name and port 443: a wildcard cannot be mapped to an address, and only TLS on port 443 is led by server name; write one rule with transparent for each name"
    )]
    EgressTransparent {
        /// Which field opens it.
        rule: String,
    },
    /// A host to which no credential can be added.
    #[error(
        "{rule}.inject needs a host with one name, without port 80: a credential goes to the host that is named, in TLS, and to no other; write one rule for each name"
    )]
    EgressInjectHost {
        /// Which field opens it.
        rule: String,
    },
    /// A host that is named twice, and to which a credential is added.
    #[error("{rule} names {host} again, to which another rule adds a credential: write one rule for it")]
    EgressInjectTwice {
        /// Which field opens it.
        rule: String,
        /// The host.
        host: String,
    },
    /// A host to which a credential is added and that the audit sidecar reaches too.
    #[error(
        "{rule} adds a credential to requests to {host}, which the audit sidecar reaches for {field}: it would meet the egress gateway in the host's place and admit nobody; leave that port out of the rule, or give the credential to the server instead of inject"
    )]
    EgressInjectSidecar {
        /// Which field opens it.
        rule: String,
        /// What the sidecar reaches it for.
        field: String,
        /// Host and ports that the sidecar reaches.
        host: String,
    },
    /// A header that cannot carry a credential.
    #[error("{rule}.inject: {source}")]
    EgressInject {
        /// Which field opens it.
        rule: String,
        /// What is wrong with it.
        source: InjectionError,
    },
    /// A key that is no file's name.
    #[error("{rule}.inject: {key:?} is not a key: letters, digits, '-', '_' and '.', as in token")]
    EgressInjectKey {
        /// Which field opens it.
        rule: String,
        /// The key.
        key: String,
    },
    /// A credential that the endpoint does not have.
    #[error("{rule}.inject.credential {name:?} must be the name of a credential under spec.credentials")]
    EgressInjectCredential {
        /// Which field opens it.
        rule: String,
        /// The name.
        name: String,
    },
    /// The name of a ConfigMap is not one.
    #[error(
        "{rule}.inject.authorities.configMap {name:?}: the name of a ConfigMap is a-z, 0-9, '-' and '.', as in company-authorities"
    )]
    EgressInjectAuthorities {
        /// Which field opens it.
        rule: String,
        /// The name.
        name: String,
    },
    /// A destination has no ports.
    #[error("{rule} needs ports, as in ports: [443]")]
    EgressPorts {
        /// Which field opens it.
        rule: String,
    },
    /// A port is never open.
    #[error(
        "{rule} port {port}: ports are 1 to 65535; 53, 853 and 5353 (DNS, a way to leak data) and 15070 (the operator's canary) are never open to a server, and 6443 (Kubernetes API) only by a cidr rule for the API server's very address, where the class says egress: {{allowKubernetesApi: true}}; remove it"
    )]
    EgressPort {
        /// Which field opens it.
        rule: String,
        /// The port.
        port: i32,
    },
    /// A network is not one.
    #[error("{rule}: {source}")]
    EgressNetwork {
        /// Which field opens it.
        rule: String,
        /// What is wrong with it.
        source: ParseNetworkError,
    },
    /// A network is too wide to have been thought through.
    #[error(
        "{rule}.cidr {cidr} is too wide: write the networks that the server needs, at least /8 for IPv4 and /32 for IPv6"
    )]
    EgressTooWide {
        /// Which field opens it.
        rule: String,
        /// The network.
        cidr: String,
    },
    /// A network that no server may reach.
    #[error(
        "{rule}.cidr {cidr} names loopback, link-local, multicast, the Kubernetes API or a cloud's metadata service, which no server may reach; remove it"
    )]
    EgressForbidden {
        /// Which field opens it.
        rule: String,
        /// The network.
        cidr: String,
    },
    /// An exception is not inside its network.
    #[error("{rule}.except {except} must lie inside cidr, as in cidr: 10.0.0.0/8 with except: [10.1.0.0/16]")]
    EgressExcept {
        /// Which field opens it.
        rule: String,
        /// The exception.
        except: String,
    },
    /// A namespace that no server may reach, or none.
    #[error("{rule}.service.namespace {namespace:?} must be the name of a namespace other than kube-system")]
    EgressNamespace {
        /// Which field opens it.
        rule: String,
        /// The namespace.
        namespace: String,
    },
    /// Nothing says who may call.
    #[error(
        "authentication needs apiKeys, oauth or clientCertificates; or write anonymous: true, if the network alone shall decide who may call"
    )]
    AuthenticationMethod,
    /// The class wants callers to be known.
    #[error(
        "callers without a credential are not allowed by the endpoint's class: write authentication with apiKeys, oauth or clientCertificates and without anonymous, or ask the platform's administrators for a class with allowAnonymous: true"
    )]
    ClassAnonymous,
    /// Certificates are shown in the TLS handshake.
    #[error(
        "authentication.clientCertificates needs tls: callers show their certificates in the TLS handshake; write tls: {{from: {{sealedSecret: {{name: ...}}}}}}"
    )]
    CertificatesWithoutTls,
    /// The resource is not the endpoint's URL.
    #[error(
        "authentication.oauth.resource {resource:?} must be the URL that clients call: https, host in lower case, the endpoint's path, no query, as in https://mcp.example.com/mcp; http for a host of this cluster alone"
    )]
    Resource {
        /// What was written.
        resource: String,
    },
    /// A scope that clients cannot be told of.
    #[error(
        "authentication.oauth.scopesSupported {scope:?}: names of scopes have no white space, quotes, '*' and '\\', and offline_access is not the endpoint's to give"
    )]
    ScopeSupported {
        /// The scope.
        scope: String,
    },
    /// Nobody issues tokens.
    #[error("authentication.oauth.issuers names no authorization server: name one whose tokens are taken")]
    Issuers,
    /// Several issuers would see each other's tokens.
    #[error(
        "authentication.oauth.issuers: at most one issuer may use introspection, since a token without a readable issuer would be shown to all of them; verify the tokens of the others by jwks"
    )]
    Introspections,
    /// An issuer is not a URL.
    #[error(
        "authentication.oauth.issuers[].issuer {issuer:?} must be the authorization server's https URL without query, as in https://login.example.com/"
    )]
    Issuer {
        /// What was written.
        issuer: String,
    },
    /// An issuer's tokens can be verified in no way, or in two.
    #[error(
        "authentication.oauth.issuers {issuer:?} needs exactly one of jwks and introspection, as in jwks: {{url: https://login.example.com/jwks.json}}"
    )]
    IssuerForm {
        /// The issuer.
        issuer: String,
    },
    /// What the sidecar asks is not an https URL.
    #[error(
        "{field}: {url:?} must be an https URL with a host name in lower case, as in https://login.example.com/jwks.json"
    )]
    TargetUrl {
        /// The field.
        field: String,
        /// The URL.
        url: String,
    },
    /// What the sidecar reaches directly has no address.
    #[error(
        "{field}: {url:?} must be http or https with an address and a port, as in http://10.96.12.34:4318: the pod has no resolver, so write the address of the Service"
    )]
    TargetAddress {
        /// The field.
        field: String,
        /// The URL.
        url: String,
    },
    /// Replicas share no keys.
    #[error(
        "sealing is needed with several replicas and authentication or confirmation (tools.sideEffects alone asks for confirmation too): sessions and confirmations belong to one caller on every replica, so the replicas share keys; write sealing: {{from: {{sealedSecret: {{name: ...}}}}}}, or replicas: 1, or, without authentication, confirmation: {{destructive: false}}"
    )]
    SealingMissing,
    /// No rules.
    #[error("authorization.rules is empty, which would deny everything: write a rule, or leave authorization out")]
    Rules,
    /// The policy's own types refuse it.
    #[error("{field}: {message}")]
    Policy {
        /// The field.
        field: &'static str,
        /// What is wrong, and what to write.
        message: String,
    },
    /// Tools are named and excluded at once.
    #[error("confirmation.tools adds to the destructive tools; with destructive: false leave it out")]
    ConfirmedTools,
    /// The class wants people to confirm.
    #[error(
        "confirmation.legacy: Token is not allowed by the endpoint's class, since no person needs to have seen what is confirmed: write legacy: Deny, or ask the platform's administrators for a class with allowTokenConfirmation: true"
    )]
    ClassToken,
    /// A number is out of bounds.
    #[error("{field} {value} is out of bounds: see `kubectl explain mcpendpoint.spec.{field}`")]
    Limit {
        /// The field.
        field: &'static str,
        /// The number.
        value: i64,
    },
    /// The class allows less.
    #[error(
        "{field} {value} is more than the endpoint's class allows: write {most} at most, or ask the platform's administrators for a class with a higher ceiling"
    )]
    Ceiling {
        /// The field.
        field: &'static str,
        /// What was written.
        value: i64,
        /// What the class allows.
        most: i64,
    },
    /// An origin is not one.
    #[error(
        "access.origins {origin:?} must be an origin as browsers send it: https, host in lower case, no path, as in https://app.example.com; http for localhost alone"
    )]
    Origin {
        /// The origin.
        origin: String,
    },
    /// The external URL is not one.
    #[error(
        "access.externalUrl {url:?} must be a URL with the host in lower case and without query, as in https://mcp.example.com/mcp"
    )]
    ExternalUrl {
        /// The URL.
        url: String,
    },
    /// The number of pods is out of bounds.
    #[error("replicas {replicas} must be from 1 to 20")]
    Replicas {
        /// The number.
        replicas: i32,
    },
}
