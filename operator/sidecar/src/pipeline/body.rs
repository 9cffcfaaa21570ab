//! Second stage: the body, bounded in bytes and time.

use super::budget::Held;
use super::denial::Denial;
use super::head::Verb;
use crate::audit::Entry;
use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::time::Duration;

/// How long a client may take to send a body.
const READ_BOUND: Duration = Duration::from_secs(30);

/// How much more of an oversized body is read and thrown away, so that a client that is still writing gets to read
/// the answer instead of a reset connection.
const DISCARD_BYTES: u64 = 4 << 20;
const DISCARD_BOUND: Duration = Duration::from_secs(1);

/// A body whose announced length may pass.
///
/// # Errors
///
/// When it is announced to be over `limit` bytes, and when there is one although `verb` has none.
pub async fn announced(verb: Verb, headers: &HeaderMap, body: Incoming, limit: u64) -> Result<Incoming, Denial> {
    if verb != Verb::Post {
        return if body.is_end_stream() {
            Ok(body)
        } else {
            Err(Denial::UnexpectedBody)
        };
    }
    // What Content-Length announces; without it, 0.
    if body.size_hint().lower() > limit {
        // A client that asked first sends nothing once it is refused.
        if !headers.contains_key(header::EXPECT) {
            discard(body).await;
        }
        return Err(Denial::BodyTooLarge { limit });
    }
    Ok(body)
}

/// Reads the body as it is.
///
/// # Errors
///
/// When it is over `limit` bytes, takes too long or breaks off, or when `held` cannot hold it.
pub async fn read(verb: Verb, body: Incoming, limit: u64, held: &mut Held, entry: &mut Entry) -> Result<Bytes, Denial> {
    if verb != Verb::Post {
        return Ok(Bytes::new());
    }
    match tokio::time::timeout(READ_BOUND, collect(body, limit, held, entry)).await {
        Ok(result) => result,
        Err(_) => Err(Denial::BodyTimedOut),
    }
}

async fn collect(mut body: Incoming, limit: u64, held: &mut Held, entry: &mut Entry) -> Result<Bytes, Denial> {
    let mut collected = BytesMut::new();
    let mut single: Option<Bytes> = None;
    let mut length: u64 = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Denial::BodyBroken)?;
        let Ok(data) = frame.into_data() else { continue };
        length += data.len() as u64;
        entry.request_bytes(length);
        if length > limit {
            discard(body).await;
            return Err(Denial::BodyTooLarge { limit });
        }
        if let Err(full) = held.set(usize::try_from(length).unwrap_or(usize::MAX)) {
            discard(body).await;
            return Err(full.into());
        }
        // Most bodies come in one piece, which then needs no copy.
        match (single.take(), collected.is_empty()) {
            (None, true) => single = Some(data),
            (first, _) => {
                collected.extend_from_slice(&first.unwrap_or_default());
                collected.extend_from_slice(&data);
            }
        }
    }
    Ok(single.unwrap_or_else(|| whole(collected)))
}

/// What was collected, without the room that it grew into: what comes after it needs that.
fn whole(collected: BytesMut) -> Bytes {
    let mut bytes = Vec::from(collected);
    bytes.shrink_to_fit();
    bytes.into()
}

/// Reads some more of a body and throws it away, so that its sender gets to read the answer.
pub async fn discard(mut body: Incoming) {
    let reading = async {
        let mut length: u64 = 0;
        while let Some(Ok(frame)) = body.frame().await {
            length += frame.data_ref().map_or(0, |data| data.len() as u64);
            if length > DISCARD_BYTES {
                break;
            }
        }
    };
    // Whether it ended or not, the answer is the same.
    let _ = tokio::time::timeout(DISCARD_BOUND, reading).await;
}
