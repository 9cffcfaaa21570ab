//! Hosts to which the gateway adds a credential that the server must not hold: TLS is ended here, and begun anew.
//!
//! The way out is the same as any other's ([`crate::route`]): the host is allowed, its addresses are checked, the dialled
//! one is fixed. Then a [`leaf`] certificate is got from the pod that called, the host's own certificate is verified
//! ([`upstream`]), and every [`request`] inside gets the [`credential`]. HTTP/1.1 only.

mod conversation;
mod credential;
mod leaf;
mod request;
mod upstream;

pub use request::RequestDenial;
pub use upstream::UpstreamError;

use crate::alert;
use crate::event::Entry;
use crate::hello::HelloDenial;
use crate::meter::End;
use crate::refusal::Refusal;
use crate::route::Route;
use crate::tunnel::{self, Opening};
use conversation::Conversation;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use leaf::Key;
use sallyport_policy::egress::Injection;
use std::net::IpAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use upstream::Upstream;

/// The only protocol that is spoken inside (RFC 7301).
const HTTP_1_1: &[u8] = b"http/1.1";

/// Nothing can be injected.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up TLS to inject credentials")]
pub struct InjectError(#[source] Box<dyn std::error::Error + Send + Sync>);

/// Ends TLS. Holds the gateway's key, which lives as long as the process.
pub struct Injector {
    key: Key,
    upstream: Upstream,
}

impl Injector {
    /// An injector with a new key.
    ///
    /// # Errors
    ///
    /// When there is no randomness or no root can be read.
    pub fn new() -> Result<Self, InjectError> {
        Ok(Self {
            key: Key::generate()?,
            upstream: Upstream::new()?,
        })
    }

    /// Carries what `client` has opened over `route` to its end: with a credential if the route says so, as a tunnel
    /// otherwise. `peer` is the pod that the client is in.
    pub async fn carry(&self, client: TcpStream, peer: IpAddr, opening: Opening, route: Route, entry: Entry) {
        match route.passage.inject.clone() {
            None => tunnel::run(client, opening, route, entry).await,
            // Its state is large, and would be part of every connection's that still waits for its hello.
            Some(injection) => Box::pin(self.run(client, peer, opening, route, entry, &injection)).await,
        }
    }

    async fn run(
        &self,
        mut client: TcpStream,
        peer: IpAddr,
        opening: Opening,
        route: Route,
        mut entry: Entry,
        injection: &Injection,
    ) {
        let Route {
            upstream,
            meter,
            bounds,
            passage,
            policy,
            place,
        } = route;
        entry.injected();
        let host = &passage.target.host;
        let ready = async {
            let hello: Result<_, HelloDenial> = opening.hello.as_ref().map_err(|denial| *denial);
            // Whatever the mode: a credential goes to the host that was named, by everybody, and to no other.
            hello.and_then(|hello| hello.check(host)).map_err(Refusal::Hello)?;
            let bound = Duration::from_secs(bounds.limits.connect_seconds);
            let certificate = async {
                let port = policy.file.signer_port.ok_or(Refusal::NoCertificate)?;
                let got = tokio::time::timeout(bound, self.key.certified(peer, port, host)).await;
                got.ok().flatten().ok_or(Refusal::NoCertificate)
            };
            let verified = async {
                let connecting = self.upstream.connect(upstream, host, injection.authorities.as_deref());
                match tokio::time::timeout(bound, connecting).await {
                    Ok(connected) => connected.map_err(Refusal::Upstream),
                    Err(_) => Err(Refusal::ConnectTimedOut),
                }
            };
            tokio::try_join!(certificate, verified)
        };
        let (tls, upstream) = match ready.await {
            Ok(ready) => ready,
            Err(refusal) => {
                entry.refuse(&refusal);
                return alert::refuse(&mut client).await;
            }
        };
        let bound = Duration::from_secs(bounds.limits.head_seconds);
        let accepting = TlsAcceptor::from(tls).accept(opening.replayed(client));
        let client = match tokio::time::timeout(bound, accepting).await {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => {
                tracing::info!(%host, %peer, %error, "a server does not take the gateway for the host");
                return entry.refuse(&Refusal::ClientTls);
            }
            Err(_) => return entry.refuse(&Refusal::ClientTls),
        };
        let Ok((sender, connection)) = http1::handshake(TokioIo::new(upstream)).await else {
            return entry.refuse(&Refusal::UpstreamFailed);
        };
        let open = entry.open(meter.clone());
        let conversation = Conversation::new(&passage.target, injection, sender);
        let end = tokio::select! {
            result = conversation.run(client, connection, bounds.drain.clone()) => match result {
                _ if meter.was_exceeded() => End::TooManyBytes,
                Ok(()) => End::Completed,
                Err(error) => {
                    tracing::debug!(%error, "a conversation broke");
                    End::Broken
                }
            },
            end = bounds.exceeded(&meter, |policy| passage.is_allowed_by(policy)) => end,
        };
        match conversation.into_refused() {
            Some(Refusal::UpstreamFailed) if end == End::Completed => open.close(End::Broken),
            Some(refusal) if end == End::Completed => open.close_refused(refusal.reason()),
            _ => open.close(end),
        }
        drop(place);
    }
}
