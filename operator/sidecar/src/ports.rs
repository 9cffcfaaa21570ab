//! Ports that outlive the sidecar.
//!
//! Whatever listens on the sidecar's port is taken for it. Should the sidecar end, out of memory for example, the server in
//! the same pod could listen there until it is back. So a process in a container of its own, which reads nothing from
//! anybody, listens first and hands the listening sockets on over a unix socket that only the sidecar's user can use. While
//! it lives the ports are taken, and callers wait for the sidecar instead of meeting somebody else.
//!
//! Should the holder end, the sidecar still has the sockets, and gives them back to the next one: the ports are free only
//! when both are away at a time.

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use sallyport_core::listener::{self, BindError};
use sallyport_policy::PolicyFile;
use std::fs::Permissions;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, Interest};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::time::{Instant, sleep, timeout};

/// Ports that are handed on at most.
const MAX_PORTS: usize = 4;

/// How long the sidecar waits for the holder, which is started before it, and a new holder for the sockets of a former one.
const BOUND: Duration = Duration::from_secs(5);

/// Pause between two attempts to find the other.
const PAUSE: Duration = Duration::from_millis(100);

/// What the sidecar says first: that it wants the sockets, or that these are those of the former holder.
const WANTED: u8 = b'w';
const GIVEN: u8 = b'g';

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
    /// The port is taken on the pod's own address.
    #[error("cannot listen on {address}")]
    Address {
        /// Where.
        address: SocketAddr,
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

/// The ports that the sidecar listens on.
pub fn of_policy(policy: &PolicyFile) -> Vec<u16> {
    let signer = policy.signer.as_ref().map(|signer| signer.port);
    [policy.listen.port, policy.listen.admin_port]
        .into_iter()
        .chain(signer)
        .chain(policy.sealing.peer_port)
        .collect()
}

/// Holds `ports` and hands them to whoever asks at `socket`, for as long as it is awaited. Where a sidecar that outlived
/// the former holder listens on them, it takes them from that.
///
/// # Errors
///
/// When a port is taken by somebody else, or the socket cannot be made.
pub async fn hold(ports: &[u16], socket: &Path) -> Result<(), PortsError> {
    let failed = |source| PortsError::Socket {
        path: socket.to_owned(),
        source,
    };
    let patience = Instant::now() + BOUND;
    let mut held = bind(ports).await;
    let handing = listen_at(socket).map_err(failed)?;
    if held.is_ok() {
        tracing::info!(?ports, "held");
    }
    loop {
        let stream = tokio::select! {
            accepted = handing.accept() => Some(accepted.map_err(failed)?.0),
            () = sleep(PAUSE), if held.is_err() => None,
        };
        if held.is_err() {
            // They are free again if the sidecar has ended meanwhile.
            held = bind(ports).await;
        }
        if let Some(stream) = stream {
            match timeout(BOUND, attend(&stream, &mut held, ports)).await {
                Ok(Ok(())) => drop(tokio::spawn(until_closed(stream))),
                Ok(Err(error)) => tracing::warn!(%error, "not handed on"),
                Err(_) => tracing::warn!("not handed on in time"),
            }
        }
        match held {
            Err(taken) if Instant::now() >= patience => return Err(taken.into()),
            _ => {}
        }
    }
}

async fn bind(ports: &[u16]) -> Result<Vec<TcpListener>, BindError> {
    let mut held = Vec::with_capacity(ports.len());
    for port in ports.iter().take(MAX_PORTS) {
        held.push(listener::bind(*port).await?);
    }
    Ok(held)
}

fn listen_at(socket: &Path) -> io::Result<UnixListener> {
    // What a former life of this container left.
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let handing = UnixListener::bind(socket)?;
    std::fs::set_permissions(socket, Permissions::from_mode(0o600))?;
    Ok(handing)
}

/// Gives the sidecar what it asks for, or takes what it gives.
async fn attend(stream: &UnixStream, held: &mut Result<Vec<TcpListener>, BindError>, ports: &[u16]) -> io::Result<()> {
    let (said, sockets) = receive(stream).await?;
    match (said, held.as_ref()) {
        (WANTED, Ok(held)) => {
            send(stream, WANTED, held).await?;
            tracing::info!("handed on");
        }
        (WANTED, Err(_)) => return Err(io::ErrorKind::AddrInUse.into()),
        (GIVEN, Err(_)) => {
            let mut given = listeners(sockets)?;
            let all = ports.iter().map(|port| of(&mut given, *port)).collect::<Result<_, _>>();
            *held = Ok(all.map_err(io::Error::other)?);
            tracing::info!(?ports, "held, as given back by the sidecar");
        }
        // This holder has the very sockets: they outlive both, or the port would have been taken.
        (GIVEN, Ok(_)) => {}
        _ => return Err(io::ErrorKind::InvalidData.into()),
    }
    Ok(())
}

/// Returns when the other end is gone. Nothing more is said on a connection.
async fn until_closed(mut stream: UnixStream) {
    // Whatever comes, an error too, is the end of it.
    let _ = stream.read(&mut [0]).await;
}

async fn send(stream: &UnixStream, says: u8, sockets: &[impl AsFd]) -> io::Result<()> {
    let sockets: Vec<BorrowedFd<'_>> = sockets.iter().map(AsFd::as_fd).collect();
    stream
        .async_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_PORTS))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            if !sockets.is_empty() {
                ancillary.push(SendAncillaryMessage::ScmRights(&sockets));
            }
            sendmsg(stream, &[IoSlice::new(&[says])], &mut ancillary, SendFlags::NOSIGNAL)?;
            Ok(())
        })
        .await
}

async fn receive(stream: &UnixStream) -> io::Result<(u8, Vec<OwnedFd>)> {
    stream
        .async_io(Interest::READABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_PORTS))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let mut byte = [0];
            let read = recvmsg(
                stream,
                &mut [IoSliceMut::new(&mut byte)],
                &mut ancillary,
                RecvFlags::CMSG_CLOEXEC,
            )?;
            if read.bytes == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let sockets = ancillary.drain().filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(sockets) => Some(sockets),
                _ => None,
            });
            Ok((byte[0], sockets.flatten().collect()))
        })
        .await
}

fn listeners(sockets: Vec<OwnedFd>) -> io::Result<Vec<TcpListener>> {
    sockets
        .into_iter()
        .map(|socket| {
            let listener = std::net::TcpListener::from(socket);
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        })
        .collect()
}

/// Takes the listening sockets from the holder at `socket`.
async fn take(socket: &Path) -> Result<(Vec<TcpListener>, Lease), PortsError> {
    let asked = async {
        let stream = reach(socket).await;
        send(&stream, WANTED, &[] as &[OwnedFd]).await?;
        let (_, sockets) = receive(&stream).await?;
        let copies = sockets.iter().map(OwnedFd::try_clone).collect::<io::Result<_>>()?;
        let lease = Lease {
            holder: socket.to_owned(),
            stream,
            sockets: copies,
        };
        Ok((listeners(sockets)?, lease))
    };
    let answered = timeout(BOUND, asked).await;
    answered
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(|source| PortsError::Socket {
            path: socket.to_owned(),
            source,
        })
}

/// A connection to the holder, once there is one.
async fn reach(socket: &Path) -> UnixStream {
    loop {
        if let Ok(stream) = UnixStream::connect(socket).await {
            return stream;
        }
        sleep(PAUSE).await;
    }
}

/// Where the sidecar gets its listening sockets.
#[derive(Debug)]
pub enum Ports {
    /// It listens itself.
    Free,
    /// The holder listened before it.
    Held(Vec<TcpListener>, Lease),
}

impl Ports {
    /// From the holder at `socket`, if there is one.
    ///
    /// # Errors
    ///
    /// When it does not hand them on.
    pub async fn of(socket: Option<&Path>) -> Result<Self, PortsError> {
        match socket {
            None => Ok(Self::Free),
            Some(socket) => take(socket).await.map(|(held, lease)| Self::Held(held, lease)),
        }
    }

    /// The socket that listens on `port` of every address.
    ///
    /// # Errors
    ///
    /// When the port is taken, or the holder does not have it.
    pub async fn listen(&mut self, port: u16) -> Result<TcpListener, PortsError> {
        match self {
            Self::Free => Ok(listener::bind(port).await?),
            Self::Held(held, _) => of(held, port),
        }
    }

    /// The socket that listens on `address`; a holder listens on its port of every address.
    ///
    /// # Errors
    ///
    /// When the port is taken, or the holder does not have it.
    pub async fn listen_at(&mut self, address: SocketAddr) -> Result<TcpListener, PortsError> {
        match self {
            Self::Free => {
                let bound = TcpListener::bind(address).await;
                bound.map_err(|source| PortsError::Address { address, source })
            }
            Self::Held(held, _) => of(held, address.port()),
        }
    }

    /// What gives the sockets back to a holder that lost them, where there is one.
    pub fn lease(self) -> Option<Lease> {
        match self {
            Self::Free => None,
            Self::Held(_, lease) => Some(lease),
        }
    }
}

/// What was taken from the holder.
#[derive(Debug)]
pub struct Lease {
    holder: PathBuf,
    stream: UnixStream,
    sockets: Vec<OwnedFd>,
}

impl Lease {
    /// Gives the sockets back to each new holder, for as long as it is awaited.
    pub async fn keep(self) {
        let mut stream = self.stream;
        loop {
            until_closed(stream).await;
            tracing::warn!("the holder of the ports is away");
            sleep(PAUSE).await;
            stream = reach(&self.holder).await;
            match timeout(BOUND, send(&stream, GIVEN, &self.sockets)).await {
                Ok(Ok(())) => tracing::info!("the ports are given back to their holder"),
                Ok(Err(error)) => tracing::warn!(%error, "the ports are not given back"),
                Err(_) => tracing::warn!("the ports are not given back in time"),
            }
        }
    }
}

fn of(held: &mut Vec<TcpListener>, port: u16) -> Result<TcpListener, PortsError> {
    let fits = |listener: &TcpListener| listener.local_addr().is_ok_and(|address| address.port() == port);
    match held.iter().position(fits) {
        Some(index) => Ok(held.swap_remove(index)),
        None => Err(PortsError::Missing { port }),
    }
}
