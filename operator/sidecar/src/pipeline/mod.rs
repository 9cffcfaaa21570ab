//! What happens to a request, stage by stage.
//!
//! The order is fixed ([`admit`]): room in the journal, then the head (Host and Origin before anything that a caller gains
//! by), who calls, the body's size, the strict reading of the message and its agreement with the headers, whose names are in
//! it, what the caller may do, how often, whether a person agrees; then the server, and what of its answer may pass
//! ([`forward`], [`inspect`]). Nothing that a later stage decides can be reached around an earlier one, for each stage takes
//! what the one before it returns.

mod admit;
mod answer;
mod bind;
mod body;
mod budget;
mod cors;
mod decide;
mod denial;
mod failures;
mod forward;
mod head;
mod inspect;
mod limit;
mod record;
mod rules;

pub use answer::{Answer, is_event_stream};
pub use budget::Budget;
pub use denial::Denial;
pub use limit::{LimitKey, Places};
pub use rules::{CurrentRules, Rules};

use crate::audit::{Admission, Entry, Outcome, Record};
use crate::confirm::Confirmations;
use crate::guard::EnforcementWatch;
use crate::metrics::Metrics;
use crate::seal::Seal;
use crate::server::{ServerTools, Upstream};
use admit::{Admitted, Told};
use head::Purpose;
use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body::Body as _;
use http_body_util::Full;
use hyper::body::Incoming;
use sallyport_audit::Confirmation;
use sallyport_audit::journal::Journal;
use sallyport_auth::PeerCertificate;
use sallyport_core::drain::Drain;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Everything that a request needs. One per sidecar.
pub struct Pipeline {
    /// What decides.
    pub rules: CurrentRules,
    /// Where requests go.
    pub upstream: Upstream,
    /// What the server offers.
    pub tools: ServerTools,
    /// Whether the pod is refused what it must be.
    pub enforcement: EnforcementWatch,
    /// Seals what callers bring back.
    pub seal: Arc<Seal>,
    /// Asks persons.
    pub confirmations: Arc<Confirmations>,
    /// Where records go.
    pub journal: Journal<Record>,
    /// How far the end has come.
    pub drain: Drain,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Requests under way.
    pub places: Places,
    /// Bytes under way.
    pub budget: Budget,
    /// Calls with large arguments that are decided on at a time, which is one: it takes many times what it has in the text.
    pub readings: Semaphore,
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// As the kernel says.
    pub address: IpAddr,
    /// Verified at the TLS handshake.
    pub certificate: Option<PeerCertificate>,
}

impl Pipeline {
    /// Answers one request and leaves one record of it, two if the answer is an event stream.
    pub async fn handle(self: &Arc<Self>, request: Request<Incoming>, peer: &Peer) -> Response<Answer> {
        let Ok(admission) = Admission::take(&self.journal).await else {
            self.metrics.audit_unrecorded_refusals.inc();
            return Denial::SinkUnavailable.response(None);
        };
        let rules = self.rules.borrow().clone();
        let (head, body) = request.into_parts();
        let entry = Entry::open(
            admission,
            rules.endpoint.clone(),
            rules.policy.generation,
            peer.address,
            &head,
            self.drain.clone(),
            self.metrics.clone(),
        );
        let origin = cors::listed_origin(&head.headers, &rules.policy);
        let mut response = self.answer(head, body, peer, &rules, entry).await;
        if let Some(origin) = origin {
            cors::allow(response.headers_mut(), origin);
        }
        response
    }

    /// Leaves a record of a request from `address` whose head could not be read, and which was answered with `status`.
    pub async fn unread(&self, status: StatusCode, address: IpAddr) {
        let Ok(admission) = Admission::take(&self.journal).await else {
            self.metrics.audit_unrecorded_refusals.inc();
            return;
        };
        let rules = self.rules.borrow().clone();
        let entry = Entry::without_head(
            admission,
            rules.endpoint.clone(),
            rules.policy.generation,
            address,
            self.drain.clone(),
            self.metrics.clone(),
        );
        entry.refused(status, Outcome::Malformed, "unreadable_head", 0);
    }

    async fn answer(
        self: &Arc<Self>,
        head: Parts,
        body: Incoming,
        peer: &Peer,
        rules: &Arc<Rules>,
        mut entry: Entry,
    ) -> Response<Answer> {
        let verb = match self.purpose(&head, rules) {
            Ok(Purpose::Mcp(verb)) => verb,
            Ok(Purpose::Preflight) => return answered_here(cors::preflight(&head.headers), entry, Outcome::Allowed),
            Ok(Purpose::Metadata(document)) => {
                let body = if head.method == Method::HEAD {
                    Full::default()
                } else {
                    document.into()
                };
                return answered_here(json(body), entry, Outcome::Allowed);
            }
            Err(denial) => return refused(&denial, &Told::default(), entry),
        };
        let mut told = Told::default();
        match self.admit(verb, head, body, peer, rules, &mut entry, &mut told).await {
            Ok(Admitted::Forward(request)) => self.forward(*request, rules, entry).await,
            Ok(Admitted::Elicit(request, elicitation)) => self.elicit(*request, elicitation, entry),
            Ok(Admitted::Ask(body)) => {
                entry.confirmation(Confirmation::Requested);
                answered_here(json(body.into()), entry, Outcome::ConfirmationRequired)
            }
            Ok(Admitted::Taken) => {
                let mut accepted = Response::new(Answer::whole(Full::default()));
                *accepted.status_mut() = StatusCode::ACCEPTED;
                answered_here(accepted, entry, Outcome::Allowed)
            }
            Err(denial) => refused(&denial, &told, entry),
        }
    }

    fn purpose(&self, head: &Parts, rules: &Rules) -> Result<Purpose, Denial> {
        // Needs: the sink's health. A record that cannot be written would be a call that nobody sees.
        self.journal.check_sink().map_err(|_| Denial::SinkUnavailable)?;
        // Needs: the head alone.
        head::check(head, &rules.policy, |path| {
            rules.authenticator.protected_resource_metadata(path)
        })
    }
}

fn json(body: Full<bytes::Bytes>) -> Response<Answer> {
    let mut response = Response::new(Answer::whole(body));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// An answer that is whole and did not come from the server.
fn answered_here(response: Response<Answer>, entry: Entry, outcome: Outcome) -> Response<Answer> {
    entry.answered_here(response.status(), outcome, response.body().size_hint().lower());
    response
}

/// The answer to a request that is refused.
fn refused(denial: &Denial, told: &Told, mut entry: Entry) -> Response<Answer> {
    let response = denial.response(told.id.as_deref());
    let length = response.body().size_hint().lower();
    if let Denial::Confirmation(_) = denial {
        entry.confirmation(Confirmation::Refused);
    }
    entry.error_code(denial.code().into());
    entry.refused(response.status(), denial.outcome(), denial.reason(), length);
    response
}
