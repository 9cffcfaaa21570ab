//! The time of day.

use std::time::{SystemTime, UNIX_EPOCH};

/// A time in seconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now(pub i64);

impl Now {
    /// What the system's clock says. A clock before 1970 says 1970.
    pub fn read() -> Self {
        let seconds = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        Self(i64::try_from(seconds).unwrap_or(i64::MAX))
    }
}
