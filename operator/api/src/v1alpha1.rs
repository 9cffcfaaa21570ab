//! `McpEndpoint` v1alpha1.
//!
//! The doc comments below are the user's documentation (`kubectl explain`, `docs/reference`). Every string and list is
//! bounded, both for its own sake and because the API server estimates the cost of the CEL rules from the bounds.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

mod access;
mod arguments;
mod audit;
mod authentication;
mod authorization;
mod class;
mod confirmation;
mod credentials;
mod egress;
mod inject;
mod isolation;
mod limits;
mod server;
mod status;
mod tools;

pub use access::{Access, AccessPeer, MatchLabels};
pub use arguments::{ArgumentBounds, ArrayBound, Bound, NumberBound, PathBound, StringBound};
pub use audit::{Audit, AuditArguments, AuditFormat, OnSinkFailure, Otlp};
pub use authentication::{
    Algorithm, ApiKeys, Authentication, ClaimNames, ClientCertificates, ClientSecret, Introspection, Issuer, Jwks,
    OAuth, Sealing, Tls, TokenType,
};
pub use authorization::{Authorization, AuthorizationRule, Caller, CallerKind, Effect, Requirements, StepUp};
pub use class::{EgressCeiling, LimitCeilings, McpEndpointClass, McpEndpointClassSpec, NetworkEnforcement};
pub use confirmation::{Confirmation, LegacyConfirmation};
pub use credentials::{CaBundle, ConfigMapKey, Credential, CredentialSource, SecretRef};
pub use egress::{Egress, EgressDns, EgressMode, EgressRule, ServiceDestination};
pub use inject::CredentialInjection;
pub use isolation::{Isolation, QuotaMode};
pub use limits::{Limits, Rate, Rates, ToolRate};
pub use server::{
    EnvVar, EnvironmentFrom, HttpTransport, Resources, Server, StdioSessions, StdioTransport, Transport, Writable,
    WritablePath, WritablePreset,
};
pub use status::{
    AuditAnchor, AuditStatus, AuditWriter, CredentialStatus, Footprint, McpEndpointStatus, Posture, ServerInfo,
    ToolStatus, ToolsStatus,
};
pub use tools::{Pin, SideEffect, SideEffectRule, ToolArguments, Tools, Unpinned};

/// Port on which the audit sidecar serves MCP in the pod.
pub const SIDECAR_PORT: u16 = 15080;
/// Port on which the audit sidecar serves health and metrics in the pod.
pub const SIDECAR_ADMIN_PORT: u16 = 15090;
/// Port on which audit sidecars of one endpoint ask each other to use up a confirmation.
pub const SIDECAR_PEER_PORT: u16 = 15081;
/// Port on which the audit sidecar certifies to the endpoint's egress gateway that it may end TLS, if credentials are
/// injected.
pub const SIGNER_PORT: u16 = 15091;
/// Port of the operator's canary: a listener that every endpoint's pods must be refused, which proves that their egress is
/// closed. No endpoint may open it.
pub const CANARY_PORT: u16 = 15070;
/// Port of an endpoint's Service without TLS.
pub const SERVICE_PORT: u16 = 8080;
/// Port of an endpoint's Service with TLS.
pub const SERVICE_TLS_PORT: u16 = 443;
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
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Replicas", type_ = "string", json_path = ".status.readyReplicas"),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1),
    printcolumn(name = "Server", type_ = "string", json_path = ".status.server.name", priority = 1),
    printcolumn(name = "Image", type_ = "string", json_path = ".spec.server.image", priority = 1)
)]
#[x_kube(
    validation = Rule::new("!has(self.authentication) || !has(self.authentication.clientCertificates) || has(self.tls)").message("authentication.clientCertificates needs tls: callers show their certificates in the TLS handshake; write tls: {from: {sealedSecret: {name: ...}}}"),
    validation = Rule::new("self.replicas <= 1 || has(self.sealing) || (!(has(self.confirmation) ? self.confirmation.destructive : has(self.tools) && has(self.tools.sideEffects) && self.tools.sideEffects.size() > 0) && (!has(self.authentication) || !(has(self.authentication.apiKeys) || has(self.authentication.oauth) || has(self.authentication.clientCertificates))))").message("sealing is needed with several replicas and authentication or confirmation (tools.sideEffects alone asks for confirmation too): sessions and confirmations belong to one caller on every replica, so the replicas share keys; write sealing: {from: {sealedSecret: {name: ...}}}, or replicas: 1, or, without authentication, confirmation: {destructive: false}"),
    validation = Rule::new("!has(self.server.transport.stdio) || !has(self.server.transport.stdio.environmentFrom) || self.server.transport.stdio.environmentFrom.all(v, has(self.credentials) && self.credentials.exists(c, c.name == v.credential))").message("server.transport.stdio.environmentFrom[].credential must be the name of one of spec.credentials"),
    validation = Rule::new("!has(self.egress) || !has(self.egress.allow) || self.egress.allow.all(r, !has(r.inject) || (has(self.credentials) && self.credentials.exists(c, c.name == r.inject.credential)))").message("egress.allow[].inject.credential must be the name of a credential under spec.credentials")
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
    /// Never in the pod's environment. A token that egress.allow[].inject names is mounted into the egress gateway alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub credentials: Vec<Credential>,
    /// Who may call the endpoint. Nobody, if left out.
    #[serde(default, skip_serializing_if = "Access::is_default")]
    pub access: Access,
    /// How callers prove who they are. If left out, whoever reaches the endpoint may call, anonymously, as far as the class
    /// allows that; status.posture then says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<Authentication>,
    /// TLS on the port that callers reach. Plain HTTP, if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Who may do what. If left out, every admitted caller may call every tool that spec.tools lets through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<Authorization>,
    /// What the server's tools may do, and which of their definitions are approved. Every tool of whatever definition may be
    /// called, if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Tools>,
    /// Which calls a person confirms before they reach the server. If left out: those of destructive tools, as soon as
    /// spec.tools.sideEffects says what tools may do; none before that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmation: Option<Confirmation>,
    /// Keys that the replicas share, for what belongs to one caller on all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealing: Option<Sealing>,
    /// Bounds on requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
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

/// A Secret that an endpoint names, with its place in the spec.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedSecret {
    /// Name of the credential, or the field of a key that the audit sidecar reads. No two are equal: names of credentials hold
    /// no dot.
    pub name: String,
    /// Where it comes from.
    pub from: CredentialSource,
}

/// Name of the Secret with the hashes of callers' keys, as in [`NamedSecret`].
pub const API_KEYS: &str = "authentication.apiKeys";
/// Name of the Secret with the client secret of the issuer that is asked, as in [`NamedSecret`].
pub const CLIENT_SECRET: &str = "authentication.oauth.clientSecret";
/// Name of the Secret with the certificate, as in [`NamedSecret`].
pub const TLS: &str = "tls.from";
/// Name of the Secret with the sealing keys, as in [`NamedSecret`].
pub const SEALING: &str = "sealing.from";

impl McpEndpointSpec {
    /// Every Secret that the server or the audit sidecar mounts.
    pub fn secrets(&self) -> Vec<NamedSecret> {
        let named = |name: &str, from: &CredentialSource| NamedSecret {
            name: name.to_owned(),
            from: from.clone(),
        };
        let credentials = self.credentials.iter();
        let mut secrets: Vec<_> = credentials
            .map(|credential| named(&credential.name, &credential.from))
            .collect();
        if let Some(authentication) = &self.authentication {
            let keys = authentication.api_keys.iter();
            secrets.extend(keys.map(|keys| named(API_KEYS, &keys.from)));
            let issuers = authentication.oauth.iter().flat_map(|oauth| &oauth.issuers);
            let asked = issuers.filter_map(|issuer| issuer.introspection.as_ref()).take(1);
            secrets.extend(asked.map(|asked| named(CLIENT_SECRET, &asked.client_secret.from)));
        }
        secrets.extend(self.tls.iter().map(|tls| named(TLS, &tls.from)));
        secrets.extend(self.sealing.iter().map(|sealing| named(SEALING, &sealing.from)));
        secrets
    }

    /// Whether the endpoint has an egress gateway: for the server, or because the audit sidecar asks issuers of tokens.
    pub fn needs_gateway(&self) -> bool {
        let asks_issuers = self.authentication.as_ref().is_some_and(|how| how.oauth.is_some());
        asks_issuers || self.egress.needs_gateway()
    }
}

fn one() -> i32 {
    1
}
