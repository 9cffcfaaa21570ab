//! The requests inside one connection, one after the other.

use super::{credential, request};
use crate::forward;
use crate::proxy::{Body, MAX_HEADERS, refused};
use crate::refusal::Refusal;
use crate::target::{MAX_HEAD_BYTES, Target};
use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Connection, SendRequest};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sallyport_core::drain::{Drain, Phase};
use sallyport_policy::egress::Injection;
use std::convert::Infallible;
use std::sync::{Mutex as Slot, PoisonError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Mutex;

/// What is asked of one host on one connection.
pub struct Conversation<'a> {
    target: &'a Target,
    injection: &'a Injection,
    sender: Mutex<SendRequest<Incoming>>,
    /// Why the last request was refused; none comes after it.
    refused: Slot<Option<Refusal>>,
}

impl<'a> Conversation<'a> {
    /// With `target`, through `sender`.
    pub fn new(target: &'a Target, injection: &'a Injection, sender: SendRequest<Incoming>) -> Self {
        Self {
            target,
            injection,
            sender: Mutex::new(sender),
            refused: Slot::new(None),
        }
    }

    /// Why it ended, if a request was refused.
    pub fn into_refused(self) -> Option<Refusal> {
        self.refused.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers the requests of `client` until either side is done. `connection` is the one with the host, behind the sender.
    ///
    /// # Errors
    ///
    /// When the client breaks off.
    pub async fn run<C, U>(
        &self,
        client: C,
        connection: Connection<TokioIo<U>, Incoming>,
        mut drain: Drain,
    ) -> hyper::Result<()>
    where
        C: AsyncRead + AsyncWrite + Unpin,
        U: AsyncRead + AsyncWrite + Unpin,
    {
        let service = service_fn(|request| self.answer(request));
        let serving = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            // The connection's own bounds end a client that is slow or idle.
            .header_read_timeout(None)
            .max_headers(MAX_HEADERS)
            .max_buf_size(MAX_HEAD_BYTES)
            .half_close(false)
            .serve_connection(TokioIo::new(client), service);
        let mut serving = std::pin::pin!(serving);
        let mut connection = std::pin::pin!(connection);
        let (mut is_connected, mut is_draining) = (true, false);
        loop {
            tokio::select! {
                result = serving.as_mut() => return result,
                // What the host has closed cannot take another request; the client learns so before it sends one.
                _ = connection.as_mut(), if is_connected => {
                    is_connected = false;
                    serving.as_mut().graceful_shutdown();
                }
                () = drain.reached(Phase::Draining), if !is_draining => {
                    is_draining = true;
                    serving.as_mut().graceful_shutdown();
                }
            }
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        Ok(self.exchange(request).await.unwrap_or_else(|refusal| {
            let mut response = refused(&refusal);
            *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
            response
        }))
    }

    async fn exchange(&self, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
        let request = request::outgoing(request, self.target).map_err(Refusal::Request)?;
        let credential = credential::value(self.injection).await.map_err(|error| {
            tracing::error!(file = self.injection.file, %error, "no credential is injected");
            Refusal::CredentialUnavailable
        })?;
        let request = request::with_credential(request, &self.injection.header, credential);
        let mut sender = self.sender.lock().await;
        let sent = sender.send_request(request).await;
        let mut response = sent.map_err(|_| Refusal::UpstreamFailed)?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            // Nobody asked for it.
            return Err(Refusal::UpstreamFailed);
        }
        let closes = request::closes(&response);
        forward::strip(response.headers_mut());
        response.headers_mut().append(header::VIA, forward::VIA);
        if closes {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        Ok(response.map(BodyExt::boxed))
    }
}
