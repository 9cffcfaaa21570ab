//! How often who sends credentials may be wrong, where finding out takes work.

/// Work that a credential can cause before anybody knows whether it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Work {
    /// A question to an issuer (RFC 7662). There are turns for so many at a time.
    Question,
    /// A bcrypt or Argon2id hash. One is computed at a time, and few may wait.
    SlowHash,
}

/// The sender may try again after so many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyFailures(pub u32);

/// Counts the attempts of one sender that cause work.
///
/// An attempt is counted before the work begins, so that a flood is stopped and not merely noticed, and is taken back when it
/// was no failure. One whose sender left before its end stays counted.
pub trait Attempts: Sync {
    /// Counts an attempt.
    ///
    /// # Errors
    ///
    /// When too many failed: the work is not to be done.
    fn begin(&self, work: Work) -> Result<(), TooManyFailures>;

    /// Takes back an attempt: the credential held, or nobody could tell.
    fn take_back(&self, work: Work);
}

/// Every attempt may be made.
impl Attempts for () {
    fn begin(&self, _: Work) -> Result<(), TooManyFailures> {
        Ok(())
    }

    fn take_back(&self, _: Work) {}
}
