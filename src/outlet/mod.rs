//! Where sealed batches go. One trait, one file per kind.
//!
//! Decides: when a batch counts as delivered. Must not know: what is in a batch, cursors, retries — those are the
//! engine's. Guarantees: bytes go out as they were sealed; delivering the same batch again is harmless.

pub mod rabbitmq;
mod scripted;
mod spool;
mod statement;

pub use scripted::{Fault, Scripted};
pub use spool::{BatchFiles, Spool};
pub use statement::{RangesWriter, StatementFiles, write_ranges};

use async_trait::async_trait;

use crate::batch::SealedBatch;
use crate::error::{Disposition, Problem};

/// How far a delivery got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    /// "I have it, do not advance": the outlet has taken the batch but cannot yet promise to keep it. The engine does
    /// not move the feed's delivery cursor, and delivers the same batch again later to learn more.
    Accepted,
    /// "You may advance": the batch survives a power cut on the outlet's side.
    Durable,
}

/// A place that takes sealed batches of any feed.
///
/// The engine calls [`Outlet::deliver`] with the batches of one feed in sequence, never the next before the one before
/// is durable, and from one task per feed. After a crash, or after an error, the very same bytes are delivered again, so
/// an implementation must be idempotent: the same batch twice is success, another batch under the same feed and number
/// is [`OutletError::Conflict`]. A delivery that is cancelled or fails may have happened.
#[async_trait]
pub trait Outlet: Send + Sync {
    /// Delivers one batch.
    async fn deliver(&self, batch: &SealedBatch) -> Result<Delivered, OutletError>;

    /// Puts the token of time (时间戳) of a batch beside it, some time after the batch; the same again is success. An
    /// outlet that has no such place takes it and does nothing: the office keeps every token.
    async fn stamp(&self, _batch: (&str, u64), _token: &[u8]) -> Result<(), OutletError> {
        Ok(())
    }
}

/// Why a delivery failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutletError {
    /// Not now: hold the cursor, back off, deliver the same batch again.
    #[error("cannot deliver {batch} to {place}: {why}")]
    Unavailable {
        /// `feed/seq`.
        batch: String,
        /// File, directory or address.
        place: String,
        /// The outside's reason.
        why: String,
    },
    /// Another batch is already there under this feed and number; no repetition mends that.
    #[error("{place} already holds another batch as {batch}")]
    Conflict {
        /// `feed/seq`.
        batch: String,
        /// File or address.
        place: String,
    },
    /// The broker has nowhere to put it: exchange, queue or binding is missing. Nothing is lost.
    #[error("{place} has no queue for {batch}: {why}")]
    Unroutable {
        /// `feed/seq`.
        batch: String,
        /// Address, without user and password.
        place: String,
        /// The broker's reason.
        why: String,
    },
    /// The broker refused it: the queue is at its limit.
    #[error("the queue of {batch} at {place} takes no more")]
    Full {
        /// `feed/seq`.
        batch: String,
        /// Address.
        place: String,
    },
    /// The broker takes nothing from anybody until its alarm ends.
    #[error("{place} takes nothing now, {batch} waits: {why}")]
    Blocked {
        /// `feed/seq`.
        batch: String,
        /// Address.
        place: String,
        /// The broker's reason: `low on disk`, `low on memory`.
        why: String,
    },
    /// The broker knows the user, password or virtual host not, or forbids.
    #[error("{place} does not let us deliver {batch}: {why}")]
    Denied {
        /// `feed/seq`.
        batch: String,
        /// Address.
        place: String,
        /// The broker's reason.
        why: String,
    },
    /// Manifest and signature travel in one frame, and the broker's frames are smaller.
    #[error("manifest and signature of {batch} need {bytes} bytes, {place} allows {allowed} in a frame")]
    TooLarge {
        /// `feed/seq`.
        batch: String,
        /// Address.
        place: String,
        /// Bytes needed.
        bytes: usize,
        /// Bytes allowed.
        allowed: usize,
    },
    /// The broker cannot be reached, or does not answer in time.
    #[error("cannot deliver {batch}: {place} does not answer: {why}")]
    Unreachable {
        /// `feed/seq`.
        batch: String,
        /// Address.
        place: String,
        /// What was waited for, or the system's reason.
        why: String,
    },
}

impl OutletError {
    /// The stable code; `huiliu explain CODE` has the page.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "HL0730",
            Self::Conflict { .. } => "HL0731",
            Self::Unroutable { .. } => "HL0732",
            Self::Full { .. } => "HL0733",
            Self::Blocked { .. } => "HL0734",
            Self::Denied { .. } => "HL0735",
            Self::TooLarge { .. } => "HL0736",
            Self::Unreachable { .. } => "HL0737",
        }
    }

    /// What the engine does.
    pub const fn disposition(&self) -> Disposition {
        match self {
            // A broker's administrator mends all of these, and the same bytes then go out.
            Self::Unavailable { .. }
            | Self::Unroutable { .. }
            | Self::Full { .. }
            | Self::Blocked { .. }
            | Self::Denied { .. }
            | Self::TooLarge { .. }
            | Self::Unreachable { .. } => Disposition::Retry,
            Self::Conflict { .. } => Disposition::Halt,
        }
    }
}

impl From<&OutletError> for Problem {
    fn from(error: &OutletError) -> Self {
        Problem::error(error.code(), error.to_string())
    }
}
