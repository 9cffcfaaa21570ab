//! A cluster to work on: the local one that `sallyport-cluster` makes, or the one of the current kubeconfig.

use crate::{
    Context, Result,
    images::Images,
    tool::{Tool, cache_dir},
};
use k8s_openapi::api::core::v1::Service;
use kube::{
    Api, Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use std::{env, path::PathBuf};

/// The environment variable that names the local cluster of a test run.
pub const NAME_VARIABLE: &str = "SALLYPORT_E2E_CLUSTER";

/// Which cluster it is, and so what can be known of it beside its API.
#[derive(Clone, Debug)]
pub enum Place {
    /// Made by `sallyport-cluster`: has hosts of an outside world and an audit log.
    Local {
        /// Its name.
        name: String,
        /// Where its kubeconfig, logs and images.json are.
        state: PathBuf,
    },
    /// The current kubeconfig's.
    Current,
}

/// A cluster, reached as its administrator.
#[derive(Clone)]
pub struct Cluster {
    /// Which one.
    pub place: Place,
    /// The administrator's client.
    pub client: Client,
    /// The images that it can pull.
    pub images: Images,
    /// The program that makes clusters and third-party programs.
    pub tool: Tool,
}

impl Cluster {
    /// The cluster that `make test-cluster` made for this run.
    ///
    /// # Errors
    ///
    /// When it is not up or has no images.
    pub async fn of_this_run() -> Result<Self> {
        let name = env::var(NAME_VARIABLE).ok();
        let name = name.context(format!(
            "{NAME_VARIABLE} names no cluster: these tests run by `make test-cluster`"
        ))?;
        Self::local(&name).await
    }

    /// The local cluster `name`.
    ///
    /// # Errors
    ///
    /// When it is not up or has no images.
    pub async fn local(name: &str) -> Result<Self> {
        let state = cache_dir()?.join("clusters").join(name);
        let path = state.join("kubeconfig");
        let kubeconfig = Kubeconfig::read_from(&path).context(format!(
            "read {}: is cluster {name} up? run `make cluster-up NAME={name}`",
            path.display()
        ))?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        Ok(Self {
            images: Images::read(&state.join("images.json"))?,
            client: Client::try_from(config.context("use the cluster's kubeconfig")?)?,
            place: Place::Local {
                name: name.to_owned(),
                state,
            },
            tool: Tool::find()?,
        })
    }

    /// The cluster of the current kubeconfig, with `images` that it can pull.
    ///
    /// # Errors
    ///
    /// When there is no usable kubeconfig.
    pub async fn current(images: Images) -> Result<Self> {
        Ok(Self {
            place: Place::Current,
            client: Client::try_default().await.context("use the current kubeconfig")?,
            images,
            tool: Tool::find()?,
        })
    }

    /// The kubeconfig file, if it is not the current one.
    pub fn kubeconfig(&self) -> Option<PathBuf> {
        match &self.place {
            Place::Local { state, .. } => Some(state.join("kubeconfig")),
            Place::Current => None,
        }
    }

    /// The third-party program `name`, as a command that reaches this cluster.
    ///
    /// # Errors
    ///
    /// When it cannot be built.
    pub async fn program(&self, name: &str, arguments: &[&str]) -> Result<tokio::process::Command> {
        let mut command = crate::command::program(self.tool.bin(name).await?, arguments);
        if let Some(path) = self.kubeconfig() {
            command.env("KUBECONFIG", path);
        }
        Ok(command)
    }

    /// The address of a Service inside the cluster.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub async fn service_ip(&self, namespace: &str, name: &str) -> Result<String> {
        let service = Api::<Service>::namespaced(self.client.clone(), namespace)
            .get(name)
            .await;
        let service = service.context(format!("look up Service {namespace}/{name}"))?;
        let address = service.spec.and_then(|spec| spec.cluster_ip);
        address.context(format!("Service {namespace}/{name} has no address"))
    }
}
