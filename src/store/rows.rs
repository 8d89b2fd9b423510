//! What a store shows to people and commands.

use serde::Serialize;

use super::ChunkCounts;
use crate::linking::{ClaimId, EntityId, StreamId};
use crate::mapping::Reason;
use crate::source::Lag;

/// One run.
#[derive(Debug, Clone, Serialize)]
pub struct RunView {
    /// Id.
    pub id: i64,
    /// Pipeline.
    pub pipeline: String,
    /// Kind.
    pub kind: String,
    /// `running`, `succeeded`, `held`, `failed`, `unbalanced`.
    pub status: String,
    /// Why, when not succeeded.
    pub why: Option<String>,
    /// Microseconds.
    pub started: i64,
    /// Microseconds.
    pub ended: Option<i64>,
    /// Sum over files and registers as [`LedgerRow`] has them.
    pub read: i64,
    /// Mapped rows of the first register.
    pub mapped: i64,
    /// How far it was behind its source when it began, where the source says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag: Option<Lag>,
}

impl RunView {
    /// What the newest of these runs that reached a source which says so found: how far behind it they were. Newest first.
    pub fn last_lag(runs: &[Self]) -> Option<Lag> {
        runs.iter().find_map(|run| run.lag)
    }

    /// A lag as a store keeps it.
    pub(super) fn lag_of(bytes: Option<i64>, seconds: Option<i64>) -> Option<Lag> {
        Some(Lag { bytes: bytes?.unsigned_abs(), seconds: seconds?.unsigned_abs() })
    }
}

/// A lag as a store keeps it.
pub(super) fn kept(lag: Option<Lag>) -> (Option<i64>, Option<i64>) {
    let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    (lag.map(|lag| signed(lag.bytes)), lag.map(|lag| signed(lag.seconds)))
}

/// One ledger line.
#[derive(Debug, Clone, Serialize)]
pub struct LedgerRow {
    /// Run.
    pub run: i64,
    /// Pipeline.
    pub pipeline: String,
    /// Register.
    pub register: String,
    /// Counts.
    #[serde(flatten)]
    pub counts: ChunkCounts,
    /// Quarantined rows by `column:code`.
    pub codes: Vec<(String, u64)>,
    /// Notes by `column:code`.
    pub notes: Vec<(String, u64)>,
}

/// One register row for people.
#[derive(Debug, Clone, Serialize)]
pub struct EntityView {
    /// Id.
    pub id: EntityId,
    /// Version.
    pub version: i64,
    /// Since when, microseconds.
    pub since: i64,
    /// (field, canonical text, winning claim), in register order.
    pub fields: Vec<(String, Option<String>, Option<ClaimId>)>,
    /// Set when the id asked for was merged into this one.
    pub merged_from: Option<EntityId>,
}

/// One earlier state.
#[derive(Debug, Clone, Serialize)]
pub struct HistoryView {
    /// Version.
    pub version: i64,
    /// Since, microseconds.
    pub since: i64,
    /// Until, microseconds.
    pub until: i64,
    /// Run that ended it.
    pub ended_by: i64,
    /// (field, canonical text), in column order.
    pub fields: Vec<(String, Option<String>)>,
}

/// One claim with its origin.
#[derive(Debug, Clone, Serialize)]
pub struct ClaimView {
    /// Id.
    pub id: ClaimId,
    /// Stream.
    #[serde(skip)]
    pub stream: StreamId,
    /// System.
    pub system: String,
    /// Dataset.
    pub dataset: String,
    /// Business time, microseconds.
    pub updated: i64,
    /// File name.
    pub file: String,
    /// Data row in that file.
    pub row: i64,
    /// Run.
    pub run: i64,
    /// Mapping version.
    pub mapping: String,
    /// (field, canonical text) for fields it claims.
    pub fields: Vec<(String, String)>,
    /// The claim itself, to compare with others.
    #[serde(skip)]
    pub claim: Option<crate::linking::Claim>,
}

/// One set-aside row.
#[derive(Debug, Clone, Serialize)]
pub struct QuarantineView {
    /// Id.
    pub id: i64,
    /// `system.dataset`.
    pub dataset: String,
    /// Register, if it was decoded.
    pub register: Option<String>,
    /// Source key.
    pub key: Option<String>,
    /// `open`, `replayed`, `corrected`, `vanished`, `dismissed`.
    pub status: String,
    /// File name.
    pub file: String,
    /// Data row, from 1.
    pub row: i64,
    /// Physical line, from 1.
    pub line: i64,
    /// First byte.
    pub byte: i64,
    /// Mapping version.
    pub mapping: String,
    /// All reasons.
    pub reasons: Vec<Reason>,
    /// First run that met it.
    pub first_run: i64,
    /// Last run that met it.
    pub last_run: i64,
    /// Raw bytes.
    #[serde(skip)]
    pub raw: Vec<u8>,
    /// Decoded cells as JSON object text.
    #[serde(skip)]
    pub cells: Option<String>,
    /// File id.
    #[serde(skip)]
    pub file_id: i64,
    /// By which the same bad row is recognised.
    #[serde(skip)]
    pub digest: i64,
}

/// Which set-aside rows.
#[derive(Debug, Clone, Default)]
pub struct QuarantineFilter {
    /// These ids only.
    pub ids: Vec<i64>,
    /// This dataset only.
    pub dataset: Option<String>,
    /// This register only.
    pub register: Option<String>,
    /// As this file showed them, by its stored id.
    pub file: Option<i64>,
    /// With a reason of this code.
    pub code: Option<String>,
    /// This status; `None` is any.
    pub status: Option<String>,
    /// With raw bytes and cells (they are large).
    pub with_content: bool,
    /// Above this id.
    pub after: i64,
    /// At most so many.
    pub limit: i64,
}

/// One feed.
#[derive(Debug, Clone, Serialize)]
pub struct FeedView {
    /// Name.
    pub feed: String,
    /// Changes released up to here.
    pub cursor: i64,
    /// Last sealed batch.
    pub seq: i64,
    /// Sealed but not durable.
    pub undelivered: i64,
    /// Records held by the subscriber.
    pub holding: i64,
    /// Considered, released, unaffected, withheld in all.
    pub counts: super::FeedCounts,
    /// Records durable with the outlet.
    pub durable: i64,
    /// Since when and why nothing but recalls goes out, where somebody has suspended the grant.
    pub suspended: Option<super::Suspension>,
}

/// A subscriber's answer (回执), as it came and as it was judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptRow {
    /// Feed, as the receipt says.
    pub feed: String,
    /// Batch, as the receipt says.
    pub seq: i64,
    /// SHA-256 of the receipt, hex.
    pub digest: String,
    /// When the subscriber says it loaded the batch, microseconds.
    pub at: i64,
    /// When it was recorded.
    pub recorded_at: i64,
    /// The broker user who published it.
    pub sender: Option<String>,
    /// Subject of the certificate that signed it, when the signature was verified.
    pub signer: Option<String>,
    /// Rows that the subscriber says it holds.
    pub held: Option<i64>,
    /// What does not fit what was sent; `None` when everything does.
    pub mismatch: Option<String>,
    /// JSON, as it came.
    pub receipt: Vec<u8>,
    /// Detached CMS, as it came.
    pub signature: Option<Vec<u8>>,
}

/// How far a feed's batches are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DeliveryView {
    /// Last batch sealed; 0 is none.
    pub sealed: i64,
    /// Last batch durable with the outlet.
    pub durable: i64,
    /// Last batch with a receipt that fits.
    pub received: i64,
    /// Batches not durable.
    pub waiting_batches: i64,
    /// Records in them.
    pub waiting_records: i64,
    /// Bytes of their bodies.
    pub waiting_bytes: i64,
    /// When the oldest of them was sealed, microseconds.
    pub waiting_since: Option<i64>,
    /// Records in batches without a receipt.
    pub unanswered_records: i64,
    /// When the oldest of those was sealed.
    pub unanswered_since: Option<i64>,
    /// Receipts that do not fit.
    pub mismatches: i64,
}

/// One file.
#[derive(Debug, Clone, Serialize)]
pub struct FileView {
    /// Id.
    pub id: i64,
    /// `system.dataset`.
    pub dataset: String,
    /// Name.
    pub name: String,
    /// Status.
    pub status: String,
}
