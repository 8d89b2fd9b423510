//! Backfills (补数) as the store keeps them: planned into chunks before anything runs, so that any process can go on.

use serde::Serialize;

/// How a backfill stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BackfillState {
    /// Planned; nobody works on it.
    Pending,
    /// Somebody works on it, chunk after chunk.
    Running,
    /// A person wants it to wait.
    Paused,
    /// A person does not want the rest.
    Stopped,
    /// Every chunk is done.
    Done,
    /// No chunk is left to do, and some failed.
    Failed,
}

impl BackfillState {
    /// All of them, in the order of a life.
    pub const ALL: [Self; 6] = [Self::Pending, Self::Running, Self::Paused, Self::Stopped, Self::Done, Self::Failed];

    /// As stored and shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    /// Reads [`Self::name`] back.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether a chunk of it may be begun.
    pub const fn works(self) -> bool {
        matches!(self, Self::Pending | Self::Running)
    }

    /// Whether nothing more will happen by itself.
    pub const fn over(self) -> bool {
        matches!(self, Self::Stopped | Self::Done | Self::Failed)
    }
}

/// How a chunk of a backfill stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChunkState {
    /// To do; parts of it may be committed already.
    Pending,
    /// Committed.
    Done,
    /// Refused or broken; `retry` makes it pending.
    Failed,
}

impl ChunkState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Done, Self::Failed];

    /// As stored and shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    /// Reads [`Self::name`] back.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// A backfill to be kept, with all its chunks.
#[derive(Debug, Clone)]
pub struct NewBackfill {
    /// `files`, `replay`, `rebuild`.
    pub kind: &'static str,
    /// Pipeline or feed.
    pub target: String,
    /// What was asked for, as the engine wrote it: JSON.
    pub spec: String,
    /// Why a person wants it.
    pub why: Option<String>,
    /// Microseconds.
    pub at: i64,
    /// In the order in which they run.
    pub chunks: Vec<NewChunk>,
}

/// A chunk to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewChunk {
    /// For people: `QYDJ_20260101.csv · 1–100000`.
    pub label: String,
    /// What it covers, as the engine wrote it: JSON.
    pub spec: String,
    /// Rows or records in it, as counted when it was planned.
    pub rows: u64,
}

/// A backfill as kept.
#[derive(Debug, Clone, Serialize)]
pub struct BackfillView {
    /// Id.
    pub id: i64,
    /// `files`, `replay`, `rebuild`.
    pub kind: String,
    /// Pipeline or feed.
    pub target: String,
    /// What was asked for: JSON.
    #[serde(skip)]
    pub spec: String,
    /// How it stands.
    pub state: BackfillState,
    /// Why a person wants it.
    pub why: Option<String>,
    /// Why it stands as it does: code and message.
    pub note: Option<String>,
    /// Asked for, microseconds.
    pub asked: i64,
    /// First chunk begun, microseconds.
    pub started: Option<i64>,
    /// Over, microseconds.
    pub ended: Option<i64>,
    /// The run that its ledger is under.
    pub run: Option<i64>,
    /// What was there before it began, as the engine wrote it: JSON.
    #[serde(skip)]
    pub before: Option<String>,
    /// Chunks by state.
    pub pending: u64,
    /// …
    pub done: u64,
    /// …
    pub failed: u64,
    /// Rows in all chunks.
    pub rows: u64,
    /// Rows of chunks that are done.
    pub rows_done: u64,
}

/// One chunk as kept.
#[derive(Debug, Clone, Serialize)]
pub struct ChunkView {
    /// Number, from 1.
    pub n: i64,
    /// For people.
    pub label: String,
    /// What it covers: JSON.
    #[serde(skip)]
    pub spec: String,
    /// Rows in it, as planned.
    pub rows: u64,
    /// How it stands.
    pub state: ChunkState,
    /// Why it failed.
    pub why: Option<String>,
    /// Ended, microseconds.
    pub ended: Option<i64>,
}

/// How a chunk ended.
#[derive(Debug, Clone)]
pub struct ChunkEnd {
    /// How.
    pub state: ChunkState,
    /// Why it failed.
    pub why: Option<String>,
    /// Microseconds.
    pub at: i64,
}

/// What a feed has still to bring to its subscriber.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct FeedLag {
    /// Changes of the register after the feed's cursor, as their numbers tell, and records sealed but not durable.
    pub records: u64,
    /// Bytes of sealed batches that are not durable, and what the changes will come to if their records are as long as those
    /// of the newest batch.
    pub bytes: u64,
    /// When the oldest of them was committed or sealed, microseconds; `None` when nothing waits.
    pub since: Option<i64>,
}

impl FeedLag {
    /// With changes that are not sealed yet; bytes a record where some were.
    pub(super) fn and_unsealed(self, changes: u64, since: Option<i64>, size: Option<f64>) -> Self {
        Self {
            records: self.records + changes,
            bytes: self.bytes + (changes as f64 * size.unwrap_or(0.0)).round() as u64,
            since: self.since.into_iter().chain(since).min(),
        }
    }
}

/// Set-aside rows of a dataset that wait for somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QuarantineBacklog {
    /// `system.dataset`.
    pub dataset: String,
    /// Open entries.
    pub open: u64,
    /// When the oldest of them was set aside, microseconds.
    pub oldest: i64,
}
