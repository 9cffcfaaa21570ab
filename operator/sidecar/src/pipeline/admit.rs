//! From the head of a request to one that may be forwarded.

use super::budget::Held;
use super::denial::Denial;
use super::head::Verb;
use super::limit::{LimitKey, Limited, Place};
use super::rules::Rules;
use super::{Peer, Pipeline, bind, body, decide, record};
use crate::audit::Entry;
use crate::confirm::{Answered, Client, Decision, Elicitation, Received, Refusal};
use crate::headers::MCP_PROTOCOL_VERSION;
use crate::seal::{Owner, Session};
use crate::wire::era::{Era, EraError, LEGACY_VERSIONS, TASKS_EXTENSION};
use crate::wire::{Call, Message, message, mirror};
use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::request::Parts;
use hyper::body::Incoming;
use sallyport_auth::Reason;
use sallyport_policy::tools::SideEffect;
use sallyport_policy::{LegacyConfirmation, Principal};
use serde_json::value::RawValue;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Bytes of arguments that any number of calls may have at a time: what they take is small beside what a request takes.
const SMALL_ARGUMENTS: usize = 4 << 10;

/// What of a request is known for the answer to its refusal.
#[derive(Default)]
pub struct Told {
    /// The message's `id`.
    pub id: Option<Box<RawValue>>,
}

/// What becomes of a request that is not refused.
pub enum Admitted {
    /// It is forwarded.
    Forward(Box<Forwarding>),
    /// The client is asked on the stream that answers it, and it is forwarded after that.
    Elicit(Box<Forwarding>, Elicitation),
    /// It is answered by this question.
    Ask(Bytes),
    /// It was an answer to a question of ours.
    Taken,
}

/// A request that may be forwarded.
pub struct Forwarding {
    /// Its head, without what the server must not see.
    pub head: Parts,
    /// What to forward.
    pub body: Bytes,
    /// The message, unless it is a response or there is none.
    pub call: Option<Box<Call>>,
    /// Which era it is of.
    pub era: Era,
    /// Whether its answer is a stream without an end of its own.
    pub endless: bool,
    /// Who calls.
    pub caller: Caller,
    /// The names in it; `None` where names are the server's own.
    pub received: Option<Received>,
    /// Its place among the requests under way.
    pub place: Place,
    /// Its body's share of the memory.
    pub memory: Held,
}

/// A caller that may go on.
pub struct Caller {
    /// Who it is.
    pub principal: Arc<Principal>,
    /// What its names are bound to.
    pub owner: Owner,
    /// What its share of everything is counted by.
    pub key: LimitKey,
}

/// What a body says, and which era it is of.
struct Read {
    body: Bytes,
    message: Option<Message>,
    era: Era,
}

/// The same with the names in it opened.
struct Opened {
    read: Read,
    session: Option<Session>,
    received: Option<Received>,
}

impl Pipeline {
    /// Takes a request through all stages before the server.
    ///
    /// # Errors
    ///
    /// The first reason against it.
    #[allow(clippy::too_many_arguments)]
    pub(super) async fn admit(
        &self,
        verb: Verb,
        mut head: Parts,
        body: Incoming,
        peer: &Peer,
        rules: &Arc<Rules>,
        entry: &mut Entry,
        told: &mut Told,
    ) -> Result<Admitted, Denial> {
        let limits = &rules.policy.limits;
        // Needs: the head, and the length that it announces.
        let body = body::announced(verb, &head.headers, body, limits.body_bytes).await?;
        // Needs: the head. Nobody's body is kept before it is known whose it is.
        let caller = match authenticate(&head, peer, rules, entry).await {
            Ok(caller) => caller,
            Err(denial) => {
                body::discard(body).await;
                return Err(denial);
            }
        };
        // Needs: the body, up to its limit.
        let mut memory = self.budget.holder(caller.key, limits);
        let body = body::read(verb, body, limits.body_bytes, &mut memory, entry).await?;
        // Needs: the bytes that will be forwarded, and the headers that speak of them.
        let read = read(verb, body, &head.headers, rules, entry, told)?;
        // Needs: who calls, and the method.
        match &read.message {
            Some(Message::Call(call)) if call.method == "server/discover" => rules.rates.discover(caller.key).await?,
            _ => rules.rates.request(caller.key)?,
        }
        // Needs: who calls, and the names in head and message.
        let Opened {
            read,
            session,
            mut received,
        } = self.open(read, &caller, rules, &mut head.headers, entry)?;
        let Read { body, message, era } = read;
        if let (Some(Message::Response(reply)), true) = (&message, rules.binds()) {
            let result = reply.result.as_deref().map(RawValue::get);
            let answered = self
                .confirmations
                .answer(caller.owner, session.as_ref(), reply.id.get(), result);
            match answered.await {
                Answered::NotOurs => {}
                Answered::Taken => return Ok(Admitted::Taken),
                Answered::Refused(refusal) => return Err(Denial::Confirmation(refusal)),
            }
        }
        // Needs: who calls, what is known of the server's tools, and the whole call.
        let call = match message {
            Some(Message::Call(call)) => Some(call),
            _ => None,
        };
        let side_effect = match &call {
            None => None,
            Some(call) => {
                self.permit(call, &caller.principal, &head.headers, era, rules, entry)
                    .await?
            }
        };
        let tool = side_effect.and(call.as_ref()).and_then(|call| call.name.clone());
        // Needs: who calls, and which tool.
        if let Some(tool) = &tool {
            rules.rates.tool(caller.key, tool)?;
        }
        let endless = verb == Verb::Get || call.as_ref().is_some_and(|call| call.method == "subscriptions/listen");
        let place = match &call {
            Some(call) if call.method == "server/discover" => self.places.discover(caller.key, limits).await?,
            _ => self.places.take(caller.key, endless, limits)?,
        };
        // Needs: the call as it will be forwarded, and what the client brings along.
        let mut elicitation = None;
        if let (Some(tool), Some(call)) = (&tool, &call)
            && asks_for(rules, tool, side_effect)
        {
            let client = client(era, call, session.as_ref(), &head.headers);
            // Whoever confirms has names that are sealed.
            let received = received.as_mut().ok_or(Denial::Confirmation(Refusal::Internal))?;
            match self
                .confirmations
                .gate(received, &rules.policy.confirmation, tool, client)
                .await
            {
                Decision::Pass => entry.confirmation(sallyport_audit::Confirmation::Given),
                Decision::Ask(asked) => return Ok(Admitted::Ask(asked.body)),
                Decision::Elicit(asked) => elicitation = Some(asked),
                Decision::Deny(refusal) => return Err(Denial::Confirmation(refusal)),
            }
        }
        crate::headers::strip_request(&mut head.headers);
        let forwarding = Box::new(Forwarding {
            head,
            body: received.as_ref().map_or(body, |received| received.body.clone()),
            call,
            era,
            endless,
            caller,
            received,
            place,
            memory,
        });
        Ok(match elicitation {
            Some(elicitation) => Admitted::Elicit(forwarding, elicitation),
            None => Admitted::Forward(forwarding),
        })
    }

    /// Whether a request that was admitted once would be admitted now.
    ///
    /// # Errors
    ///
    /// Why not.
    pub(super) async fn admit_again(
        &self,
        request: &Forwarding,
        rules: &Rules,
        entry: &mut Entry,
    ) -> Result<(), Denial> {
        let principal = &request.caller.principal;
        entry.policy_generation(rules.policy.generation);
        rules
            .authenticator
            .recheck(principal)
            .map_err(Denial::Unauthenticated)?;
        if request.call.is_some()
            // Only the body was kept meanwhile, not what had been read of it.
            && let Message::Call(call) = message::parse(&request.body, depth(rules))?
        {
            self.permit(&call, principal, &request.head.headers, request.era, rules, entry)
                .await?;
        }
        Ok(())
    }

    /// Whether `principal` may make `call` by the rules, and with the tool as it is known now; of a tool call, what the tool
    /// may do.
    async fn permit(
        &self,
        call: &Call,
        principal: &Principal,
        headers: &HeaderMap,
        era: Era,
        rules: &Rules,
        entry: &mut Entry,
    ) -> Result<Option<SideEffect>, Denial> {
        let length = call.arguments.as_ref().map_or(0, |arguments| arguments.get().len());
        let _turn = if length > SMALL_ARGUMENTS {
            // Never closed.
            self.readings.acquire().await.ok()
        } else {
            None
        };
        let catalog = self.tools.catalog();
        let permitted = decide::decide(rules, &catalog, principal, call, now(), entry)?;
        // Needs: the tool's definition, as far as one was seen, and a caller who may know of it.
        mirror::check_arguments(headers, era, permitted.mirrored, &permitted.arguments)?;
        Ok(permitted.side_effect)
    }

    /// Replaces the names that the caller holds by the server's.
    fn open(
        &self,
        read: Read,
        caller: &Caller,
        rules: &Rules,
        headers: &mut HeaderMap,
        entry: &mut Entry,
    ) -> Result<Opened, Denial> {
        if !rules.binds() {
            return Ok(Opened {
                read,
                session: None,
                received: None,
            });
        }
        let initializes = matches!(&read.message, Some(Message::Call(call)) if call.method == "initialize");
        let session = match read.era {
            // The modern era has no sessions; the header means nothing there.
            Era::Modern => {
                headers.remove(crate::headers::MCP_SESSION_ID);
                None
            }
            Era::Legacy if initializes => {
                headers.remove(crate::headers::MCP_SESSION_ID);
                None
            }
            Era::Legacy => bind::open_session(&self.seal, caller.owner, headers)?,
        };
        let Some(message) = &read.message else {
            return Ok(Opened {
                read,
                session,
                received: None,
            });
        };
        let takes_token = match message {
            Message::Call(call) => read.era == Era::Legacy && self.takes_token(call, rules),
            Message::Response(_) => false,
        };
        let received = self
            .confirmations
            .receive(caller.owner, &read.body, takes_token, SystemTime::now())?;
        bind::rename(headers, received.mcp_name.as_ref());
        let read = if received.body == read.body {
            read
        } else {
            // What is decided on is what is forwarded.
            let message = message::parse(&received.body, depth(rules))?;
            // And what is recorded: a token of ours among the arguments was for us.
            if let Message::Call(call) = &message {
                entry.arguments(record::arguments(call, rules.policy.audit.arguments));
            }
            Read {
                message: Some(message),
                ..read
            }
        };
        Ok(Opened {
            read,
            session,
            received: Some(received),
        })
    }

    fn takes_token(&self, call: &Call, rules: &Rules) -> bool {
        let Some(tool) = call.name.as_deref().filter(|_| call.method == "tools/call") else {
            return false;
        };
        let catalog = self.tools.catalog();
        let side_effect = catalog
            .admit(&rules.policy.tools, tool)
            .ok()
            .map(|tool| tool.side_effect);
        rules.policy.confirmation.legacy == LegacyConfirmation::Token && asks_for(rules, tool, side_effect)
    }
}

/// Whether a person is asked before `tool` runs. One that nothing is known of counts as destructive.
fn asks_for(rules: &Rules, tool: &str, side_effect: Option<SideEffect>) -> bool {
    let destructive = side_effect.unwrap_or_default() == SideEffect::Destructive;
    rules.policy.confirmation.asks_for(tool, destructive)
}

fn client<'a>(era: Era, call: &Call, session: Option<&'a Session>, headers: &HeaderMap) -> Client<'a> {
    let accepts = |value: &http::HeaderValue| value.to_str().is_ok_and(|value| value.contains("text/event-stream"));
    match era {
        Era::Modern => Client::Modern {
            forms: bind::declares_forms(call),
        },
        Era::Legacy => Client::Legacy {
            session,
            streams: headers.get_all(header::ACCEPT).iter().any(accepts),
        },
    }
}

async fn authenticate(head: &Parts, peer: &Peer, rules: &Rules, entry: &mut Entry) -> Result<Caller, Denial> {
    let failures = rules.rates.failures.of(peer.address);
    let authenticated = rules
        .authenticator
        .authenticate(head, peer.certificate.as_ref(), &failures);
    match authenticated.await {
        Ok(principal) => {
            entry.caller((&principal).into());
            Ok(Caller {
                owner: Owner::from(&principal),
                key: LimitKey::of(&principal, peer.address),
                principal: Arc::new(principal),
            })
        }
        Err(rejection) => Err(match rejection.reason() {
            Reason::TooManyFailures(seconds) => Denial::Limited(Limited {
                reason: "rate_of_failed_authentication",
                retry_after: Duration::from_secs(seconds.into()),
            }),
            _ => Denial::Unauthenticated(rejection),
        }),
    }
}

fn read(
    verb: Verb,
    body: Bytes,
    headers: &HeaderMap,
    rules: &Rules,
    entry: &mut Entry,
    told: &mut Told,
) -> Result<Read, Denial> {
    // What is no text is no version either.
    let version = headers
        .get(MCP_PROTOCOL_VERSION)
        .map(|version| version.to_str().unwrap_or("\u{fffd}"));
    if verb != Verb::Post {
        let era = Era::of_bodiless(version)?;
        return Ok(Read {
            body,
            message: None,
            era,
        });
    }
    let message = message::parse(&body, depth(rules))?;
    told.id = message.id().map(ToOwned::to_owned);
    let era = match &message {
        Message::Response(_) => Era::of_response(version)?,
        Message::Call(call) => {
            let mut asked = record::asked(call, rules.policy.audit.arguments);
            entry.asked(asked.clone());
            let era = Era::of_call(version, call)?;
            record::era(&mut asked, era, version);
            entry.asked(asked);
            // First: what a method that is not there would have to carry, nobody needs to know.
            check_method(call, era, rules)?;
            call.require_target()?;
            mirror::check(headers, era, call)?;
            era
        }
    };
    Ok(Read {
        body,
        message: Some(message),
        era,
    })
}

fn check_method(call: &Call, era: Era, rules: &Rules) -> Result<(), Denial> {
    if !era.knows(&call.method, !call.is_request(), &rules.policy.extensions) {
        return Err(Denial::UnknownMethod {
            modern: era == Era::Modern,
        });
    }
    if era == Era::Modern && call.method.starts_with("tasks/") && !call.declares_extension(TASKS_EXTENSION) {
        return Err(EraError::UndeclaredExtension(TASKS_EXTENSION).into());
    }
    match &call.protocol_version {
        Some(version) if call.method == "initialize" && is_older(version) => Err(Denial::OldVersion {
            requested: version.clone(),
        }),
        _ => Ok(()),
    }
}

/// Versions are dates; newer ones than are served are the server's to negotiate.
fn is_older(version: &str) -> bool {
    LEGACY_VERSIONS.iter().all(|served| version < *served)
}

fn depth(rules: &Rules) -> usize {
    usize::try_from(rules.policy.limits.json_depth).unwrap_or(usize::MAX)
}

/// In seconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}
