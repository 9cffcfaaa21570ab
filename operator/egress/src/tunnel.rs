//! A tunnel for TLS: the handshake's beginning is read, then bytes are moved both ways.

use crate::alert;
use crate::event::Entry;
use crate::hello::{ClientHello, HelloDenial, HelloReader, SecondHelloReader, ServerAnswer, ServerHelloReader};
use crate::meter::{End, Metered};
use crate::refusal::Refusal;
use crate::route::{self, Route};
use bytes::Bytes;
use sallyport_policy::egress::{EgressMode, HostName};
use std::io::{self, Cursor};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bytes that are read at a time while the handshake is watched.
const CHUNK: usize = 16 * 1024;

/// Bytes that are read at a time while the first hello is waited for.
const PIECE: usize = 4 * 1024;

/// What a client has sent so far.
pub struct Opening {
    /// Its ClientHello, or why this is none.
    pub hello: Result<ClientHello, HelloDenial>,
    /// The hello's bytes, or all that came.
    sent: Vec<u8>,
    /// What came after it.
    surplus: Vec<u8>,
}

/// Why a tunnel stops.
enum Stop {
    Io(io::Error),
    Handshake,
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<HelloDenial> for Stop {
    fn from(_: HelloDenial) -> Self {
        Self::Handshake
    }
}

impl Opening {
    /// Reads the ClientHello, which may have begun with `early`, within `bound`.
    pub async fn read(client: &mut TcpStream, early: Bytes, bound: Duration) -> Self {
        let mut reader = HelloReader::default();
        let hello = match tokio::time::timeout(bound, read_hello(&mut reader, client, early)).await {
            Ok(hello) => hello,
            Err(_) => Err(HelloDenial::TimedOut),
        };
        let (sent, surplus) = reader.into_bytes();
        Self { hello, sent, surplus }
    }

    /// The client as if nothing had been read from it yet.
    pub fn replayed(self, client: TcpStream) -> impl AsyncRead + AsyncWrite + Unpin + Send {
        let (read, write) = client.into_split();
        let taken = Cursor::new([self.sent, self.surplus].concat());
        tokio::io::join(taken.chain(read), write)
    }
}

async fn read_hello(reader: &mut HelloReader, client: &TcpStream, early: Bytes) -> Result<ClientHello, HelloDenial> {
    if let Some(hello) = reader.push(&early)? {
        return Ok(hello);
    }
    drop(early);
    loop {
        client.readable().await.map_err(|_| HelloDenial::Closed)?;
        if let Some(hello) = push_what_is_there(reader, client)? {
            return Ok(hello);
        }
    }
}

/// No buffer is held while nothing comes.
fn push_what_is_there(reader: &mut HelloReader, client: &TcpStream) -> Result<Option<ClientHello>, HelloDenial> {
    let mut piece = [0; PIECE];
    match client.try_read(&mut piece) {
        Ok(0) => Err(HelloDenial::Closed),
        Ok(count) => reader.push(&piece[..count]),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(_) => Err(HelloDenial::Closed),
    }
}

/// Checks the opening against the route and moves bytes until the end.
pub async fn run(mut client: TcpStream, opening: Opening, route: Route, mut entry: Entry) {
    let host = &route.passage.target.host;
    let checked = opening
        .hello
        .as_ref()
        .map_err(|denial| *denial)
        .and_then(|hello| hello.check(host));
    if let Err(denial) = checked
        && let Err(refusal) = route::enforce(&route.policy, Refusal::Hello(denial), &mut entry)
    {
        entry.refuse(&refusal);
        alert::refuse(&mut client).await;
        return;
    }
    let Route {
        mut upstream,
        meter,
        bounds,
        passage,
        policy,
        place,
    } = route;
    let open = entry.open(meter.clone());
    let watched = (policy.file.mode == EgressMode::Enforce).then_some(&passage.target.host);
    let end = tokio::select! {
        carried = carry(&mut client, &mut upstream, opening, watched) => match carried {
            Ok(()) => End::Completed,
            Err(Stop::Handshake) => End::HandshakeRefused,
            Err(Stop::Io(_)) if meter.was_exceeded() => End::TooManyBytes,
            Err(Stop::Io(error)) => {
                tracing::debug!(%error, "a tunnel broke");
                End::Broken
            }
        },
        end = bounds.exceeded(&meter, |policy| passage.is_allowed_by(policy)) => end,
    };
    open.close(end);
    drop(place);
}

/// Moves bytes until both sides have closed. With `watched`, a second ClientHello must name that host too.
async fn carry(
    client: &mut TcpStream,
    upstream: &mut Metered,
    opening: Opening,
    watched: Option<&HostName>,
) -> Result<(), Stop> {
    let Opening { sent, surplus, .. } = opening;
    upstream.write_all(&sent).await?;
    // A tunnel is long, and what it began with is not needed again.
    drop(sent);
    match watched {
        Some(host) if answer(client, upstream).await? == ServerAnswer::Retry => {
            second_hello(client, upstream, surplus, host).await?;
        }
        _ => {
            upstream.write_all(&surplus).await?;
            drop(surplus);
        }
    }
    tokio::io::copy_bidirectional(client, upstream).await?;
    Ok(())
}

/// Passes on the server's answer until it can be told.
async fn answer(client: &mut TcpStream, upstream: &mut Metered) -> Result<ServerAnswer, Stop> {
    let mut reader = ServerHelloReader::default();
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = upstream.read(&mut chunk).await?;
        if count == 0 {
            return Ok(ServerAnswer::Other);
        }
        let answer = reader.push(&chunk[..count])?;
        client.write_all(&chunk[..count]).await?;
        if let Some(answer) = answer {
            return Ok(answer);
        }
    }
}

/// Passes on what the client sends until its second ClientHello is complete and names `host`.
async fn second_hello(
    client: &mut TcpStream,
    upstream: &mut Metered,
    surplus: Vec<u8>,
    host: &HostName,
) -> Result<(), Stop> {
    let mut reader = SecondHelloReader::default();
    let mut chunk = surplus;
    loop {
        let hello = reader.push(&chunk)?;
        if let Some(hello) = &hello {
            hello.check(host)?;
        }
        upstream.write_all(&chunk).await?;
        if hello.is_some() {
            return Ok(());
        }
        chunk.resize(CHUNK, 0);
        let count = client.read(&mut chunk).await?;
        if count == 0 {
            return Ok(());
        }
        chunk.truncate(count);
    }
}
