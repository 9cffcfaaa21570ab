//! One life of one replica: which of its own tickets are used up, and which of its questions wait for an answer.
//!
//! Everything is measured by this process's monotonic clock, so that neither the skew between replicas nor a clock that is
//! set back lets a ticket live longer. A replica that starts anew is another instance and honours no earlier ticket.

use super::refusal::Refusal;
use crate::seal::{Owner, Seal, SealError};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// One life of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instance(pub [u8; 16]);

/// Sets a ticket apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce(pub [u8; 16]);

/// How much a home remembers, of all callers and of one.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Used tickets that have not expired.
    pub spent: usize,
    /// Of one caller.
    pub spent_by_one: usize,
    /// Questions that wait on an open stream.
    pub waiting: usize,
    /// Of one caller.
    pub waiting_of_one: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            spent: 65_536,
            spent_by_one: 8_192,
            waiting: 1_024,
            waiting_of_one: 32,
        }
    }
}

/// What a person answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Yes.
    Accepted,
    /// No, or nothing.
    Declined,
}

/// The memory of one life of one replica.
pub struct Home {
    instance: Instance,
    address: Option<SocketAddr>,
    born: Instant,
    bounds: Bounds,
    spent: Mutex<Spent>,
    waiting: Arc<Mutex<Waiting>>,
}

/// Used tickets, those that expire first coming first.
#[derive(Default)]
struct Spent {
    tickets: BTreeMap<(u64, Nonce), Owner>,
    owners: HashMap<Owner, usize>,
}

type Waiting = HashMap<Nonce, (Owner, oneshot::Sender<Answer>)>;

/// A question that waits; forgotten when dropped.
pub struct Waiter {
    nonce: Nonce,
    answer: oneshot::Receiver<Answer>,
    waiting: Arc<Mutex<Waiting>>,
}

impl Home {
    /// A new life. `address` is where other replicas can ask it.
    ///
    /// # Errors
    ///
    /// When the system has no random bytes.
    pub fn new(seal: &Seal, address: Option<SocketAddr>, bounds: Bounds) -> Result<Self, SealError> {
        let mut instance = [0; 16];
        seal.random(&mut instance)?;
        Ok(Self {
            instance: Instance(instance),
            address,
            born: Instant::now(),
            bounds,
            spent: Mutex::default(),
            waiting: Arc::default(),
        })
    }

    /// Which life it is.
    pub const fn instance(&self) -> Instance {
        self.instance
    }

    /// Where other replicas can ask it.
    pub const fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// When something ends that lasts `lifetime` from now, in milliseconds of this life.
    pub fn deadline(&self, lifetime: Duration) -> u64 {
        self.now().saturating_add(milliseconds(lifetime))
    }

    fn now(&self) -> u64 {
        milliseconds(self.born.elapsed())
    }

    /// Uses a ticket of this home up.
    ///
    /// # Errors
    ///
    /// When it is used up already, has expired, or cannot be remembered.
    pub fn spend(&self, owner: Owner, nonce: Nonce, deadline: u64) -> Result<(), Refusal> {
        let now = self.now();
        let mut spent = lock(&self.spent);
        spent.forget_before(now);
        if deadline < now {
            return Err(Refusal::Expired);
        }
        if spent.tickets.contains_key(&(deadline, nonce)) {
            return Err(Refusal::AlreadyUsed);
        }
        let by_one = spent.owners.get(&owner).copied().unwrap_or(0);
        if spent.tickets.len() >= self.bounds.spent || by_one >= self.bounds.spent_by_one {
            return Err(Refusal::Busy);
        }
        spent.tickets.insert((deadline, nonce), owner);
        spent.owners.insert(owner, by_one + 1);
        Ok(())
    }

    /// Waits for the answer to a question.
    ///
    /// # Errors
    ///
    /// When too many wait.
    pub fn wait(&self, owner: Owner, nonce: Nonce) -> Result<Waiter, Refusal> {
        let mut waiting = lock(&self.waiting);
        let of_one = waiting.values().filter(|(waits, _)| *waits == owner).count();
        if waiting.len() >= self.bounds.waiting || of_one >= self.bounds.waiting_of_one {
            return Err(Refusal::Busy);
        }
        let (sender, answer) = oneshot::channel();
        waiting.insert(nonce, (owner, sender));
        Ok(Waiter {
            nonce,
            answer,
            waiting: self.waiting.clone(),
        })
    }

    /// Hands an answer to the question that waits for it.
    ///
    /// # Errors
    ///
    /// When none waits: it was answered, has expired, or its client is gone.
    pub fn deliver(&self, owner: Owner, nonce: Nonce, answer: Answer) -> Result<(), Refusal> {
        let mut waiting = lock(&self.waiting);
        if waiting.get(&nonce).is_none_or(|(waits, _)| *waits != owner) {
            return Err(Refusal::Expired);
        }
        let (_, sender) = waiting.remove(&nonce).ok_or(Refusal::Expired)?;
        sender.send(answer).map_err(|_| Refusal::Expired)
    }
}

impl Spent {
    fn forget_before(&mut self, now: u64) {
        while let Some(entry) = self.tickets.first_entry()
            && entry.key().0 < now
        {
            let owner = entry.remove();
            if let Some(count) = self.owners.get_mut(&owner) {
                *count -= 1;
                if *count == 0 {
                    self.owners.remove(&owner);
                }
            }
        }
    }
}

impl Waiter {
    /// The answer, if it comes within `lifetime`.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub async fn answered(&mut self, lifetime: Duration) -> Result<Answer, Refusal> {
        match tokio::time::timeout(lifetime, &mut self.answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) | Err(_) => Err(Refusal::Expired),
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        lock(&self.waiting).remove(&self.nonce);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::testing::{owner, seal};
    use pretty_assertions::assert_eq;

    const SMALL: Bounds = Bounds {
        spent: 4,
        spent_by_one: 3,
        waiting: 3,
        waiting_of_one: 2,
    };

    fn home() -> Home {
        Home::new(&seal(), None, SMALL).unwrap()
    }

    fn nonce(number: u8) -> Nonce {
        Nonce([number; 16])
    }

    #[tokio::test(start_paused = true)]
    async fn a_ticket_is_used_up_once_and_forgotten_only_after_it_has_expired() {
        let home = home();
        let deadline = home.deadline(Duration::from_mins(5));
        assert_eq!(home.spend(owner(1), nonce(1), deadline), Ok(()));
        assert_eq!(home.spend(owner(1), nonce(1), deadline), Err(Refusal::AlreadyUsed));
        tokio::time::advance(Duration::from_secs(299)).await;
        assert_eq!(home.spend(owner(1), nonce(2), deadline), Ok(()));
        assert_eq!(home.spend(owner(1), nonce(1), deadline), Err(Refusal::AlreadyUsed));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(home.spend(owner(1), nonce(1), deadline), Err(Refusal::Expired));
        assert_eq!(home.spend(owner(1), nonce(3), deadline), Err(Refusal::Expired));
        assert!(lock(&home.spent).tickets.is_empty() && lock(&home.spent).owners.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_memory_uses_nothing_up_until_tickets_expire() {
        let home = home();
        let soon = home.deadline(Duration::from_secs(10));
        let late = home.deadline(Duration::from_secs(100));
        assert_eq!(home.spend(owner(1), nonce(1), soon), Ok(()));
        assert_eq!(home.spend(owner(1), nonce(2), late), Ok(()));
        assert_eq!(home.spend(owner(1), nonce(3), late), Ok(()));
        // One caller cannot take it all.
        assert_eq!(home.spend(owner(1), nonce(4), late), Err(Refusal::Busy));
        assert_eq!(home.spend(owner(2), nonce(5), late), Ok(()));
        assert_eq!(home.spend(owner(3), nonce(6), late), Err(Refusal::Busy));
        // What is remembered stays so.
        assert_eq!(home.spend(owner(1), nonce(1), soon), Err(Refusal::AlreadyUsed));
        tokio::time::advance(Duration::from_secs(11)).await;
        assert_eq!(home.spend(owner(3), nonce(6), late), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_reaches_its_question_once() {
        let home = home();
        let mut waiter = home.wait(owner(1), nonce(1)).unwrap();
        assert_eq!(
            home.deliver(owner(2), nonce(1), Answer::Accepted),
            Err(Refusal::Expired)
        );
        assert_eq!(
            home.deliver(owner(1), nonce(2), Answer::Accepted),
            Err(Refusal::Expired)
        );
        assert_eq!(home.deliver(owner(1), nonce(1), Answer::Declined), Ok(()));
        assert_eq!(
            home.deliver(owner(1), nonce(1), Answer::Accepted),
            Err(Refusal::Expired)
        );
        assert_eq!(waiter.answered(Duration::from_secs(1)).await, Ok(Answer::Declined));
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_without_an_answer_ends_and_leaves_nothing() {
        let home = home();
        let mut waiter = home.wait(owner(1), nonce(1)).unwrap();
        assert_eq!(waiter.answered(Duration::from_mins(5)).await, Err(Refusal::Expired));
        drop(waiter);
        assert!(lock(&home.waiting).is_empty());
        assert_eq!(
            home.deliver(owner(1), nonce(1), Answer::Accepted),
            Err(Refusal::Expired)
        );
    }

    #[tokio::test]
    async fn questions_of_one_caller_and_of_all_are_bounded() {
        let home = home();
        let _a = home.wait(owner(1), nonce(1)).unwrap();
        let b = home.wait(owner(1), nonce(2)).unwrap();
        assert_eq!(home.wait(owner(1), nonce(3)).err(), Some(Refusal::Busy));
        let _c = home.wait(owner(2), nonce(4)).unwrap();
        assert_eq!(home.wait(owner(3), nonce(5)).err(), Some(Refusal::Busy));
        drop(b);
        assert!(home.wait(owner(3), nonce(5)).is_ok());
    }
}
