//! The chain that links the records of one start of a program.

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;

/// Names one chain: one start of one program. No two starts share it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChainId(String);

impl ChainId {
    /// A name for a chain that `pod` begins now: the pod, the time, and a random part.
    pub fn mint(pod: &str) -> Self {
        let time = Timestamp::now();
        let random = uuid::Uuid::now_v7().simple().to_string();
        let random = random.get(16..).unwrap_or(&random);
        Self(format!("{pod}/{time:.3}/{random}"))
    }

    /// As in the records.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// Where a chain was at a time. Kept outside of the pod, it shows later whether the records up to there are whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Anchor {
    /// Which chain.
    pub chain: ChainId,
    /// Number of the last record that was written; the first is 0.
    pub seq: u64,
    /// The last record's hash, 64 hexadecimal digits.
    pub hash: String,
    /// When it was written, in UTC with milliseconds.
    #[serde(serialize_with = "milliseconds")]
    pub time: Timestamp,
}

fn milliseconds<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.3}"))
}
