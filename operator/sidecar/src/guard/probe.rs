//! One round of connection attempts.

use futures::future::join_all;
use sallyport_policy::enforcement::{Destination, Enforcement, EnforcementReport, KubernetesApi, Observation, Verdict};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;

/// How long an attempt may take: the kernel sends the first packet again after one second, so that one lost packet is
/// not taken for a refusal.
const CONNECT_BOUND: Duration = Duration::from_millis(1500);

/// What is tried in each round.
#[derive(Clone, Debug)]
pub struct Probe {
    targets: Vec<(Destination, SocketAddr)>,
    api: KubernetesApi,
}

impl Probe {
    /// Tries the canaries of `enforcement` and, unless it is allowed, the API server, whose address the kubelet gives to every
    /// container; without that, no round is conclusive.
    pub fn new(enforcement: &Enforcement, api_server: Option<SocketAddr>) -> Self {
        let canaries = enforcement.canaries.iter().map(|&at| (Destination::Canary, at));
        let api_server = api_server.filter(|_| enforcement.kubernetes_api.is_forbidden());
        let api_server = api_server.map(|at| (Destination::KubernetesApi, at));
        Self {
            targets: canaries.chain(api_server).collect(),
            api: enforcement.kubernetes_api,
        }
    }

    /// Whether the API server must be refused.
    pub const fn api(&self) -> KubernetesApi {
        self.api
    }

    /// Tries everything at once.
    pub async fn round(&self) -> EnforcementReport {
        let attempts = self.targets.iter().map(|&(destination, address)| async move {
            let (verdict, detail) = attempt(address).await;
            Observation {
                destination,
                address,
                verdict,
                detail,
            }
        });
        EnforcementReport {
            observations: join_all(attempts).await,
        }
    }
}

async fn attempt(address: SocketAddr) -> (Verdict, String) {
    match tokio::time::timeout(CONNECT_BOUND, TcpStream::connect(address)).await {
        Ok(Ok(_)) => (Verdict::Reached, "the connection was accepted".to_owned()),
        Ok(Err(error)) => (judge(&error), error.to_string()),
        Err(_) => (Verdict::Refused, format!("no answer within {CONNECT_BOUND:?}")),
    }
}

/// Policies refuse in many ways: a reset, any ICMP "unreachable", a denied system call, silence. What remains is the
/// pod's own trouble, as a lack of file descriptors or of an address of that family.
fn judge(error: &io::Error) -> Verdict {
    match error.kind() {
        ErrorKind::ConnectionRefused
        | ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable
        | ErrorKind::PermissionDenied
        | ErrorKind::TimedOut => Verdict::Refused,
        _ => Verdict::Inconclusive,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    /// Numbers of Linux (errno.h).
    #[test]
    fn every_way_to_refuse_counts_and_the_pods_own_trouble_does_not() {
        const REFUSALS: [(&str, i32); 7] = [
            ("EPERM", 1),
            ("EACCES", 13),
            ("ENETUNREACH", 101),
            ("ECONNRESET", 104),
            ("ETIMEDOUT", 110),
            ("ECONNREFUSED", 111),
            ("EHOSTUNREACH", 113),
        ];
        const TROUBLE: [(&str, i32); 5] = [
            ("EMFILE", 24),
            ("ENFILE", 23),
            ("ENOBUFS", 105),
            ("EAFNOSUPPORT", 97),
            ("EADDRNOTAVAIL", 99),
        ];
        for (name, number) in REFUSALS {
            assert_eq!(judge(&io::Error::from_raw_os_error(number)), Verdict::Refused, "{name}");
        }
        for (name, number) in TROUBLE {
            assert_eq!(
                judge(&io::Error::from_raw_os_error(number)),
                Verdict::Inconclusive,
                "{name}"
            );
        }
    }
}
