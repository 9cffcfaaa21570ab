//! Which process answers whom.

use crate::frame::{Frame, Kind};
use crate::link::{Callers, Event, Link, LinkError};
use crate::process::{Alive, Program, SpawnError};
use std::collections::{HashMap, VecDeque};
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
    /// All sessions are taken.
    #[error("{MOST_SESSIONS} sessions are open, which is the most: end one")]
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
    link: Link,
    used: Instant,
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
    Ask(Link),
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

    /// Opens a session for the client that sent `initialize`.
    ///
    /// # Errors
    ///
    /// See [`SessionError`].
    pub async fn open(&self, initialize: &Frame) -> Result<Opened, SessionError> {
        let (link, greeting) = match self.mode {
            Mode::PerSession => {
                self.room().await?;
                let link = Link::start(&self.program, Callers::One, self.alive.clone())?;
                (link.clone(), Greeting::Ask(link))
            }
            Mode::Shared => {
                self.room().await?;
                let mut shared = self.shared.lock().await;
                let link = self.running(&mut shared)?;
                let greeting = greeting(&mut shared, &link, initialize).await?;
                (link, Greeting::Known(greeting))
            }
        };
        let id = Uuid::new_v4().simple().to_string();
        let session = Session {
            link,
            used: Instant::now(),
        };
        self.open.lock().await.insert(id.clone(), session);
        Ok(Opened { id, greeting })
    }

    /// The process of session `id`.
    ///
    /// # Errors
    ///
    /// When there is no such session any more.
    pub async fn of(&self, id: &str) -> Result<Link, SessionError> {
        let mut open = self.open.lock().await;
        let session = open.get_mut(id).ok_or(SessionError::Unknown)?;
        if session.link.ended() {
            open.remove(id);
            return Err(SessionError::Unknown);
        }
        session.used = Instant::now();
        Ok(session.link.clone())
    }

    /// The process for requests that stand alone (the modern era).
    ///
    /// # Errors
    ///
    /// See [`SessionError`].
    pub async fn stateless(&self) -> Result<Link, SessionError> {
        self.running(&mut *self.shared.lock().await)
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

    async fn room(&self) -> Result<(), SessionError> {
        let mut open = self.open.lock().await;
        open.retain(|_, session| {
            let unused = session.used.elapsed() > IDLE && session.link.idle();
            !session.link.ended() && !unused
        });
        if open.len() < MOST_SESSIONS {
            return Ok(());
        }
        Err(SessionError::Full)
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
