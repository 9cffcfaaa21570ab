//! Reads lines, sorts records into their chains, and follows each chain.

use super::Leniency;
use super::report::{ChainReport, Finding, Report, Sequence};
use crate::chain::{self, BEGINNING, ChainId, Place, PlaceError};
use crate::{Anchor, canonical};
use sallyport_policy::arguments::parse_strictly;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// What a line of a record holds, however it was damaged: at least one of the two outlives any change of one byte.
const MARKS: [(&[u8], usize, &[u8]); 2] = [
    (b"\"chain\":{\"hash\":\"", 64, b"\",\"id\":"),
    (b"\"prev\":\"", 64, b"\",\"seq\":"),
];

/// Members in which log drivers wrap a line.
const WRAPPERS: [&str; 3] = ["log", "message", "MESSAGE"];

/// How deep a line is nested at most, which is as deep as JSON is read here.
const MOST_NESTED: u8 = 127;

/// Takes lines one by one; keeps a few hundred bytes of each record.
pub struct Verifier {
    leniency: Leniency,
    chains: BTreeMap<ChainId, Members>,
    findings: Vec<Finding>,
    others: u64,
    file: usize,
    line: usize,
}

#[derive(Default)]
struct Members {
    records: BTreeMap<u64, Member>,
    /// File and greatest sequence number so far.
    latest: Option<(usize, u64)>,
    end: Option<u64>,
    lost: u64,
    /// Records that this copy lacks, as later records say.
    gaps: Vec<Gap>,
}

struct Member {
    /// Where it came first.
    file: usize,
    prev: String,
    hash: String,
}

impl Verifier {
    /// A verifier that has seen nothing.
    pub const fn new(leniency: Leniency) -> Self {
        Self {
            leniency,
            chains: BTreeMap::new(),
            findings: Vec::new(),
            others: 0,
            file: 0,
            line: 0,
        }
    }

    /// The lines that follow are of another file. The files of one chain may come in any order.
    pub const fn file(&mut self) {
        self.file += 1;
        self.line = 0;
    }

    /// Takes one line, without its line feed.
    pub fn line(&mut self, line: &[u8]) {
        self.line += 1;
        let (file, number) = (self.file, self.line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return;
        }
        match read(line) {
            Read::Record { place, object, exact } => {
                if !exact && !self.leniency.collected {
                    self.findings.push(Finding::Reformatted { file, line: number });
                }
                self.record(place, &object);
            }
            Read::Edited => self.findings.push(Finding::Edited { file, line: number }),
            Read::Damaged => self.findings.push(Finding::Damaged { file, line: number }),
            Read::Other => self.others += 1,
        }
    }

    fn record(&mut self, place: Place, object: &Map<String, Value>) {
        let (file, line) = (self.file, self.line);
        let members = self.chains.entry(place.id.clone()).or_default();
        let chain = || place.id.clone();
        let seq = place.seq;
        match members.records.entry(seq) {
            Entry::Occupied(there) if there.get().hash != place.hash => {
                self.findings.push(Finding::Forked { chain: chain(), seq });
                return;
            }
            Entry::Occupied(there) => {
                // Files may overlap; within one file nothing comes twice.
                if !self.leniency.collected && there.get().file == file {
                    self.findings.push(Finding::Repeated {
                        chain: chain(),
                        seq,
                        file,
                        line,
                    });
                }
                return;
            }
            Entry::Vacant(vacant) => {
                vacant.insert(Member {
                    file,
                    prev: place.prev,
                    hash: place.hash,
                });
            }
        }
        match members.latest {
            Some((latest, greatest)) if latest == file && seq < greatest => {
                if !self.leniency.collected {
                    self.findings.push(Finding::Reordered {
                        chain: place.id,
                        seq,
                        file,
                        line,
                    });
                }
            }
            _ => members.latest = Some((file, seq)),
        }
        members.note(seq, mark(object));
    }

    /// Follows every chain and compares it with `anchors`.
    pub fn finish(mut self, anchors: &[Anchor]) -> Report {
        let mut chains = Vec::new();
        for (id, members) in &self.chains {
            let anchors: Vec<_> = anchors.iter().filter(|anchor| anchor.chain == *id).collect();
            chains.push(members.follow(id, &anchors, self.leniency, &mut self.findings));
        }
        for anchor in anchors.iter().filter(|anchor| !self.chains.contains_key(&anchor.chain)) {
            self.findings.push(Finding::Absent {
                chain: anchor.chain.clone(),
                anchor: anchor.seq,
            });
        }
        Report {
            chains,
            findings: self.findings,
            others: self.others,
        }
    }
}

/// Records that a copy lacks.
#[derive(Clone, Copy)]
struct Gap {
    /// None is outside.
    within: Sequence,
    count: u64,
}

/// What a record says about its chain.
#[derive(Clone, Copy)]
enum Mark {
    None,
    End,
    Lost { count: u64, within: Option<Sequence> },
}

impl Members {
    fn note(&mut self, seq: u64, mark: Mark) {
        match mark {
            Mark::None => {}
            Mark::End => self.end = Some(seq),
            Mark::Lost { count, within } => {
                self.lost = self.lost.saturating_add(count);
                self.gaps.extend(within.map(|within| Gap { within, count }));
            }
        }
    }

    fn follow(
        &self,
        id: &ChainId,
        anchors: &[&Anchor],
        leniency: Leniency,
        findings: &mut Vec<Finding>,
    ) -> ChainReport {
        let chain = || id.clone();
        let mut expected = 0;
        let mut head = Some(BEGINNING);
        let mut gaps = self.gaps.clone();
        let mut records = Sequence {
            first: u64::MAX,
            last: 0,
        };
        for (&seq, member) in &self.records {
            if seq > expected {
                let missing = Sequence {
                    first: expected,
                    last: seq - 1,
                };
                let excused = (expected == 0 && leniency.partial) || excuse(&mut gaps, missing);
                if !excused {
                    findings.push(Finding::Missing {
                        chain: chain(),
                        missing,
                    });
                }
                head = None;
            }
            if head.is_some_and(|head| head != member.prev) {
                findings.push(Finding::Unlinked { chain: chain(), seq });
            }
            records.first = records.first.min(seq);
            records.last = seq;
            head = Some(&member.hash);
            expected = seq.saturating_add(1);
        }
        if self.end.is_some_and(|end| end < records.last) {
            findings.push(Finding::AfterEnd { chain: chain() });
        }
        let mut anchored = None;
        for anchor in anchors {
            let seq = anchor.seq;
            match self.records.get(&seq) {
                Some(member) if member.hash == anchor.hash => anchored = anchored.max(Some(seq)),
                Some(_) => findings.push(Finding::Rewritten { chain: chain(), seq }),
                None if seq > records.last => findings.push(Finding::Truncated {
                    chain: chain(),
                    last: records.last,
                    anchor: seq,
                }),
                // Older than what is there, which was said to be only a part.
                None if leniency.partial && seq < records.first => {}
                None => findings.push(Finding::Unanchored { chain: chain(), seq }),
            }
        }
        ChainReport {
            id: chain(),
            records,
            ended: self.end.is_some(),
            anchored,
            lost: self.lost,
        }
    }
}

/// Takes the records that are `missing` from what `gaps` still account for: from the gap that ends first, so that those
/// which reach further are left for later records. `false` if they do not account for all.
fn excuse(gaps: &mut [Gap], missing: Sequence) -> bool {
    let mut next = missing.first;
    while next <= missing.last {
        let begins = gaps
            .iter()
            .map(|gap| gap.within.first)
            .filter(|first| *first > next)
            .min();
        let open = gaps.iter_mut().filter(|gap| gap.count > 0 && gap.within.holds(next));
        let Some(gap) = open.min_by_key(|gap| gap.within.last) else {
            return false;
        };
        let end = gap
            .within
            .last
            .min(missing.last)
            .min(begins.map_or(u64::MAX, |first| first - 1));
        // Not over u64::MAX: the whole range would be more than a count can be.
        let taken = gap.count.min((end - next).saturating_add(1));
        gap.count -= taken;
        let Some(after) = next.checked_add(taken) else {
            return true;
        };
        next = after;
    }
    true
}

impl Sequence {
    const fn holds(self, seq: u64) -> bool {
        self.first <= seq && seq <= self.last
    }
}

enum Read {
    Record {
        place: Place,
        object: Map<String, Value>,
        /// Whether the text is the one that was written.
        exact: bool,
    },
    Edited,
    Damaged,
    Other,
}

/// What a line of a log says of a record.
pub enum Content {
    /// The record as it was written.
    Record(Map<String, Value>),
    /// It was edited or damaged.
    Broken,
    /// It is none.
    Other,
}

/// Reads one line of a log. Says nothing of whether lines are missing.
pub fn content(line: &[u8]) -> Content {
    match read(line) {
        Read::Record { object, .. } => Content::Record(object),
        Read::Edited | Read::Damaged => Content::Broken,
        Read::Other => Content::Other,
    }
}

/// Reads a line of a log. What stands before the first brace is the log's own, as a time or a name.
fn read(line: &[u8]) -> Read {
    let start = line.iter().position(|byte| *byte == b'{');
    let json = start.and_then(|start| line.get(start..)).unwrap_or_default();
    let unreadable = || {
        if looks_like_a_record(line) {
            Read::Damaged
        } else {
            Read::Other
        }
    };
    if let Some(object) = unambiguous(json) {
        return read_object(object, json).unwrap_or_else(unreadable);
    }
    // No object, or one that readers understand differently: the hash is that of one reading alone.
    let ambiguous = serde_json::from_slice(json).ok();
    match ambiguous.and_then(|object| read_object(object, json)) {
        None | Some(Read::Other) => unreadable(),
        Some(Read::Record { .. } | Read::Edited | Read::Damaged) => Read::Damaged,
    }
}

/// What `object`, the content of `json`, is; `None` if it is no record and holds none.
fn read_object(object: Map<String, Value>, json: &[u8]) -> Option<Read> {
    let exact = canonical::text(&object).as_bytes() == json;
    match chain::check(object.clone()) {
        Ok(place) => Some(Read::Record { place, object, exact }),
        Err(PlaceError::Edited) => Some(Read::Edited),
        Err(PlaceError::Unchained) => wrapped(&object).map(|line| read(line.trim_end_matches('\n').as_bytes())),
    }
}

/// The object that `json` is for every reader: of two equal keys some believe the first, others the last.
fn unambiguous(json: &[u8]) -> Option<Map<String, Value>> {
    let text = std::str::from_utf8(json).ok()?;
    match parse_strictly(text, MOST_NESTED).ok()? {
        Value::Object(object) => Some(object),
        _ => None,
    }
}

/// The line that a log driver wrapped.
fn wrapped(object: &Map<String, Value>) -> Option<&str> {
    WRAPPERS
        .iter()
        .find_map(|key| object.get(*key).and_then(Value::as_str))
        .filter(|line| line.contains('{'))
}

fn looks_like_a_record(line: &[u8]) -> bool {
    // Log drivers that wrap a line escape its quotes.
    let line: Vec<u8> = line.iter().copied().filter(|byte| *byte != b'\\').collect();
    MARKS.iter().any(|(before, hexadecimal, after)| {
        line.windows(before.len() + hexadecimal + after.len()).any(|window| {
            window.starts_with(before)
                && window.ends_with(after)
                && window
                    .get(before.len()..before.len() + hexadecimal)
                    .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        })
    })
}

fn mark(object: &Map<String, Value>) -> Mark {
    let object = match object.get("unmapped") {
        Some(Value::Object(unmapped)) => unmapped,
        _ => object,
    };
    match object.get("kind").and_then(Value::as_str) {
        Some("chain_end") => Mark::End,
        Some("lost") => {
            let number = |key| object.get(key).and_then(Value::as_u64);
            let within = match (number("firstSeq"), number("lastSeq")) {
                (Some(first), Some(last)) => Some(Sequence { first, last }),
                _ => None,
            };
            Mark::Lost {
                count: number("lost").unwrap_or_default(),
                within,
            }
        }
        _ => Mark::None,
    }
}
