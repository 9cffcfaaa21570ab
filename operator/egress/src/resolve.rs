//! Resolving names, once per connection and by the gateway's own resolver.

use crate::refusal::Refusal;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RecordType;
use hickory_resolver::{TokioResolver, system_conf};
use sallyport_policy::egress::{HostName, ResolverPolicy};
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::Instant;

/// How long the addresses of one family wait for those of the other. More than RFC 8305 section 3 recommends, since what
/// comes too late is not dialled at all.
const RESOLUTION_DELAY: Duration = Duration::from_millis(250);

/// Addresses of a name in one family that are looked at, at most.
const MOST_ADDRESSES: usize = 16;

/// How long a name is remembered as missing.
const NEGATIVE_TTL: Duration = Duration::from_secs(5);

/// Resolves names to addresses of both families.
pub struct Resolver {
    resolver: TokioResolver,
    timeout: Duration,
}

/// No resolver can be built.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up name resolution: check resolver.nameServers of the egress file, or the pod's /etc/resolv.conf")]
pub struct ResolverError(#[source] NetError);

impl Resolver {
    /// A resolver with an empty cache.
    ///
    /// # Errors
    ///
    /// When the policy names no server and /etc/resolv.conf cannot be read.
    pub fn new(policy: &ResolverPolicy) -> Result<Self, ResolverError> {
        let servers = if policy.name_servers.is_empty() {
            system_conf::read_system_conf()
                .map_err(ResolverError)?
                .0
                .name_servers()
                .to_vec()
        } else {
            policy
                .name_servers
                .iter()
                .map(|server| name_server(server.ip(), server.port()))
                .collect()
        };
        let timeout = Duration::from_secs(policy.timeout_seconds);
        // Without search domains: every name is whole.
        let config = ResolverConfig::from_parts(None, Vec::new(), servers);
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        let options = builder.options_mut();
        options.timeout = timeout / 2;
        options.attempts = 2;
        options.use_hosts_file = ResolveHosts::Never;
        options.cache_size = policy.cached_names.saturating_mul(2);
        options.positive_min_ttl = Some(Duration::from_secs(policy.min_ttl_seconds));
        options.positive_max_ttl = Some(Duration::from_secs(policy.max_ttl_seconds.max(policy.min_ttl_seconds)));
        options.negative_max_ttl = Some(NEGATIVE_TTL);
        options.try_tcp_on_error = true;
        Ok(Self {
            resolver: builder.build().map_err(ResolverError)?,
            timeout,
        })
    }

    /// The addresses of `host`, A and AAAA, at least one. Once one family is known, the other is waited for only briefly.
    ///
    /// # Errors
    ///
    /// When it has none or nobody says in time.
    pub async fn addresses(&self, host: &HostName) -> Result<Vec<IpAddr>, Refusal> {
        let mut deadline = Instant::now() + self.timeout;
        let mut lookups =
            FuturesUnordered::from_iter([self.family(host, RecordType::A), self.family(host, RecordType::AAAA)]);
        let mut addresses = Vec::new();
        let mut refusal = Refusal::NoAddress;
        loop {
            match tokio::time::timeout_at(deadline, lookups.next()).await {
                Ok(Some(Ok(found))) if found.is_empty() => {}
                Ok(Some(Ok(found))) => {
                    addresses.extend(found);
                    deadline = deadline.min(Instant::now() + RESOLUTION_DELAY);
                }
                Ok(Some(Err(error))) => refusal = error,
                Ok(None) => break,
                Err(_) => {
                    refusal = Refusal::ResolverTimedOut;
                    break;
                }
            }
        }
        if addresses.is_empty() {
            Err(refusal)
        } else {
            Ok(addresses)
        }
    }

    async fn family(&self, host: &HostName, kind: RecordType) -> Result<Vec<IpAddr>, Refusal> {
        // The root's dot keeps search domains out, whatever the configuration.
        match self.resolver.lookup(format!("{host}."), kind).await {
            Ok(answer) => {
                let addresses = answer.answers().iter().filter_map(|record| record.data.ip_addr());
                Ok(addresses.take(MOST_ADDRESSES).collect())
            }
            Err(error) if error.is_no_records_found() => Ok(Vec::new()),
            Err(NetError::Timeout) => Err(Refusal::ResolverTimedOut),
            Err(error) => {
                tracing::warn!(%host, %kind, %error, "a name could not be resolved");
                Err(Refusal::ResolverFailed)
            }
        }
    }
}

fn name_server(ip: IpAddr, port: u16) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(ip);
    let on_port = |mut connection: ConnectionConfig| {
        connection.port = port;
        connection
    };
    server.connections = server.connections.into_iter().map(on_port).collect();
    server
}
