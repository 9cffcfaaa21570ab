//! Connecting to one of several addresses that were checked.

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpStream;

/// Head start of each address before the next is tried beside it (RFC 8305 section 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// Opens TCP connections.
pub trait Dial: Send + Sync + 'static {
    /// Connects to `address`.
    fn dial(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<TcpStream>>;
}

/// Opens them as the kernel does.
#[derive(Clone, Copy, Debug)]
pub struct Kernel;

impl Dial for Kernel {
    fn dial(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<TcpStream>> {
        Box::pin(TcpStream::connect(address))
    }
}

/// Connects to the first of `addresses` that takes the connection, and to no other address.
///
/// # Errors
///
/// That of the last address, when none does.
pub async fn first(dialer: &dyn Dial, addresses: &[IpAddr], port: u16) -> io::Result<(TcpStream, IpAddr)> {
    let mut attempts = FuturesUnordered::new();
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for ip in in_turns(addresses) {
        let attempt = dialer.dial(SocketAddr::new(ip, port));
        attempts.push(async move { (ip, attempt.await) });
        tokio::select! {
            Some((ip, result)) = attempts.next() => match result {
                Ok(stream) => return Ok((stream, ip)),
                Err(error) => last = error,
            },
            () = tokio::time::sleep(HEAD_START) => {}
        }
    }
    while let Some((ip, result)) = attempts.next().await {
        match result {
            Ok(stream) => return Ok((stream, ip)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// IPv6 and IPv4 in turns, each family in its order (RFC 8305 section 4).
fn in_turns(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let (ipv6, ipv4): (Vec<IpAddr>, Vec<IpAddr>) = addresses.iter().partition(|ip| ip.is_ipv6());
    let longest = ipv6.len().max(ipv4.len());
    (0..longest)
        .flat_map(|at| [ipv6.get(at), ipv4.get(at)])
        .flatten()
        .copied()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let list = |texts: &[&str]| -> Vec<IpAddr> { texts.iter().map(|text| text.parse().unwrap()).collect() };
        assert_eq!(
            in_turns(&list(&["1.1.1.1", "2.2.2.2", "2600::1", "3.3.3.3"])),
            list(&["2600::1", "1.1.1.1", "2.2.2.2", "3.3.3.3"])
        );
        assert_eq!(in_turns(&[]), Vec::<IpAddr>::new());
    }
}
