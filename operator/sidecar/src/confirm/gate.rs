//! Whether a call may run, must be asked about first, or is refused.

use super::home::{Answer, Bounds, Home, Nonce, Waiter};
use super::peer::{self, Act, Request};
use super::question::{self, ID_PREFIX, Question, TOKEN_KEY};
use super::refusal::Refusal;
use super::ticket::Ticket;
use crate::seal::{
    BindingError, CallDigest, Document, Edits, Exchange, JsonError, Owner, Presented, Purpose, Seal, SealError,
    ServerState, Session, Value, readable,
};
use bytes::Bytes;
use http::HeaderValue;
use sallyport_policy::{Confirmation, EndpointIdentity, LegacyConfirmation, MAX_EXPIRY_SECONDS};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::TcpListener;

/// Asks, and knows what was answered. One per sidecar; it outlives changes of the policy.
pub struct Confirmations {
    seal: Arc<Seal>,
    home: Arc<Home>,
    endpoint: String,
}

/// A request of a client, its names opened and our own answers taken out of it.
#[derive(Clone, Debug)]
pub struct Received {
    /// What to decide on and to forward.
    pub body: Bytes,
    /// What `Mcp-Name` must say instead of what it says, if anything.
    pub mcp_name: Option<HeaderValue>,
    /// What the client brings to show that the call was confirmed.
    pub proof: Proof,
    exchange: Exchange,
    /// How long what the server asks back stays confirmed; `None` for a call that was not.
    confirmed: Option<Duration>,
}

/// What a client brings to show that its call was confirmed. Not yet checked but for whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Nothing.
    Nothing,
    /// An answer to our form; `None` where it answers nothing.
    Form(Vec<u8>, Option<bool>),
    /// The call was confirmed, then the server asked for more.
    FollowUp(Vec<u8>),
    /// A token from the arguments.
    Token(String),
}

/// What a client can do about a question.
#[derive(Clone, Copy, Debug)]
pub enum Client<'a> {
    /// Of the modern era.
    Modern {
        /// Whether it declares elicitation by forms in this request.
        forms: bool,
    },
    /// Of the legacy era.
    Legacy {
        /// Its session, if it has one.
        session: Option<&'a Session>,
        /// Whether it accepts an event stream as the answer to this request.
        streams: bool,
    },
}

/// What becomes of a call that must be confirmed.
#[derive(Debug)]
pub enum Decision {
    /// It is confirmed: forward [`Received::body`].
    Pass,
    /// Answer with this JSON-RPC response, status 200.
    Ask(Asked),
    /// Answer with an event stream that begins with [`Elicitation::event`], and forward once it is answered.
    Elicit(Elicitation),
    /// Answer with a JSON-RPC error of [`Refusal::code`], status 200.
    Deny(Refusal),
}

/// A question that ends the request.
#[derive(Debug)]
pub struct Asked {
    /// `application/json`.
    pub body: Bytes,
    /// Why an earlier answer did not count, if there was one.
    pub because: Option<Refusal>,
}

/// A question that waits on an open stream.
pub struct Elicitation {
    event: Bytes,
    waiter: Waiter,
    lifetime: Duration,
}

/// What becomes of a response that a legacy client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// It is for the server.
    NotOurs,
    /// It was an answer to our question: status 202, nothing is forwarded.
    Taken,
    /// It claims to be one: it is refused, nothing is forwarded.
    Refused(Refusal),
}

impl Confirmations {
    /// Asks for `endpoint`. `address` is where other replicas reach [`Confirmations::serve_peers`]; without one, or without
    /// keys that they share, what this replica asks is answered here only.
    ///
    /// # Errors
    ///
    /// When the system has no random bytes.
    pub fn new(seal: Arc<Seal>, endpoint: &EndpointIdentity, address: Option<SocketAddr>) -> Result<Self, SealError> {
        Self::with_bounds(seal, endpoint, address, Bounds::default())
    }

    pub(super) fn with_bounds(
        seal: Arc<Seal>,
        endpoint: &EndpointIdentity,
        address: Option<SocketAddr>,
        bounds: Bounds,
    ) -> Result<Self, SealError> {
        let address = address.filter(|_| seal.is_shared());
        Ok(Self {
            home: Arc::new(Home::new(&seal, address, bounds)?),
            seal,
            endpoint: format!("{}/{}", endpoint.namespace, endpoint.name),
        })
    }

    /// Answers other replicas until dropped.
    pub async fn serve_peers(&self, listener: TcpListener) {
        peer::serve(listener, self.seal.clone(), self.home.clone()).await;
    }

    /// Opens the names in a message of the client and takes our own answers out of it. Comes after the strict view and
    /// before every decision on the arguments. `takes_token`: the call is one that [`Confirmations::gate`] will see, of a
    /// legacy client, and the policy says [`LegacyConfirmation::Token`].
    ///
    /// # Errors
    ///
    /// When a name in it is not this caller's.
    pub fn receive(
        &self,
        owner: Owner,
        body: &Bytes,
        takes_token: bool,
        now: SystemTime,
    ) -> Result<Received, BindingError> {
        let opened = Exchange::open(&self.seal, owner, body, now)?;
        let proof = match &opened.presented {
            Presented::Question(ticket) => Proof::Form(ticket.clone(), answer_in(body)?),
            Presented::Server(ServerState { confirmed, .. }) if !confirmed.is_empty() => {
                Proof::FollowUp(confirmed.clone())
            }
            Presented::Server(_) | Presented::Nothing => Proof::Nothing,
        };
        let token = if takes_token { take_token(&opened.body)? } else { None };
        let (opened, proof) = match token {
            Some((body, token)) => (opened.with_body(body), Proof::Token(token)),
            None => (opened, proof),
        };
        Ok(Received {
            body: opened.body,
            mcp_name: opened.mcp_name,
            proof,
            exchange: opened.exchange,
            confirmed: None,
        })
    }

    /// Decides on a call that [`Confirmation::asks_for`] names. Comes last before the server.
    pub async fn gate(
        &self,
        received: &mut Received,
        policy: &Confirmation,
        tool: &str,
        client: Client<'_>,
    ) -> Decision {
        let Ok(Some(call)) = received.exchange.call() else {
            return Decision::Deny(Refusal::Ambiguous);
        };
        let lifetime = Duration::from_secs(policy.expiry_seconds.clamp(1, MAX_EXPIRY_SECONDS).into());
        match self.check(received, call).await {
            Ok(()) => {
                received.confirmed = Some(lifetime);
                Decision::Pass
            }
            Err(NotConfirmed::Deny(refusal)) => Decision::Deny(refusal),
            Err(NotConfirmed::Ask(because)) => {
                let asking = Asking {
                    tokens: policy.legacy == LegacyConfirmation::Token,
                    tool,
                    call,
                    lifetime,
                    because,
                };
                self.ask(received, client, &asking).unwrap_or_else(Decision::Deny)
            }
        }
    }

    /// Prepares one message of the server for the client: its names become envelopes.
    ///
    /// # Errors
    ///
    /// When that cannot be done. Such a message must not reach the client.
    pub fn wrap(&self, received: &Received, message: &Bytes, now: SystemTime) -> Result<Bytes, BindingError> {
        let mut ticket = Vec::new();
        if let Some(lifetime) = received.confirmed
            && let Some(call) = received.exchange.call()?
        {
            ticket = self.ticket(call, lifetime, [0; 32])?.to_bytes();
        }
        received.exchange.wrap(&self.seal, message, &ticket, now)
    }

    /// Prepares one message of the server that answers no request: of a GET stream.
    ///
    /// # Errors
    ///
    /// See [`Confirmations::wrap`].
    pub fn wrap_unsolicited(&self, owner: Owner, message: &Bytes, now: SystemTime) -> Result<Bytes, BindingError> {
        Exchange::unsolicited(owner).wrap(&self.seal, message, b"", now)
    }

    /// Takes the response of a legacy client that answers a question of ours, asked here or by another replica. `id` and
    /// `result` are JSON texts; no result is an error.
    pub async fn answer(&self, owner: Owner, session: Option<&Session>, id: &str, result: Option<&str>) -> Answered {
        let id = Document::read(id.as_bytes()).and_then(|id| Ok(id.root().string()?.map(std::borrow::Cow::into_owned)));
        let Ok(Some(id)) = id else { return Answered::NotOurs };
        let Some(envelope) = id.strip_prefix(ID_PREFIX) else {
            return Answered::NotOurs;
        };
        let ticket = self
            .seal
            .open(Purpose::Elicitation, owner, envelope)
            .ok()
            .and_then(|ticket| Ticket::from_bytes(&ticket));
        let Some(ticket) = ticket.filter(|ticket| session.is_some_and(|session| session.digest() == ticket.session))
        else {
            return Answered::Refused(Refusal::Foreign);
        };
        let answer = result.map_or(Answer::Declined, question::answer);
        match self.at_home(owner, &ticket, Act::Deliver(answer)).await {
            Ok(()) => Answered::Taken,
            Err(refusal) => Answered::Refused(refusal),
        }
    }

    #[cfg(test)]
    pub(super) fn home(&self) -> &Home {
        &self.home
    }

    async fn check(&self, received: &Received, call: CallDigest) -> Result<(), NotConfirmed> {
        let owner = received.exchange.owner();
        let (ticket, answer) = match &received.proof {
            Proof::Nothing => return Err(NotConfirmed::Ask(None)),
            Proof::Form(ticket, answer) => (ticket.clone(), *answer),
            Proof::FollowUp(ticket) => (ticket.clone(), Some(true)),
            Proof::Token(token) => {
                let ticket = self.seal.open(Purpose::Token, owner, token);
                (ticket.map_err(|_| NotConfirmed::Deny(Refusal::Foreign))?, Some(true))
            }
        };
        let ticket = Ticket::from_bytes(&ticket).ok_or(NotConfirmed::Deny(Refusal::Foreign))?;
        if ticket.call != call {
            return Err(NotConfirmed::Deny(Refusal::OtherCall));
        }
        let Some(answer) = answer else {
            return Err(NotConfirmed::Ask(None));
        };
        // A no uses the question up too, as far as it can be: it stays a no.
        let spent = self.at_home(owner, &ticket, Act::Spend(ticket.deadline)).await;
        if !answer {
            return Err(NotConfirmed::Deny(Refusal::Declined));
        }
        match spent {
            Ok(()) => Ok(()),
            Err(Refusal::Busy) => Err(NotConfirmed::Deny(Refusal::Busy)),
            Err(refusal) => Err(NotConfirmed::Ask(Some(refusal))),
        }
    }

    /// Does something with a ticket where it is remembered.
    async fn at_home(&self, owner: Owner, ticket: &Ticket, act: Act) -> Result<(), Refusal> {
        let request = Request {
            instance: ticket.instance,
            owner,
            nonce: ticket.nonce,
            act,
        };
        if ticket.instance == self.home.instance() {
            return peer::act(&self.home, &request);
        }
        // Our own address in another life is nobody who could be asked.
        let Some(address) = ticket.home.filter(|home| Some(*home) != self.home.address()) else {
            return Err(Refusal::HomeUnreachable);
        };
        peer::ask(&self.seal, address, &request).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "a confirmation is not honoured");
            Err(Refusal::HomeUnreachable)
        })
    }

    fn ask(&self, received: &Received, client: Client<'_>, asking: &Asking<'_>) -> Result<Decision, Refusal> {
        let Asking {
            tokens,
            tool,
            call,
            lifetime,
            because,
        } = *asking;
        let owner = received.exchange.owner();
        let (id, arguments) = of_body(&received.body).map_err(|_| Refusal::Ambiguous)?;
        let id = id.ok_or(Refusal::NobodyToAsk)?;
        let question = Question {
            endpoint: &self.endpoint,
            tool,
            arguments: arguments.as_deref(),
        };
        let seal = |purpose, ticket: &Ticket| {
            self.seal
                .seal(purpose, owner, &ticket.to_bytes())
                .map_err(|_| Refusal::Internal)
        };
        match client {
            Client::Modern { forms: true } => {
                let ticket = self.ticket(call, lifetime, [0; 32]).map_err(|_| Refusal::Internal)?;
                let state = seal(Purpose::Confirmation, &ticket)?;
                let body = question.input_required(&id, &state);
                Ok(Decision::Ask(Asked { body, because }))
            }
            Client::Legacy {
                session: Some(session),
                streams: true,
            } if session.elicits_forms() => {
                let ticket = self
                    .ticket(call, lifetime, session.digest())
                    .map_err(|_| Refusal::Internal)?;
                let id = format!("{ID_PREFIX}{}", seal(Purpose::Elicitation, &ticket)?);
                Ok(Decision::Elicit(Elicitation {
                    event: question.elicitation(&id),
                    waiter: self.home.wait(owner, ticket.nonce)?,
                    lifetime,
                }))
            }
            Client::Legacy { .. } if tokens => {
                let ticket = self.ticket(call, lifetime, [0; 32]).map_err(|_| Refusal::Internal)?;
                let token = seal(Purpose::Token, &ticket)?;
                let body = question.token(&id, &token, lifetime.as_secs());
                Ok(Decision::Ask(Asked { body, because }))
            }
            Client::Modern { .. } | Client::Legacy { .. } => Err(Refusal::NobodyToAsk),
        }
    }

    fn ticket(&self, call: CallDigest, lifetime: Duration, session: [u8; 32]) -> Result<Ticket, SealError> {
        let mut nonce = [0; 16];
        self.seal.random(&mut nonce)?;
        Ok(Ticket {
            instance: self.home.instance(),
            home: self.home.address(),
            nonce: Nonce(nonce),
            deadline: self.home.deadline(lifetime),
            call,
            session,
        })
    }
}

/// What a question is made of.
struct Asking<'a> {
    tokens: bool,
    tool: &'a str,
    call: CallDigest,
    lifetime: Duration,
    because: Option<Refusal>,
}

enum NotConfirmed {
    Ask(Option<Refusal>),
    Deny(Refusal),
}

impl Elicitation {
    /// The first event of the answer.
    pub const fn event(&self) -> &Bytes {
        &self.event
    }

    /// Waits for the answer. Dropped, the question is forgotten.
    ///
    /// # Errors
    ///
    /// When it is a no, or does not come in time.
    pub async fn answered(&mut self) -> Result<(), Refusal> {
        match self.waiter.answered(self.lifetime).await? {
            Answer::Accepted => Ok(()),
            Answer::Declined => Err(Refusal::Declined),
        }
    }
}

impl std::fmt::Debug for Elicitation {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Elicitation").finish_non_exhaustive()
    }
}

/// Whether the client's answer to our form is a yes; `None` when it answers something else only.
fn answer_in(body: &Bytes) -> Result<Option<bool>, JsonError> {
    let params = Document::read(body)?.root().get("params")?;
    let answer = params.and_then(|params| question::answer_in(&params));
    Ok(answer.map(|answer| answer == Answer::Accepted))
}

/// The body without the token in the arguments, and the token.
fn take_token(body: &Bytes) -> Result<Option<(Bytes, String)>, JsonError> {
    let document = Document::read(body)?;
    let Some(arguments) = document.root().at(&["params", "arguments"])? else {
        return Ok(None);
    };
    let Some(token) = arguments.get(TOKEN_KEY)? else {
        return Ok(None);
    };
    let token = token.string()?.ok_or(JsonError::Unexpected("a confirmation token"))?;
    let mut edits = Edits::default();
    edits.remove_members(&arguments, &[TOKEN_KEY])?;
    Ok(Some((edits.apply_to(body), token.into_owned())))
}

/// The id and, for a person, the arguments of a call.
fn of_body(body: &Bytes) -> Result<(Option<String>, Option<String>), JsonError> {
    let root = Document::read(body)?.root();
    let id = root.get("id")?.map(|id| id.raw().to_owned());
    let arguments = root.at(&["params", "arguments"])?;
    let arguments = arguments.as_ref().map(Value::raw).map(readable).transpose()?;
    Ok((id, arguments))
}
