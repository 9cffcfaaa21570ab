//! The gateway as a whole: what is started, in which order it ends.

use crate::admin::Admin;
use crate::clients::Clients;
use crate::dial::Dial;
use crate::event::{Event, Recorder};
use crate::inject::{InjectError, Injector};
use crate::metrics::Metrics;
use crate::policy::{LoadError, Policy, PolicyWatch};
use crate::proxy::Proxy;
use crate::rate::Rate;
use crate::resolve::{Resolver, ResolverError};
use crate::route::Router;
use crate::transparent::Transparent;
use prometheus_client::metrics::gauge::Gauge;
use sallyport_audit::journal::{Journal, JournalError, JournalThread, Program, Settings, UnwrittenRecords};
use sallyport_core::client::{ClientStream, PATIENCE};
use sallyport_core::drain::{Drain, DrainControl, Phase, drain};
use sallyport_core::listener::{self, BindError, Latecomers, Server};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Clients beyond the allowed connections that may be there at a time, to be told so.
const SPARE_CLIENTS: usize = 64;

/// Connections to the admin port at a time.
const ADMIN_CONNECTIONS: usize = 64;

/// How long the last events may take to be written.
const FLUSH_BOUND: Duration = Duration::from_secs(5);

/// Why the gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No policy.
    #[error(transparent)]
    Policy(#[from] LoadError),
    /// No resolver.
    #[error(transparent)]
    Resolver(#[from] ResolverError),
    /// A port is taken.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A socket cannot say where it listens.
    #[error("cannot read the address of a listening socket")]
    Address(#[source] io::Error),
    /// Nothing can be injected.
    #[error(transparent)]
    Inject(#[from] InjectError),
    /// Nowhere to write events.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Where a gateway finds what it is told, and what it may do with it.
#[derive(Clone, Debug)]
pub struct Place {
    /// The egress file.
    pub policy: PathBuf,
    /// Which credentials may go where (`EgressFile::injections`); none, if left out.
    pub injections: Option<String>,
    /// The clients file. Without one, events name no pods.
    pub clients: Option<PathBuf>,
    /// Where the kubelet looks for the last words of the container.
    pub termination_log: Option<PathBuf>,
}

/// Events are linked, and go where the policy says; unless it says otherwise, a gateway that cannot write them opens no
/// connection.
fn journal_settings(policy: &Policy, capacity: usize) -> Settings {
    let program = Program::here("sallyport-egress", env!("CARGO_PKG_VERSION"), policy.endpoint.clone());
    Settings::new(program, policy.file.audit.policy(), capacity)
}

/// A gateway that has its ports and does not serve yet.
pub struct Gateway {
    traffic: Port,
    transparent: Option<Port>,
    admin: Port,
    router: Arc<Router>,
    injector: Arc<Injector>,
    clients_file: Option<PathBuf>,
    journal: Journal<Event>,
    journal_thread: JournalThread,
    control: DrainControl,
    clients: usize,
    patience: Duration,
    drain_bound: Duration,
    follow: futures::future::BoxFuture<'static, ()>,
}

struct Port {
    listener: TcpListener,
    address: SocketAddr,
}

impl Port {
    async fn take(port: u16) -> Result<Self, StartError> {
        let listener = listener::bind(port).await?;
        let address = listener.local_addr().map_err(StartError::Address)?;
        Ok(Self { listener, address })
    }
}

impl Gateway {
    /// Reads the policy of `place`, takes its ports (0 for any) and starts the thread that writes events to `sink`. Hosts are
    /// connected to by `dialer`.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub async fn bind(
        place: Place,
        sink: impl Write + Send + 'static,
        dialer: Arc<dyn Dial>,
    ) -> Result<Self, StartError> {
        let Place {
            policy: path,
            injections,
            clients: clients_file,
            termination_log,
        } = place;
        let policy = Policy::load(&path, injections.as_deref())?;
        let listen = policy.file.listen.clone();
        let limits = policy.file.limits.clone();
        let metrics = Arc::new(Metrics::new());
        let resolver = Resolver::new(&policy.file.resolver)?;
        let connections = usize::try_from(limits.connections).unwrap_or(usize::MAX).max(1);
        let clients = connections.saturating_add(SPARE_CLIENTS);
        // Every client holds two places: for the events of its connection's beginning and end. Both ports count.
        let places = clients.saturating_mul(4);
        let settings = journal_settings(&policy, places).ending_in(termination_log);
        let (journal, journal_thread) = Journal::start(sink, settings, metrics.journal.clone())?;
        let (watch, follow) = PolicyWatch::follow(policy, path, injections, metrics.clone());
        let (control, drain) = drain();
        let transparent = match listen.transparent_port {
            Some(port) => Some(Port::take(port).await?),
            None => None,
        };
        Ok(Self {
            traffic: Port::take(listen.port).await?,
            transparent,
            admin: Port::take(listen.admin_port).await?,
            router: Arc::new(Router {
                policy: watch,
                resolver,
                dialer,
                places: Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS))),
                rate: Rate::new(Instant::now()),
                drain,
                metrics,
            }),
            injector: Arc::new(Injector::new()?),
            clients_file,
            journal,
            journal_thread,
            control,
            clients,
            patience: PATIENCE,
            drain_bound: Duration::from_secs(limits.drain_seconds),
            follow: Box::pin(follow),
        })
    }

    /// Gives up on clients that take nothing of what they are sent for `patience`, instead of [`PATIENCE`].
    #[must_use]
    pub const fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Where the proxy is served.
    pub const fn traffic_address(&self) -> SocketAddr {
        self.traffic.address
    }

    /// Where TLS without a proxy request is taken, if at all.
    pub fn transparent_address(&self) -> Option<SocketAddr> {
        self.transparent.as_ref().map(|port| port.address)
    }

    /// Where the admin port is served.
    pub const fn admin_address(&self) -> SocketAddr {
        self.admin.address
    }

    /// Serves until `stop`, then drains: no new connections, not ready, connections under way finish within the policy's
    /// bound, and every event is written. The admin port answers to the last.
    ///
    /// # Errors
    ///
    /// When events could not be written.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> Result<(), UnwrittenRecords> {
        let Self {
            router,
            injector,
            clients_file,
            journal,
            control,
            clients,
            patience,
            drain_bound,
            ..
        } = self;
        let follow = tokio::spawn(self.follow);
        let admin = tokio::spawn(serve_admin(
            self.admin.listener,
            Admin {
                journal: journal.clone(),
                drain: router.drain.clone(),
                policy: router.policy.clone(),
                metrics: router.metrics.clone(),
            },
        ));
        let recorder = Recorder::new(journal, Clients::follow(clients_file), router.metrics.clone());
        let server = |listener| Server {
            listener,
            latecomers: Latecomers::Refused,
            connections: clients,
            patience,
            gauge: router.metrics.clients.clone(),
        };
        let drain = || router.drain.clone();
        let proxy = Arc::new(Proxy {
            router: router.clone(),
            recorder: recorder.clone(),
            injector: injector.clone(),
        });
        let proxy = move |stream, peer| {
            let proxy = proxy.clone();
            async move { proxy.serve(stream, peer).await }
        };
        let by_proxy = server(self.traffic.listener).run(proxy, drain(), &control, drain_bound);
        let by_name = async {
            let Some(port) = self.transparent else { return };
            let transparent = Arc::new(Transparent {
                router: router.clone(),
                recorder: recorder.clone(),
                injector: injector.clone(),
            });
            let transparent = move |stream: ClientStream, peer| {
                let transparent = transparent.clone();
                // What it carries is a tunnel, which has bounds of its own.
                async move { transparent.serve(stream.into_inner(), peer).await }
            };
            server(port.listener)
                .run(transparent, drain(), &control, drain_bound)
                .await;
        };
        tokio::join!(by_proxy, by_name, async {
            stop.await;
            tracing::info!("draining");
            control.advance(Phase::Draining);
        });
        for task in [admin, follow] {
            task.abort();
            // Its handles on the journal go with it; the writing thread ends when the last one is gone.
            let _ = task.await;
        }
        drop(recorder);
        self.journal_thread.finish(FLUSH_BOUND).await
    }
}

/// Serves the admin port until aborted: readiness must be answered while the other ports drain.
async fn serve_admin(listener: TcpListener, admin: Admin) {
    let (control, drain): (DrainControl, Drain) = drain();
    let server = Server {
        listener,
        latecomers: Latecomers::Refused,
        connections: ADMIN_CONNECTIONS,
        patience: PATIENCE,
        gauge: Gauge::default(),
    };
    let seen = drain.clone();
    let serve = move |stream, peer| {
        let admin = admin.clone();
        let handler = move |request, _| {
            let answer = admin.handle(&request);
            async move { answer }
        };
        listener::serve_http(stream, peer, handler, seen.clone())
    };
    server.run(serve, drain, &control, Duration::ZERO).await;
}
