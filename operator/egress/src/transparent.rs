//! TLS without a proxy request: for servers that ignore proxy variables and are told that the gateway is the host.

use crate::alert;
use crate::event::{Entry, Recorder, Via};
use crate::hello::HelloDenial;
use crate::inject::Injector;
use crate::policy::Policy;
use crate::refusal::Refusal;
use crate::route::{Route, Router, enforce};
use crate::target::Target;
use crate::tunnel::Opening;
use bytes::Bytes;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

/// The port that clients believe they have reached.
const HTTPS: u16 = 443;

/// Serves the transparent port's connections.
pub struct Transparent {
    /// Where ways out come from.
    pub router: Arc<Router>,
    /// Where events go.
    pub recorder: Recorder,
    /// Who carries tunnels.
    pub injector: Arc<Injector>,
}

impl Transparent {
    /// Serves one connection to its end.
    pub async fn serve(&self, mut client: TcpStream, peer: IpAddr) {
        let policy = self.router.policy.current();
        let Ok(mut entry) = self.recorder.begin(&policy, peer, Via::Transparent).await else {
            return alert::refuse(&mut client).await;
        };
        // Before anything is read: what is kept of unfinished hellos is bounded by the places.
        let place = match self.router.admit(&policy) {
            Ok(place) => place,
            Err(refusal) => {
                entry.refuse(&refusal);
                return alert::refuse(&mut client).await;
            }
        };
        let bound = Duration::from_secs(policy.file.limits.head_seconds);
        let opening = Opening::read(&mut client, Bytes::new(), bound).await;
        match self.route(policy, place, &opening, &mut entry).await {
            Ok(route) => self.injector.carry(client, peer, opening, route, entry).await,
            Err(refusal) => {
                entry.refuse(&refusal);
                alert::refuse(&mut client).await;
            }
        }
    }

    async fn route(
        &self,
        policy: Arc<Policy>,
        place: OwnedSemaphorePermit,
        opening: &Opening,
        entry: &mut Entry,
    ) -> Result<Route, Refusal> {
        let hello = opening.hello.as_ref().map_err(|denial| Refusal::Hello(*denial))?;
        let name = hello.server_name.clone();
        // Without a name there is no way, whatever the mode.
        let host = name.ok_or(Refusal::Hello(HelloDenial::NoServerName))?;
        let target = Target { host, port: HTTPS };
        entry.target(&target);
        if hello.encrypted {
            enforce(&policy, Refusal::Hello(HelloDenial::Encrypted), entry)?;
        }
        self.router.lead(policy, target, place, entry).await
    }
}
