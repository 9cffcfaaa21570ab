//! A network in which public addresses lead to hosts of the test.

use futures::future::BoxFuture;
use sallyport_egress::Dial;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpStream;

/// Leads addresses elsewhere and remembers who was called. An address that leads nowhere refuses.
#[derive(Clone, Default)]
pub struct Network {
    ways: Arc<Mutex<BTreeMap<SocketAddr, Option<SocketAddr>>>>,
    dialled: Arc<Mutex<Vec<SocketAddr>>>,
}

impl Network {
    pub fn lead(&self, ip: &str, port: u16, to: SocketAddr) {
        let from = SocketAddr::new(ip.parse().unwrap(), port);
        self.ways.lock().unwrap().insert(from, Some(to));
    }

    /// Packets to there are dropped.
    pub fn swallow(&self, ip: &str, port: u16) {
        let from = SocketAddr::new(ip.parse().unwrap(), port);
        self.ways.lock().unwrap().insert(from, None);
    }

    /// What was called, in order.
    pub fn dialled(&self) -> Vec<String> {
        self.dialled.lock().unwrap().iter().map(SocketAddr::to_string).collect()
    }

    /// Whether the network itself leads there: what the gateway stands in front of.
    pub async fn reaches(&self, ip: &str, port: u16) -> bool {
        let to = self
            .ways
            .lock()
            .unwrap()
            .get(&SocketAddr::new(ip.parse().unwrap(), port))
            .copied();
        match to {
            Some(Some(to)) => TcpStream::connect(to).await.is_ok(),
            _ => false,
        }
    }
}

impl Dial for Network {
    fn dial(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<TcpStream>> {
        self.dialled.lock().unwrap().push(address);
        let to = self.ways.lock().unwrap().get(&address).copied();
        Box::pin(async move {
            match to {
                None => Err(ErrorKind::ConnectionRefused.into()),
                Some(None) => std::future::pending().await,
                Some(Some(to)) => TcpStream::connect(to).await,
            }
        })
    }
}
