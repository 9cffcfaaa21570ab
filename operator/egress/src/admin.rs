//! The admin port: health, readiness, the policy in force, metrics.

use crate::event::Event;
use crate::metrics::{self, Metrics};
use crate::policy::PolicyWatch;
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use sallyport_audit::journal::Journal;
use sallyport_core::drain::{Drain, Phase};
use std::sync::Arc;

/// Answers the admin port's requests. Clones share everything.
#[derive(Clone)]
pub struct Admin {
    /// Whose sink must take events.
    pub journal: Journal<Event>,
    /// Whether the gateway stops.
    pub drain: Drain,
    /// What is in force.
    pub policy: PolicyWatch,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

impl Admin {
    /// Answers one request.
    pub fn handle<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is served\n");
        }
        match request.uri().path() {
            "/healthz" => verdict(self.health()),
            "/readyz" => verdict(self.readiness()),
            "/policy" => encoded("application/json", serde_json::to_string(&self.policy.status())),
            "/anchor" => encoded("application/json", serde_json::to_string(&self.journal.anchor())),
            "/metrics" => encoded(metrics::CONTENT_TYPE, self.metrics.encode()),
            _ => text(
                StatusCode::NOT_FOUND,
                "served are /healthz /readyz /policy /anchor /metrics\n",
            ),
        }
    }

    fn health(&self) -> Result<(), String> {
        self.journal.check_sink().map_err(|error| error.to_string())
    }

    fn readiness(&self) -> Result<(), String> {
        if self.drain.phase() != Phase::Serving {
            return Err("stopping".into());
        }
        self.health()
    }
}

fn verdict(result: Result<(), String>) -> Response<Full<Bytes>> {
    match result {
        Ok(()) => text(StatusCode::OK, "ok\n"),
        Err(reason) => text(StatusCode::SERVICE_UNAVAILABLE, &format!("{reason}\n")),
    }
}

fn encoded(content_type: &'static str, body: Result<String, impl std::fmt::Display>) -> Response<Full<Bytes>> {
    match body {
        Ok(body) => typed(StatusCode::OK, content_type, body),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error}\n")),
    }
}

fn text(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    typed(status, "text/plain; charset=utf-8", text.to_owned())
}

fn typed(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
