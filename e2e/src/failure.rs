//! Why a step did not work, with its causes.

use std::{error::Error, fmt};

/// The result of a step.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// What was being done, and why it did not work.
#[derive(thiserror::Error)]
#[error("{what}")]
pub struct Failure {
    what: String,
    #[source]
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// A failure without a further cause.
    pub fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            cause: None,
        }
    }

    /// The failure and its causes in one line, each cause only where the text before does not hold it already.
    pub fn chain(&self) -> String {
        let mut text = self.what.clone();
        let mut cause = self.source();
        while let Some(error) = cause {
            let next = error.to_string();
            if !text.contains(&next) {
                text = format!("{text}: {next}");
            }
            cause = error.source();
        }
        text
    }
}

/// As the test runner shows it: the whole chain.
impl fmt::Debug for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.chain())
    }
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        Self {
            what: "request to the API server".to_owned(),
            cause: Some(Box::new(error)),
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self {
            what: "JSON of another form than expected".to_owned(),
            cause: Some(Box::new(error)),
        }
    }
}

/// Says what was being done when something failed.
pub trait Context<T> {
    /// Wraps the error; `what` says what was being done.
    fn context(self, what: impl Into<String>) -> Result<T>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> Context<T> for Result<T, E> {
    fn context(self, what: impl Into<String>) -> Result<T> {
        self.map_err(|cause| Failure {
            what: what.into(),
            cause: Some(cause.into()),
        })
    }
}

impl<T> Context<T> for Option<T> {
    fn context(self, what: impl Into<String>) -> Result<T> {
        self.ok_or_else(|| Failure::new(what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_the_text_holds_already_is_not_repeated() {
        let inner: Result<()> = Err(Failure::new("no route"));
        let outer = inner.context("connect: no route").context("call").unwrap_err();
        assert_eq!(outer.chain(), "call: connect: no route");
    }
}
