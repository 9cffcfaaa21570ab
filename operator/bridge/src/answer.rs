//! Answers: one JSON document where the server says nothing before its answer, else a stream of events.

use crate::link::{Event, Pending};
use crate::sessions::Call;
use bytes::Bytes;
use futures::stream;
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame as BodyFrame;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;

/// How long an answer may take before the caller is told, by the head of a stream, that it is being worked on.
const SOON: Duration = Duration::from_secs(5);

/// How often a silent stream says that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Body of every answer.
pub type Body = UnsyncBoxBody<Bytes, Infallible>;

/// What happens to the request when its caller goes away before the answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Abandoned {
    /// It is cancelled (the modern era: closing the stream is the cancellation).
    Cancel,
    /// It goes on (the legacy era: only `notifications/cancelled` cancels).
    Continue,
}

/// Keeps a request's session until its answer is passed on, and cancels it unless the answer came.
struct Guard {
    call: Call,
    number: u64,
    abandoned: Abandoned,
    answered: bool,
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.answered && self.abandoned == Abandoned::Cancel {
            self.call.cancel(self.number);
        }
    }
}

/// Waits for the first that comes back, and answers in the form that it asks for.
pub async fn of(call: Call, pending: Pending, abandoned: Abandoned) -> Response<Body> {
    let Pending { number, mut events } = pending;
    let mut guard = Guard {
        call,
        number,
        abandoned,
        answered: false,
    };
    match tokio::time::timeout(SOON, events.recv()).await {
        Ok(Some(Event::Answer(text))) => {
            guard.answered = true;
            let status = match abandoned {
                Abandoned::Cancel => modern_status(&text),
                Abandoned::Continue => StatusCode::OK,
            };
            document(status, text)
        }
        Ok(Some(Event::Message(text))) => events_of(vec![text], events, Some(guard)),
        Ok(None) => plain(
            StatusCode::BAD_GATEWAY,
            "the server's process ended before it answered\n",
        ),
        Err(_) => events_of(vec![], events, Some(guard)),
    }
}

/// A stream of what belongs to no request.
pub fn listening(events: Receiver<Event>) -> Response<Body> {
    events_of(vec![], events, None)
}

/// HTTP status of a modern answer (MCP 2026-07-28, error codes).
fn modern_status(answer: &str) -> StatusCode {
    let code = crate::frame::Frame::parse(answer.as_bytes())
        .ok()
        .and_then(|answer| answer.value(&["error", "code"])?.parse::<i64>().ok());
    match code {
        Some(-32601) => StatusCode::NOT_FOUND,
        Some(-32022..=-32020) => StatusCode::BAD_REQUEST,
        _ => StatusCode::OK,
    }
}

fn events_of(first: Vec<String>, events: Receiver<Event>, guard: Option<Guard>) -> Response<Body> {
    struct State {
        first: std::vec::IntoIter<String>,
        events: Receiver<Event>,
        guard: Option<Guard>,
        done: bool,
    }
    let state = State {
        first: first.into_iter(),
        events,
        guard,
        done: false,
    };
    let frames = stream::unfold(state, |mut state| async move {
        if state.done {
            return None;
        }
        let text = if let Some(text) = state.first.next() {
            event(&text)
        } else {
            match tokio::time::timeout(KEEP_ALIVE, state.events.recv()).await {
                Err(_) => ":\n\n".to_owned(),
                Ok(None) => return None,
                Ok(Some(Event::Message(text))) => event(&text),
                Ok(Some(Event::Answer(text))) => {
                    state.done = true;
                    if let Some(guard) = &mut state.guard {
                        guard.answered = true;
                    }
                    event(&text)
                }
            }
        };
        Some((Ok::<_, Infallible>(BodyFrame::data(Bytes::from(text))), state))
    });
    let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    response
}

fn event(text: &str) -> String {
    format!("event: message\ndata: {text}\n\n")
}

/// One message.
pub fn document(status: StatusCode, text: String) -> Response<Body> {
    let mut response = with_body(status, Bytes::from(text));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// A line for people.
pub fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = with_body(status, Bytes::from_static(text.as_bytes()));
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

/// A status alone.
pub fn empty(status: StatusCode) -> Response<Body> {
    with_body(status, Bytes::new())
}

fn with_body(status: StatusCode, bytes: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(bytes).boxed_unsync());
    *response.status_mut() = status;
    response
}
