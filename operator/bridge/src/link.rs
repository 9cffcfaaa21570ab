//! One server process and those who wait for its answers.
//!
//! Ids and progress tokens are the callers' own and may be equal; towards the server each request has a number of the
//! bridge's.

use crate::frame::{self, Frame, Kind, SUBSCRIPTION};
use crate::process::{Alive, Process, Program, SpawnError};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// Requests under way at a time.
const MOST_WAITING: usize = 256;

/// Messages that may wait for one caller.
const CALLER_QUEUE: usize = 64;

/// Messages kept for a session whose stream is not open.
const BACKLOG: usize = 128;

/// JSON-RPC's code for a method that nobody answers.
const METHOD_NOT_FOUND: i32 = -32601;

/// JSON-RPC's code for a failure on this side.
const INTERNAL_ERROR: i32 = -32603;

/// Who calls the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callers {
    /// One session: whatever the server says is for it.
    One,
    /// Several, who must not hear of each other: only answers, and what is tied to a request, reach anybody.
    Several,
}

/// What comes back to a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// More follows.
    Message(String),
    /// The answer.
    Answer(String),
}

/// Why a message cannot be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The process is gone.
    #[error("the server's process has ended")]
    Ended,
    /// Too much under way.
    #[error("too many requests are under way")]
    Busy,
}

/// A way to one process. Clones lead to the same; the process ends with the last one.
#[derive(Clone)]
pub struct Link {
    input: mpsc::Sender<String>,
    state: Arc<Mutex<State>>,
    callers: Callers,
}

/// A request under way. Dropping it tells the server nothing; see [`Link::cancel`].
pub struct Pending {
    /// Its number towards the server.
    pub number: u64,
    /// What comes back. Its end without an answer is the server's.
    pub events: mpsc::Receiver<Event>,
}

#[derive(Default)]
struct State {
    next: u64,
    ended: bool,
    waiting: HashMap<u64, Waiting>,
    listener: Option<mpsc::Sender<Event>>,
    backlog: VecDeque<String>,
}

struct Waiting {
    id: String,
    progress: Option<String>,
    events: mpsc::Sender<Event>,
}

impl Link {
    /// Starts `program` for `callers`.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start(program: &Program, callers: Callers, alive: Alive) -> Result<Self, SpawnError> {
        let Process { input, output } = program.start(alive)?;
        let state = Arc::new(Mutex::new(State::default()));
        tokio::spawn(dispatch(output, state.clone(), input.downgrade(), callers));
        Ok(Self { input, state, callers })
    }

    /// Whether the process is gone.
    pub fn ended(&self) -> bool {
        self.input.is_closed() || self.state().ended
    }

    /// Whether somebody listens to what belongs to no request.
    pub fn is_heard(&self) -> bool {
        self.state().is_heard()
    }

    /// Whether nobody waits for anything.
    pub fn idle(&self) -> bool {
        let state = self.state();
        !state.is_heard() && state.waiting.values().all(|waiting| waiting.events.is_closed())
    }

    /// Sends a request, whose `id` is as its caller wrote it.
    ///
    /// # Errors
    ///
    /// See [`LinkError`].
    pub async fn request(&self, frame: &Frame, id: &str) -> Result<Pending, LinkError> {
        const TOKEN: &[&str] = &["params", "_meta", "progressToken"];
        let (sender, events) = mpsc::channel(CALLER_QUEUE);
        let progress = frame.value(TOKEN).map(ToOwned::to_owned);
        let number = {
            let mut state = self.state();
            if state.ended {
                return Err(LinkError::Ended);
            }
            // Callers that left and were never answered make room.
            if state.waiting.len() >= MOST_WAITING {
                state.waiting.retain(|_, waiting| !waiting.events.is_closed());
            }
            if state.waiting.len() >= MOST_WAITING {
                return Err(LinkError::Busy);
            }
            state.next += 1;
            let number = state.next;
            let waiting = Waiting {
                id: id.to_owned(),
                progress: progress.clone(),
                events: sender,
            };
            state.waiting.insert(number, waiting);
            number
        };
        let text = number.to_string();
        let mut line = frame.with(&["id"], &text);
        if progress.is_some()
            && let Ok(edited) = Frame::parse(line.as_bytes())
        {
            line = edited.with(TOKEN, &text);
        }
        if self.input.send(line).await.is_err() {
            self.state().waiting.remove(&number);
            return Err(LinkError::Ended);
        }
        Ok(Pending { number, events })
    }

    /// Sends a notification or, to a process with one caller, a response.
    ///
    /// # Errors
    ///
    /// When the process is gone.
    pub async fn tell(&self, frame: &Frame) -> Result<(), LinkError> {
        const CANCELLED: &[&str] = &["params", "requestId"];
        let line = match frame.kind() {
            Kind::Notification { method } if method == "notifications/cancelled" => {
                let id = frame.value(CANCELLED).unwrap_or_default();
                let number = self.state().number_of(id);
                match number {
                    Some(number) => frame.with(CANCELLED, &number.to_string()),
                    // What is not under way cannot be cancelled.
                    None => return Ok(()),
                }
            }
            Kind::Response { .. } if self.callers == Callers::Several => return Ok(()),
            _ => frame.text().to_owned(),
        };
        self.input.send(line).await.map_err(|_| LinkError::Ended)
    }

    /// Tells the server that nobody waits for request `number` any more.
    pub fn cancel(&self, number: u64) {
        if self.state().waiting.remove(&number).is_some() {
            let line = format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{number},"reason":"the caller is gone"}}}}"#
            );
            // A server that takes no input finds out later that nobody listens.
            let _ = self.input.try_send(line);
        }
    }

    /// Opens the stream of what belongs to no request, in place of an earlier one.
    pub fn listen(&self) -> mpsc::Receiver<Event> {
        let (sender, events) = mpsc::channel(BACKLOG + CALLER_QUEUE);
        let mut state = self.state();
        for message in std::mem::take(&mut state.backlog) {
            // There is room for all of the backlog.
            let _ = sender.try_send(Event::Message(message));
        }
        if !state.ended {
            state.listener = Some(sender);
        }
        events
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// Nothing panics while it holds the lock.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn is_heard(&self) -> bool {
        self.listener.as_ref().is_some_and(|listener| !listener.is_closed())
    }

    /// Number of the request that its caller calls `id`.
    fn number_of(&self, id: &str) -> Option<u64> {
        let mut numbers = self.waiting.iter().filter(|(_, waiting)| waiting.id == id);
        match (numbers.next(), numbers.next()) {
            (Some((number, _)), None) => Some(*number),
            _ => None,
        }
    }
}

/// Where a message goes.
enum Route {
    /// The answer to a request.
    Answer(mpsc::Sender<Event>, String),
    /// To one caller, before its answer.
    Caller(mpsc::Sender<Event>, String),
    /// Back to the server.
    Server(String),
    /// Nowhere.
    Dropped,
}

async fn dispatch(
    mut output: mpsc::Receiver<Frame>,
    state: Arc<Mutex<State>>,
    input: mpsc::WeakSender<String>,
    callers: Callers,
) {
    while let Some(frame) = output.recv().await {
        let route = route(&frame, &mut lock(&state), callers);
        let (caller, event) = match route {
            Route::Answer(caller, text) => (caller, Event::Answer(text)),
            Route::Caller(caller, text) => (caller, Event::Message(text)),
            Route::Server(text) => {
                if let Some(input) = input.upgrade() {
                    let _ = input.send(text).await;
                }
                continue;
            }
            Route::Dropped => continue,
        };
        match callers {
            // The only caller holds the server back. A caller that left is nobody to wait for.
            Callers::One => {
                let _ = caller.send(event).await;
            }
            // One slow caller must not hold up the others: its stream ends.
            Callers::Several => {
                if caller.try_send(event).is_err() {
                    tracing::warn!("a caller does not read; what the server tells it is lost");
                }
            }
        }
    }
    let mut state = lock(&state);
    state.ended = true;
    state.listener = None;
    for (_, waiting) in std::mem::take(&mut state.waiting) {
        let answer = frame::error(
            &waiting.id,
            INTERNAL_ERROR,
            "the server's process ended before it answered",
        );
        let _ = waiting.events.try_send(Event::Answer(answer));
    }
}

fn route(frame: &Frame, state: &mut State, callers: Callers) -> Route {
    match frame.kind() {
        Kind::Response { id } => {
            let waiting = id.parse().ok().and_then(|number: u64| state.waiting.remove(&number));
            match waiting {
                Some(waiting) => Route::Answer(waiting.events, frame.with(&["id"], &waiting.id)),
                None => Route::Dropped,
            }
        }
        Kind::Notification { method } => told(frame, method, state, callers),
        Kind::Request { id, method } => match callers {
            Callers::One => general(frame, state),
            Callers::Several => {
                tracing::warn!(method, "the server asks a client, but its process has several");
                let text = "this server is shared by several clients, none of which can be asked";
                Route::Server(frame::error(id, METHOD_NOT_FOUND, text))
            }
        },
    }
}

fn told(frame: &Frame, method: &str, state: &mut State, callers: Callers) -> Route {
    const TOKEN: &[&str] = &["params", "progressToken"];
    const SUBSCRIBED: &[&str] = &["params", "_meta", SUBSCRIPTION];
    const CANCELLED: &[&str] = &["params", "requestId"];
    let numbered = |path: &[&str]| frame.value(path)?.trim_matches('"').parse::<u64>().ok();
    if method == "notifications/progress"
        && let Some(waiting) = numbered(TOKEN).and_then(|number| state.waiting.get(&number))
    {
        let token = waiting.progress.as_deref().unwrap_or("null");
        return Route::Caller(waiting.events.clone(), frame.with(TOKEN, token));
    }
    for path in [SUBSCRIBED, CANCELLED] {
        if let Some(waiting) = numbered(path).and_then(|number| state.waiting.get(&number)) {
            return Route::Caller(waiting.events.clone(), frame.with(path, &waiting.id));
        }
    }
    match callers {
        Callers::One => general(frame, state),
        Callers::Several => Route::Dropped,
    }
}

/// To the session's own stream; without one, to a request under way; else it is kept.
fn general(frame: &Frame, state: &mut State) -> Route {
    state.listener = state.listener.take().filter(|listener| !listener.is_closed());
    let asks = matches!(frame.kind(), Kind::Request { .. });
    let under_way = || {
        let open = state.waiting.iter().filter(|(_, waiting)| !waiting.events.is_closed());
        open.max_by_key(|(number, _)| **number)
            .map(|(_, waiting)| waiting.events.clone())
    };
    // What a request makes the server ask belongs on that request's stream (MCP, transports).
    let listener = state.listener.clone();
    let caller = if asks {
        under_way().or(listener)
    } else {
        listener.or_else(under_way)
    };
    if let Some(caller) = caller {
        return Route::Caller(caller, frame.text().to_owned());
    }
    if state.backlog.len() == BACKLOG {
        state.backlog.pop_front();
        tracing::warn!("nobody listens to the server; the oldest message is lost");
    }
    state.backlog.push_back(frame.text().to_owned());
    Route::Dropped
}
