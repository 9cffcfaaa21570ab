//! Watches: each with a backoff of its own, errors logged, managedFields pruned.
//!
//! A broken watch starts again by itself and must neither end nor delay the others, so errors end here.

use futures::{Stream, StreamExt, future, stream};
use kube::{
    Api, Resource,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event},
    },
};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use tokio::sync::watch::Receiver;

/// Events of a watch; `Err` says that it broke, was logged, and starts again.
pub fn events<K>(
    api: Api<K>,
    config: watcher::Config,
    kind: &'static str,
) -> impl Stream<Item = Result<Event<K>, ()>> + Send
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    watcher::watcher(api, config)
        .default_backoff()
        .modify(|object| object.meta_mut().managed_fields = None)
        .map(move |event| event.map_err(|error| log(kind, &error)))
}

/// Events of a watch, which never breaks as far as the receiver can see.
pub fn pruned<K>(
    api: Api<K>,
    config: watcher::Config,
    kind: &'static str,
) -> impl Stream<Item = Result<Event<K>, watcher::Error>> + Send
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    events(api, config, kind).filter_map(|event| future::ready(event.ok().map(Ok)))
}

/// Objects that were listed, changed or deleted.
pub fn touched<K>(
    api: Api<K>,
    config: watcher::Config,
    kind: &'static str,
) -> impl Stream<Item = Result<K, watcher::Error>> + Send
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    pruned(api, config, kind).touched_objects()
}

/// One item each time the value changes.
pub fn changes<T: Clone + Send + Sync + 'static>(receiver: Receiver<T>) -> impl Stream<Item = ()> + Send {
    stream::unfold(receiver, |mut receiver| async move {
        receiver.changed().await.ok()?;
        Some(((), receiver))
    })
}

/// A kind that is not installed is no fault; it may come later.
fn log(kind: &str, error: &watcher::Error) {
    let absent = matches!(
        error,
        watcher::Error::InitialListFailed(kube::Error::Api(status)) | watcher::Error::WatchStartFailed(kube::Error::Api(status))
            if status.code == 404
    );
    if absent {
        tracing::debug!(kind, "the cluster has no such kind yet");
    } else {
        tracing::warn!(kind, %error, "watch broke; starting it again");
    }
}
