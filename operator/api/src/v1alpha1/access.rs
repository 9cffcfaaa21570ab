//! Who may reach the endpoint over the network.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Who may call the endpoint.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Access {
    /// Pods that may call, each entry adding to the others. Nobody, if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub from: Vec<AccessPeer>,
    /// Origins of web pages that may call, as a browser sends them. None, if empty: a request with any Origin is refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 256)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = Rule::new("self.all(o, o.matches('^https://[a-z0-9][-a-z0-9.]*(:[0-9]{1,5})?$') || o.matches('^http://(localhost|127[.]0[.]0[.]1)(:[0-9]{1,5})?$'))").message("access.origins holds origins as browsers send them: https, host in lower case, no path, as in https://app.example.com; http for localhost alone"))]
    pub origins: Vec<String>,
    /// URL under which clients reach the endpoint from outside, through whatever leads there. Its host may be called, and
    /// metadata for clients names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new("self.matches('^https?://[a-z0-9][-a-z0-9.]*(:[0-9]{1,5})?(/[-A-Za-z0-9._~/]*)?$')").message("access.externalUrl is a URL with the host in lower case and without query, as in https://mcp.example.com/mcp"))]
    pub external_url: Option<String>,
    /// Pods that may read the metrics of the audit sidecar and the egress gateway, each entry adding to the others. Nobody but
    /// the operator, if empty. They reach their admin ports, which tell of health, the server, its tools and the gateway's
    /// policy, and never of a call's content.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub scrapers: Vec<AccessPeer>,
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

impl Access {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
