//! Who may do what.

use super::arguments::ArgumentBounds;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Who may do what. A call is allowed if a rule with effect Allow fits it and none with effect Deny does; what no rule allows is
/// denied, and not shown in lists. The order of rules never matters.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Authorization {
    /// The rules.
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub rules: Vec<AuthorizationRule>,
    /// Scopes that a scope implies, as in admin: [read, write]. Implications of implications count.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32, "additionalProperties" = {"type": "array", "maxItems": 32, "items": {"type": "string", "minLength": 1, "maxLength": 128}}))]
    #[x_kube(validation = Rule::new("self.all(s, size(s) <= 128 && s.matches('^[!#-Z^-~\\\\[\\\\]]+$') && self[s].all(i, i.matches('^[!#-Z^-~\\\\[\\\\]]+$')))").message("authorization.scopeImplications holds scopes: printable ASCII without space, quote and backslash, as in admin: [read, write]"))]
    pub scope_implications: BTreeMap<String, Vec<String>>,
}

/// One rule. It is about the tools, prompts and resources that it names, and about nothing of the kinds that it does not name;
/// methods, sideEffects and from narrow it. A rule that names methods alone is about methods without a name, such as
/// logging/setLevel.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.tools) || has(self.prompts) || has(self.resources) || has(self.methods)").message("authorization.rules[] is about nothing: name tools, prompts, resources or methods; ['*'] stands for all, as in tools: ['read_*']"),
    validation = Rule::new("self.effect != 'Deny' || !has(self.requires)").message("authorization.rules[] with effect: Deny has no requires: a denial has no exceptions; put requires into the rules that allow"),
    validation = Rule::new("!has(self.sideEffects) || has(self.tools)").message("authorization.rules[].sideEffects are of tools: name tools too, as in tools: ['*']")
)]
pub struct AuthorizationRule {
    /// What the rule is called in audit records.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$')").message("authorization.rules[].name is letters, digits and -_., as in readers"))]
    pub name: String,
    /// Allow: what fits is allowed, unless another rule denies it. Deny: what fits is denied, whatever other rules allow.
    #[serde(default)]
    pub effect: Effect,
    /// Callers: one entry fits. Every admitted caller, if left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub from: Vec<Caller>,
    /// Methods of MCP, * for any text. All that are about what the rule names, if left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 64)), extend("x-kubernetes-list-type" = "set"))]
    pub methods: Vec<String>,
    /// Tools by name, * for any text. None, if left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 128)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new("self.all(n, !n.matches('[\\\\p{C}]'))").message("authorization.rules[].tools has characters that cannot be seen: type the name anew"))]
    pub tools: Vec<String>,
    /// Prompts by name, * for any text. None, if left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 128)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new("self.all(n, !n.matches('[\\\\p{C}]'))").message("authorization.rules[].prompts has characters that cannot be seen: type the name anew"))]
    pub prompts: Vec<String>,
    /// Resources by URI, * for any text. None, if left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 512)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new("self.all(n, !n.matches('[\\\\p{C}]'))").message("authorization.rules[].resources has characters that cannot be seen: type the URI anew"))]
    pub resources: Vec<String>,
    /// Side effects of the tools, as spec.tools declares them. Any, if left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 3), extend("x-kubernetes-list-type" = "set"))]
    pub side_effects: Vec<super::tools::SideEffect>,
    /// What a call that fits has to bring along. Only of rules that allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires: Option<Requirements>,
}

/// Whether what fits a rule is allowed or denied.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Effect {
    /// Allowed, unless another rule denies it.
    #[default]
    Allow,
    /// Denied, whatever other rules allow.
    Deny,
}

/// Some callers: all that is written has to hold. Subjects, clients and roles mean nothing without who vouches for them: where
/// an endpoint takes tokens of several issuers, name the issuer too.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.kinds) || has(self.issuers) || has(self.subjects) || has(self.clients) || has(self.roles) || has(self.scopes) || has(self.claims) || has(self.flags)").message("authorization.rules[].from[] needs a condition, as in roles: [admin]; to mean every admitted caller leave from out"))]
pub struct Caller {
    /// What kind of caller; any of these. User: a token of a user. Client: a token of a client on nobody's behalf.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 5), extend("x-kubernetes-list-type" = "set"))]
    pub kinds: Vec<CallerKind>,
    /// Who vouches for the caller; exactly one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 8), inner(length(min = 1, max = 512)), extend("x-kubernetes-list-type" = "set"))]
    pub issuers: Vec<String>,
    /// The user or workload, * for any text. Never fits a client that calls on nobody's behalf.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 256)), extend("x-kubernetes-list-type" = "set"))]
    pub subjects: Vec<String>,
    /// The software that calls, * for any text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 256)), extend("x-kubernetes-list-type" = "set"))]
    pub clients: Vec<String>,
    /// Roles; the caller has at least one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 128)), extend("x-kubernetes-list-type" = "set"))]
    pub roles: Vec<String>,
    /// Scopes; the caller has all of these, or scopes that imply them. One without them is not told which scopes it lacks: to
    /// tell it, use requires.scopes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 128)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new("self.all(s, s.matches('^[!#-Z^-~\\\\[\\\\]]+$'))").message("a scope is printable ASCII without space, quote and backslash, as in files:read"))]
    pub scopes: Vec<String>,
    /// Claims of the token by name, or by JSON pointer (RFC 6901) where the name begins with a slash. Each is one of the values,
    /// or an array that holds one. A value is a text or an integer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("minProperties" = 1, "maxProperties" = 16, "additionalProperties" = {"type": "array", "minItems": 1, "maxItems": 32, "items": {"x-kubernetes-int-or-string": true}}))]
    pub claims: BTreeMap<String, Vec<IntOrString>>,
    /// Claims of the token that are true or false, as in email_verified: true.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("minProperties" = 1, "maxProperties" = 16))]
    pub flags: BTreeMap<String, bool>,
}

/// What kind of caller.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallerKind {
    /// One without a credential.
    Anonymous,
    /// One with an API key.
    ApiKey,
    /// One with a token of a user.
    User,
    /// One with a token of its own, on nobody's behalf.
    Client,
    /// One with a client certificate.
    Certificate,
}

/// What a call has to bring along to be allowed by a rule.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Requirements {
    /// Scopes, all of them. A caller who lacks one is told to ask for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 32), inner(length(min = 1, max = 128)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new("self.all(s, s.matches('^[!#-Z^-~\\\\[\\\\]]+$'))").message("a scope is printable ASCII without space, quote and backslash, as in files:read"))]
    pub scopes: Vec<String>,
    /// How and how lately the user was authenticated. A caller whose token does not say so is told to authenticate anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_up: Option<StepUp>,
    /// Bounds of the arguments, beside those of spec.tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<ArgumentBounds>,
}

/// How and how lately a user was authenticated (RFC 9470).
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.acr) || has(self.maxAgeSeconds)").message("stepUp is empty: give acr, maxAgeSeconds or both, as in maxAgeSeconds: 300"))]
pub struct StepUp {
    /// Authentication context class references in the order of preference; the token's acr is one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 8), inner(length(min = 1, max = 256)), extend("x-kubernetes-list-type" = "atomic"))]
    pub acr: Vec<String>,
    /// Largest time since auth_time in seconds. A token without auth_time does not suffice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_592_000))]
    pub max_age_seconds: Option<i32>,
}
