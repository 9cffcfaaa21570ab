//! What happens to a request, stage by stage.
//!
//! The order is fixed: room in the journal, then the head (Host and Origin before anything that a caller gains by),
//! the body's size, the strict reading of the message, then the server. Nothing that a later stage decides can be
//! reached around an earlier one, for each stage takes what the one before it returns.

mod answer;
mod body;
mod denial;
mod head;
mod message;

pub use answer::{Answer, is_event_stream};
pub use denial::Denial;
pub use message::Message;

use crate::audit::{Admission, Asked, CallArguments, Entry, Record, Target};
use crate::metrics::Metrics;
use crate::server::Upstream;
use http::{Request, Response};
use hyper::body::Incoming;
use sallyport_audit::journal::Journal;
use sallyport_core::drain::Drain;
use sallyport_policy::{ArgumentsMode, PolicyFile};
use serde_json::value::RawValue;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Everything that a request needs. One per sidecar.
pub struct Pipeline {
    policy: PolicyFile,
    endpoint: Arc<sallyport_policy::EndpointIdentity>,
    upstream: Upstream,
    journal: Journal<Record>,
    drain: Drain,
    metrics: Arc<Metrics>,
}

impl Pipeline {
    /// A pipeline that decides by `policy`.
    pub fn new(
        policy: PolicyFile,
        upstream: Upstream,
        journal: Journal<Record>,
        drain: Drain,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            endpoint: Arc::new(policy.endpoint.clone()),
            policy,
            upstream,
            journal,
            drain,
            metrics,
        }
    }

    /// Answers one request and leaves one record of it.
    pub async fn handle(&self, request: Request<Incoming>, client_ip: IpAddr) -> Response<Answer> {
        let Ok(admission) = Admission::take(&self.journal).await else {
            self.metrics.audit_unrecorded_refusals.inc();
            return Denial::SinkUnavailable.response(None);
        };
        let (head, body) = request.into_parts();
        let mut entry = Entry::open(
            admission,
            self.endpoint.clone(),
            self.policy.generation,
            client_ip,
            &head,
            self.drain.clone(),
            self.metrics.clone(),
        );
        let mut id = None;
        match self.run(head, body, &mut entry, &mut id).await {
            Ok(passed) => self.pass_on(passed, entry),
            Err(denial) => {
                let response = denial.response(id.as_deref());
                let length = http_body::Body::size_hint(response.body()).lower();
                entry.refused(denial.status(), denial.outcome(), denial.reason(), length);
                response
            }
        }
    }

    async fn run(
        &self,
        mut head: http::request::Parts,
        body: Incoming,
        entry: &mut Entry,
        id: &mut Option<Box<RawValue>>,
    ) -> Result<Passed, Denial> {
        // Needs: the sink's health. A record that cannot be written would be a call that nobody sees.
        self.journal.check_sink().map_err(|_| Denial::SinkUnavailable)?;
        // Needs: the head alone.
        let verb = head::check(&head, &self.policy)?;
        // Needs: the body, up to its limit.
        let body = body::read(verb, &head.headers, body, self.policy.limits.body_bytes, entry).await?;
        // Here: authentication.
        // Needs: the bytes that will be forwarded, and nothing else.
        let endless = match verb {
            head::Verb::Post => {
                let message = message::parse(&body)?;
                entry.asked(asked(&message, self.policy.audit.arguments));
                *id = message.id().map(ToOwned::to_owned);
                message.method() == Some("subscriptions/listen")
            }
            head::Verb::Get => true,
            head::Verb::Delete => false,
        };
        // Here: authorization, then limits, then confirmation.
        // Needs: the server.
        crate::headers::strip_request(&mut head.headers);
        entry.forwarded();
        let response = self.upstream.forward(&head, body).await?;
        Ok(Passed { response, endless })
    }

    fn pass_on(&self, passed: Passed, mut entry: Entry) -> Response<Answer> {
        let (mut head, body) = passed.response.into_parts();
        crate::headers::strip_hop_by_hop(&mut head.headers);
        entry.answer(&head);
        if is_event_stream(&head.headers) {
            entry.stream_opened();
        }
        let lifetime = Duration::from_secs(self.policy.limits.stream_seconds);
        let answer = Answer::stream(
            body,
            is_event_stream(&head.headers),
            passed.endless,
            lifetime,
            entry,
            self.drain.clone(),
            &self.metrics,
        );
        Response::from_parts(head, answer)
    }
}

/// What the record keeps of `message`.
fn asked(message: &Message, arguments: ArgumentsMode) -> Asked {
    let mut asked = Asked::default();
    if let Some(method) = message.method() {
        asked.method(method);
    }
    if let Some(id) = message.id() {
        asked.id(id.get());
    }
    if let Some(tool) = message.tool() {
        asked.target = Some(Target::tool(&tool.name));
        asked.arguments = tool.arguments.as_deref().map(|raw| CallArguments::new(raw, arguments));
    }
    asked
}

/// An answer of the server, its body not yet read.
struct Passed {
    response: Response<Incoming>,
    /// Whether its stream has no end of its own.
    endless: bool,
}
