//! Lets a write reach the API server only while this replica holds the lease.
//!
//! The gate is a layer of the client, so no code path can forget to ask: what is not a read fails with [`NotLeading`]
//! unless the lease is held at that moment, and a write that is still under way when the lease runs out is given up.

use futures::future::BoxFuture;
use http::{Method, Request, Response};
use kube::client::Body;
use prometheus_client::metrics::counter::Counter;
use std::task::{Context, Poll};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use tower::{BoxError, Layer, Service};

/// A write without the lease.
#[derive(Debug, thiserror::Error)]
#[error(
    "this replica does not hold the lease, so it must not write; another replica does, or the API server is out of reach"
)]
pub struct NotLeading;

/// The side that opens the gate.
#[derive(Debug)]
pub struct Grant(watch::Sender<Option<Instant>>);

/// The side that asks; a layer for [`kube::client::ClientBuilder`].
#[derive(Clone, Debug)]
pub struct WriteGate {
    held_until: watch::Receiver<Option<Instant>>,
    writes: Counter,
}

/// A gate that is closed until the grant opens it. `writes` counts what passes.
pub fn gate(writes: Counter) -> (Grant, WriteGate) {
    let (sender, held_until) = watch::channel(None);
    (Grant(sender), WriteGate { held_until, writes })
}

impl Grant {
    /// Lets writes pass until `deadline`.
    pub fn until(&self, deadline: Instant) {
        self.0.send_replace(Some(deadline));
    }

    /// Closes the gate.
    pub fn revoke(&self) {
        self.0.send_replace(None);
    }
}

impl<S> Layer<S> for WriteGate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated {
            inner,
            gate: self.clone(),
        }
    }
}

/// A client's service behind the gate.
#[derive(Clone, Debug)]
pub struct Gated<S> {
    inner: S,
    gate: WriteGate,
}

impl<S, B> Service<Request<Body>> for Gated<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<B>, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if matches!(*request.method(), Method::GET | Method::HEAD) {
            let answer = self.inner.call(request);
            return Box::pin(async move { answer.await.map_err(Into::into) });
        }
        let held_until = *self.gate.held_until.borrow();
        match held_until.filter(|deadline| Instant::now() < *deadline) {
            None => Box::pin(async { Err(NotLeading.into()) }),
            Some(deadline) => {
                self.gate.writes.inc();
                let answer = self.inner.call(request);
                Box::pin(async move {
                    match timeout_at(deadline, answer).await {
                        Ok(answer) => answer.map_err(Into::into),
                        Err(_) => Err(NotLeading.into()),
                    }
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{convert::Infallible, time::Duration};
    use tower::{ServiceExt, service_fn};

    async fn send(gate: &WriteGate, method: Method, delay: Duration) -> Result<Response<Body>, BoxError> {
        let service = service_fn(move |_: Request<Body>| async move {
            tokio::time::sleep(delay).await;
            Ok::<_, Infallible>(Response::new(Body::empty()))
        });
        let request = Request::builder().method(method).body(Body::empty()).unwrap();
        gate.layer(service).oneshot(request).await
    }

    #[tokio::test(start_paused = true)]
    async fn reads_pass_and_writes_wait_for_the_lease() {
        let (grant, gate) = gate(Counter::default());
        assert!(send(&gate, Method::GET, Duration::ZERO).await.is_ok());
        assert!(
            send(&gate, Method::PATCH, Duration::ZERO)
                .await
                .unwrap_err()
                .is::<NotLeading>()
        );
        grant.until(Instant::now() + Duration::from_secs(10));
        assert!(send(&gate, Method::PATCH, Duration::ZERO).await.is_ok());
        assert_eq!(gate.writes.get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_under_way_is_given_up_when_the_lease_runs_out() {
        let (grant, gate) = gate(Counter::default());
        grant.until(Instant::now() + Duration::from_secs(10));
        assert!(
            send(&gate, Method::PUT, Duration::from_secs(11))
                .await
                .unwrap_err()
                .is::<NotLeading>()
        );
        assert!(
            send(&gate, Method::DELETE, Duration::ZERO)
                .await
                .unwrap_err()
                .is::<NotLeading>()
        );
    }
}
