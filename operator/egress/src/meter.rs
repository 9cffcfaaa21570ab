//! Counting a connection's bytes, and ending it when a bound is reached.

use crate::policy::{Policy, PolicyWatch};
use sallyport_core::drain::{Drain, Phase};
use sallyport_policy::egress::EgressLimits;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// How an open connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// Both sides closed.
    Completed,
    /// One side broke off.
    Broken,
    /// No byte for too long.
    Idle,
    /// Open for too long.
    TooOld,
    /// Too many bytes.
    TooManyBytes,
    /// A new policy no longer allows it.
    Revoked,
    /// A later part of the TLS handshake names another server.
    HandshakeRefused,
    /// A request inside was refused.
    RequestRefused,
    /// The gateway stops.
    Drained,
    /// The client was gone before there was anything to end.
    Aborted,
}

impl End {
    /// As in events and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Broken => "broken",
            Self::Idle => "idle",
            Self::TooOld => "too_old",
            Self::TooManyBytes => "too_many_bytes",
            Self::Revoked => "revoked",
            Self::HandshakeRefused => "handshake_refused",
            Self::RequestRefused => "request_refused",
            Self::Drained => "drained",
            Self::Aborted => "aborted",
        }
    }
}

/// Counts the bytes of one connection.
#[derive(Debug)]
pub struct Meter {
    started: Instant,
    limit: u64,
    sent: AtomicU64,
    received: AtomicU64,
    /// Whether more was asked for than the limit allows.
    exceeded: AtomicBool,
    /// Milliseconds after `started` at which a byte was last seen.
    active: AtomicU64,
}

impl Meter {
    /// A meter at zero that stops the connection after `limit` bytes.
    pub fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self {
            started: Instant::now(),
            limit,
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            exceeded: AtomicBool::new(false),
            active: AtomicU64::new(0),
        })
    }

    /// Bytes to the host.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Bytes from the host.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Whether the limit stopped the connection.
    pub fn was_exceeded(&self) -> bool {
        self.exceeded.load(Ordering::Relaxed)
    }

    /// Bytes that may still pass, more than none.
    fn left(&self) -> io::Result<usize> {
        let left = self.limit.saturating_sub(self.sent()).saturating_sub(self.received());
        if left == 0 {
            self.exceeded.store(true, Ordering::Relaxed);
            return Err(io::Error::new(
                ErrorKind::QuotaExceeded,
                "the connection has used up its bytes",
            ));
        }
        Ok(usize::try_from(left).unwrap_or(usize::MAX))
    }

    fn count(&self, counter: &AtomicU64, bytes: usize) {
        if bytes == 0 {
            return;
        }
        counter.fetch_add(bytes as u64, Ordering::Relaxed);
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.active.store(now, Ordering::Relaxed);
    }

    fn last_active(&self) -> Instant {
        self.started + Duration::from_millis(self.active.load(Ordering::Relaxed))
    }
}

/// What ends a connection from outside.
pub struct Bounds {
    /// Bounds of the policy under which it was opened.
    pub limits: EgressLimits,
    /// Where newer policies come from.
    pub policy: PolicyWatch,
    /// Whether the gateway stops.
    pub drain: Drain,
}

impl Bounds {
    /// Waits until the connection that `meter` counts must end. `is_allowed` asks a new policy about it.
    pub async fn exceeded(mut self, meter: &Meter, is_allowed: impl Fn(&Policy) -> bool) -> End {
        let idle = Duration::from_secs(self.limits.idle_seconds);
        let oldest = meter.started + Duration::from_secs(self.limits.total_seconds);
        loop {
            let idle_at = meter.last_active() + idle;
            tokio::select! {
                () = tokio::time::sleep_until(idle_at.min(oldest)) => {
                    let now = Instant::now();
                    if now >= oldest {
                        return End::TooOld;
                    }
                    if now >= meter.last_active() + idle {
                        return End::Idle;
                    }
                }
                policy = self.policy.changed() => {
                    if !is_allowed(&policy) {
                        return End::Revoked;
                    }
                }
                () = self.drain.reached(Phase::Ended) => return End::Drained,
            }
        }
    }
}

/// The host's end of a connection, metered.
pub struct Metered {
    stream: TcpStream,
    meter: Arc<Meter>,
}

impl Metered {
    /// Counts what passes through `stream`.
    pub const fn new(stream: TcpStream, meter: Arc<Meter>) -> Self {
        Self { stream, meter }
    }
}

impl AsyncRead for Metered {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let left = this.meter.left()?;
        let before = buffer.filled().len();
        if left >= buffer.remaining() {
            ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        } else {
            let mut last = vec![0; left];
            let mut part = ReadBuf::new(&mut last);
            ready!(Pin::new(&mut this.stream).poll_read(context, &mut part))?;
            buffer.put_slice(part.filled());
        }
        let count = buffer.filled().len() - before;
        this.meter.count(&this.meter.received, count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let left = this.meter.left()?;
        let part = &bytes[..bytes.len().min(left)];
        let count = ready!(Pin::new(&mut this.stream).poll_write(context, part))?;
        this.meter.count(&this.meter.sent, count);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
