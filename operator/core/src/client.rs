//! Connections of clients, and how long they wait for one that takes nothing.

use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// How long a client may take nothing of what it is sent.
///
/// A byte counts as taken when the kernel has room for the next one: it tells so once a third of its buffer
/// ([`SOCKET_BUFFER`](crate::listener::SOCKET_BUFFER), twice as it counts) is free. A client that is slower than that, some
/// 400 bytes a second, is as good as one that takes nothing.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// A client's connection.
///
/// A write fails once the client has taken nothing for a while; no write is under way while there is nothing to send, so
/// that a quiet connection may stay quiet. Closing the connection then resets it, for the kernel would keep trying, and the
/// bytes.
pub struct ClientStream {
    stream: TcpStream,
    stall: Stall,
}

/// How long a write has been waiting.
struct Stall {
    patience: Duration,
    over: Option<Pin<Box<Sleep>>>,
}

impl ClientStream {
    /// The connection `stream`, whose client may take nothing for `patience`.
    pub const fn new(stream: TcpStream, patience: Duration) -> Self {
        Self {
            stream,
            stall: Stall { patience, over: None },
        }
    }

    /// The connection without any patience or the want of it.
    pub fn into_inner(self) -> TcpStream {
        self.stream
    }

    fn watch(&mut self, context: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let watched = self.stall.watch(context, written);
        if let Poll::Ready(Err(error)) = &watched
            && error.kind() == ErrorKind::TimedOut
            && let Err(error) = self.stream.set_zero_linger()
        {
            tracing::debug!(%error, "a connection is not reset");
        }
        watched
    }
}

impl Stall {
    /// What a write that was polled comes to.
    fn watch(&mut self, context: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.over = None;
            return written;
        }
        let patience = self.patience;
        let over = self
            .over
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + patience)));
        over.as_mut().poll(context).map(|()| {
            Err(io::Error::new(
                ErrorKind::TimedOut,
                "the client takes nothing of what it is sent",
            ))
        })
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.watch(context, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, slices);
        this.watch(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::task::ready;

    const ALMOST: Duration = Duration::from_secs(59);

    fn stall() -> Stall {
        Stall {
            patience: PATIENCE,
            over: None,
        }
    }

    /// Tries to write to a client that takes nothing, for `time`.
    async fn stuck_for(stall: &mut Stall, time: Duration) -> io::Result<()> {
        let writing = poll_fn(|context| {
            ready!(stall.watch(context, Poll::Pending))?;
            Poll::Ready(Ok(()))
        });
        tokio::time::timeout(time, writing).await.unwrap_or(Ok(()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_of_which_nothing_is_taken_fails_when_patience_ends_and_not_before() {
        let mut stall = stall();
        stuck_for(&mut stall, ALMOST).await.unwrap();
        let error = stuck_for(&mut stall, Duration::from_secs(2)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_something_now_and_then_is_waited_for_as_long_as_it_does() {
        let mut stall = stall();
        for _ in 0..100 {
            stuck_for(&mut stall, ALMOST).await.unwrap();
            let taken = poll_fn(|context| stall.watch(context, Poll::Ready(Ok(1)))).await;
            assert_eq!(taken.unwrap(), 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_on_which_there_is_nothing_to_write_stays() {
        let mut stall = stall();
        stuck_for(&mut stall, Duration::from_secs(1)).await.unwrap();
        poll_fn(|context| stall.watch(context, Poll::Ready(Ok(1))))
            .await
            .unwrap();
        tokio::time::sleep(PATIENCE * 10).await;
        stuck_for(&mut stall, Duration::from_secs(1)).await.unwrap();
    }
}
