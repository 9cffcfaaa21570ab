//! One client connection of the HTTP proxy: one request, then what it asked for.
//!
//! A second request on the same connection is not read, so that neither can hide in the other.

use crate::event::{Entry, Recorder, Via};
use crate::forward;
use crate::inject::Injector;
use crate::policy::Policy;
use crate::refusal::Refusal;
use crate::route::Router;
use crate::target::{Carriage, MAX_HEAD_BYTES, Target, TargetError};
use crate::tunnel::Opening;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::{self, HeaderName, HeaderValue};
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use sallyport_core::client::ClientStream;
use sallyport_core::drain::Phase;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// Headers of a request at most.
pub const MAX_HEADERS: usize = 100;

/// Why a request is refused (RFC 9209), for people and clients that look.
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// Body of an answer.
pub type Body = BoxBody<Bytes, hyper::Error>;
type Work = BoxFuture<'static, ()>;

/// Serves the proxy's connections.
pub struct Proxy {
    /// Where ways out come from.
    pub router: Arc<Router>,
    /// Where events go.
    pub recorder: Recorder,
    /// Who carries tunnels.
    pub injector: Arc<Injector>,
}

/// What the answering of a request leaves behind: the work that goes on after or beside it. Taken once.
type WorkSlot = Mutex<Option<oneshot::Sender<Work>>>;

impl Proxy {
    /// Serves one connection to its end.
    pub async fn serve(&self, stream: ClientStream, peer: IpAddr) {
        let policy = self.router.policy.current();
        let (sender, work) = oneshot::channel();
        let slot: WorkSlot = Mutex::new(Some(sender));
        let answered = {
            let service = service_fn(|request| {
                let sender = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
                let policy = policy.clone();
                async move {
                    let answer = match sender {
                        Some(sender) => self.answer(request, policy, peer, sender).await,
                        // Cannot happen: the connection is not kept alive.
                        None => Err(Refusal::Target(TargetError::NotHttp)),
                    };
                    Ok::<_, Infallible>(answer.unwrap_or_else(|refusal| refused(&refusal)))
                }
            });
            let serving = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(policy.file.limits.head_seconds))
                .max_headers(MAX_HEADERS)
                .max_buf_size(MAX_HEAD_BYTES)
                .half_close(false)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades();
            let mut drain = self.router.drain.clone();
            let serving = async {
                let mut serving = std::pin::pin!(serving);
                tokio::select! {
                    result = serving.as_mut() => result,
                    () = drain.reached(Phase::Draining) => {
                        serving.as_mut().graceful_shutdown();
                        serving.await
                    }
                }
            };
            let work = async {
                if let Ok(work) = work.await {
                    work.await;
                }
            };
            // The slot lives as long as the connection, so `work` must not be waited for if nothing was ever asked.
            let serving = async {
                let result = serving.await;
                drop(slot.lock().unwrap_or_else(PoisonError::into_inner).take());
                result
            };
            tokio::join!(serving, work).0
        };
        if let Err(error) = answered {
            tracing::debug!(%error, %peer, "a connection ended with an error");
            if error.is_parse() || error.is_parse_too_large() || error.is_timeout() {
                self.record_unread(&policy, peer).await;
            }
        }
    }

    /// Records a client that did not get as far as a request; hyper has answered it.
    async fn record_unread(&self, policy: &Policy, peer: IpAddr) {
        if let Ok(entry) = self.recorder.begin(policy, peer, Via::Unknown).await {
            entry.refuse(&Refusal::Target(TargetError::NotHttp));
        }
    }

    async fn answer(
        &self,
        mut request: Request<Incoming>,
        policy: Arc<Policy>,
        peer: IpAddr,
        work: oneshot::Sender<Work>,
    ) -> Result<Response<Body>, Refusal> {
        let upgrade = hyper::upgrade::on(&mut request);
        let (head, body) = request.into_parts();
        let carriage = Carriage::of(&head);
        let via = match &carriage {
            Ok(Carriage::Tunnel(_)) => Via::Connect,
            Ok(Carriage::Exchange(_)) => Via::Http,
            Err(_) => Via::Unknown,
        };
        let begun = self.recorder.begin(&policy, peer, via).await;
        let entry = begun.map_err(|_| Refusal::SinkUnavailable)?;
        match carriage {
            Err(error) => {
                let refusal = Refusal::Target(error);
                entry.refuse(&refusal);
                Err(refusal)
            }
            Ok(Carriage::Tunnel(target)) => self.tunnel(upgrade, policy, peer, target, entry, work).await,
            Ok(Carriage::Exchange(target)) => {
                self.exchange(Request::from_parts(head, body), policy, target, entry, work)
                    .await
            }
        }
    }

    async fn tunnel(
        &self,
        upgrade: OnUpgrade,
        policy: Arc<Policy>,
        peer: IpAddr,
        target: Target,
        mut entry: Entry,
        work: oneshot::Sender<Work>,
    ) -> Result<Response<Body>, Refusal> {
        let route = match self.router.open(policy, target, &mut entry).await {
            Ok(route) => route,
            Err(refusal) => {
                entry.refuse(&refusal);
                return Err(refusal);
            }
        };
        let bound = Duration::from_secs(route.bounds.limits.head_seconds);
        let injector = self.injector.clone();
        let tunnel = async move {
            let Ok(upgraded) = upgrade.await else { return };
            let Ok(parts) = upgraded.downcast::<TokioIo<ClientStream>>() else {
                return;
            };
            // The tunnel has bounds of its own.
            let mut client = parts.io.into_inner().into_inner();
            let opening = Opening::read(&mut client, parts.read_buf, bound).await;
            injector.carry(client, peer, opening, route, entry).await;
        };
        // Nobody drives it: the client is gone, and the entry says so when it is dropped.
        let _ = work.send(Box::pin(tunnel));
        Ok(Response::new(Empty::new().map_err(|never| match never {}).boxed()))
    }

    async fn exchange(
        &self,
        request: Request<Incoming>,
        policy: Arc<Policy>,
        target: Target,
        mut entry: Entry,
        work: oneshot::Sender<Work>,
    ) -> Result<Response<Body>, Refusal> {
        if policy.file.injection(&target.host, target.port).is_some() {
            // What would be added is not for everybody on the way to read.
            entry.target(&target);
            let refusal = Refusal::Target(TargetError::PlainOnTlsPort);
            entry.refuse(&refusal);
            return Err(refusal);
        }
        match self.router.open(policy, target, &mut entry).await {
            Ok(route) => {
                let response = forward::exchange(request, route, entry, work).await?;
                Ok(response.map(BodyExt::boxed))
            }
            Err(refusal) => {
                entry.refuse(&refusal);
                Err(refusal)
            }
        }
    }
}

/// The answer to a request that is refused.
pub fn refused(refusal: &Refusal) -> Response<Body> {
    let text = Full::new(Bytes::from(format!("sallyport egress gateway: {refusal}\n")));
    let mut response = Response::new(text.map_err(|never| match never {}).boxed());
    *response.status_mut() = refusal.status();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    let status = format!(
        "sallyport; error={}; details=\"{}\"",
        refusal.error_type(),
        refusal.reason()
    );
    // Both are words of ours.
    if let Ok(status) = HeaderValue::try_from(status) {
        headers.insert(PROXY_STATUS, status);
    }
    response
}
