//! To the server and back.

use super::admit::{Forwarding, now};
use super::answer::{Answer, Events, Kept, Times, is_event_stream};
use super::budget::Held;
use super::denial::Denial;
use super::inspect::{Asks, Inspector, Refused};
use super::limit::{LimitKey, Place};
use super::rules::Rules;
use super::{Pipeline, bind};
use crate::audit::{Entry, Outcome};
use crate::confirm::Elicitation;
use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderValue};
use http::response::Parts;
use http::{Response, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use sallyport_core::drain::Phase;
use sallyport_policy::ConfirmedTools;
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What of a request outlives its being sent.
struct Awaited {
    inspector: Inspector,
    id: Option<Box<RawValue>>,
    times: Times,
    /// When an answer that is no event stream must have come.
    until: Instant,
    key: LimitKey,
    place: Place,
    /// Of the request's body, which the inspector keeps where names are sealed.
    memory: Option<Held>,
}

impl Pipeline {
    /// Sends a request to the server and passes on what it answers.
    pub(super) async fn forward(&self, request: Forwarding, rules: &Arc<Rules>, mut entry: Entry) -> Response<Answer> {
        let id = request.call.as_ref().and_then(|call| call.id.clone());
        match self.exchange(request, rules, &mut entry).await {
            Ok((head, body, awaited)) => self.pass_on(head, body, awaited, rules, entry).await,
            Err(denial) => refused(&denial, id.as_deref(), entry),
        }
    }

    async fn exchange(
        &self,
        request: Forwarding,
        rules: &Arc<Rules>,
        entry: &mut Entry,
    ) -> Result<(Parts, Incoming, Awaited), Denial> {
        let Forwarding {
            head,
            body,
            call,
            era,
            endless,
            caller,
            received,
            place,
            memory,
        } = request;
        let owner = caller.owner;
        // Needs: nothing of the request. Connections that are kept open, and callers that know the pod's address, do not ask
        // whether it is ready.
        self.enforcement.permits_call().await?;
        entry.forwarded();
        let until = Instant::now() + Duration::from_secs(rules.policy.limits.request_seconds);
        let forwarding = self.upstream.forward(&head, body, Some(caller.key));
        let response = if endless {
            forwarding.await?
        } else {
            let in_time = tokio::time::timeout_at(until, forwarding).await;
            in_time.map_err(|_| Denial::UpstreamTimedOut)??
        };
        let memory = received.is_some().then_some(memory);
        let (mut head, body) = response.into_parts();
        if head.status.is_redirection() && head.status != StatusCode::NOT_MODIFIED {
            return Err(Denial::AnswerRefused("redirect"));
        }
        crate::headers::strip_answer(&mut head.headers);
        if rules.binds() {
            let initialize = call.as_deref().filter(|call| call.method == "initialize");
            // A server without sessions needs one only where its clients may be asked something.
            let asks = rules.policy.confirmation.tools != ConfirmedTools::Nothing;
            let session = bind::wrap_session(&self.seal, owner, initialize, asks, head.status, &mut head.headers)?;
            if let Some(session) = session {
                entry.session(session.as_bytes());
            }
        }
        entry.answer(&head);
        let lifetime = Duration::from_secs(rules.policy.limits.stream_seconds);
        // What a credential let in ends with it.
        let credential = caller
            .principal
            .expires
            .map(|expires| Duration::from_secs(u64::try_from(expires.saturating_sub(now())).unwrap_or(0)));
        let times = Times {
            lifetime: credential.map_or(lifetime, |credential| credential.min(lifetime)),
            endless,
        };
        let inspector = Inspector {
            rules: self.rules.clone(),
            tools: self.tools.clone(),
            confirmations: self.confirmations.clone(),
            asks: call.as_ref().map_or(Asks::Other, |call| Asks::of(&call.method)),
            principal: caller.principal,
            owner: rules.binds().then_some(owner),
            era,
            received,
        };
        let awaited = Awaited {
            inspector,
            id: call.as_ref().and_then(|call| call.id.clone()),
            times,
            until,
            key: caller.key,
            place,
            memory,
        };
        Ok((head, body, awaited))
    }

    async fn pass_on(
        &self,
        mut head: Parts,
        body: Incoming,
        awaited: Awaited,
        rules: &Rules,
        mut entry: Entry,
    ) -> Response<Answer> {
        if is_event_stream(&head.headers) {
            entry.stream_opened();
            head.headers.remove(header::CONTENT_LENGTH);
            // Without parameters: a client that believed another charset would read other messages than the sidecar.
            head.headers.insert(header::CONTENT_TYPE, EVENT_STREAM);
            return Response::from_parts(head, self.stream(body, awaited, rules, entry));
        }
        if body.is_end_stream() || !awaited.inspector.needs_whole() {
            let times = Times {
                lifetime: awaited.until.saturating_duration_since(Instant::now()),
                endless: false,
            };
            let kept = Kept {
                entry,
                place: awaited.place,
                memory: None,
            };
            let answer = Answer::stream(body, None, &times, kept, self.drain.clone(), &self.metrics);
            return Response::from_parts(head, answer);
        }
        let (message, memory) = match self.whole(&head, body, &awaited, rules, &mut entry).await {
            Ok(whole) => whole,
            Err(denial) => return refused(&denial, awaited.id.as_deref(), entry),
        };
        head.headers.remove(header::CONTENT_LENGTH);
        if !is_no_json(&message) {
            head.headers.insert(header::CONTENT_TYPE, JSON);
        }
        entry.response_bytes(message.len() as u64);
        entry.close(Outcome::Allowed, None);
        Response::from_parts(
            head,
            Answer::whole(Full::new(memory.count(message, Some(awaited.place)))),
        )
    }

    fn stream(&self, body: Incoming, awaited: Awaited, rules: &Rules, entry: Entry) -> Answer {
        let Awaited {
            inspector,
            id,
            times,
            key,
            place,
            memory,
            ..
        } = awaited;
        let limits = &rules.policy.limits;
        let held = self.budget.holder(key, limits);
        let clock = (!times.endless && id.is_some()).then(|| Duration::from_secs(limits.request_seconds));
        let events = Events::new(limits.event_bytes, inspector, held, clock, id);
        let kept = Kept { entry, place, memory };
        Answer::stream(body, Some(events), &times, kept, self.drain.clone(), &self.metrics)
    }

    /// An answer that is one JSON document, read whole and looked at, and what holds its bytes.
    async fn whole(
        &self,
        head: &Parts,
        body: Incoming,
        awaited: &Awaited,
        rules: &Rules,
        entry: &mut Entry,
    ) -> Result<(Bytes, Held), Denial> {
        let limits = &rules.policy.limits;
        let mut memory = self.budget.holder(awaited.key, limits);
        let reading = async {
            let mut whole = BytesMut::new();
            let mut body = body;
            while let Some(frame) = body.frame().await {
                let Ok(data) = frame.map_err(|_| Denial::UpstreamFailed)?.into_data() else {
                    continue;
                };
                if (whole.len() + data.len()) as u64 > limits.response_bytes {
                    return Err(Denial::AnswerTooLarge);
                }
                memory.set(whole.len() + data.len())?;
                whole.extend_from_slice(&data);
            }
            Ok(whole.freeze())
        };
        let whole = tokio::time::timeout_at(awaited.until, reading)
            .await
            .map_err(|_| Denial::UpstreamTimedOut)??;
        // Servers accept notifications with an empty body, which some send in chunks.
        if whole.iter().all(u8::is_ascii_whitespace) {
            return Ok((whole, memory));
        }
        match awaited.inspector.message(&whole) {
            Ok(seen) => {
                entry.result(seen.result_type.as_deref(), seen.is_error);
                if let Some(code) = seen.error_code {
                    entry.error_code(code);
                }
                let passed = seen.changed.unwrap_or(whole);
                memory.set(passed.len())?;
                Ok((passed, memory))
            }
            // Servers explain their errors in words, which are no message to anybody.
            Err(Refused { id: None, .. }) if !head.status.is_success() && is_no_json(&whole) => Ok((whole, memory)),
            Err(refused) => Err(Denial::AnswerRefused(refused.reason)),
        }
    }

    /// Asks the client on the stream that answers its call, and forwards the call once a person agreed.
    pub(super) fn elicit(
        self: &Arc<Self>,
        mut request: Forwarding,
        mut elicitation: Elicitation,
        mut entry: Entry,
    ) -> Response<Answer> {
        let mut head = Response::new(()).into_parts().0;
        head.headers.insert(header::CONTENT_TYPE, EVENT_STREAM);
        head.headers
            .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        head.headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        entry.answer(&head);
        entry.stream_opened();
        entry.confirmation(sallyport_audit::Confirmation::Requested);
        if let Some(call) = &mut request.call {
            // They were decided on, and are in the body, which may have to wait for long.
            call.arguments = None;
        }
        let question = elicitation.event().clone();
        entry.response_bytes(question.len() as u64);
        entry.response_events(1);
        let pipeline = self.clone();
        let asked = async move {
            let mut drain = pipeline.drain.clone();
            let answered = tokio::select! {
                answered = elicitation.answered() => answered.map_err(Denial::Confirmation),
                () = drain.reached(Phase::Draining) => Err(Denial::Draining),
            };
            pipeline.after_question(answered, request, entry).await
        };
        Response::from_parts(head, Answer::after_question(question, Box::pin(asked)))
    }

    /// What comes after our question on the same stream.
    async fn after_question(&self, answered: Result<(), Denial>, request: Forwarding, mut entry: Entry) -> Answer {
        let id = request.call.as_ref().and_then(|call| call.id.clone());
        if let Err(denial) = answered {
            entry.confirmation(sallyport_audit::Confirmation::Refused);
            return Answer::last_event(&denial, id.as_deref(), entry);
        }
        entry.confirmation(sallyport_audit::Confirmation::Given);
        // An hour may have gone by since the call was admitted: it is made by what holds now.
        let rules = &self.rules.borrow().clone();
        let exchanged = match self.admit_again(&request, rules, &mut entry).await {
            Ok(()) => self.exchange(request, rules, &mut entry).await,
            Err(denial) => Err(denial),
        };
        let (head, body, awaited) = match exchanged {
            Ok(exchanged) => exchanged,
            Err(denial) => return Answer::last_event(&denial, id.as_deref(), entry),
        };
        if is_event_stream(&head.headers) {
            return self.stream(body, awaited, rules, entry);
        }
        let last = match self.whole(&head, body, &awaited, rules, &mut entry).await {
            Ok((message, memory)) if head.status.is_success() || !is_no_json(&message) => {
                Answer::last_message(message, memory, awaited.place, &mut entry).map_err(Denial::from)
            }
            Ok(_) => Err(Denial::UpstreamFailed),
            Err(denial) => Err(denial),
        };
        last.unwrap_or_else(|denial| Answer::last_event(&denial, id.as_deref(), entry))
    }
}

/// Whether no client could take this for a message.
fn is_no_json(text: &[u8]) -> bool {
    !matches!(text.trim_ascii_start().first(), Some(b'{' | b'[' | b'\xef'))
}

fn refused(denial: &Denial, id: Option<&RawValue>, mut entry: Entry) -> Response<Answer> {
    let response = denial.response(id);
    let length = response.body().size_hint().lower();
    entry.error_code(denial.code().into());
    entry.refused(response.status(), denial.outcome(), denial.reason(), length);
    response
}
