//! Last stage: the answer's body on its way to the client.

use crate::audit::{Entry, Outcome};
use crate::metrics::Metrics;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::{self, HeaderMap};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use prometheus_client::metrics::gauge::Gauge;
use sallyport_core::drain::{Drain, Phase};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// The body of an answer.
pub struct Answer(Kind);

enum Kind {
    Whole(Full<Bytes>),
    Stream(Box<Stream>),
    /// Its record is closed and nothing more comes.
    Ended,
}

/// A body of the server that is passed on frame by frame: none is read before the client took the one before it.
struct Stream {
    body: Incoming,
    events: bool,
    ending: BoxFuture<'static, Ending>,
    entry: Entry,
    _active: Option<ActiveStream>,
}

/// Why a stream ends before the server ends it.
#[derive(Clone, Copy)]
enum Ending {
    Lifetime,
    Drain,
}

/// An answer that is cut off in the middle. The connection is closed, so that the client does not take it for whole.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// The server broke it off.
    #[error("the server broke off its answer")]
    Upstream(#[source] hyper::Error),
    /// A time bound was reached.
    #[error("the answer took longer than the endpoint allows")]
    CutOff,
}

/// Whether an answer is a stream of server-sent events.
pub fn is_event_stream(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|essence| essence.trim().eq_ignore_ascii_case("text/event-stream"))
}

impl Answer {
    /// A body that is already there and whose record is closed.
    pub(super) fn whole(body: Full<Bytes>) -> Self {
        Self(Kind::Whole(body))
    }

    /// A body of the server. `endless` streams end as soon as the pod's end is decided, others when the drain's time is up.
    pub(super) fn stream(
        body: Incoming,
        events: bool,
        endless: bool,
        lifetime: Duration,
        entry: Entry,
        mut drain: Drain,
        metrics: &Metrics,
    ) -> Self {
        let last = if endless && events {
            Phase::Leaving
        } else {
            Phase::Ended
        };
        let ending = Box::pin(async move {
            tokio::select! {
                () = tokio::time::sleep(lifetime) => Ending::Lifetime,
                () = drain.reached(last) => Ending::Drain,
            }
        });
        Self(Kind::Stream(Box::new(Stream {
            body,
            events,
            ending,
            entry,
            _active: events.then(|| ActiveStream::new(&metrics.active_streams)),
        })))
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = AnswerError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        let frame = match &mut self.0 {
            Kind::Whole(body) => {
                let frame = ready!(Pin::new(body).poll_frame(context));
                return Poll::Ready(frame.map(|frame| frame.map_err(|never| match never {})));
            }
            Kind::Stream(stream) => ready!(stream.poll_frame(context)),
            Kind::Ended => None,
        };
        if !matches!(frame, Some(Ok(_))) {
            self.0 = Kind::Ended;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(body) => body.is_end_stream(),
            Kind::Stream(stream) => stream.body.is_end_stream(),
            Kind::Ended => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(body) => body.size_hint(),
            Kind::Stream(stream) => stream.body.size_hint(),
            Kind::Ended => SizeHint::with_exact(0),
        }
    }
}

impl Stream {
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        if let Poll::Ready(ending) = self.ending.as_mut().poll(context) {
            let (outcome, reason) = match ending {
                Ending::Lifetime => (Outcome::TimedOut, "stream_lifetime_reached"),
                Ending::Drain => (Outcome::Drained, "sidecar_stops"),
            };
            self.entry.close(outcome, Some(reason));
            // A client of an event stream knows how to go on after its end; half a JSON document must not look whole.
            return Poll::Ready((!self.events).then_some(Err(AnswerError::CutOff)));
        }
        match ready!(Pin::new(&mut self.body).poll_frame(context)) {
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                self.entry.response_bytes(length as u64);
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Err(error)) => {
                self.entry.close(Outcome::UpstreamFailed, Some("upstream_broke_off"));
                Poll::Ready(Some(Err(AnswerError::Upstream(error))))
            }
            None => {
                self.entry.close(Outcome::Allowed, None);
                Poll::Ready(None)
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // hyper does not ask for a frame after the last one of a body whose length it knows.
        if self.body.is_end_stream() {
            self.entry.close(Outcome::Allowed, None);
        }
    }
}

/// Counts one event stream for as long as it lives.
struct ActiveStream(Gauge);

impl ActiveStream {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for ActiveStream {
    fn drop(&mut self) {
        self.0.dec();
    }
}
