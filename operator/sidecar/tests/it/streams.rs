//! Streams pass as they come and end when either side goes.

use crate::support::{CALL, Running, Server, events, get, pair, policy, post, send, until};
use futures::channel::mpsc::UnboundedSender;
use http_body_util::BodyExt;
use pretty_assertions::assert_eq;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub type Events = UnboundedSender<Result<&'static str, io::Error>>;

/// A server whose answers are event streams that the test feeds.
pub async fn streaming(content_type: &'static str) -> (Server, Arc<Mutex<Vec<Events>>>) {
    let senders: Arc<Mutex<Vec<Events>>> = Arc::default();
    let kept = senders.clone();
    let server = Server::start(move |_| {
        let (sender, answer) = events(content_type);
        kept.lock().unwrap().push(sender);
        async { answer }
    })
    .await;
    (server, senders)
}

fn feed(senders: &Arc<Mutex<Vec<Events>>>, event: Result<&'static str, io::Error>) {
    senders.lock().unwrap()[0].unbounded_send(event).unwrap();
}

#[tokio::test]
async fn an_event_arrives_while_the_server_s_stream_is_open() {
    let (server, senders) = streaming("text/event-stream").await;
    let (sidecar, lines) = pair(&server).await;
    // The head comes before the first event.
    let mut response = send(post(sidecar.traffic, CALL)).await;
    for event in ["data: 1\n\n", ": keep-alive\n\n", "data: 2\n\n"] {
        feed(&senders, Ok(event));
        let frame = tokio::time::timeout(Duration::from_secs(10), response.body_mut().frame());
        let frame = frame.await.expect("it is not held back").unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), event.as_bytes());
    }
    assert!(lines.records().is_empty(), "the record waits for the stream's end");
    assert!(
        sidecar
            .admin("/metrics")
            .await
            .1
            .contains("sallyport_sidecar_active_streams 1")
    );
    senders.lock().unwrap().clear();
    assert!(response.body_mut().frame().await.is_none());
    let record = lines.wait(1).await.remove(0);
    assert_eq!(record["outcome"], "allowed");
    assert_eq!(record["responseBytes"], 9 + 14 + 9);
    assert!(
        sidecar
            .admin("/metrics")
            .await
            .1
            .contains("sallyport_sidecar_active_streams 0")
    );
}

#[tokio::test]
async fn a_client_that_leaves_a_stream_closes_the_server_s_side_at_once() {
    let (server, senders) = streaming("text/event-stream").await;
    let (sidecar, lines) = pair(&server).await;
    sidecar.until_ready().await;
    let mut response = send(get(sidecar.traffic)).await;
    feed(&senders, Ok("data: 1\n\n"));
    response.body_mut().frame().await.unwrap().unwrap();
    drop(response);
    until("the server sees the end", async || {
        senders.lock().unwrap()[0].is_closed()
    })
    .await;
    let record = lines.wait(1).await.remove(0);
    assert_eq!(
        (record["outcome"].as_str(), record["status"].as_u64()),
        (Some("client_gone"), Some(200))
    );
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_closes_the_server_s_side_at_once() {
    let gone = Arc::new(Mutex::new(false));
    let seen = gone.clone();
    let server = Server::start(move |_| {
        let guard = SetOnDrop(seen.clone());
        async move {
            tokio::time::sleep(Duration::from_mins(1)).await;
            drop(guard);
            crate::support::reply(200, "")
        }
    })
    .await;
    let (sidecar, lines) = pair(&server).await;
    let request = tokio::spawn(send(post(sidecar.traffic, CALL)));
    until("the request reached the server", async || server.received().len() == 1).await;
    request.abort();
    until("the server sees the end", async || *gone.lock().unwrap()).await;
    let record = lines.wait(1).await.remove(0);
    assert_eq!(
        (record["outcome"].as_str(), record["status"].as_u64()),
        (Some("client_gone"), Some(499))
    );
    assert_eq!(record["toolName"], "echo");
}

struct SetOnDrop(Arc<Mutex<bool>>);

impl Drop for SetOnDrop {
    fn drop(&mut self) {
        *self.0.lock().unwrap() = true;
    }
}

#[tokio::test]
async fn a_server_that_breaks_off_breaks_the_client_s_answer_off() {
    let (server, senders) = streaming("application/json").await;
    let (sidecar, lines) = pair(&server).await;
    let mut response = send(post(sidecar.traffic, CALL)).await;
    feed(&senders, Ok("{\"jsonrpc\""));
    response.body_mut().frame().await.unwrap().unwrap();
    feed(&senders, Err(io::ErrorKind::ConnectionReset.into()));
    assert!(response.body_mut().frame().await.unwrap().is_err());
    assert_eq!(lines.wait(1).await[0]["outcome"], "upstream_failed");
}

#[tokio::test]
async fn a_stream_ends_at_its_lifetime_an_event_stream_cleanly_and_a_document_visibly_cut() {
    for (content_type, cleanly) in [("text/event-stream", true), ("application/json", false)] {
        let (server, senders) = streaming(content_type).await;
        let lines = crate::support::Lines::default();
        let mut short = policy(server.port);
        short.limits.stream_seconds = 1;
        let sidecar = Running::start(short, lines.clone()).await;
        let mut response = send(post(sidecar.traffic, CALL)).await;
        feed(&senders, Ok("data: 1\n\n"));
        response.body_mut().frame().await.unwrap().unwrap();
        let end = response.body_mut().frame().await;
        assert_eq!(end.is_none(), cleanly, "{content_type}");
        let record = lines.wait(1).await.remove(0);
        assert_eq!(
            (record["outcome"].as_str(), record["reason"].as_str()),
            (Some("timed_out"), Some("stream_lifetime_reached"))
        );
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_server_s_stream() {
    // An event of 64 KiB a piece; the test's side holds the pieces that nobody took yet.
    let piece = bytes::Bytes::from(format!("data: {}\n\n", "x".repeat(65528)));
    let sent = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = sent.clone();
    let server = Server::start(move |_| {
        let (counter, piece) = (counter.clone(), piece.clone());
        async move {
            let pieces = futures::stream::repeat_with(move || {
                counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                Ok::<_, io::Error>(http_body::Frame::data(piece.clone()))
            });
            let body = BodyExt::boxed(http_body_util::StreamBody::new(pieces));
            http::Response::builder()
                .header("content-type", "text/event-stream")
                .body(body)
                .unwrap()
        }
    })
    .await;
    let (sidecar, _) = pair(&server).await;
    let response = send(post(sidecar.traffic, CALL)).await;
    let mut after = usize::MAX;
    until("nothing moves while nobody reads", async || {
        let before = sent.load(std::sync::atomic::Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(1)).await;
        after = sent.load(std::sync::atomic::Ordering::SeqCst);
        after == before
    })
    .await;
    assert!(
        after < 512,
        "{after} pieces are under way: more than socket buffers hold"
    );
    drop(response);
}
