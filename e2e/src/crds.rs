//! CustomResourceDefinitions of others, as their projects publish them in modules that `e2e/crds` pins.

use crate::{
    Context, Result,
    command::{program, run},
    tool::checkout,
};
use serde_json::Value;
use std::path::PathBuf;

/// A CustomResourceDefinition of another project.
#[derive(Clone, Copy, Debug)]
pub struct Crd {
    /// Its name in a cluster.
    pub name: &'static str,
    module: &'static str,
    file: &'static str,
}

/// Cilium's network policies.
pub const CILIUM: Crd = Crd {
    name: "ciliumnetworkpolicies.cilium.io",
    module: "github.com/cilium/cilium",
    file: "pkg/k8s/apis/cilium.io/client/crds/v2/ciliumnetworkpolicies.yaml",
};

/// The cluster-wide network policies of the Network Policy API.
pub const CLUSTER: Crd = Crd {
    name: "clusternetworkpolicies.policy.networking.k8s.io",
    module: "sigs.k8s.io/network-policy-api",
    file: "config/crd/standard/policy.networking.k8s.io_clusternetworkpolicies.yaml",
};

impl Crd {
    /// The definition as YAML, from the pinned module, which Go checks against its sum.
    ///
    /// # Errors
    ///
    /// When the module cannot be downloaded, or has no such file.
    pub async fn yaml(&self) -> Result<String> {
        let pins = checkout().join("e2e/crds");
        let text = std::fs::read_to_string(pins.join("go.mod")).context("read e2e/crds/go.mod")?;
        let pin = text.lines().find_map(|line| line.trim().strip_prefix(self.module));
        let version = pin.context(format!("e2e/crds/go.mod has no {}", self.module))?.trim();
        let wanted = format!("{}@{version}", self.module);
        let mut command = program("go", ["mod", "download", "-json", &wanted]);
        command.current_dir(&pins);
        let answer: Value = serde_json::from_str(&run(command).await?)?;
        let folder = answer["Dir"].as_str().context("Go does not say where the module is")?;
        let file = PathBuf::from(folder).join(self.file);
        std::fs::read_to_string(&file).context(format!("read {}", file.display()))
    }
}
