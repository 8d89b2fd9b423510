//! The audit log (审计日志): who did what, when, why, with which result — never a value — so that years later nobody can
//! alter, drop, slip in or reorder an entry unseen.
//!
//! Decides: how entries are chained, what a break of the chain means, what a checkpoint promises, what a segment holds.
//! Must not know: stores, what the entries are about. Guarantees: a fault is pinned to the entry where it shows; a chain
//! that was made anew from some entry on is found out by the first checkpoint behind it; a segment is verified with
//! nothing but itself and a trusted root.

mod chain;
mod checkpoint;
mod segment;

use serde::{Deserialize, Serialize};

pub use chain::{Fault, Link, Walk, digest_of, is_digest_of};
pub use checkpoint::{Checkpoint, SignedCheckpoint};
pub use segment::{Exported, Segment, SegmentReport, export, newest, verify_archive};

/// One entry, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Number; they ascend, with gaps where a transaction was taken back.
    pub id: i64,
    /// When, microseconds since 1970, UTC.
    pub at: i64,
    /// What: `run`, `feed.release`, `drift.approve`.
    pub action: String,
    /// Whom and what it concerned, why, with which result.
    pub detail: String,
    /// Digest of the entry before it; empty for the first.
    pub previous: String,
    /// Digest of this one.
    pub digest: String,
}

/// Something about the archive or the log that an operator must see.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// A file of an archive.
    #[error("{path}: {why}")]
    File {
        /// Path.
        path: String,
        /// The system's reason.
        why: String,
    },
    /// A segment is not what its manifest says.
    #[error("{segment}: {what}")]
    Segment {
        /// Its directory.
        segment: String,
        /// What is wrong.
        what: String,
    },
    /// Signatures and certificates.
    #[error("{0}")]
    Crypto(#[from] crate::crypto::CryptoError),
}

impl AuditError {
    /// The stable code; `huiliu explain CODE` has the page.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::File { .. } => "HL0823",
            Self::Segment { .. } => "HL0826",
            Self::Crypto(error) => error.code(),
        }
    }
}
