//! Runs the operator: connects, waits for the lease, and then keeps every task going that must not die.

use crate::{
    admin::{self, Readiness},
    api_servers,
    args::{CiliumMode, NodeFeatureMode, RunArgs},
    backoff::Backoff,
    canary, cilium, classes,
    context::Context,
    controller,
    enforcement::Measurements,
    events::Events,
    gate::{WriteGate, gate},
    last_words::LastWords,
    lease::{Elector, Lost},
    ledger::Ledger,
    metrics::Metrics,
    namespace, nodes,
};
use futures::{FutureExt, future::BoxFuture, future::Shared, future::join_all};
use http::{HeaderValue, header::USER_AGENT};
use k8s_openapi::jiff::Timestamp;
use kube::{Api, Client, Config, client::ClientBuilder};
use sallyport_api::v1alpha1::SIDECAR_ADMIN_PORT;
use sallyport_render::NodeFeatures;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::{RwLock, Semaphore, mpsc, watch},
    time::timeout,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the first reconcile waits for what the cluster as a whole can do.
const FACTS_TIMEOUT: Duration = Duration::from_secs(15);

/// Resolves when the process is told to end.
pub type Shutdown = Shared<BoxFuture<'static, ()>>;

/// Why the operator ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No cluster to talk to.
    #[error("no cluster is configured: run in a pod with a service account token, or set KUBECONFIG")]
    Config(#[source] kube::config::InferConfigError),
    /// The client cannot be built.
    #[error("the Kubernetes client cannot be built from the configuration")]
    Client(#[source] kube::Error),
    /// The admin address is taken.
    #[error("cannot listen on {address}; choose another with --admin-listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The canary's port is taken.
    #[error("cannot listen on port {port}; choose another with --canary-port")]
    Canary {
        /// The port.
        port: u16,
        /// Why not.
        source: io::Error,
    },
    /// The admin server broke.
    #[error("the admin server broke")]
    Admin(#[source] io::Error),
    /// Signals cannot be received.
    #[error("signals cannot be received")]
    Signal(#[source] io::Error),
    /// Another replica leads.
    #[error(transparent)]
    Lost(#[from] Lost),
}

/// Runs the operator until it is told to end or loses the lease.
///
/// # Errors
///
/// See [`RunError`]. The process must exit then: after a lost lease nothing here may write any more.
pub async fn run(args: RunArgs) -> Result<(), RunError> {
    let shutdown = shutdown()?;
    let metrics = Metrics::default();
    let readiness = Readiness::default();
    let (grant, write_gate) = gate(metrics.writes.clone());
    let config = config().await?;
    let client = client(&config, Some(&write_gate))?;
    let elector = Elector {
        api: Api::namespaced(self::client(&config, None)?, &args.pod_namespace),
        name: args.lease_name.clone(),
        holder: args.identity(),
        ttl: args.lease_duration,
        grant,
        readiness: readiness.clone(),
        metrics: metrics.clone(),
    };
    let address = args.admin_listen;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| RunError::Listen { address, source })?;
    let port = args.canary_port;
    let canary = canary::bind(port)
        .await
        .map_err(|source| RunError::Canary { port, source })?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), cluster = %config.cluster_url, "started");
    tokio::select! {
        () = canary::serve(canary) => Ok(()),
        served = admin::serve(listener, metrics.clone(), readiness.clone()) => served.map_err(RunError::Admin),
        led = elector.lead(shutdown.clone(), work(&args, client, metrics, readiness, SIDECAR_ADMIN_PORT, shutdown)) => {
            led.map_err(RunError::Lost)
        }
    }
}

/// All that the leader does, until `shutdown`.
pub async fn work(
    args: &RunArgs,
    client: Client,
    metrics: Metrics,
    readiness: Readiness,
    admin_port: u16,
    shutdown: Shutdown,
) {
    let (node_features_sender, node_features) = watch::channel(None);
    let (api_servers_sender, api_servers) = watch::channel(None);
    let (canaries_sender, canaries) = watch::channel(None);
    let (cilium_sender, cilium) = watch::channel(None);
    let (classes_sender, classes) = watch::channel(None);
    let (namespaces, requests) = mpsc::unbounded_channel();
    let (caches, endpoints) = controller::caches(args.scopes());
    let context = Arc::new(Context {
        settings: args.settings(),
        node_features: node_features.clone(),
        api_servers: api_servers.clone(),
        canaries: canaries.clone(),
        cilium: cilium.clone(),
        classes: classes.clone(),
        endpoints: endpoints.clone(),
        events: Events::new(client.clone(), args.identity()),
        ledger: Ledger::default(),
        last_words: LastWords::default(),
        measurements: Measurements::default(),
        backoff: Backoff::default(),
        metrics,
        namespaces,
        removal: RwLock::new(()),
        slots: Semaphore::new(usize::from(args.concurrency)),
        admin_port,
        now: Timestamp::now,
        client: client.clone(),
    });
    let facts = async {
        let nodes = async {
            match args.node_features {
                NodeFeatureMode::Auto => nodes::follow(client.clone(), node_features_sender).await,
                NodeFeatureMode::Off => {
                    node_features_sender.send_replace(Some(NodeFeatures::default()));
                }
            }
        };
        let cilium = async {
            match args.cilium_network_policies {
                CiliumMode::Auto => cilium::follow(client.clone(), cilium_sender).await,
                CiliumMode::Never => {
                    cilium_sender.send_replace(Some(false));
                }
            }
        };
        tokio::join!(
            nodes,
            cilium,
            api_servers::follow(client.clone(), api_servers_sender),
            canary::follow(
                client.clone(),
                &args.pod_namespace,
                &args.canary_service,
                canaries_sender
            ),
            classes::follow(client.clone(), classes_sender),
        );
        std::future::pending::<()>().await;
    };
    let controllers = async {
        // Otherwise the first roll-out would be followed by a second one as soon as the nodes are known.
        known(node_features).await;
        known(api_servers).await;
        known(canaries).await;
        known(cilium).await;
        known(classes).await;
        let ready = async {
            endpoints.ready().await;
            readiness.set();
        };
        let scopes = caches
            .into_iter()
            .map(|cache| controller::run(context.clone(), cache, args.concurrency, shutdown.clone()));
        let namespaces = namespace::run(context.clone(), requests, shutdown.clone());
        let all = futures::future::join(join_all(scopes), namespaces);
        tokio::pin!(all);
        tokio::select! {
            _ = &mut all => return,
            () = ready => {}
        }
        all.await;
    };
    tokio::select! {
        () = controllers => {}
        () = facts => {}
    }
}

async fn known<T>(mut fact: watch::Receiver<Option<T>>) {
    let waited = timeout(FACTS_TIMEOUT, fact.wait_for(Option::is_some)).await;
    if waited.is_err() {
        tracing::warn!(
            "nodes, API servers, classes, kinds or the canary's Service cannot be read; going on without what they would tell"
        );
    }
}

async fn config() -> Result<Config, RunError> {
    let mut config = Config::infer().await.map_err(RunError::Config)?;
    // The client would repeat a request for minutes inside one await; objects back off by themselves.
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    let agent = HeaderValue::from_static(concat!("sallyport-operator/", env!("CARGO_PKG_VERSION")));
    config.headers.push((USER_AGENT, agent));
    Ok(config)
}

fn client(config: &Config, write_gate: Option<&WriteGate>) -> Result<Client, RunError> {
    let builder = ClientBuilder::try_from(config.clone()).map_err(RunError::Client)?;
    Ok(match write_gate {
        Some(write_gate) => builder.with_layer(write_gate).build(),
        None => builder.build(),
    })
}

fn shutdown() -> Result<Shutdown, RunError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Signal)?;
    let told = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("shutting down");
    };
    // Somebody must poll it even while nobody waits.
    let shutdown = told.boxed().shared();
    tokio::spawn(shutdown.clone());
    Ok(shutdown)
}
