//! How an endpoint is bounded within its namespace.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
