//! One request of a client and the messages that answer it, with the names in them that belong to the caller.

use super::canonical::CallDigest;
use super::envelope::{Owner, Seal, SealError};
use super::json::{Document, Edits, JsonError, Value};
use super::state::{Presented, ServerState, StateError};
use super::tasks::{self, Task, TaskError};
use bytes::Bytes;
use http::HeaderValue;
use sallyport_policy::Principal;
use std::time::SystemTime;

/// The methods that a server may answer with `input_required` (MCP 2026-07-28, "Multi Round-Trip Requests").
const MULTI_ROUND_TRIP: [&str; 3] = ["tools/call", "prompts/get", "resources/read"];

/// What of a request is needed when its answer comes.
#[derive(Clone, Debug)]
pub struct Exchange {
    owner: Owner,
    method: Option<String>,
    /// As it is forwarded.
    body: Bytes,
    tasks: Vec<Task>,
}

/// A request whose names are the server's own.
#[derive(Clone, Debug)]
pub struct Opened {
    /// What to decide on and to forward: what the client sent, but for the names.
    pub body: Bytes,
    /// What `Mcp-Name` must say where the client said its own name of a task. `None`: the header stays as it is.
    pub mcp_name: Option<HeaderValue>,
    /// What request state the client presented; it is no longer, or as the server's own, in the body.
    pub presented: Presented,
    /// For the answers.
    pub exchange: Exchange,
}

impl Opened {
    /// The same request with another body, of which the names are open already.
    #[must_use]
    pub fn with_body(mut self, body: Bytes) -> Self {
        self.exchange.body = body.clone();
        self.body = body;
        self
    }
}

/// Why a name is not passed on.
#[derive(Debug, thiserror::Error)]
pub enum BindingError {
    /// Not a message that can be read, or one that two readers could read differently.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// Not a task of this caller.
    #[error(transparent)]
    Task(#[from] TaskError),
    /// Not a state of this caller and call.
    #[error(transparent)]
    State(#[from] StateError),
    /// Too large to be carried.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The list names the tasks of all callers, for the server cannot tell them apart.
    #[error("tasks/list is not served: it would show the tasks of other callers")]
    TasksOfAll,
}

impl BindingError {
    /// The JSON-RPC code when a request is refused.
    pub const fn code(&self) -> i32 {
        match self {
            Self::TasksOfAll => -31001,
            _ => -32602,
        }
    }

    /// One word for the record.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Json(_) | Self::Task(TaskError::Json(_)) => "ambiguous_message",
            Self::Task(TaskError::Foreign(_)) => "foreign_task",
            Self::State(StateError::Foreign) => "foreign_request_state",
            Self::State(StateError::OtherCall) => "request_state_of_another_call",
            Self::State(StateError::Expired) => "request_state_expired",
            Self::Seal(_) | Self::Task(TaskError::Seal(_)) => "not_sealable",
            Self::TasksOfAll => "tasks_of_all_callers",
        }
    }
}

impl Exchange {
    /// Opens the names in a message of the client, which the strict view has accepted.
    ///
    /// # Errors
    ///
    /// When a name in it is not this caller's.
    pub fn open(seal: &Seal, owner: Owner, body: &Bytes, now: SystemTime) -> Result<Opened, BindingError> {
        let document = Document::read(body)?;
        let root = document.root();
        let mut edits = Edits::default();
        let Some(method) = text(root.get("method")?)? else {
            tasks::open_related(seal, owner, &root, &mut edits)?;
            return Ok(Opened::new(
                owner,
                None,
                edits.apply_to(body),
                Vec::new(),
                Presented::Nothing,
            ));
        };
        if method == "tasks/list" && owner != Owner::from(&Principal::anonymous()) {
            return Err(BindingError::TasksOfAll);
        }
        let tasks = tasks::open(seal, owner, &method, &root, &mut edits)?;
        let mut presented = Presented::Nothing;
        if let Some(params) = root.get("params")?
            && let Some(state) = params.get("requestState")?
        {
            let text = text(Some(state))?.ok_or(StateError::Foreign)?;
            let call = call_digest(&root)?.ok_or(StateError::OtherCall)?;
            presented = Presented::open(seal, owner, &text, call, now)?;
            match &presented {
                // The question and its answer are between the client and the sidecar.
                Presented::Question(_) => edits.remove_members(&params, &["requestState", "inputResponses"])?,
                Presented::Server(ServerState {
                    state: Some(theirs), ..
                }) => edits.replace_string(&state, theirs)?,
                Presented::Server(ServerState { state: None, .. }) => {
                    edits.remove_members(&params, &["requestState"])?;
                }
                Presented::Nothing => {}
            }
        }
        Ok(Opened::new(owner, Some(method), edits.apply_to(body), tasks, presented))
    }

    /// For messages that answer no request: those of a GET stream.
    pub fn unsolicited(owner: Owner) -> Self {
        Self {
            owner,
            method: None,
            body: Bytes::new(),
            tasks: Vec::new(),
        }
    }

    /// Puts envelopes in the place of the server's names in one message of the server. `confirmed` is what a call that was
    /// confirmed is to bring back when the server asks for more, and empty for any other.
    ///
    /// # Errors
    ///
    /// When the message cannot be read, or a name is too long. Such a message must not reach the client.
    pub fn wrap(&self, seal: &Seal, message: &Bytes, confirmed: &[u8], now: SystemTime) -> Result<Bytes, BindingError> {
        let document = Document::read(message)?;
        let root = document.root();
        let mut edits = Edits::default();
        tasks::wrap(seal, self.owner, self.method.as_deref(), &self.tasks, &root, &mut edits)?;
        if let Some(result) = root.get("result")?
            && text(result.get("resultType")?)?.as_deref() == Some("input_required")
        {
            self.wrap_state(seal, &result, confirmed, now, &mut edits)?;
        }
        Ok(edits.apply_to(message))
    }

    fn wrap_state(
        &self,
        seal: &Seal,
        result: &Value<'_>,
        confirmed: &[u8],
        now: SystemTime,
        edits: &mut Edits,
    ) -> Result<(), BindingError> {
        // Elsewhere the specification knows no request state, and a client has nowhere to send it back.
        let Some(call) = self.call()? else { return Ok(()) };
        let state = result.get("requestState")?;
        let theirs = text(state)?;
        if theirs.is_none() && confirmed.is_empty() {
            return Ok(());
        }
        let wrapped = ServerState::new(call, theirs, confirmed.to_vec(), now).wrap(seal, self.owner)?;
        match state {
            Some(state) => edits.replace_string(&state, &wrapped)?,
            None => edits.add_string(result, "requestState", &wrapped)?,
        }
        Ok(())
    }

    /// The digest of the call, where it is of a method that a person may be asked about.
    ///
    /// # Errors
    ///
    /// When two readers could read the arguments differently.
    pub fn call(&self) -> Result<Option<CallDigest>, JsonError> {
        if self.body.is_empty() {
            return Ok(None);
        }
        call_digest(&Document::read(&self.body)?.root())
    }

    /// Whose it is.
    pub const fn owner(&self) -> Owner {
        self.owner
    }
}

impl Opened {
    fn new(owner: Owner, method: Option<String>, body: Bytes, tasks: Vec<Task>, presented: Presented) -> Self {
        let addressed = method.as_deref().is_some_and(|method| method.starts_with("tasks/"));
        let task = tasks.first().filter(|_| addressed);
        Self {
            mcp_name: task.and_then(|task| tasks::mcp_name(&task.server_id)),
            presented,
            exchange: Exchange {
                owner,
                method,
                body: body.clone(),
                tasks,
            },
            body,
        }
    }
}

fn text(value: Option<Value<'_>>) -> Result<Option<String>, JsonError> {
    Ok(match value {
        Some(value) => value.string()?.map(std::borrow::Cow::into_owned),
        None => None,
    })
}

fn call_digest(root: &Value<'_>) -> Result<Option<CallDigest>, JsonError> {
    let (Some(method), Some(params)) = (text(root.get("method")?)?, root.get("params")?) else {
        return Ok(None);
    };
    if !MULTI_ROUND_TRIP.contains(&method.as_str()) {
        return Ok(None);
    }
    let key = if method == "resources/read" { "uri" } else { "name" };
    let Some(name) = text(params.get(key)?)? else {
        return Ok(None);
    };
    let arguments = params.get("arguments")?;
    CallDigest::of(&method, &name, arguments.as_ref().map(Value::raw)).map(Some)
}

#[cfg(test)]
#[path = "exchange_tests.rs"]
mod tests;
