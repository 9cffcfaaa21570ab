//! The stage of the escape: a hostile server in an endpoint, the same one in a plain Deployment, and what both aim at.

use crate::{
    Cluster, Context, Result,
    attempts::{METADATA, Targets},
    endpoint,
    install::available,
    objects::{apply, apply_json},
    outside::{Arrival, Host},
    pods,
};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Node, Secret},
};
use kube::{Api, api::ListParams};
use serde_json::json;

/// The endpoint, the Deployment and what they aim at.
pub struct Stage {
    /// Where the server of the endpoint `hostile` is called.
    pub hardened: String,
    /// Where that of the plain Deployment is called.
    pub plain: String,
    /// What both aim at.
    pub targets: Targets,
    /// The credential that both hold.
    pub token: String,
    /// Addresses of both pods.
    pub pods: PodAddresses,
    host: Option<Host>,
    metadata: Option<Host>,
}

/// Where the two servers run.
pub struct PodAddresses {
    /// Address of the endpoint's pod.
    pub hardened: String,
    /// Address of the plain Deployment's pod.
    pub plain: String,
}

impl Stage {
    /// Sets everything up in `namespace`, with a neighbour pod in `elsewhere` and, where there is one, a host outside
    /// (name and address).
    ///
    /// # Errors
    ///
    /// When something does not start.
    pub async fn set(
        cluster: &Cluster,
        namespace: &str,
        elsewhere: &str,
        outside: Option<(&str, &str)>,
    ) -> Result<Self> {
        Self::set_in_class(cluster, namespace, elsewhere, outside, None).await
    }

    /// As [`Stage::set`], with the endpoint in a class of its own.
    ///
    /// # Errors
    ///
    /// When something does not start.
    pub async fn set_in_class(
        cluster: &Cluster,
        namespace: &str,
        elsewhere: &str,
        outside: Option<(&str, &str)>,
        class: Option<&str>,
    ) -> Result<Self> {
        let token = format!("canary-of-{namespace}");
        let host = match outside {
            Some((name, address)) => Some(Host::add(cluster, name, address).await?),
            None => None,
        };
        let secret = json!({ "metadata": { "name": "upstream" }, "stringData": { "token": token } });
        apply_json::<Secret>(&cluster.client, namespace, with_kind("v1", "Secret", secret)).await?;
        let mut hostile = endpoint::endpoint(cluster, "hostile", "hostile")?;
        hostile.spec.credentials =
            serde_json::from_value(json!([{ "name": "upstream", "from": { "secret": { "name": "upstream" } } }]))?;
        hostile.spec.class_name = class.map(ToOwned::to_owned);
        apply(&cluster.client, namespace, &hostile).await?;
        apply_json::<Deployment>(&cluster.client, namespace, plain_deployment(cluster)?).await?;

        let neighbour = json!({
            "name": "neighbour",
            "image": cluster.images.get("agnhost")?,
            "args": ["netexec", "--http-port=8080", "--udp-port=-1"],
            "readinessProbe": { "httpGet": { "path": "/", "port": 8080 }, "periodSeconds": 1 },
        });
        let neighbour = pods::start(cluster, elsewhere, "neighbour", neighbour).await?;
        available(cluster, namespace, "plain").await?;
        let plain = pods::list(&cluster.client, namespace, "app=plain").await?;
        let plain = pods::address(plain.first().context("the plain Deployment has no pod")?)?;
        let hardened = endpoint::ready(&cluster.client, namespace, "hostile").await?;
        let pods = endpoint::ready_pods(&cluster.client, namespace, "hostile").await?;
        let pods = PodAddresses {
            hardened: pods::address(pods.first().context("the endpoint has no ready pod")?)?,
            plain: plain.clone(),
        };
        Ok(Self {
            hardened: endpoint::url(&hardened)?,
            plain: format!("http://{plain}:3001/mcp"),
            targets: Targets {
                outside: host.as_ref().map(|host| host.address.clone()),
                metadata: false,
                pod: pods::address(&neighbour)?,
                api_server: cluster.service_ip("default", "kubernetes").await?,
                dns: cluster.service_ip("kube-system", "kube-dns").await?,
                node: node_address(cluster).await?,
            },
            token,
            pods,
            host,
            metadata: None,
        })
    }

    /// What the host outside received since the stage was set.
    ///
    /// # Errors
    ///
    /// When its log cannot be read.
    pub fn arrivals(&self) -> Result<Vec<Arrival>> {
        self.host.as_ref().map_or_else(|| Ok(Vec::new()), Host::arrivals)
    }

    /// Waits until the credential arrived at the host outside, at that port.
    ///
    /// # Errors
    ///
    /// When it did not, or there is no such host.
    pub async fn betrayed(&self, proto: &str, port: u16) -> Result<()> {
        let host = self.host.as_ref().context("the stage has no host outside")?;
        let what = format!("the credential, by {proto} port {port},");
        let fits = |arrival: &Arrival| {
            (arrival.proto.as_str(), arrival.port) == (proto, port) && arrival.data.contains(&self.token)
        };
        host.arrival(&what, fits).await.map(drop)
    }

    /// Adds a metadata service, as clouds have one, which the attempts then aim at too. One stage at a time may have it.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub async fn in_a_cloud(mut self, cluster: &Cluster) -> Result<Self> {
        self.metadata = Some(Host::add(cluster, "metadata", METADATA).await?);
        self.targets.metadata = true;
        Ok(self)
    }

    /// Removes what does not go with the namespaces.
    ///
    /// # Errors
    ///
    /// When a host cannot be removed.
    pub async fn strike(self, cluster: &Cluster) -> Result<()> {
        for host in [self.host, self.metadata].into_iter().flatten() {
            host.remove(cluster).await?;
        }
        Ok(())
    }
}

/// The same server with the same credential, as a Deployment without anything of ours.
fn plain_deployment(cluster: &Cluster) -> Result<serde_json::Value> {
    let labels = json!({ "app": "plain" });
    let body = json!({
        "metadata": { "name": "plain" },
        "spec": {
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": {
                    "terminationGracePeriodSeconds": 0,
                    "containers": [{
                        "name": "server",
                        "image": cluster.images.get("hostile")?,
                        "readinessProbe": { "tcpSocket": { "port": 3001 }, "periodSeconds": 1 },
                        "volumeMounts": [{ "name": "upstream", "mountPath": "/var/run/secrets/sallyport/upstream" }],
                    }],
                    "volumes": [{ "name": "upstream", "secret": { "secretName": "upstream" } }],
                },
            },
        },
    });
    Ok(with_kind("apps/v1", "Deployment", body))
}

fn with_kind(api_version: &str, kind: &str, mut body: serde_json::Value) -> serde_json::Value {
    body["apiVersion"] = json!(api_version);
    body["kind"] = json!(kind);
    body
}

async fn node_address(cluster: &Cluster) -> Result<String> {
    let nodes = Api::<Node>::all(cluster.client.clone())
        .list(&ListParams::default())
        .await?;
    let addresses = nodes.into_iter().filter_map(|node| node.status?.addresses).flatten();
    let internal = addresses.into_iter().find(|address| address.type_ == "InternalIP");
    Ok(internal.context("no node has an internal address")?.address)
}
