//! Runs and files, from their beginning to their end, as values.

use super::{ChunkCounts, Note};
use crate::decode::Position;
use crate::source::Lag;

/// A run begins.
#[derive(Debug, Clone)]
pub struct RunStart {
    /// Pipeline.
    pub pipeline: String,
    /// `run`, `replay`, `retract`.
    pub kind: &'static str,
    /// Microseconds, from the engine's clock.
    pub at: i64,
    /// Digest of all definitions in force.
    pub definitions: String,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunStatus {
    /// Everything taken, ledger balanced.
    Succeeded,
    /// Waits for a person.
    Held,
    /// An error stopped it.
    Failed,
    /// The ledger does not balance.
    Unbalanced,
}

impl RunStatus {
    /// As stored and shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Held => "held",
            Self::Failed => "failed",
            Self::Unbalanced => "unbalanced",
        }
    }
}

/// A run ends.
#[derive(Debug, Clone)]
pub struct RunEnd {
    /// How.
    pub status: RunStatus,
    /// Why, when not succeeded: code and message.
    pub why: Option<String>,
    /// How far it was behind its source when it began, where the source says so.
    pub lag: Option<Lag>,
    /// Microseconds.
    pub at: i64,
    /// What the audit log says of it.
    pub note: Option<Note>,
}

/// A file begins to be taken.
#[derive(Debug, Clone)]
pub struct FileStart {
    /// `system.dataset`.
    pub dataset: String,
    /// Name as the source lists it.
    pub name: String,
    /// BLAKE3 of the content, hex.
    pub digest: String,
    /// Bytes.
    pub bytes: u64,
    /// Microseconds; the business time of its rows where the dataset has none of its own.
    pub at: i64,
    /// Whether its content was taken before, and is to be taken once more from its beginning.
    pub again: bool,
}

/// A file ends.
#[derive(Debug, Clone)]
pub struct FileEnd {
    /// How.
    pub status: FileStatus,
    /// Why, when not taken.
    pub why: Option<String>,
    /// The run that took it to its end.
    pub run: Option<i64>,
    /// What the audit log says of it.
    pub note: Option<Note>,
}

impl FileEnd {
    /// All of it is in.
    pub const fn taken(run: Option<i64>, note: Option<Note>) -> Self {
        Self { status: FileStatus::Taken, why: None, run, note }
    }
}

/// How far a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileStatus {
    /// Some chunks are committed.
    Taking,
    /// All of it.
    Taken,
    /// Waits for a person.
    Held,
    /// Cannot be read further.
    Failed,
    /// Waited for a person until a newer whole extract was taken: it is never taken.
    Superseded,
}

impl FileStatus {
    /// As stored.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Taking => "taking",
            Self::Taken => "taken",
            Self::Held => "held",
            Self::Failed => "failed",
            Self::Superseded => "superseded",
        }
    }

    /// Reads [`Self::name`] back.
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Taking, Self::Taken, Self::Held, Self::Failed, Self::Superseded];
        all.into_iter().find(|status| status.name() == name)
    }
}

/// What is known about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileState {
    /// Stored id.
    pub id: i64,
    /// How far.
    pub status: FileStatus,
    /// After the last committed chunk.
    pub position: Option<Position>,
    /// When it was first taken, microseconds.
    pub at: i64,
    /// Chunks committed.
    pub chunks: i64,
    /// Why it is held or failed, or was held before it was begun once more.
    pub why: Option<String>,
}

/// What was counted of one file for one register, by all runs that took it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileCounts {
    /// Register.
    pub register: String,
    /// While it was read.
    pub read: ChunkCounts,
    /// Of its rows that were set aside and replayed.
    pub replayed: ChunkCounts,
}

impl FileCounts {
    /// From lines of (register, whether replayed, counts), by register.
    pub(super) fn of(lines: impl Iterator<Item = (String, bool, ChunkCounts)>) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for (register, replayed, counts) in lines {
            if all.last().is_none_or(|last| last.register != register) {
                all.push(Self { register, ..Self::default() });
            }
            if let Some(last) = all.last_mut() {
                if replayed { last.replayed = counts } else { last.read = counts }
            }
        }
        all
    }

    /// Every row once, as it stands now.
    pub fn whole(&self) -> ChunkCounts {
        let (read, again) = (&self.read, &self.replayed);
        ChunkCounts {
            quarantined: (read.quarantined + again.quarantined).saturating_sub(again.read),
            mapped: read.mapped + again.mapped,
            filtered: read.filtered + again.filtered,
            ..read.clone()
        }
    }
}

/// A file that waits for a person, and of which a register has something already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldFile {
    /// `system.dataset`.
    pub dataset: String,
    /// Its name.
    pub name: String,
    /// Why it is held.
    pub why: String,
}

/// The last thing taken of a dataset, for sources that go on where they were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// Its name.
    pub name: String,
    /// Its digest.
    pub digest: String,
    /// How far it is.
    pub status: FileStatus,
    /// The newest place that any of the dataset's rows was committed with, in the source's own words.
    pub cursor: Option<String>,
}
