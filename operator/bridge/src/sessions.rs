//! Which process answers whom.

use crate::frame::{Frame, Kind};
use crate::link::{Callers, Event, Link, LinkError};
use crate::process::{Alive, Program, SpawnError};
use http::HeaderValue;
use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use uuid::Uuid;

/// Sessions at a time.
pub const MOST_SESSIONS: usize = 32;

/// How long a session may be idle before its process is ended.
pub const IDLE: Duration = Duration::from_mins(30);

/// Starts of the shared process within [`RESTART_WINDOW`] before the bridge gives up and lets the kubelet start the
/// container anew, less and less often.
const MOST_STARTS: usize = 5;

/// See [`MOST_STARTS`].
const RESTART_WINDOW: Duration = Duration::from_mins(5);

/// What the bridge tells a server that several clients share.
const HANDSHAKE_CLIENT: &str = r#"{"name":"sallyport-bridge","version":"1"}"#;

/// How legacy sessions map to processes of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// Each session has a process of its own.
    PerSession,
    /// All sessions share one process, which cannot ask clients anything.
    Shared,
}

/// Why nobody answers.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// No such session, or its process has ended. Clients then begin anew (MCP, session management).
    #[error("the session is not known or has ended: initialize again")]
    Unknown,
    /// All sessions are taken, and none of them can give way.
    #[error("{MOST_SESSIONS} sessions are open, which is the most, and none that could give way is idle: end one")]
    Full,
    /// The server cannot be started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// It ends again and again.
    #[error("the server ended {MOST_STARTS} times within {} seconds", RESTART_WINDOW.as_secs())]
    KeepsEnding,
    /// It cannot be called.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The shared server refused to be initialized.
    #[error("the server does not answer the handshake")]
    Handshake,
}

/// All processes of the server.
pub struct Sessions {
    mode: Mode,
    program: Program,
    alive: Alive,
    open: Mutex<HashMap<String, Session>>,
    shared: Mutex<Shared>,
}

struct Session {
    call: Call,
    owner: Owner,
    used: Instant,
}

/// Who opened a session, in the sidecar's words. The sidecar itself has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Owner(pub Option<HeaderValue>);

/// A use of a process. While a request's is held, its session does not give way.
#[derive(Clone)]
pub struct Call {
    link: Link,
    /// One for the session itself, if there is one, and one for each request under way.
    uses: Arc<()>,
}

#[derive(Default)]
struct Shared {
    link: Option<Link>,
    /// What the server answered to `initialize`: a message with the id [`HANDSHAKE_ID`].
    greeting: Option<Frame>,
    starts: VecDeque<Instant>,
}

/// What opens a session.
pub struct Opened {
    /// The session's id, which nobody can guess.
    pub id: String,
    /// Who answers `initialize`.
    pub greeting: Greeting,
}

/// How `initialize` is answered.
pub enum Greeting {
    /// By the session's own process.
    Ask(Call),
    /// As the shared process answered before.
    Known(Frame),
}

impl Sessions {
    /// No session yet. Each process holds a clone of `alive`.
    pub fn new(mode: Mode, program: Program, alive: Alive) -> Self {
        Self {
            mode,
            program,
            alive,
            open: Mutex::default(),
            shared: Mutex::default(),
        }
    }

    /// Opens a session of `owner` for the client that sent `initialize`. If all are taken, another gives way: see
    /// [`giving_way`].
    ///
    /// # Errors
    ///
    /// See [`SessionError`].
    pub async fn open(&self, owner: Owner, initialize: &Frame) -> Result<Opened, SessionError> {
        let shared = match self.mode {
            Mode::PerSession => None,
            Mode::Shared => {
                let mut shared = self.shared.lock().await;
                let link = self.running(&mut shared)?;
                let greeting = greeting(&mut shared, &link, initialize).await?;
                Some((link, greeting))
            }
        };
        // Held until the session is in, or more than may be could be opened at once.
        let mut open = self.open.lock().await;
        open.retain(|_, session| !session.is_over());
        let gives_way = if open.len() < MOST_SESSIONS {
            None
        } else {
            Some(giving_way(&open, &owner).ok_or(SessionError::Full)?)
        };
        let (call, greeting) = if let Some((link, greeting)) = shared {
            (Call::of(link), Greeting::Known(greeting))
        } else {
            let call = Call::of(Link::start(&self.program, Callers::One, self.alive.clone())?);
            (call.clone(), Greeting::Ask(call))
        };
        if let Some(id) = gives_way {
            tracing::warn!(
                "{MOST_SESSIONS} sessions are open: the one that was idle for longest of whoever holds most is ended"
            );
            open.remove(&id);
        }
        let id = Uuid::new_v4().simple().to_string();
        let session = Session {
            call,
            owner,
            used: Instant::now(),
        };
        open.insert(id.clone(), session);
        Ok(Opened { id, greeting })
    }

    /// The process of session `id`.
    ///
    /// # Errors
    ///
    /// When there is no such session any more.
    pub async fn of(&self, id: &str) -> Result<Call, SessionError> {
        let mut open = self.open.lock().await;
        let session = open.get_mut(id).ok_or(SessionError::Unknown)?;
        if session.call.ended() {
            open.remove(id);
            return Err(SessionError::Unknown);
        }
        session.used = Instant::now();
        Ok(session.call.clone())
    }

    /// The process for requests that stand alone (the modern era).
    ///
    /// # Errors
    ///
    /// See [`SessionError`].
    pub async fn stateless(&self) -> Result<Call, SessionError> {
        self.running(&mut *self.shared.lock().await).map(Call::of)
    }

    /// Ends session `id`.
    ///
    /// # Errors
    ///
    /// When there is no such session.
    pub async fn close(&self, id: &str) -> Result<(), SessionError> {
        let session = self.open.lock().await.remove(id);
        session.map(drop).ok_or(SessionError::Unknown)
    }

    /// Ends everything.
    pub async fn close_all(&self) {
        self.open.lock().await.clear();
        *self.shared.lock().await = Shared::default();
    }

    /// The shared process, started (again) if need be.
    fn running(&self, shared: &mut Shared) -> Result<Link, SessionError> {
        if let Some(link) = shared.link.as_ref().filter(|link| !link.ended()) {
            return Ok(link.clone());
        }
        shared.starts.retain(|start| start.elapsed() < RESTART_WINDOW);
        if shared.starts.len() == MOST_STARTS {
            return Err(SessionError::KeepsEnding);
        }
        shared.starts.push_back(Instant::now());
        shared.greeting = None;
        let link = Link::start(&self.program, Callers::Several, self.alive.clone())?;
        shared.link = Some(link.clone());
        Ok(link)
    }
}

impl Session {
    /// Whether its process has ended, or nobody has used it for long.
    fn is_over(&self) -> bool {
        self.call.ended() || (self.used.elapsed() > IDLE && self.call.idle())
    }
}

impl Call {
    fn of(link: Link) -> Self {
        let uses = Arc::default();
        Self { link, uses }
    }
}

impl Deref for Call {
    type Target = Link;

    fn deref(&self) -> &Link {
        &self.link
    }
}

/// The session that makes room for one more of `newcomer` when all are taken; `None` if none can.
///
/// It is of whoever holds most, if that is more than the newcomer holds, else of the newcomer: nobody comes to hold fewer
/// than the newcomer does then. Nothing gives way that has a request under way. A stream that only listens is no request,
/// but those without one go first; then those that were not used for longest.
fn giving_way(open: &HashMap<String, Session>, newcomer: &Owner) -> Option<String> {
    let mut held: HashMap<&Owner, usize> = HashMap::new();
    for session in open.values() {
        *held.entry(&session.owner).or_default() += 1;
    }
    let holds = |owner: &Owner| held.get(owner).copied().unwrap_or_default();
    let own = holds(newcomer);
    open.iter()
        .filter(|(_, session)| Arc::strong_count(&session.call.uses) == 1)
        .filter(|(_, session)| session.owner == *newcomer || holds(&session.owner) > own)
        .min_by_key(|(_, session)| (Reverse(holds(&session.owner)), session.call.is_heard(), session.used))
        .map(|(id, _)| id.clone())
}

/// What the shared process answers to `initialize`. It is asked once, on behalf of no client: with the first client's
/// protocol version, but without its capabilities, which the other clients may lack.
async fn greeting(shared: &mut Shared, link: &Link, initialize: &Frame) -> Result<Frame, SessionError> {
    if let Some(greeting) = &shared.greeting {
        return Ok(greeting.clone());
    }
    let version = initialize.value(&["params", "protocolVersion"]).unwrap_or("null");
    let question = format!(
        r#"{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{{"protocolVersion":{version},"capabilities":{{}},"clientInfo":{HANDSHAKE_CLIENT}}}}}"#
    );
    let question = Frame::parse(question.as_bytes()).map_err(|_| SessionError::Handshake)?;
    let mut pending = link.request(&question, "0").await?;
    let answer = loop {
        match pending.events.recv().await {
            Some(Event::Answer(answer)) => break answer,
            Some(Event::Message(_)) => {}
            None => return Err(SessionError::Handshake),
        }
    };
    let answer = Frame::parse(answer.as_bytes()).map_err(|_| SessionError::Handshake)?;
    let initialized = Frame::parse(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    if matches!(answer.kind(), Kind::Response { .. }) && answer.value(&["result"]).is_some() {
        link.tell(&initialized.map_err(|_| SessionError::Handshake)?).await?;
        shared.greeting = Some(answer.clone());
    }
    Ok(answer)
}
