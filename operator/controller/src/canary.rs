//! The canary: a listener on the operator's own pods that endpoint pods must be refused.
//!
//! A pod that is refused something cannot tell whether anything was there. The operator can: it connects to the canary at
//! the very address that pods are told, before and after they try.

use crate::watch;
use futures::{StreamExt, future::join_all};
use k8s_openapi::api::core::v1::Service;
use kube::{
    Api, Client,
    runtime::watcher::{self, Event},
};
use sallyport_api::v1alpha1::CANARY_PORT;
use sallyport_policy::enforcement::CANARY_LINE;
use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch::Sender},
    time::{sleep, timeout},
};

/// Connections at a time; more wait in the kernel's queue.
const CONNECTIONS: usize = 64;
/// How long one connection may take, to take the line or to be made.
const BOUND: Duration = Duration::from_secs(2);
/// After an accept that failed for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Listens on every address of the pod, of both families where the kernel has both.
///
/// # Errors
///
/// When the port is taken.
pub async fn bind(port: u16) -> io::Result<TcpListener> {
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await,
    }
}

/// Sends one fixed line to whoever connects, for as long as it is polled. Nothing is read.
pub async fn serve(listener: TcpListener) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    while let Ok(permit) = connections.clone().acquire_owned().await {
        match listener.accept().await {
            Ok((mut stream, peer)) => {
                tracing::debug!(%peer, "the canary was reached");
                tokio::spawn(async move {
                    let _ = timeout(BOUND, async {
                        stream.write_all(CANARY_LINE).await?;
                        stream.shutdown().await
                    })
                    .await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection to the canary could not be accepted");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Whether the canary answers the operator at all of `addresses`, of which there must be one.
pub async fn is_alive(addresses: &[SocketAddr]) -> bool {
    let answers = join_all(addresses.iter().map(|&address| answers(address))).await;
    !answers.is_empty() && answers.into_iter().all(|answers| answers)
}

async fn answers(address: SocketAddr) -> bool {
    let said = async {
        let mut line = vec![];
        let stream = TcpStream::connect(address).await?;
        stream.take(CANARY_LINE.len() as u64).read_to_end(&mut line).await?;
        Ok::<_, io::Error>(line)
    };
    match timeout(BOUND, said).await {
        Ok(Ok(line)) => line == CANARY_LINE,
        Ok(Err(error)) => {
            tracing::warn!(%address, %error, "the canary cannot be reached from the operator itself");
            false
        }
        Err(_) => {
            tracing::warn!(%address, "the canary does not answer the operator itself");
            false
        }
    }
}

/// Follows the canary's Service `name` and tells `addresses` where it is, for as long as it is polled. Nowhere, if there is
/// no such Service.
pub async fn follow(client: Client, namespace: &str, name: &str, addresses: Sender<Option<Vec<SocketAddr>>>) {
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let services = Api::<Service>::namespaced(client, namespace);
    let mut events = pin!(watch::events(services, config, "Service"));
    let mut listed = vec![];
    while let Some(event) = events.next().await {
        let next = match event {
            Ok(Event::Init) => {
                listed.clear();
                continue;
            }
            Ok(Event::InitApply(service)) => {
                listed = known(&service);
                continue;
            }
            Ok(Event::InitDone) => listed.clone(),
            Ok(Event::Apply(service)) => known(&service),
            Ok(Event::Delete(_)) => vec![],
            Err(()) => continue,
        };
        addresses.send_if_modified(|known| known.replace(next.clone()).as_ref() != Some(&next));
    }
}

fn known(service: &Service) -> Vec<SocketAddr> {
    let Some(spec) = &service.spec else {
        return vec![];
    };
    let port = spec.ports.iter().flatten().next().map(|port| port.port);
    let port = port.and_then(|port| u16::try_from(port).ok()).unwrap_or(CANARY_PORT);
    let addresses = spec.cluster_ips.iter().flatten();
    addresses
        .filter_map(|address| Some(SocketAddr::new(address.parse().ok()?, port)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;
    use serde_json::json;

    #[tokio::test]
    async fn it_is_alive_when_every_address_answers_with_its_line() {
        let canary = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let alive = canary.local_addr().unwrap();
        tokio::spawn(serve(canary));
        let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mute = other.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = other.accept().await {
                let _ = stream.write_all(b"something else\n").await;
            }
        });
        let nobody: SocketAddr = "127.0.0.1:1".parse().unwrap();
        assert!(is_alive(&[alive]).await);
        assert!(is_alive(&[alive, alive]).await);
        for dead in [vec![], vec![nobody], vec![alive, nobody], vec![mute]] {
            assert!(!is_alive(&dead).await, "{dead:?}");
        }
    }

    #[test]
    fn a_service_of_both_families_has_two_addresses() {
        let service = |spec| serde_json::from_value::<Service>(json!({ "spec": spec })).unwrap();
        let both = service(json!({"clusterIPs": ["10.96.0.7", "fd00::7"], "ports": [{"port": 15070}]}));
        let both: Vec<_> = known(&both).iter().map(ToString::to_string).collect();
        assert_eq!(both, ["10.96.0.7:15070", "[fd00::7]:15070"]);
        assert_eq!(known(&service(json!({"clusterIPs": ["None"]}))), []);
    }
}
