//! The bridge's socket: who may use it, and how it ends.

use crate::http;
use crate::process::Program;
use crate::sessions::{Mode, Sessions};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

/// Connections at a time; the sidecar pools its own.
const CONNECTIONS: usize = 1024;

/// How long processes get to end.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What the bridge is told.
pub struct Settings {
    /// Where it listens.
    pub socket: PathBuf,
    /// The only user that it answers; everybody, if none.
    pub peer: Option<u32>,
    /// How sessions map to processes.
    pub mode: Mode,
    /// The server.
    pub program: Program,
}

/// Why the bridge cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {socket}: is the directory shared with the audit sidecar, and writable?", socket = socket.display())]
pub struct StartError {
    socket: PathBuf,
    #[source]
    source: io::Error,
}

/// Serves until `stop`, then ends every process of the server.
///
/// # Errors
///
/// When the socket cannot be listened on.
pub async fn serve(settings: Settings, stop: impl Future<Output = ()>) -> Result<(), StartError> {
    let listener = bind(&settings).map_err(|source| StartError {
        socket: settings.socket.clone(),
        source,
    })?;
    let (alive, mut all_gone) = mpsc::channel(1);
    let sessions = Arc::new(Sessions::new(settings.mode, settings.program, alive));
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    let accepting = async {
        loop {
            // Never closed.
            let Ok(place) = places.clone().acquire_owned().await else {
                break;
            };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            while connections.try_join_next().is_some() {}
            if !may_call(&stream, settings.peer) {
                continue;
            }
            let sessions = sessions.clone();
            connections.spawn(async move {
                let service = service_fn(move |request| {
                    let sessions = sessions.clone();
                    async move { Ok::<_, std::convert::Infallible>(http::handle(sessions, request).await) }
                });
                let serving = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .half_close(false)
                    .serve_connection(TokioIo::new(stream), service);
                if let Err(error) = serving.await {
                    tracing::debug!(%error, "a connection ended with an error");
                }
                drop(place);
            });
        }
    };
    tokio::select! {
        () = accepting => {}
        () = stop => {}
    }
    drop(listener);
    let _ = fs::remove_file(&settings.socket);
    connections.shutdown().await;
    sessions.close_all().await;
    drop(sessions);
    // The processes are told by the end of their input, then by signals.
    if tokio::time::timeout(LAST_WORDS, all_gone.recv()).await.is_err() {
        tracing::warn!("a process of the server does not end");
    }
    Ok(())
}

fn bind(settings: &Settings) -> io::Result<UnixListener> {
    // Left by a bridge that was killed.
    match fs::remove_file(&settings.socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&settings.socket)?;
    // The sidecar is another user; who may call is decided by the peer's user, which the kernel vouches for.
    fs::set_permissions(&settings.socket, fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

fn may_call(stream: &UnixStream, allowed: Option<u32>) -> bool {
    let Some(allowed) = allowed else {
        return true;
    };
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == allowed => true,
        Ok(peer) => {
            tracing::warn!(uid = peer.uid(), allowed, "a connection of another user is refused");
            false
        }
        Err(error) => {
            tracing::warn!(%error, "a connection of nobody knows whom is refused");
            false
        }
    }
}
