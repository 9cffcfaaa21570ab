//! The sidecar as a whole: what is started, in which order it ends.

use crate::admin::Admin;
use crate::audit::{Admission, Record};
use crate::confirm::Confirmations;
use crate::guard::{EnforcementWatch, Probe};
use crate::metrics::Metrics;
use crate::pipeline::{Budget, Peer, Pipeline, Places, Rules};
use crate::ports::{Lease, Ports, PortsError};
use crate::reload::PolicyInForce;
use crate::seal::{KeysError, Seal, SealError};
use crate::server::{ServerTools, ServerWatch, Upstream};
use crate::signer::{Signer, SignerError};
use http::uri::PathAndQuery;
use prometheus_client::metrics::gauge::Gauge;
use sallyport_audit::journal::{Journal, JournalError, JournalThread, Program, Settings, UnwrittenRecords};
use sallyport_core::client::{ClientStream, PATIENCE};
use sallyport_core::drain::{Drain, DrainControl, Phase, drain};
use sallyport_core::follow::FollowError;
use sallyport_core::listener::{self, Latecomers, Server};
use sallyport_core::tls::{TlsAcceptor, TlsError, TlsFiles};
use sallyport_policy::PolicyFile;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

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
    /// A port is taken, or its holder does not hand it on.
    #[error(transparent)]
    Ports(#[from] PortsError),
    /// The socket cannot say where it listens.
    #[error("cannot read the address of a listening socket")]
    Address(#[source] io::Error),
    /// Nowhere to write audit records.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// No sealing keys.
    #[error("cannot seal what clients bring back")]
    Keys(#[from] KeysError),
    /// No random bytes.
    #[error("cannot keep track of confirmations")]
    Confirmations(#[from] SealError),
    /// The pod's address is not known.
    #[error("sealing.peerPort is set, but the pod's address is not known: set POD_IP")]
    PodAddress,
    /// Callers cannot be told apart.
    #[error("cannot authenticate callers as the policy says")]
    Authentication(#[from] sallyport_auth::StartError),
    /// No certificate.
    #[error("cannot serve TLS as the policy says")]
    Tls(#[from] FollowError<TlsError>),
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

/// What the kubelet tells the sidecar about its place.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// Where the API server is.
    pub api_server: Option<SocketAddr>,
    /// The pod's own address.
    pub pod: Option<IpAddr>,
    /// Socket of the process that holds the ports. Without one, the sidecar takes them itself.
    pub ports: Option<PathBuf>,
    /// Where the kubelet looks for the last words of the container.
    pub termination_log: Option<PathBuf>,
}

/// A sidecar that has its ports and does not serve yet.
pub struct Sidecar {
    rules: Rules,
    policy_file: Option<PathBuf>,
    patience: Duration,
    probe: Probe,
    path: PathAndQuery,
    traffic: TcpListener,
    admin: TcpListener,
    peers: Option<TcpListener>,
    lease: Option<Lease>,
    tls: Option<TlsAcceptor>,
    traffic_address: SocketAddr,
    admin_address: SocketAddr,
    signer: Option<(TcpListener, Signer)>,
    upstream: Upstream,
    seal: Arc<Seal>,
    confirmations: Arc<Confirmations>,
    journal: Journal<Record>,
    journal_thread: JournalThread,
    metrics: Arc<Metrics>,
    control: DrainControl,
    drain: Drain,
}

impl Sidecar {
    /// Takes the ports of `policy` (0 for any) and starts the audit thread, which writes to `sink`.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub async fn bind(policy: PolicyFile, place: Place, sink: impl Write + Send + 'static) -> Result<Self, StartError> {
        let path = policy.upstream.path.parse().map_err(|source| StartError::Path {
            path: policy.upstream.path.clone(),
            source,
        })?;
        // The ports first: what holds them already may be the server.
        let mut ports = Ports::of(place.ports.as_deref()).await?;
        let traffic = ports.listen(policy.listen.port).await?;
        let admin = ports.listen(policy.listen.admin_port).await?;
        let peer_address = peer_address(&policy, place.pod)?;
        let peers = match peer_address {
            None => None,
            Some(address) => Some(ports.listen_at(address).await?),
        };
        let tls = tls_files(&policy).map(TlsAcceptor::start).transpose()?;
        let metrics = Arc::new(Metrics::new());
        // A request holds its places in the journal until it ends, and a connection has one request at a time.
        let capacity = connections(&policy) * Admission::PLACES + BACKLOG;
        let settings = journal_settings(&policy, capacity).ending_in(place.termination_log.clone());
        let (journal, journal_thread) = Journal::start(sink, settings, metrics.journal.clone())?;
        let seal = Arc::new(Seal::new(
            &policy.endpoint.uid,
            policy.sealing.keys_file.as_ref().map(PathBuf::from),
        )?);
        let confirmations = Arc::new(Confirmations::new(seal.clone(), &policy.endpoint, peer_address)?);
        let head_bound = Duration::from_secs(policy.limits.response_header_seconds);
        let (control, drain) = drain();
        // The server starts only once this sidecar serves, and finds the certificates that it is to trust.
        let signer = match &policy.signer {
            Some(signer) => Some((ports.listen(signer.port).await?, Signer::start(signer)?)),
            None => None,
        };
        Ok(Self {
            traffic_address: traffic.local_addr().map_err(StartError::Address)?,
            admin_address: admin.local_addr().map_err(StartError::Address)?,
            upstream: Upstream::new(policy.upstream.address.clone(), head_bound),
            signer,
            probe: Probe::new(&policy.enforcement, place.api_server),
            rules: Rules::new(policy, None)?,
            policy_file: None,
            patience: PATIENCE,
            path,
            traffic,
            admin,
            peers,
            lease: ports.lease(),
            tls,
            seal,
            confirmations,
            journal,
            journal_thread,
            metrics,
            control,
            drain,
        })
    }

    /// Follows the policy in `file` from when it serves.
    #[must_use]
    pub fn following(mut self, file: PathBuf) -> Self {
        self.policy_file = Some(file);
        self
    }

    /// Gives up on clients that take nothing of their answers for `patience`, instead of [`PATIENCE`].
    #[must_use]
    pub const fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
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
        let policy = self.rules.policy.clone();
        let tls = self.tls.map(Arc::new);
        let in_force = Arc::new(PolicyInForce::follow(self.rules, self.policy_file));
        let tools = ServerTools::default();
        let watch = ServerWatch::start(self.upstream.clone(), self.path, tools.clone(), in_force.rules());
        let enforcement = EnforcementWatch::start(self.probe, policy.enforcement.mode, self.metrics.clone());
        let admin = tokio::spawn(serve_admin(
            self.admin,
            Admin {
                journal: self.journal.clone(),
                drain: self.drain.clone(),
                control: self.control.clone(),
                server: watch,
                tools: tools.clone(),
                policy: in_force.clone(),
                tls: tls.clone(),
                enforcement: enforcement.clone(),
                metrics: self.metrics.clone(),
            },
        ));
        let latecomers = match self.lease {
            Some(_) => Latecomers::Waiting,
            None => Latecomers::Refused,
        };
        let lease = self.lease.map(|lease| tokio::spawn(lease.keep()));
        let keys = follow_keys(self.seal.clone());
        let peers = serve_peers(self.confirmations.clone(), self.peers);
        let pipeline = Arc::new(Pipeline {
            rules: in_force.rules(),
            upstream: self.upstream,
            tools,
            enforcement,
            seal: self.seal,
            confirmations: self.confirmations,
            journal: self.journal,
            drain: self.drain.clone(),
            metrics: self.metrics.clone(),
            places: Places::default(),
            budget: Budget::default(),
            readings: Semaphore::new(1),
        });
        let signer = self
            .signer
            .map(|(listener, signer)| tokio::spawn(serve_signer(listener, signer)));
        let server = Server {
            listener: self.traffic,
            latecomers,
            connections: connections(&policy),
            patience: self.patience,
            gauge: self.metrics.connections.clone(),
        };
        let drain = self.drain.clone();
        let serve = move |stream, address| serve_traffic(pipeline.clone(), tls.clone(), stream, address, drain.clone());
        let drain_bound = Duration::from_secs(policy.limits.drain_seconds);
        tokio::join!(server.run(serve, self.drain, &self.control, drain_bound), async {
            stop.await;
            tracing::info!("draining");
            self.control.advance(Phase::Draining);
        });
        for task in [Some(keys), peers, signer, lease, Some(admin)].into_iter().flatten() {
            task.abort();
            // Its handles on the journal go with it; the writing thread ends when the last one is gone.
            let _ = task.await;
        }
        self.journal_thread.finish(FLUSH_BOUND).await
    }
}

/// Where other replicas reach this one, if the policy has it so.
fn peer_address(policy: &PolicyFile, pod: Option<IpAddr>) -> Result<Option<SocketAddr>, StartError> {
    match (policy.sealing.peer_port, pod) {
        (None, _) => Ok(None),
        (Some(port), Some(pod)) => Ok(Some(SocketAddr::new(pod, port))),
        (Some(_), None) => Err(StartError::PodAddress),
    }
}

fn tls_files(policy: &PolicyFile) -> Option<TlsFiles> {
    let tls = policy.listen.tls.as_ref()?;
    let authorities = policy.authentication.client_certificates.as_ref();
    Some(TlsFiles {
        certificate: tls.certificate_file.clone().into(),
        key: tls.key_file.clone().into(),
        client_ca: authorities.map(|authorities| authorities.ca_file.clone().into()),
    })
}

fn journal_settings(policy: &PolicyFile, capacity: usize) -> Settings {
    let endpoint = Arc::new(policy.endpoint.clone());
    let program = Program::here("sallyport-sidecar", env!("CARGO_PKG_VERSION"), endpoint);
    Settings::new(program, policy.audit.clone(), capacity)
}

fn connections(policy: &PolicyFile) -> usize {
    usize::try_from(policy.limits.connections).unwrap_or(usize::MAX).max(1)
}

fn follow_keys(seal: Arc<Seal>) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move { seal.follow_keys().await })
}

fn serve_peers(
    confirmations: Arc<Confirmations>,
    listener: Option<TcpListener>,
) -> Option<tokio::task::JoinHandle<()>> {
    let listener = listener?;
    Some(tokio::spawn(async move { confirmations.serve_peers(listener).await }))
}

/// Serves one connection of a client.
async fn serve_traffic(
    pipeline: Arc<Pipeline>,
    tls: Option<Arc<TlsAcceptor>>,
    stream: ClientStream,
    address: IpAddr,
    drain: Drain,
) {
    let answer = |certificate| handler(pipeline.clone(), Peer { address, certificate });
    let unread = match tls {
        None => listener::serve_http(stream, address, answer(None), drain).await,
        Some(tls) => match tls.accept(stream).await {
            Ok((stream, certificate)) => listener::serve_http(stream, address, answer(certificate), drain).await,
            Err(error) => {
                tracing::debug!(%error, %address, "no TLS connection came to be");
                None
            }
        },
    };
    // It was the connection's last request: there is one such record of a connection at most.
    if let Some(status) = unread {
        pipeline.unread(status, address).await;
    }
}

fn handler(
    pipeline: Arc<Pipeline>,
    peer: Peer,
) -> impl Fn(
    http::Request<hyper::body::Incoming>,
    IpAddr,
) -> futures::future::BoxFuture<'static, http::Response<crate::pipeline::Answer>> {
    let peer = Arc::new(peer);
    move |request, _| {
        let (pipeline, peer) = (pipeline.clone(), peer.clone());
        Box::pin(async move { pipeline.handle(request, &peer).await })
    }
}

/// Serves the admin port until aborted: readiness must be answered while the traffic port drains.
async fn serve_admin(listener: TcpListener, admin: Admin) {
    let (control, drain) = drain();
    let server = Server {
        listener,
        latecomers: Latecomers::Waiting,
        connections: ADMIN_CONNECTIONS,
        patience: PATIENCE,
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
        latecomers: Latecomers::Waiting,
        connections: SIGNER_CONNECTIONS,
        patience: PATIENCE,
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
