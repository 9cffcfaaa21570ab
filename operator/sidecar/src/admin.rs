//! The admin port: health, readiness, what the kubelet asks on the server's behalf, who the server is and what it offers,
//! which policy decides, whether the pod is closed, metrics.

use crate::audit::Record;
use crate::guard::EnforcementWatch;
use crate::metrics::{self, AuthenticationProblems, Metrics};
use crate::reload::PolicyInForce;
use crate::server::{ServerState, ServerTools, ServerWatch};
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use sallyport_audit::journal::Journal;
use sallyport_core::drain::{Drain, DrainControl, Phase};
use sallyport_core::tls::TlsAcceptor;
use serde::Serialize;
use std::sync::Arc;

/// Answers the admin port's requests. Clones share everything.
#[derive(Clone)]
pub struct Admin {
    /// Whose sink must take records.
    pub journal: Journal<Record>,
    /// Whether the sidecar stops.
    pub drain: Drain,
    /// Makes it get ready to.
    pub control: DrainControl,
    /// What is known of the server.
    pub server: ServerWatch,
    /// What was seen of the server's tools.
    pub tools: ServerTools,
    /// Which policy decides.
    pub policy: Arc<PolicyInForce>,
    /// What ends TLS on the traffic port, if that is served.
    pub tls: Option<Arc<TlsAcceptor>>,
    /// Whether the pod is refused what it must be.
    pub enforcement: EnforcementWatch,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

impl Admin {
    /// Answers one request.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is served\n");
        }
        match request.uri().path() {
            "/healthz" => self.healthz(),
            "/readyz" => verdict(self.readiness()),
            "/upstream/startup" | "/upstream/live" => verdict(self.upstream().await),
            "/server" => self.server_info(),
            "/tools" => json(&self.tools.report(&self.policy.rules().borrow().policy.tools)),
            "/policy" => json(&self.policy.report(self.tls_problem())),
            "/enforcement" => json(&self.enforcement.round().await),
            "/anchor" => json(&self.journal.anchor()),
            "/metrics" => self.metrics(),
            "/drain" => self.leave(),
            _ => text(
                StatusCode::NOT_FOUND,
                "served are /healthz /readyz /upstream/startup /upstream/live /server /tools /policy /enforcement /anchor /metrics /drain\n",
            ),
        }
    }

    /// The kubelet asks for it as soon as the pod's end is decided, long before SIGTERM: a native sidecar is told to stop
    /// only after the server has stopped. A GET, because the kubelet's hooks know no other method.
    fn leave(&self) -> Response<Full<Bytes>> {
        tracing::info!("the pod's end is decided");
        self.control.advance(Phase::Leaving);
        text(StatusCode::OK, "callers are asked to go elsewhere\n")
    }

    /// A policy file that is not followed is no reason to be restarted: the sidecar would not come up with it again.
    fn healthz(&self) -> Response<Full<Bytes>> {
        match (self.health(), self.policy.problem()) {
            (Ok(()), Some(problem)) => text(StatusCode::OK, &format!("ok, by the policy of before: {problem}\n")),
            (health, _) => verdict(health),
        }
    }

    fn health(&self) -> Result<(), String> {
        self.journal.check_sink().map_err(|error| error.to_string())
    }

    fn readiness(&self) -> Result<(), String> {
        if self.drain.phase() != Phase::Serving {
            return Err("stopping".into());
        }
        self.health()?;
        self.enforcement.permits_calls().map_err(|why| why.to_string())?;
        match self.server.state() {
            ServerState::Answered(_) => Ok(()),
            ServerState::Waiting { reason } => Err(reason),
        }
    }

    async fn upstream(&self) -> Result<(), String> {
        if self.server.accepts().await {
            Ok(())
        } else {
            Err("nothing accepts connections on the server's port".into())
        }
    }

    fn server_info(&self) -> Response<Full<Bytes>> {
        match self.server.state() {
            ServerState::Answered(info) => json(&info),
            ServerState::Waiting { reason } => text(StatusCode::SERVICE_UNAVAILABLE, &format!("{reason}\n")),
        }
    }

    /// What is wrong with the files of TLS as they are now: those of before are used.
    fn tls_problem(&self) -> Option<String> {
        let problem = self.tls.as_ref()?.problem()?;
        Some(format!("TLS: {problem}"))
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        let rules = self.policy.rules().borrow().clone();
        self.metrics
            .policy(rules.policy.generation, self.policy.problem().is_some());
        self.metrics.authentication(AuthenticationProblems {
            api_keys: rules.authenticator.key_problem().iter().count(),
            issuers: rules.authenticator.issuer_problems().count(),
            tls: self.tls_problem().iter().count(),
        });
        let tools = self.tools.report(&rules.policy.tools);
        self.metrics.tools(&tools);
        match self.metrics.encode() {
            Ok(metrics) => typed(StatusCode::OK, metrics::CONTENT_TYPE, metrics),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
        }
    }
}

fn verdict(result: Result<(), String>) -> Response<Full<Bytes>> {
    match result {
        Ok(()) => text(StatusCode::OK, "ok\n"),
        Err(reason) => text(StatusCode::SERVICE_UNAVAILABLE, &format!("{reason}\n")),
    }
}

fn json(value: &impl Serialize) -> Response<Full<Bytes>> {
    match serde_json::to_vec(value) {
        Ok(json) => typed(StatusCode::OK, "application/json", json),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
    }
}

fn text(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    typed(status, "text/plain; charset=utf-8", text.to_owned())
}

fn typed(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
