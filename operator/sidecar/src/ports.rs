//! Ports that outlive the sidecar.
//!
//! Whatever listens on the sidecar's port is taken for it. Should the sidecar end, out of memory for example, the server in
//! the same pod could listen there until it is back. So a process in a container of its own, which reads nothing from
//! anybody, listens first and hands the listening sockets on over a unix socket that only the sidecar's user can use. While
//! it lives the ports are taken, and callers wait for the sidecar instead of meeting somebody else.

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use sallyport_core::listener::{self, BindError};
use std::fs::Permissions;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::{TcpListener, UnixListener, UnixStream};

/// Ports that are handed on at most.
const MAX_PORTS: usize = 4;

/// How long the sidecar waits for the holder, which is started before it.
const BOUND: Duration = Duration::from_secs(5);

/// Why ports are not held or not handed on.
#[derive(Debug, thiserror::Error)]
pub enum PortsError {
    /// A port is taken.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The socket cannot be made or reached.
    #[error("cannot use the socket {path} over which ports are handed on")]
    Socket {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The holder has others.
    #[error("the holder of the ports has no listening socket for port {port}: start both with the same policy")]
    Missing {
        /// Which port.
        port: u16,
    },
}

/// Holds `ports` and hands them to whoever connects to `socket`, for as long as it is awaited.
///
/// # Errors
///
/// When a port is taken or the socket cannot be made.
pub async fn hold(ports: &[u16], socket: &Path) -> Result<(), PortsError> {
    let failed = |source| PortsError::Socket {
        path: socket.to_owned(),
        source,
    };
    let mut held = Vec::with_capacity(ports.len());
    for port in ports.iter().take(MAX_PORTS) {
        held.push(listener::bind(*port).await?);
    }
    // What a former life of this container left.
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let handing = UnixListener::bind(socket).map_err(failed)?;
    std::fs::set_permissions(socket, Permissions::from_mode(0o600)).map_err(failed)?;
    tracing::info!(?ports, "held");
    loop {
        let (stream, _) = handing.accept().await.map_err(failed)?;
        match tokio::time::timeout(BOUND, send(&stream, &held)).await {
            Ok(Ok(())) => tracing::info!("handed on"),
            Ok(Err(error)) => tracing::warn!(%error, "not handed on"),
            Err(_) => tracing::warn!("not handed on in time"),
        }
    }
}

async fn send(stream: &UnixStream, held: &[TcpListener]) -> io::Result<()> {
    for listener in held {
        // A sidecar that ended in order stopped the listening for all who have the socket.
        rustix::net::listen(listener, listener::BACKLOG)?;
    }
    let sockets: Vec<BorrowedFd<'_>> = held.iter().map(AsFd::as_fd).collect();
    stream
        .async_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_PORTS))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            ancillary.push(SendAncillaryMessage::ScmRights(&sockets));
            sendmsg(stream, &[IoSlice::new(b"p")], &mut ancillary, SendFlags::empty())?;
            Ok(())
        })
        .await
}

/// Takes the listening sockets from the holder at `socket`.
///
/// # Errors
///
/// When it does not hand them on.
pub async fn take(socket: &Path) -> Result<Vec<TcpListener>, PortsError> {
    let failed = |source| PortsError::Socket {
        path: socket.to_owned(),
        source,
    };
    tokio::time::timeout(BOUND, receive(socket))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(failed)
}

async fn receive(socket: &Path) -> io::Result<Vec<TcpListener>> {
    let stream = UnixStream::connect(socket).await?;
    let sockets: Vec<OwnedFd> = stream
        .async_io(Interest::READABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_PORTS))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let mut byte = [0];
            recvmsg(
                &stream,
                &mut [IoSliceMut::new(&mut byte)],
                &mut ancillary,
                RecvFlags::CMSG_CLOEXEC,
            )?;
            let messages = ancillary.drain();
            Ok(messages
                .filter_map(|message| match message {
                    RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
                    _ => None,
                })
                .flatten()
                .collect())
        })
        .await?;
    sockets
        .into_iter()
        .map(|socket| {
            let listener = std::net::TcpListener::from(socket);
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        })
        .collect()
}

/// The listening socket for `port` among `held`.
///
/// # Errors
///
/// When there is none.
pub fn of(held: &mut Vec<TcpListener>, port: u16) -> Result<TcpListener, PortsError> {
    let fits = |listener: &TcpListener| listener.local_addr().is_ok_and(|address| address.port() == port);
    match held.iter().position(fits) {
        Some(index) => Ok(held.swap_remove(index)),
        None => Err(PortsError::Missing { port }),
    }
}
