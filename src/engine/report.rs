//! What a run did, for people and programs.

use serde::Serialize;

use super::EngineError;
use crate::store::{ChunkCounts, FeedCounts, RunStatus};

/// One pipeline's run.
#[derive(Debug, Clone, Serialize)]
pub struct RunReport {
    /// Pipeline.
    pub pipeline: String,
    /// Run id in the store; 0 when it could not begin.
    pub run: i64,
    /// `succeeded`, `held`, `failed`, `unbalanced`.
    pub status: &'static str,
    /// Code and message, when not succeeded, or when what a whole extract did not show was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Files in the order they were taken.
    pub files: Vec<FileReport>,
    /// Per register.
    pub registers: Vec<RegisterReport>,
    /// How far we were behind the source when the run began, where the source says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag: Option<crate::source::Lag>,
    /// Wall time.
    pub seconds: f64,
}

/// One file of a run.
#[derive(Debug, Clone, Serialize)]
pub struct FileReport {
    /// Name as the source lists it.
    pub name: String,
    /// `taken`, `unchanged` (taken before), `held`, `superseded` (held, and a newer whole extract is taken), `failed`,
    /// `writing` (left alone: still being written).
    pub outcome: &'static str,
    /// Why, when held, superseded or failed; of a file that was taken, why what it did not show was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Rows read in this run.
    pub rows: u64,
}

/// One register's counts of a run.
#[derive(Debug, Clone, Serialize)]
pub struct RegisterReport {
    /// Register.
    pub register: String,
    /// Counts.
    #[serde(flatten)]
    pub counts: ChunkCounts,
    /// Whether both ledger equations hold.
    pub balanced: bool,
    /// Quarantined rows by `column:code`, most first.
    pub quarantined_by: Vec<(String, u64)>,
    /// Repairs by `column:code`, most first.
    pub notes_by: Vec<(String, u64)>,
}

impl RunReport {
    /// A run that could not even begin.
    pub fn failed(pipeline: &str, error: &EngineError) -> Self {
        Self {
            pipeline: pipeline.to_owned(),
            run: 0,
            status: RunStatus::Failed.name(),
            why: Some(error.to_string()),
            files: Vec::new(),
            registers: Vec::new(),
            lag: None,
            seconds: 0.0,
        }
    }

    /// The process exit code this run asks for: 0 done, 1 failed, 3 held or quarantined, 4 unbalanced.
    pub fn exit_code(&self) -> u8 {
        if self.status == RunStatus::Unbalanced.name() {
            4
        } else if self.status == RunStatus::Failed.name() {
            1
        } else if self.status == RunStatus::Held.name() || self.set_aside() > 0 {
            3
        } else {
            0
        }
    }

    /// Rows quarantined or undecodable.
    pub fn set_aside(&self) -> u64 {
        self.registers.iter().map(|register| register.counts.quarantined + register.counts.undecodable).sum()
    }
}

/// One feed's release and delivery.
#[derive(Debug, Clone, Serialize)]
pub struct FeedReport {
    /// Feed.
    pub feed: String,
    /// `released`, `nothing new`, `refused`, `waiting` (the outlet does not take batches now), `failed`.
    pub status: &'static str,
    /// Why, when refused, waiting or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Considered, released, unaffected, withheld.
    #[serde(flatten)]
    pub counts: FeedCounts,
    /// Batches sealed.
    pub batches: u64,
    /// Upserts among the released.
    pub upserts: u64,
    /// Withdrawals among the released.
    pub withdrawals: u64,
    /// Records that became durable with the outlet.
    pub durable: u64,
    /// Tokens of time (时间戳) that came.
    #[serde(skip_serializing_if = "is_zero")]
    pub stamped: u64,
    /// Why a batch still waits for its token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unstamped: Option<String>,
    /// When it is worth trying again what is left: for a token of time, or a PKCS#11 token that signs.
    #[serde(skip)]
    pub again: Option<chrono::DateTime<chrono::Utc>>,
    /// Wall time.
    pub seconds: f64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
const fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl FeedReport {
    /// Nothing done yet.
    pub(super) fn new(feed: &str, status: &'static str, why: Option<String>) -> Self {
        Self {
            feed: feed.to_owned(),
            status,
            why,
            counts: FeedCounts::default(),
            batches: 0,
            upserts: 0,
            withdrawals: 0,
            durable: 0,
            stamped: 0,
            unstamped: None,
            again: None,
            seconds: 0.0,
        }
    }

    /// A release that broke off. What was sealed before it stays sealed and is delivered by the next one.
    pub fn failed(feed: &str, error: &EngineError) -> Self {
        Self::new(feed, "failed", Some(error.to_string()))
    }
}
