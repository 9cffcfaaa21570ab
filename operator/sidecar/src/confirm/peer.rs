//! Replicas among themselves: one asks the home of a ticket to use it up, or to hand an answer on.
//!
//! One connection, one request, one answer, each a length (two bytes, big endian) and an envelope. Who has no sealing key
//! can neither ask nor answer, nor read what is asked. An answer names its request, so that an old one is worth nothing;
//! a request that is repeated finds its ticket used up. Whatever goes wrong, the ticket is not honoured.

use super::home::{Answer, Home, Instance, Nonce};
use super::refusal::Refusal;
use crate::seal::{Owner, Purpose, Seal};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How long one question to another replica may take in all, on either side.
const BOUND: Duration = Duration::from_secs(2);

/// Requests of other replicas at a time.
const CONNECTIONS: usize = 32;

const SPEND: u8 = 1;
const ACCEPTED: u8 = 2;
const DECLINED: u8 = 3;

const GRANTED: u8 = 0;

/// What another replica is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Which life of it.
    pub instance: Instance,
    /// Whose ticket.
    pub owner: Owner,
    /// Which ticket.
    pub nonce: Nonce,
    /// What with it.
    pub act: Act,
}

/// What happens to a ticket at its home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// It is used up, if it has not ended at this millisecond of its home's life.
    Spend(u64),
    /// The question that waits gets this answer.
    Deliver(Answer),
}

/// Why another replica did not answer.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// Not within two seconds.
    #[error("the replica at {0} did not answer in time")]
    TimedOut(SocketAddr),
    /// Not reached, or broken off.
    #[error(
        "the replica at {address} cannot be asked: a NetworkPolicy must let the endpoint's pods reach each other there"
    )]
    Io {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Not by a replica with the same keys.
    #[error("what answers at {0} is no replica with the same sealing keys")]
    NotAReplica(SocketAddr),
}

/// Asks the replica at `address`.
///
/// # Errors
///
/// When there is no answer, or none of a replica. What the replica decided is the inner result.
pub async fn ask(seal: &Seal, address: SocketAddr, request: &Request) -> Result<Result<(), Refusal>, PeerError> {
    match tokio::time::timeout(BOUND, exchange(seal, address, request)).await {
        Ok(answered) => answered,
        Err(_) => Err(PeerError::TimedOut(address)),
    }
}

async fn exchange(seal: &Seal, address: SocketAddr, request: &Request) -> Result<Result<(), Refusal>, PeerError> {
    let io = |source| PeerError::Io { address, source };
    let mut id = [0; 16];
    seal.random(&mut id).map_err(|_| PeerError::NotAReplica(address))?;
    let envelope = seal
        .seal(Purpose::PeerRequest, Owner::REPLICAS, &request.to_bytes(&id))
        .map_err(|_| PeerError::NotAReplica(address))?;
    let mut stream = TcpStream::connect(address).await.map_err(io)?;
    write_frame(&mut stream, &envelope).await.map_err(io)?;
    let answer = read_frame(&mut stream).await.map_err(io)?;
    let answer = seal
        .open(Purpose::PeerAnswer, Owner::REPLICAS, &answer)
        .map_err(|_| PeerError::NotAReplica(address))?;
    match answer.split_last() {
        Some((verdict, answered)) if answered == id => Ok(verdict_of(*verdict)),
        _ => Err(PeerError::NotAReplica(address)),
    }
}

/// Answers other replicas until dropped.
pub async fn serve(listener: TcpListener, seal: Arc<Seal>, home: Arc<Home>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut answering = JoinSet::new();
    loop {
        while answering.try_join_next().is_some() {}
        // A connection that finds no place waits in the listener's queue, and its asker gives up after two seconds.
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, from)) => {
                let (seal, home) = (seal.clone(), home.clone());
                answering.spawn(async move {
                    match tokio::time::timeout(BOUND, answer(stream, &seal, &home)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => tracing::debug!(%from, %error, "a replica's question was not answered"),
                        Err(_) => tracing::debug!(%from, "a replica's question did not arrive in time"),
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection of another replica");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer(mut stream: TcpStream, seal: &Seal, home: &Home) -> io::Result<()> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "not sealed by a replica");
    let envelope = read_frame(&mut stream).await?;
    let request = seal
        .open(Purpose::PeerRequest, Owner::REPLICAS, &envelope)
        .map_err(|_| invalid())?;
    let (id, request) = Request::from_bytes(&request).ok_or_else(invalid)?;
    let verdict = code_of(act(home, &request));
    let answer = seal
        .seal(
            Purpose::PeerAnswer,
            Owner::REPLICAS,
            &[id.as_slice(), &[verdict]].concat(),
        )
        .map_err(io::Error::other)?;
    write_frame(&mut stream, &answer).await
}

/// Does at `home` what `request` asks.
///
/// # Errors
///
/// When the ticket is of another life, used up or ended.
pub fn act(home: &Home, request: &Request) -> Result<(), Refusal> {
    if request.instance != home.instance() {
        return Err(Refusal::HomeUnreachable);
    }
    match request.act {
        Act::Spend(deadline) => home.spend(request.owner, request.nonce, deadline),
        Act::Deliver(answer) => home.deliver(request.owner, request.nonce, answer),
    }
}

impl Request {
    fn to_bytes(self, id: &[u8; 16]) -> Vec<u8> {
        let (code, deadline) = match self.act {
            Act::Spend(deadline) => (SPEND, deadline),
            Act::Deliver(Answer::Accepted) => (ACCEPTED, 0),
            Act::Deliver(Answer::Declined) => (DECLINED, 0),
        };
        [
            id.as_slice(),
            &self.instance.0,
            self.owner.as_bytes(),
            &self.nonce.0,
            &[code],
            &deadline.to_be_bytes(),
        ]
        .concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<([u8; 16], Self)> {
        let (id, rest) = bytes.split_first_chunk::<16>()?;
        let (instance, rest) = rest.split_first_chunk::<16>()?;
        let (owner, rest) = rest.split_first_chunk::<32>()?;
        let (nonce, rest) = rest.split_first_chunk::<16>()?;
        let (code, deadline) = rest.split_first()?;
        let act = match *code {
            SPEND => Act::Spend(u64::from_be_bytes(deadline.try_into().ok()?)),
            ACCEPTED => Act::Deliver(Answer::Accepted),
            DECLINED => Act::Deliver(Answer::Declined),
            _ => return None,
        };
        let request = Self {
            instance: Instance(*instance),
            owner: Owner::from(*owner),
            nonce: Nonce(*nonce),
            act,
        };
        Some((*id, request))
    }
}

const fn code_of(verdict: Result<(), Refusal>) -> u8 {
    match verdict {
        Ok(()) => GRANTED,
        Err(Refusal::Expired) => 1,
        Err(Refusal::AlreadyUsed) => 2,
        Err(Refusal::Busy) => 3,
        Err(_) => 4,
    }
}

const fn verdict_of(code: u8) -> Result<(), Refusal> {
    match code {
        GRANTED => Ok(()),
        1 => Err(Refusal::Expired),
        2 => Err(Refusal::AlreadyUsed),
        3 => Err(Refusal::Busy),
        _ => Err(Refusal::HomeUnreachable),
    }
}

async fn write_frame(stream: &mut TcpStream, text: &str) -> io::Result<()> {
    let length = u16::try_from(text.len()).map_err(io::Error::other)?;
    stream
        .write_all(&[&length.to_be_bytes(), text.as_bytes()].concat())
        .await
}

async fn read_frame(stream: &mut TcpStream) -> io::Result<String> {
    let length = usize::from(stream.read_u16().await?);
    if length > Purpose::PeerRequest.max_chars() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a replica's message is shorter",
        ));
    }
    let mut text = vec![0; length];
    stream.read_exact(&mut text).await?;
    String::from_utf8(text).map_err(io::Error::other)
}
