//! What the verifier says.

use crate::chain::ChainId;
use std::fmt;

/// Sequence numbers from the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sequence {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Finding {
    /// A record's text was changed.
    #[error("line {line} of file {file} was edited: its content is not what its hash was made of")]
    Edited {
        /// Number of the file, from 1.
        file: usize,
        /// Number of the line, from 1.
        line: usize,
    },
    /// Looks like a record, but cannot be read.
    #[error("line {line} of file {file} is damaged: it looks like a record and is none")]
    Damaged {
        /// Number of the file, from 1.
        file: usize,
        /// Number of the line, from 1.
        line: usize,
    },
    /// Its content is as it was written, its text is not.
    #[error("line {line} of file {file} was written anew with equal content")]
    Reformatted {
        /// Number of the file, from 1.
        file: usize,
        /// Number of the line, from 1.
        line: usize,
    },
    /// Stands after a record that was written later.
    #[error("chain {chain}: record {seq} stands after a later one (line {line} of file {file})")]
    Reordered {
        /// Which chain.
        chain: ChainId,
        /// Which record.
        seq: u64,
        /// Number of the file, from 1.
        file: usize,
        /// Number of the line, from 1.
        line: usize,
    },
    /// Comes again.
    #[error("chain {chain}: record {seq} comes again (line {line} of file {file})")]
    Repeated {
        /// Which chain.
        chain: ChainId,
        /// Which record.
        seq: u64,
        /// Number of the file, from 1.
        file: usize,
        /// Number of the line, from 1.
        line: usize,
    },
    /// Two records claim one place.
    #[error("chain {chain}: two different records claim the place {seq}")]
    Forked {
        /// Which chain.
        chain: ChainId,
        /// Which place.
        seq: u64,
    },
    /// Does not follow from the one before.
    #[error("chain {chain}: record {seq} does not follow from the one before")]
    Unlinked {
        /// Which chain.
        chain: ChainId,
        /// Which record.
        seq: u64,
    },
    /// Records are not there.
    #[error("chain {chain}: records {missing} are missing")]
    Missing {
        /// Which chain.
        chain: ChainId,
        /// Which records.
        missing: Sequence,
    },
    /// A record stands after the one that says that it is the last.
    #[error("chain {chain}: records follow the one that ends the chain")]
    AfterEnd {
        /// Which chain.
        chain: ChainId,
    },
    /// The end is not there.
    #[error("chain {chain}: cut off after record {last}, an anchor knows record {anchor}")]
    Truncated {
        /// Which chain.
        chain: ChainId,
        /// The last record that is there.
        last: u64,
        /// The record that the anchor knows.
        anchor: u64,
    },
    /// The chain was written anew.
    #[error("chain {chain}: record {seq} is another than the anchor knows")]
    Rewritten {
        /// Which chain.
        chain: ChainId,
        /// Which record.
        seq: u64,
    },
    /// No record of a chain that an anchor knows.
    #[error("chain {chain}: no record of it is there, an anchor knows record {anchor}")]
    Absent {
        /// Which chain.
        chain: ChainId,
        /// The record that the anchor knows.
        anchor: u64,
    },
    /// An anchor names a record that is not there to be compared, because lines are missing around it.
    #[error("chain {chain}: record {seq}, which an anchor knows, is not there")]
    Unanchored {
        /// Which chain.
        chain: ChainId,
        /// Which record.
        seq: u64,
    },
}

/// One chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainReport {
    /// Which.
    pub id: ChainId,
    /// The records that are there, from the first to the last.
    pub records: Sequence,
    /// Whether its program said that it ended. Otherwise it still ran, or was killed, or the end was cut off: only an anchor
    /// tells.
    pub ended: bool,
    /// The last record that an anchor vouches for.
    pub anchored: Option<u64>,
    /// Records that the program says it lost because it was told to go on without them.
    pub lost: u64,
}

/// What the verifier found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The chains, by name.
    pub chains: Vec<ChainReport>,
    /// What is not as it was written.
    pub findings: Vec<Finding>,
    /// Lines that are no records.
    pub others: u64,
}

impl Report {
    /// Whether everything is as it was written.
    pub const fn is_whole(&self) -> bool {
        self.findings.is_empty()
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} to {}", self.first, self.last)
    }
}
