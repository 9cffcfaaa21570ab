//! How far a program is on its way to its end.

use tokio::sync::watch;

/// Phases in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Requests are taken.
    Serving,
    /// The pod's end is decided. Everything is still served, because callers learn of it late, but each answer asks them to
    /// open their next connection, which finds another pod; streams without an end are ended.
    Leaving,
    /// Not ready for more; requests under way go on, streams without an end are ended.
    Draining,
    /// The time for requests under way is over.
    Ended,
}

/// Moves all [`Drain`]s on. Clones move the same.
#[derive(Clone)]
pub struct DrainControl(watch::Sender<Phase>);

/// Sees the phase. Clones see the same.
#[derive(Clone)]
pub struct Drain(watch::Receiver<Phase>);

/// A control and its first observer.
pub fn drain() -> (DrainControl, Drain) {
    let (sender, receiver) = watch::channel(Phase::Serving);
    (DrainControl(sender), Drain(receiver))
}

impl DrainControl {
    /// Goes on to `phase`; never goes back.
    pub fn advance(&self, phase: Phase) {
        self.0.send_if_modified(|now| {
            let later = phase > *now;
            *now = phase.max(*now);
            later
        });
    }
}

impl Drain {
    /// The phase now.
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Returns once `phase` is reached, at once if it is already.
    pub async fn reached(&mut self, phase: Phase) {
        // A control that is gone has nothing left to drain.
        let _ = self.0.wait_for(|now| *now >= phase).await;
    }
}
