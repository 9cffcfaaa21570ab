//! The sidecar as a whole: what is started, in which order it ends.

use crate::admin::Admin;
use crate::audit::Record;
use crate::guard::{EnforcementWatch, Probe};
use crate::metrics::Metrics;
use crate::pipeline::Pipeline;
use crate::server::{ServerWatch, Upstream};
use crate::signer::{Signer, SignerError};
use http::uri::PathAndQuery;
use prometheus_client::metrics::gauge::Gauge;
use sallyport_core::drain::{Drain, DrainControl, Phase, drain};
use sallyport_core::journal::{Journal, JournalThread, UnwrittenRecords};
use sallyport_core::listener::{self, BindError, Server};
use sallyport_policy::PolicyFile;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// Records that may wait for the sink beside those of the requests under way.
const BACKLOG: usize = 256;

/// Connections to the admin port at a time.
const ADMIN_CONNECTIONS: usize = 64;

/// Connections to the signer at a time.
const SIGNER_CONNECTIONS: usize = 64;

/// How long the last records may take to be written.
const FLUSH_BOUND: Duration = Duration::from_secs(5);

/// Why the sidecar cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port is taken.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The socket cannot say where it listens.
    #[error("cannot read the address of a listening socket")]
    Address(#[source] io::Error),
    /// No thread for the audit records.
    #[error("cannot start the audit thread")]
    Journal(#[source] io::Error),
    /// The server cannot be told whom to trust.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// The server has no path.
    #[error("the policy's upstream path {path:?} is no URL path: it must begin with a slash")]
    Path {
        /// What the policy says.
        path: String,
        /// What is wrong with it.
        #[source]
        source: http::uri::InvalidUri,
    },
}

/// A sidecar that has its ports and does not serve yet.
pub struct Sidecar {
    policy: PolicyFile,
    probe: Probe,
    path: PathAndQuery,
    traffic: TcpListener,
    admin: TcpListener,
    traffic_address: SocketAddr,
    admin_address: SocketAddr,
    signer: Option<(TcpListener, Signer)>,
    upstream: Upstream,
    journal: Journal<Record>,
    journal_thread: JournalThread,
    metrics: Arc<Metrics>,
    control: DrainControl,
    drain: Drain,
}

impl Sidecar {
    /// Takes the ports of `policy` (0 for any) and starts the audit thread, which writes to `sink`. `api_server` is where
    /// the kubelet says the API server is.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub async fn bind(
        policy: PolicyFile,
        api_server: Option<SocketAddr>,
        sink: impl Write + Send + 'static,
    ) -> Result<Self, StartError> {
        let path = policy.upstream.path.parse().map_err(|source| StartError::Path {
            path: policy.upstream.path.clone(),
            source,
        })?;
        let metrics = Arc::new(Metrics::new());
        let traffic = listener::bind(policy.listen.port).await?;
        let admin = listener::bind(policy.listen.admin_port).await?;
        // A request holds its place in the journal until it ends, and a connection has one request at a time.
        let capacity = connections(&policy) + BACKLOG;
        let (journal, journal_thread) =
            Journal::start(sink, capacity, metrics.journal.clone()).map_err(StartError::Journal)?;
        let head_bound = Duration::from_secs(policy.limits.response_header_seconds);
        let (control, drain) = drain();
        // The server starts only once this sidecar serves, and finds the certificates that it is to trust.
        let signer = match &policy.signer {
            Some(signer) => Some((listener::bind(signer.port).await?, Signer::start(signer)?)),
            None => None,
        };
        Ok(Self {
            traffic_address: traffic.local_addr().map_err(StartError::Address)?,
            admin_address: admin.local_addr().map_err(StartError::Address)?,
            upstream: Upstream::new(policy.upstream.port, head_bound),
            signer,
            probe: Probe::new(&policy.enforcement, api_server),
            policy,
            path,
            traffic,
            admin,
            journal,
            journal_thread,
            metrics,
            control,
            drain,
        })
    }

    /// Where MCP traffic is served.
    pub const fn traffic_address(&self) -> SocketAddr {
        self.traffic_address
    }

    /// Where the admin port is served.
    pub const fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Where gateways get certificates, if credentials are injected.
    pub fn signer_address(&self) -> Option<SocketAddr> {
        let (listener, _) = self.signer.as_ref()?;
        listener.local_addr().ok()
    }

    /// Serves until `stop`, then drains: no new connections, not ready, requests under way finish within the policy's
    /// bound, streams end, and every record is written. The admin port answers to the last.
    ///
    /// # Errors
    ///
    /// When records could not be written.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> Result<(), UnwrittenRecords> {
        let watch = ServerWatch::start(self.upstream.clone(), self.policy.upstream.port, self.path);
        let enforcement = EnforcementWatch::start(self.probe, self.policy.enforcement.mode, self.metrics.clone());
        let admin = tokio::spawn(serve_admin(
            self.admin,
            Admin {
                journal: self.journal.clone(),
                drain: self.drain.clone(),
                control: self.control.clone(),
                server: watch,
                enforcement,
                metrics: self.metrics.clone(),
            },
        ));
        let signer = self
            .signer
            .map(|(listener, signer)| tokio::spawn(serve_signer(listener, signer)));
        let drain_bound = Duration::from_secs(self.policy.limits.drain_seconds);
        let server = Server {
            listener: self.traffic,
            connections: connections(&self.policy),
            gauge: self.metrics.connections.clone(),
        };
        let pipeline = Arc::new(Pipeline::new(
            self.policy,
            self.upstream,
            self.journal,
            self.drain.clone(),
            self.metrics,
        ));
        let drain = self.drain.clone();
        let serve = move |stream, peer| {
            let pipeline = pipeline.clone();
            let handler = move |request, peer| {
                let pipeline = pipeline.clone();
                async move { pipeline.handle(request, peer).await }
            };
            listener::serve_http(stream, peer, handler, drain.clone())
        };
        tokio::join!(server.run(serve, self.drain, &self.control, drain_bound), async {
            stop.await;
            tracing::info!("draining");
            self.control.advance(Phase::Draining);
        });
        if let Some(signer) = signer {
            signer.abort();
        }
        admin.abort();
        // Its handles on the journal go with it; the writing thread ends when the last one is gone.
        let _ = admin.await;
        self.journal_thread.finish(FLUSH_BOUND).await
    }
}

fn connections(policy: &PolicyFile) -> usize {
    usize::try_from(policy.limits.connections).unwrap_or(usize::MAX).max(1)
}

/// Serves the admin port until aborted: readiness must be answered while the traffic port drains.
async fn serve_admin(listener: TcpListener, admin: Admin) {
    let (control, drain) = drain();
    let server = Server {
        listener,
        connections: ADMIN_CONNECTIONS,
        gauge: Gauge::default(),
    };
    let seen = drain.clone();
    let serve = move |stream, peer| {
        let admin = admin.clone();
        let handler = move |request, _| {
            let admin = admin.clone();
            async move { admin.handle(request).await }
        };
        listener::serve_http(stream, peer, handler, seen.clone())
    };
    server.run(serve, drain, &control, Duration::ZERO).await;
}

/// Serves the signer's port until aborted: requests that are drained may still call hosts.
async fn serve_signer(listener: TcpListener, signer: Signer) {
    let (control, drain) = drain();
    let server = Server {
        listener,
        connections: SIGNER_CONNECTIONS,
        gauge: Gauge::default(),
    };
    let seen = drain.clone();
    let serve = move |stream, peer| {
        let signer = signer.clone();
        let handler = move |request, _| {
            let signer = signer.clone();
            async move { signer.handle(request).await }
        };
        listener::serve_http(stream, peer, handler, seen.clone())
    };
    server.run(serve, drain, &control, Duration::ZERO).await;
}
