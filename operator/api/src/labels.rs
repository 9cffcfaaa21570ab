//! Labels, annotations and names that the operator puts on what it owns.

/// Value of [`MANAGED_BY`] on every child, and the prefix of the field managers.
pub const OPERATOR: &str = "sallyport";

/// Field manager of everything the operator applies.
pub const FIELD_MANAGER: &str = "sallyport";

/// Field manager of `status`.
pub const STATUS_FIELD_MANAGER: &str = "sallyport/status";

/// Who manages an object (Kubernetes recommended label).
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// What an object is part of (Kubernetes recommended label).
pub const PART_OF: &str = "app.kubernetes.io/part-of";

/// Which part of an endpoint an object is: `server` or `egress`.
pub const COMPONENT: &str = "app.kubernetes.io/component";

/// Name of the endpoint that an object belongs to.
///
/// The only label that NetworkPolicies, Services and Deployments of an endpoint select by. It is set by the operator
/// alone. `app.kubernetes.io/instance` is not used: Argo CD may track applications by it.
pub const ENDPOINT: &str = "sallyport.dev/endpoint";

/// Name of the endpoint whose egress gateway a pod is.
///
/// Pods of a gateway carry this label and not [`ENDPOINT`], so that neither the server's policy nor its Service selects
/// them; the gateway's other objects carry [`ENDPOINT`].
pub const EGRESS_OF: &str = "sallyport.dev/egress-of";

/// Ends the name of every object of an egress gateway. No endpoint's name ends so.
pub const GATEWAY_SUFFIX: &str = "-egress";

/// Name of the endpoint whose child bears `name`.
pub fn endpoint_of(name: &str) -> &str {
    name.strip_suffix(GATEWAY_SUFFIX).unwrap_or(name)
}

/// Name of the object of an endpoint's egress gateway.
pub fn gateway_of(endpoint: &str) -> String {
    format!("{endpoint}{GATEWAY_SUFFIX}")
}

/// SHA-256 (first 16 hex digits) of the policy file; on the pod template, so that a changed policy rolls out.
pub const POLICY_HASH: &str = "sallyport.dev/policy-hash";

/// SHA-256 (first 16 hex digits) over the ciphertexts of the referenced SealedSecrets; on the pod template, so that a new
/// ciphertext rolls out.
pub const CREDENTIALS_HASH: &str = "sallyport.dev/credentials-hash";

/// Name of the NetworkPolicy that closes every endpoint pod of a namespace, whatever else happens.
///
/// It belongs to no single endpoint, so it outlives each of them until the last pod is gone.
pub const FENCE: &str = "sallyport-fence";

/// Name of the NetworkPolicy that closes every egress gateway's pods of a namespace, as [`FENCE`] does for servers'.
pub const GATEWAY_FENCE: &str = "sallyport-fence-egress";

/// Name of the ResourceQuota that bounds all endpoints of a namespace.
pub const QUOTA: &str = "sallyport";

/// PriorityClass that endpoint pods carry and that the quota is scoped to, unless the operator is told another.
pub const PRIORITY_CLASS: &str = "sallyport-endpoint";

/// Annotation of the class that holds for endpoints which name none.
pub const DEFAULT_CLASS: &str = "sallyport.dev/is-default-class";
