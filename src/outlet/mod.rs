//! Where sealed batches go. One trait, one file per kind.
//!
//! Decides: when a batch counts as delivered. Must not know: what is in a batch, cursors, retries — those are the
//! engine's. Guarantees: bytes go out as they were sealed; delivering the same batch again is harmless.

mod scripted;
mod spool;

pub use scripted::{Fault, Scripted};
pub use spool::{BatchFiles, Spool};

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
}

impl OutletError {
    /// The stable code; `huiliu explain CODE` has the page.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "HL0730",
            Self::Conflict { .. } => "HL0731",
        }
    }

    /// What the engine does.
    pub const fn disposition(&self) -> Disposition {
        match self {
            Self::Unavailable { .. } => Disposition::Retry,
            Self::Conflict { .. } => Disposition::Halt,
        }
    }
}

impl From<&OutletError> for Problem {
    fn from(error: &OutletError) -> Self {
        Problem::error(error.code(), error.to_string())
    }
}
