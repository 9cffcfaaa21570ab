//! What the server's tools may do, and which of their definitions are approved.

use super::arguments::ArgumentBounds;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the endpoint says of the server's tools. It holds for every caller, before any rule of authorization.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Tools {
    /// What tools may do. The first entry that fits a tool counts; a tool that none fits is Destructive. What the server says of
    /// itself can only make a tool look worse.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub side_effects: Vec<SideEffectRule>,
    /// Approved definitions of tools. A tool with another definition is not shown, and its calls are denied. A tool may have
    /// several, so that a server can be replaced without a gap.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name", "sha256"]))]
    pub pins: Vec<Pin>,
    /// What becomes of tools without a pin. Deny: they are not shown, and their calls are denied. Allow: they may be called, as
    /// far as rules allow. If left out: Deny with pins, Allow without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpinned: Option<Unpinned>,
    /// Bounds of the arguments, whoever calls. All entries that fit a tool hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub arguments: Vec<ToolArguments>,
    /// Extensions of MCP that client and server may use, by their identifiers. Others are taken out of what the server says that
    /// it can do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 256)), extend("x-kubernetes-list-type" = "set"))]
    pub extensions: Vec<String>,
}

/// What some tools may do.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SideEffectRule {
    /// Tools by name, * for any text: one of these fits.
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 128)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new("self.all(n, !n.matches('[\\\\p{C}]'))").message("tools.sideEffects[].tools has characters that cannot be seen: type the name anew"))]
    pub tools: Vec<String>,
    /// What they may do.
    pub side_effect: SideEffect,
}

/// What a tool may do, from harmless to harmful.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum SideEffect {
    /// It changes nothing.
    ReadOnly,
    /// It adds or changes, and what it does can be undone.
    Write,
    /// It may destroy.
    Destructive,
}

/// The approved definition of a tool.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Name of the tool.
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new("self.matches('^[!-~]([ -~]*[!-~])?$')").message("tools.pins[].name is the name of a tool: printable ASCII"))]
    pub name: String,
    /// SHA-256 over the canonical form (RFC 8785) of its whole definition, as status.tools shows it.
    #[schemars(length(min = 64, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9a-f]{64}$')").message("tools.pins[].sha256 is 64 lower-case hexadecimal digits, as status.tools shows them"))]
    pub sha256: String,
}

/// What becomes of tools without a pin.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpinned {
    /// They are not shown, and their calls are denied.
    Deny,
    /// They may be called, as far as rules allow.
    Allow,
}

/// Bounds of the arguments of some tools.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct ToolArguments {
    /// Tools by name, * for any text: one of these fits.
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 128)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new("self.all(n, !n.matches('[\\\\p{C}]'))").message("tools.arguments[].tools has characters that cannot be seen: type the name anew"))]
    pub tools: Vec<String>,
    /// The bounds.
    pub bounds: ArgumentBounds,
}
