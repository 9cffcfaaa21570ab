//! The chain that links the records of one start of a program.
//!
//! Each line holds `chain`: `id` of the chain, `seq` of the line in it, `prev`, the hash of the line before, and `hash`: the
//! SHA-256 over the [canonical](crate::canonical) text of the line without `chain.hash`. The first line has the sequence
//! number 0 and 64 zeros as `prev`. In OCSF, which names its members, `chain` stands in `unmapped`.

use crate::canonical;
use crate::text::hex_digest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value, json};
use std::fmt;

/// The member that holds a line's place in its chain.
const CHAIN: &str = "chain";

/// What a chain begins with in place of a hash.
pub(crate) const BEGINNING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

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
#[serde(rename_all = "camelCase")]
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

/// The end of a chain that is being written.
pub struct Chain {
    id: ChainId,
    next: u64,
    head: String,
}

/// A line's place in its chain.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Which chain.
    pub id: ChainId,
    /// Number of the line in it.
    pub seq: u64,
    /// Hash of the line before.
    pub prev: String,
    /// Hash of this line.
    pub hash: String,
}

/// A line that says of itself what does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// It has no place in a chain.
    #[error("it has no place in a chain")]
    Unchained,
    /// Its hash is that of another content.
    #[error("its content is not what its hash was made of")]
    Edited,
}

impl Chain {
    /// A chain without a line.
    pub fn begin(id: ChainId) -> Self {
        Self {
            id,
            next: 0,
            head: BEGINNING.to_owned(),
        }
    }

    /// Appends `record` and returns its line, without a line feed.
    pub fn append(&mut self, mut record: Map<String, Value>) -> String {
        let place = json!({"id": self.id.as_str(), "seq": self.next, "prev": self.head});
        holder(&mut record, |holder| holder.insert(CHAIN.to_owned(), place));
        let hash = hex_digest(canonical::text(&record).as_bytes());
        holder(&mut record, |holder| {
            if let Some(place) = holder.get_mut(CHAIN).and_then(Value::as_object_mut) {
                place.insert("hash".to_owned(), Value::String(hash.clone()));
            }
        });
        self.next += 1;
        self.head = hash;
        canonical::text(&record)
    }

    /// Number of the next line.
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// The chain's end as of `time`; none before the first line.
    pub fn anchor(&self, time: Timestamp) -> Option<Anchor> {
        Some(Anchor {
            chain: self.id.clone(),
            seq: self.next.checked_sub(1)?,
            hash: self.head.clone(),
            time,
        })
    }
}

/// The place that `line` says it has, if its hash is that of its content.
///
/// # Errors
///
/// See [`PlaceError`].
pub fn check(mut line: Map<String, Value>) -> Result<Place, PlaceError> {
    let value = holder(&mut line, |holder| {
        let place = holder.get_mut(CHAIN)?;
        let whole = place.clone();
        place.as_object_mut()?.remove("hash");
        Some(whole)
    });
    let place = value.and_then(|value| serde_json::from_value::<Place>(value).ok());
    let place = place.ok_or(PlaceError::Unchained)?;
    if hex_digest(canonical::text(&line).as_bytes()) == place.hash {
        Ok(place)
    } else {
        Err(PlaceError::Edited)
    }
}

/// Lets `edit` have the object of `record` that holds its place in the chain.
fn holder<T>(record: &mut Map<String, Value>, edit: impl FnOnce(&mut Map<String, Value>) -> T) -> T {
    match record.get_mut("unmapped") {
        Some(Value::Object(unmapped)) => edit(unmapped),
        _ => edit(record),
    }
}

fn milliseconds<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.3}"))
}
