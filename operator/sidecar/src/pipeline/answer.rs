//! Last stage: the answer's body on its way to the client.

use super::budget::{BufferFull, Held};
use super::denial::Denial;
use super::inspect::{Inspector, Kind as MessageKind, Refused};
use super::limit::Place;
use crate::audit::{Entry, Outcome};
use crate::metrics::Metrics;
use crate::wire::sse::{self, Event, Piece, Splitter};
use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::{self, HeaderMap};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use prometheus_client::metrics::gauge::Gauge;
use sallyport_core::drain::{Drain, Phase};
use serde_json::value::RawValue;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// What is passed on of an event stream at a time and counts as the connection's; more is counted until the client took it.
const UNCOUNTED: usize = 16 * 1024;

/// The body of an answer.
pub struct Answer(Kind);

enum Kind {
    Whole(Full<Bytes>),
    Stream(Box<Stream>),
    /// A question of ours, and what comes after its answer on the same stream.
    Asking(Option<Bytes>, BoxFuture<'static, Answer>),
    /// Its record is closed and nothing more comes.
    Ended,
}

/// A body of the server that is passed on frame by frame: none is read before the client took the one before it.
struct Stream {
    body: Incoming,
    events: Option<Events>,
    ending: BoxFuture<'static, Ending>,
    entry: Entry,
    /// What is still to be said after the record is closed.
    last_words: Option<Bytes>,
    closed: bool,
    _place: Place,
    _memory: Option<Held>,
    _active: Option<ActiveStream>,
}

/// What of a request lasts as long as the answer to it.
pub struct Kept {
    /// Its record.
    pub entry: Entry,
    /// Its place among the requests under way.
    pub place: Place,
    /// Its body's share of the memory, if the body is still needed.
    pub memory: Option<Held>,
}

/// What event streams have beside other bodies.
pub struct Events {
    splitter: Splitter,
    inspector: Inspector,
    held: Held,
    clock: Option<Clock>,
    /// The request that the stream answers.
    id: Option<Box<RawValue>>,
}

/// Runs while the server is to say something.
struct Clock {
    bound: Duration,
    sleep: Pin<Box<Sleep>>,
    stopped: bool,
}

/// Why a stream ends before the server ends it.
#[derive(Clone, Copy)]
enum Ending {
    Lifetime,
    Drain,
}

/// Bounds of one answer's time.
pub struct Times {
    /// In all.
    pub lifetime: Duration,
    /// Whether it has no end of its own: it ends as soon as the pod's end is decided, others when the drain's time is up.
    pub endless: bool,
}

/// An answer that is cut off in the middle. The connection is closed, so that the client does not take it for whole.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// The server broke it off.
    #[error("the server broke off its answer")]
    Upstream(#[source] hyper::Error),
    /// A bound was reached.
    #[error("the answer is longer, or took longer, than the endpoint allows")]
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

    /// A body of the server, with `events` if it is an event stream.
    pub(super) fn stream(
        body: Incoming,
        events: Option<Events>,
        times: &Times,
        kept: Kept,
        mut drain: Drain,
        metrics: &Metrics,
    ) -> Self {
        let last = if times.endless && events.is_some() {
            Phase::Leaving
        } else {
            Phase::Ended
        };
        let lifetime = times.lifetime;
        let ending = Box::pin(async move {
            tokio::select! {
                () = tokio::time::sleep(lifetime) => Ending::Lifetime,
                () = drain.reached(last) => Ending::Drain,
            }
        });
        let active = events.is_some().then(|| ActiveStream::new(&metrics.active_streams));
        Self(Kind::Stream(Box::new(Stream {
            body,
            events,
            ending,
            entry: kept.entry,
            last_words: None,
            closed: false,
            _place: kept.place,
            _memory: kept.memory,
            _active: active,
        })))
    }
}

impl Answer {
    /// An event stream that begins with `question` and goes on with the frames of the answer that `next` gives.
    pub(super) fn after_question(question: Bytes, next: BoxFuture<'static, Self>) -> Self {
        Self(Kind::Asking(Some(question), next))
    }

    /// The last event of a stream, which tells why there is no answer.
    pub(super) fn last_event(denial: &Denial, id: Option<&RawValue>, mut entry: Entry) -> Self {
        entry.error_code(denial.code().into());
        let event = sse::event(&denial.body(id));
        entry.response_bytes(event.len() as u64);
        entry.close(denial.outcome(), Some(denial.reason()));
        Self::whole(Full::new(event))
    }

    /// The last event of a stream: one message of the server, for which `held` holds bytes.
    ///
    /// # Errors
    ///
    /// When there is no room for it as an event.
    pub(super) fn last_message(
        message: Bytes,
        mut held: Held,
        place: Place,
        entry: &mut Entry,
    ) -> Result<Self, BufferFull> {
        let event = sse::event(&message);
        drop(message);
        held.set(event.len())?;
        entry.response_events(1);
        entry.response_bytes(event.len() as u64);
        entry.close(Outcome::Allowed, None);
        Ok(Self::whole(Full::new(held.count(event, Some(place)))))
    }
}

impl Events {
    /// Events of at most `limit` bytes, looked at by `inspector`. With `clock`, the longest time until the first message and
    /// between two; `id` is the request that the stream answers.
    pub fn new(
        limit: u64,
        inspector: Inspector,
        held: Held,
        clock: Option<Duration>,
        id: Option<Box<RawValue>>,
    ) -> Self {
        Self {
            splitter: Splitter::new(usize::try_from(limit).unwrap_or(usize::MAX)),
            inspector,
            held,
            clock: clock.map(|bound| Clock {
                bound,
                sleep: Box::pin(tokio::time::sleep(bound)),
                stopped: false,
            }),
            id,
        }
    }

    /// What of these bytes passes now.
    fn pass(&mut self, bytes: &[u8], entry: &mut Entry) -> Result<Bytes, Denial> {
        let pieces = self.splitter.push(bytes).map_err(|_| Denial::AnswerTooLarge)?;
        let mut passed = Vec::with_capacity(bytes.len());
        for piece in pieces {
            match piece {
                Piece::Filler(filler) if is_plain(&filler) => passed.extend_from_slice(&filler),
                Piece::Filler(_) => {}
                Piece::Event(event) => passed.extend_from_slice(&self.event(&event, entry)),
            }
        }
        Ok(self.counted(passed)?)
    }

    /// What is left when the server ends the stream.
    fn finish(&mut self, entry: &mut Entry) -> Result<Bytes, Denial> {
        let Some(event) = self.splitter.finish() else {
            return Ok(Bytes::new());
        };
        let passed = self.event(&event, entry).into();
        Ok(self.counted(passed)?)
    }

    /// Counts what is passed on, beside what waits to be, for as long as the client has not taken it.
    fn counted(&mut self, mut passed: Vec<u8>) -> Result<Bytes, BufferFull> {
        let length = passed.len();
        passed.shrink_to_fit();
        let passed = Bytes::from(passed);
        if length <= UNCOUNTED {
            self.held.set(self.splitter.held())?;
            return Ok(passed);
        }
        self.held.set(self.splitter.held() + length)?;
        Ok(self.held.split(length).count(passed, None))
    }

    fn event(&mut self, event: &Event, entry: &mut Entry) -> Bytes {
        let data = event.data().unwrap_or_default();
        if data.trim_ascii().is_empty() {
            return event.bytes().clone();
        }
        let data = Bytes::from(data.into_owned());
        entry.response_events(1);
        match self.inspector.message(&data) {
            Ok(seen) => {
                if let Some(clock) = &mut self.clock {
                    clock.message(seen.kind);
                }
                if seen.kind == MessageKind::Answer {
                    entry.result(seen.result_type.as_deref(), seen.is_error);
                    if let Some(code) = seen.error_code {
                        entry.error_code(code);
                    }
                }
                match seen.changed {
                    None if event.fields_are_plain() => event.bytes().clone(),
                    changed => event.with_data(&changed.unwrap_or(data)),
                }
            }
            Err(Refused { id: None, reason }) => {
                tracing::warn!(reason, "a message of the server is left out");
                Bytes::new()
            }
            Err(Refused { id: Some(id), reason }) => {
                tracing::warn!(reason, "an answer of the server is replaced by an error");
                let denial = Denial::AnswerRefused(reason);
                entry.error_code(denial.code().into());
                event.with_data(&denial.body(Some(&id)))
            }
        }
    }
}

impl Clock {
    /// A message came. While the client has a question to answer, the server has not.
    fn message(&mut self, kind: MessageKind) {
        self.stopped = kind == MessageKind::Request;
        self.sleep.as_mut().reset(Instant::now() + self.bound);
    }

    fn poll_over(&mut self, context: &mut Context<'_>) -> bool {
        !self.stopped && self.sleep.as_mut().poll(context).is_ready()
    }
}

/// Some clients end lines at characters at which the standard ends none, and would read events where there are none.
fn is_plain(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .all(|byte| matches!(byte, b'\t' | b'\r' | b'\n' | b' '..=b'~'))
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
            Kind::Asking(question, next) => {
                if let Some(question) = question.take() {
                    return Poll::Ready(Some(Ok(Frame::data(question))));
                }
                *self = ready!(next.as_mut().poll(context));
                return self.poll_frame(context);
            }
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
            Kind::Stream(stream) => stream.events.is_none() && stream.body.is_end_stream(),
            Kind::Asking(..) => false,
            Kind::Ended => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(body) => body.size_hint(),
            Kind::Stream(stream) if stream.events.is_none() => stream.body.size_hint(),
            Kind::Stream(_) | Kind::Asking(..) => SizeHint::default(),
            Kind::Ended => SizeHint::with_exact(0),
        }
    }
}

impl Stream {
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        if self.closed {
            return Poll::Ready(self.last_words.take().map(|words| Ok(Frame::data(words))));
        }
        if let Poll::Ready(ending) = self.ending.as_mut().poll(context) {
            return Poll::Ready(match ending {
                Ending::Lifetime => self.end(Outcome::TimedOut, "stream_lifetime_reached", None),
                Ending::Drain => self.end(Outcome::Drained, "sidecar_stops", None),
            });
        }
        let late = self
            .events
            .as_mut()
            .and_then(|events| events.clock.as_mut())
            .is_some_and(|clock| clock.poll_over(context));
        if late {
            return Poll::Ready(self.end(Outcome::TimedOut, "request_timed_out", Some(&Denial::UpstreamTimedOut)));
        }
        loop {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => {
                    let Some(events) = &mut self.events else {
                        let length = frame.data_ref().map_or(0, Bytes::len);
                        self.entry.response_bytes(length as u64);
                        return Poll::Ready(Some(Ok(frame)));
                    };
                    // Trailers of an event stream mean nothing to anybody.
                    let Ok(data) = frame.into_data() else { continue };
                    match events.pass(&data, &mut self.entry) {
                        Ok(passed) if passed.is_empty() => {}
                        Ok(passed) => {
                            self.entry.response_bytes(passed.len() as u64);
                            return Poll::Ready(Some(Ok(Frame::data(passed))));
                        }
                        Err(denial) => return Poll::Ready(self.refuse(&denial)),
                    }
                }
                Some(Err(error)) => {
                    self.entry.close(Outcome::UpstreamFailed, Some("upstream_broke_off"));
                    return Poll::Ready(Some(Err(AnswerError::Upstream(error))));
                }
                None => {
                    let rest = match &mut self.events {
                        Some(events) => match events.finish(&mut self.entry) {
                            Ok(rest) => rest,
                            Err(denial) => return Poll::Ready(self.refuse(&denial)),
                        },
                        None => Bytes::new(),
                    };
                    self.entry.response_bytes(rest.len() as u64);
                    self.entry.close(Outcome::Allowed, None);
                    self.closed = true;
                    return Poll::Ready((!rest.is_empty()).then(|| Ok(Frame::data(rest))));
                }
            }
        }
    }

    fn refuse(&mut self, denial: &Denial) -> Option<Result<Frame<Bytes>, AnswerError>> {
        self.end(denial.outcome(), denial.reason(), Some(denial))
    }

    /// Ends the stream. A client of an event stream knows how to go on after its end, and is told what happened to its
    /// request; half a JSON document must not look whole.
    fn end(
        &mut self,
        outcome: Outcome,
        reason: &'static str,
        said: Option<&Denial>,
    ) -> Option<Result<Frame<Bytes>, AnswerError>> {
        if let (Some(denial), Some(_)) = (said, &self.events) {
            self.entry.error_code(denial.code().into());
        }
        self.entry.close(outcome, Some(reason));
        self.closed = true;
        let Some(events) = &self.events else {
            return Some(Err(AnswerError::CutOff));
        };
        let (denial, id) = said.zip(events.id.as_ref())?;
        Some(Ok(Frame::data(sse::event(&denial.body(Some(id))))))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // hyper does not ask for a frame after the last one of a body whose length it knows.
        if self.events.is_none() && self.body.is_end_stream() {
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
