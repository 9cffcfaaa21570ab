//! Sessions when there are more callers than places.

use crate::support::{Bridge, bridge, request};
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use pretty_assertions::assert_eq;
use sallyport_bridge::Mode;
use std::time::Duration;

/// As many as there are places.
const ALL: usize = 32;

const MODES: [Mode; 2] = [Mode::PerSession, Mode::Shared];

/// Opens `count` sessions of `caller`, one after the other.
async fn open(bridge: &Bridge, caller: &str, count: usize) -> Vec<String> {
    let mut sessions = vec![];
    for _ in 0..count {
        sessions.push(bridge.try_open(Some(caller)).await.unwrap());
    }
    sessions
}

/// Whether `session` is open, which uses it.
async fn is_open(bridge: &Bridge, session: &str) -> bool {
    match bridge.ask(Some(session), request(1, "pid")).await.0 {
        StatusCode::OK => true,
        StatusCode::NOT_FOUND => false,
        other => panic!("{other}"),
    }
}

/// How many of `sessions` are open: only the last ones may be.
async fn open_of(bridge: &Bridge, sessions: &[String]) -> usize {
    let mut open = vec![];
    for session in sessions {
        open.push(is_open(bridge, session).await);
    }
    assert!(open.is_sorted(), "the oldest go first: {open:?}");
    open.into_iter().filter(|open| *open).count()
}

#[tokio::test]
async fn a_caller_who_takes_all_places_leaves_room_for_others() {
    for mode in MODES {
        let bridge = bridge(mode, vec![]).await;
        let alice = open(&bridge, "alice", 1).await;
        let mallory = open(&bridge, "mallory", ALL + 8).await;
        assert_eq!(open_of(&bridge, &mallory).await, ALL - 1);
        let bob = open(&bridge, "bob", 1).await;
        assert_eq!(open_of(&bridge, &mallory).await, ALL - 2);
        // As may the sidecar, which calls for nobody.
        let sidecar = bridge.open().await;
        assert_eq!(open_of(&bridge, &mallory).await, ALL - 3);
        for session in [&alice[0], &bob[0], &sidecar] {
            assert!(is_open(&bridge, session).await);
        }
        bridge.end().await;
    }
}

#[tokio::test]
async fn callers_who_want_more_than_there_is_get_equal_shares() {
    let bridge = bridge(Mode::PerSession, vec![]).await;
    let alice = open(&bridge, "alice", ALL).await;
    let bob = open(&bridge, "bob", ALL).await;
    assert_eq!(open_of(&bridge, &bob).await, ALL / 2);
    assert_eq!(open_of(&bridge, &alice).await, ALL / 2);
    bridge.end().await;
}

#[tokio::test]
async fn a_session_that_is_used_outlives_older_ones() {
    let bridge = bridge(Mode::PerSession, vec![]).await;
    let sessions = open(&bridge, "alice", ALL).await;
    assert!(is_open(&bridge, &sessions[0]).await);
    open(&bridge, "bob", 1).await;
    assert!(is_open(&bridge, &sessions[0]).await);
    assert!(!is_open(&bridge, &sessions[1]).await);
    bridge.end().await;
}

#[tokio::test]
async fn a_session_with_a_request_under_way_does_not_give_way() {
    let bridge = bridge(Mode::PerSession, vec![]).await;
    let sessions = open(&bridge, "mallory", ALL).await;
    let mut under_way = vec![];
    for session in &sessions {
        // Never answered, but begun.
        let mut stream = bridge.post(Some(session), request(9, "listen")).await;
        stream.frame().await.unwrap().unwrap();
        under_way.push(stream);
    }
    for caller in ["mallory", "bob"] {
        assert_eq!(
            bridge.try_open(Some(caller)).await,
            Err(StatusCode::SERVICE_UNAVAILABLE),
            "{caller}"
        );
    }
    drop(under_way.remove(3));
    for attempt in 0.. {
        if bridge.try_open(Some("bob")).await.is_ok() {
            break;
        }
        assert!(attempt < 100, "the session that is idle now does not give way");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(!is_open(&bridge, &sessions[3]).await);
    assert!(is_open(&bridge, &sessions[4]).await);
    bridge.end().await;
}

#[tokio::test]
async fn a_stream_that_only_listens_keeps_no_session_but_goes_last() {
    let bridge = bridge(Mode::PerSession, vec![]).await;
    let sessions = open(&bridge, "mallory", ALL).await;
    let mut streams = vec![];
    for session in &sessions[..ALL - 1] {
        streams.push(bridge.send(Method::GET, Some(session), "").await);
    }
    let silent = &sessions[ALL - 1];
    assert!(is_open(&bridge, silent).await);
    open(&bridge, "alice", 1).await;
    assert!(!is_open(&bridge, silent).await);
    assert!(is_open(&bridge, &sessions[1]).await);
    open(&bridge, "bob", 1).await;
    assert!(!is_open(&bridge, &sessions[0]).await);
    let ended = streams.remove(0).into_body().collect().await.unwrap();
    assert_eq!(ended.to_bytes(), "");
    bridge.end().await;
}
