//! What of the server's messages reaches the client, and as what.
//!
//! What a message is, is told by its form and not by the request that it answers: a hostile server may answer one request
//! with the result of another, on any stream, and clients match answers by their `id`.

use super::rules::{CurrentRules, Rules};
use crate::confirm::{Confirmations, Received};
use crate::seal::Owner;
use crate::server::ServerTools;
use crate::wire::era::{Era, LEGACY_VERSIONS, TASKS_EXTENSION};
use crate::wire::strict::{self, Members};
use bytes::Bytes;
use sallyport_policy::Principal;
use sallyport_policy::authorization::Target;
use sallyport_policy::tools::{Caching, ListKind, inspect_list, splice, strip_extensions};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

/// Longest time for which a client may keep a list: a pin or a right that is taken away bites after it.
const CACHING: Caching = Caching { max_ttl_ms: 60_000 };

/// Members of a server's message that decide what it is.
const ROOT_KEYS: [&str; 6] = ["jsonrpc", "id", "method", "params", "result", "error"];

/// Members of a result that decide what it is.
const RESULT_KEYS: [&str; 12] = [
    "tools",
    "prompts",
    "resources",
    "resourceTemplates",
    "resultType",
    "isError",
    "taskId",
    "task",
    "requestState",
    "inputRequests",
    "_meta",
    "protocolVersion",
];

const LISTS: [ListKind; 4] = [
    ListKind::Tools,
    ListKind::Prompts,
    ListKind::Resources,
    ListKind::ResourceTemplates,
];

/// What a request asks for, as far as its answer is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// `initialize`.
    Initialize,
    /// `server/discover`.
    Discover,
    /// One of the lists.
    List,
    /// Anything else.
    Other,
}

/// Looks at the messages that answer one request or come over one stream.
#[derive(Clone)]
pub struct Inspector {
    /// The rules as they are when a message comes, not as they were when it was asked for.
    pub rules: CurrentRules,
    /// What the server offers.
    pub tools: ServerTools,
    /// Seals names.
    pub confirmations: Arc<Confirmations>,
    /// Who reads.
    pub principal: Arc<Principal>,
    /// Whose names are in the messages; `None` where names are the server's own.
    pub owner: Option<Owner>,
    /// The request that is answered, with its names opened.
    pub received: Option<Received>,
    /// Which era the request is of.
    pub era: Era,
    /// What it asks for.
    pub asks: Asks,
}

/// A message that may pass.
#[derive(Debug, Default)]
pub struct Seen {
    /// As it is to be passed on; `None`: as it is.
    pub changed: Option<Bytes>,
    /// What it is.
    pub kind: Kind,
    /// Its `resultType`.
    pub result_type: Option<String>,
    /// Its `isError`.
    pub is_error: Option<bool>,
    /// The code of its error.
    pub error_code: Option<i64>,
}

/// What a message of the server is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// The answer to a request.
    Answer,
    /// A request to the client.
    Request,
    /// Anything else.
    #[default]
    Other,
}

/// A message that must not pass.
#[derive(Debug)]
pub struct Refused {
    /// The request that it answers, if it does.
    pub id: Option<Box<RawValue>>,
    /// One word for the record.
    pub reason: &'static str,
}

impl Asks {
    /// What a call of `method` asks for.
    pub fn of(method: &str) -> Self {
        match method {
            "initialize" => Self::Initialize,
            "server/discover" => Self::Discover,
            _ if LISTS.iter().any(|list| list.method() == method) => Self::List,
            _ => Self::Other,
        }
    }
}

impl Inspector {
    /// Whether an answer that is one JSON document must be read whole before it is passed on.
    pub fn needs_whole(&self) -> bool {
        self.asks != Asks::Other || self.rules.borrow().guards()
    }

    /// Looks at one message.
    ///
    /// # Errors
    ///
    /// When it must not pass.
    pub fn message(&self, bytes: &Bytes) -> Result<Seen, Refused> {
        let rules = self.rules.borrow().clone();
        match self.read(bytes, &rules) {
            Err(Refused { id: None, .. }) if !rules.guards() && self.asks == Asks::Other => Ok(Seen::default()),
            other => other,
        }
    }

    fn read(&self, bytes: &Bytes, rules: &Rules) -> Result<Seen, Refused> {
        let unreadable = |_| Refused {
            id: None,
            reason: "unreadable_answer",
        };
        let text = strict::read(bytes, strict::MAX_DEPTH).map_err(unreadable)?;
        let root = Members::of(text, &ROOT_KEYS).map_err(unreadable)?;
        let id = root.get("id");
        let refused = |reason| Refused {
            id: id.map(ToOwned::to_owned),
            reason,
        };
        let mut seen = Seen::default();
        let mut changed: Option<String> = None;
        if let Some(method) = root.string("method") {
            seen.kind = if id.is_some() { Kind::Request } else { Kind::Other };
            if method == "notifications/tools/list_changed" {
                self.tools.look_again();
            }
            if self.era == Era::Modern && seen.kind == Kind::Request {
                return Err(Refused {
                    id: None,
                    reason: "request_to_modern_client",
                });
            }
        } else if let Some(error) = root.get("error") {
            seen.kind = Kind::Answer;
            seen.error_code = Members::of(error.get(), &["code"])
                .ok()
                .and_then(|error| error.get("code").and_then(|code| code.get().parse().ok()));
        }
        if let Some(result) = root.get("result").filter(|result| result.get().starts_with('{')) {
            seen.kind = Kind::Answer;
            let new = self.result(result, rules, &mut seen).map_err(refused)?;
            if let Cow::Owned(new) = new {
                changed = Some(splice(text, result.get(), &new).ok_or(refused("unreadable_answer"))?);
            }
        }
        let Some(owner) = self.owner else {
            seen.changed = changed.map(Bytes::from);
            return Ok(seen);
        };
        let now = SystemTime::now();
        let message = changed.map_or_else(|| bytes.clone(), Bytes::from);
        let wrapped = match &self.received {
            Some(received) => self.confirmations.wrap(received, &message, now),
            None => self.confirmations.wrap_unsolicited(owner, &message, now),
        };
        let wrapped = wrapped.map_err(|error| refused(error.reason()))?;
        seen.changed = (wrapped != *bytes).then_some(wrapped);
        Ok(seen)
    }

    fn result<'a>(&self, result: &'a RawValue, rules: &Rules, seen: &mut Seen) -> Result<Cow<'a, str>, &'static str> {
        let members = Members::of(result.get(), &RESULT_KEYS).map_err(|_| "unreadable_answer")?;
        seen.result_type = members.string("resultType").map(Cow::into_owned);
        seen.is_error = members.get("isError").and_then(|flag| flag.get().parse().ok());
        if let Some(kind) = &seen.result_type {
            let task = rules.policy.extensions.contains(TASKS_EXTENSION);
            let known = matches!(kind.as_str(), "complete" | "input_required") || (kind == "task" && task);
            if !known && rules.guards() {
                return Err("unknown_result_type");
            }
        }
        let mut text = Cow::Borrowed(result.get());
        if matches!(self.asks, Asks::Initialize | Asks::Discover) {
            if self.asks == Asks::Initialize {
                check_version(&members)?;
            }
            let stripped = strip_extensions(&text, &rules.policy.extensions).map_err(|_| "unreadable_capabilities")?;
            for extension in &stripped.extensions {
                tracing::info!(
                    extension,
                    "the server offers an extension that this endpoint does not allow"
                );
            }
            if let Some(stripped) = stripped.text {
                text = Cow::Owned(stripped);
            }
        }
        for kind in LISTS {
            if members.get(kind.member()).is_some() {
                text = self.list(kind, text, rules)?;
            }
        }
        Ok(text)
    }

    fn list<'a>(&self, kind: ListKind, text: Cow<'a, str>, rules: &Rules) -> Result<Cow<'a, str>, &'static str> {
        let policy = &rules.policy;
        let caching = (self.era == Era::Modern).then_some(CACHING);
        let inspection = {
            let catalog = self.tools.catalog();
            let may_see = |target: &Target<'_>| policy.authorization.may_see(&self.principal, target);
            inspect_list(kind, &text, &policy.tools, &catalog, caching, may_see).map_err(|error| {
                tracing::warn!(%error, list = kind.method(), "a list of the server is refused");
                "unreadable_list"
            })?
        };
        if kind == ListKind::Tools {
            self.tools.note(&inspection);
        }
        for dropped in &inspection.dropped {
            tracing::debug!(
                name = dropped.name,
                reason = dropped.reason.as_str(),
                "left out of a list"
            );
        }
        Ok(inspection.text.map_or(text, Cow::Owned))
    }
}

fn check_version(members: &Members<'_>) -> Result<(), &'static str> {
    match members.string("protocolVersion").as_deref() {
        Some(version) if LEGACY_VERSIONS.contains(&version) => Ok(()),
        _ => Err("unsupported_version_of_server"),
    }
}
