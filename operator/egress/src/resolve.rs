//! Resolving names, once per connection and by the gateway's own resolver.

use crate::refusal::Refusal;
use hickory_resolver::config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::{TokioResolver, system_conf};
use sallyport_policy::egress::{HostName, ResolverPolicy};
use std::net::IpAddr;
use std::time::Duration;

/// Addresses of a name that are looked at, at most.
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
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
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

    /// The addresses of `host`, A and AAAA, at least one.
    ///
    /// # Errors
    ///
    /// When it has none or nobody says in time.
    pub async fn addresses(&self, host: &HostName) -> Result<Vec<IpAddr>, Refusal> {
        // The root's dot keeps search domains out, whatever the configuration.
        let lookup = self.resolver.lookup_ip(format!("{host}."));
        let addresses: Vec<IpAddr> = match tokio::time::timeout(self.timeout, lookup).await {
            Err(_) | Ok(Err(NetError::Timeout)) => return Err(Refusal::ResolverTimedOut),
            Ok(Err(error)) if error.is_no_records_found() => return Err(Refusal::NoAddress),
            Ok(Err(error)) => {
                tracing::warn!(%host, %error, "a name could not be resolved");
                return Err(Refusal::ResolverFailed);
            }
            Ok(Ok(answer)) => answer.iter().take(MOST_ADDRESSES).collect(),
        };
        if addresses.is_empty() {
            Err(Refusal::NoAddress)
        } else {
            Ok(addresses)
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
