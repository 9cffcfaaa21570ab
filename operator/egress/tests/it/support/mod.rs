//! A gateway, a client, hosts, name servers and a sink.

mod client;
mod collector;
mod dns;
mod hello;
mod host;
mod network;
mod sinks;
mod tls;

pub use client::Client;
pub use collector::Collector;
pub use dns::{Dns, a, aaaa, cname};
pub use hello::{fragmented, hello, hello_for, record};
pub use host::{GREETING, Host};
pub use network::Network;
pub use sinks::{Gate, Lines};
pub use tls::{Authority, Pod, Web, Wire, http_over, tls_over, trusting};

use sallyport_core::client::PATIENCE;
use sallyport_egress::{Gateway, Place, UnwrittenRecords};
use sallyport_policy::EndpointIdentity;
use sallyport_policy::egress::{
    DeniedNetwork, DeniedNetworkKind, EgressAddresses, EgressAudit, EgressClients, EgressFile, EgressHostRule,
    EgressLimits, EgressListen, EgressMode, ResolverPolicy, SCHEMA,
};
use serde_json::Value;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// A host that the policy allows, and its address.
pub const ALLOWED: &str = "api.example.com";
pub const ALLOWED_IP: &str = "9.9.9.9";

/// One that no rule allows.
pub const OTHER: &str = "evil.test";
pub const OTHER_IP: &str = "8.8.8.8";

/// Everything that a test needs.
pub struct Lab {
    pub dns: Dns,
    pub network: Network,
    pub events: Lines,
    pub gateway: Running,
    pub file: EgressFile,
}

/// A gateway that runs.
pub struct Running {
    pub traffic: SocketAddr,
    pub transparent: SocketAddr,
    pub admin: SocketAddr,
    path: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<(), UnwrittenRecords>>,
}

pub fn rule(host: &str, ports: &[u16]) -> EgressHostRule {
    EgressHostRule {
        host: host.parse().unwrap(),
        ports: ports.iter().copied().collect(),
        inject: None,
    }
}

fn policy(dns: &Dns) -> EgressFile {
    EgressFile {
        schema: SCHEMA.into(),
        endpoint: EndpointIdentity {
            namespace: "team-a".into(),
            name: "demo".into(),
            uid: "uid-1".into(),
        },
        listen: EgressListen {
            port: 0,
            admin_port: 0,
            transparent_port: Some(0),
        },
        mode: EgressMode::Enforce,
        rules: vec![rule(ALLOWED, &[443, 80]), rule("*.wild.example", &[443])],
        addresses: EgressAddresses {
            permitted: vec![],
            denied: vec![
                DeniedNetwork {
                    network: "10.244.0.0/16".parse().unwrap(),
                    kind: DeniedNetworkKind::Pods,
                },
                DeniedNetwork {
                    network: "2600:1f00::/48".parse().unwrap(),
                    kind: DeniedNetworkKind::Nodes,
                },
            ],
        },
        resolver: ResolverPolicy {
            name_servers: vec![dns.address()],
            timeout_seconds: 1,
            min_ttl_seconds: 0,
            ..ResolverPolicy::default()
        },
        limits: EgressLimits {
            head_seconds: 1,
            connect_seconds: 1,
            drain_seconds: 1,
            ..EgressLimits::default()
        },
        audit: EgressAudit::default(),
        signer_port: None,
    }
}

impl Lab {
    /// Where [`ALLOWED`] and [`OTHER`] resolve, and nobody is there yet.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// The same with an edited policy.
    pub async fn with(edit: impl FnOnce(&mut EgressFile)) -> Self {
        let events = Lines::default();
        Self::with_sink(edit, events.clone(), events).await
    }

    pub async fn with_sink(
        edit: impl FnOnce(&mut EgressFile),
        sink: impl Write + Send + 'static,
        events: Lines,
    ) -> Self {
        Self::with_patience(edit, sink, events, PATIENCE).await
    }

    /// The same with a gateway that waits so long for clients that take nothing.
    pub async fn with_patience(
        edit: impl FnOnce(&mut EgressFile),
        sink: impl Write + Send + 'static,
        events: Lines,
        patience: Duration,
    ) -> Self {
        let dns = Dns::start().await;
        dns.set(ALLOWED, [a(ALLOWED_IP)]);
        dns.set(OTHER, [a(OTHER_IP)]);
        let network = Network::default();
        let mut file = policy(&dns);
        edit(&mut file);
        let gateway = Running::start(&file, sink, network.clone(), patience).await;
        Self {
            dns,
            network,
            events,
            gateway,
            file,
        }
    }

    /// A host that answers a first message and then echoes, at [`ALLOWED`].
    pub async fn host(&self) -> Host {
        self.host_at(ALLOWED_IP, 443).await
    }

    pub async fn host_at(&self, ip: &str, port: u16) -> Host {
        let host = Host::echo().await;
        self.network.lead(ip, port, host.address());
        host
    }

    pub async fn client(&self) -> Client {
        Client::to(self.gateway.traffic).await
    }

    /// A tunnel that was agreed to.
    pub async fn tunnel(&self, authority: &str) -> Client {
        let mut client = self.client().await;
        let answer = client.connect(authority).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        client
    }

    /// Waits for the only event of a connection that did not come about.
    pub async fn refusal(&self) -> Value {
        let events = self.events.wait(1).await;
        let event = events.last().unwrap().clone();
        assert!(event["event"] == "refused" || event["event"] == "failed", "{events:#?}");
        event
    }

    /// Replaces the policy and waits until the gateway has seen it.
    pub async fn replace_policy(&self, text: &str) {
        replace(&self.gateway.path, text);
        let hash = sallyport_policy::short_hash(text.as_bytes());
        until("the policy to be seen", async || {
            let status = self.gateway.get("/policy").await;
            status.contains(&hash) || status.contains("error")
        })
        .await;
    }
}

/// Puts a file in another's place at once, as the kubelet does.
fn replace(path: &Path, text: &str) {
    let fresh = path.with_extension("fresh");
    std::fs::write(&fresh, text).unwrap();
    std::fs::rename(fresh, path).unwrap();
}

impl Running {
    async fn start(file: &EgressFile, sink: impl Write + Send + 'static, network: Network, patience: Duration) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!(
            "sallyport-egress-{}-{}.json",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, file.to_text().unwrap()).unwrap();
        // As the kubelet makes it.
        std::fs::write(termination_log(&path), "").unwrap();
        let place = Place {
            policy: path.clone(),
            injections: file.injections(),
            clients: Some(clients_file(&path)),
            termination_log: Some(termination_log(&path)),
        };
        let gateway = Gateway::bind(place, sink, Arc::new(network)).await.unwrap();
        let gateway = gateway.with_patience(patience);
        let on_loopback = |address: SocketAddr| SocketAddr::from(([127, 0, 0, 1], address.port()));
        let traffic = on_loopback(gateway.traffic_address());
        let transparent = on_loopback(gateway.transparent_address().unwrap());
        let admin = on_loopback(gateway.admin_address());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(gateway.serve(async {
            let _ = stopped.await;
        }));
        Self {
            traffic,
            transparent,
            admin,
            path,
            stop: Some(stop),
            task,
        }
    }

    /// The body of the admin port's answer, after its status line.
    pub async fn get(&self, path: &str) -> String {
        let mut client = Client::to(self.admin).await;
        client
            .send(format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes())
            .await;
        String::from_utf8(client.rest().await).unwrap()
    }

    /// Tells which pods have which addresses.
    pub fn tell_clients(&self, clients: &EgressClients) {
        replace(&clients_file(&self.path), &clients.to_text().unwrap());
    }

    /// What the gateway left where the kubelet looks.
    pub fn termination_log(&self) -> String {
        std::fs::read_to_string(termination_log(&self.path)).unwrap()
    }

    pub fn begin_stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    pub async fn stopped(&mut self) -> Result<(), UnwrittenRecords> {
        (&mut self.task).await.unwrap()
    }
}

fn clients_file(policy: &Path) -> PathBuf {
    policy.with_extension("clients")
}

fn termination_log(policy: &Path) -> PathBuf {
    policy.with_extension("end")
}

impl Drop for Running {
    fn drop(&mut self) {
        for path in [&self.path, &clients_file(&self.path), &termination_log(&self.path)] {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Waits for what must come within ten seconds.
pub async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    for _ in 0..1000 {
        if done().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited in vain for {what}");
}
