//! Where registers, claims, quarantine, ledger and sealed batches live: one trait that speaks in intents.
//!
//! Decides: nothing about meaning. Guarantees, of every implementation: what [`Store::commit`] and [`Store::seal`]
//! take is durable as a whole or not there at all, and a position is never ahead of the rows it describes.

pub mod at_rest;
pub mod postgres;
pub mod sqlite;

mod audit;
mod backfill;
mod chases;
mod columns;
mod definitions;
mod intents;
mod leases;
mod novelty;
mod operations;
mod pending;
mod progress;
mod recollection;
mod review;
mod rows;
mod shapes;
mod stamps;
mod suspension;
mod table;

pub use audit::{AuditFilter, Note};
pub use backfill::{
    BackfillState, BackfillView, ChunkEnd, ChunkState, ChunkView, FeedLag, NewBackfill, NewChunk, QuarantineBacklog,
};
pub use chases::{ChaseView, Found, HolderView, NewChase};
pub use columns::Cells;
pub use definitions::{ClaimsMade, Definition, Surveyed, Versions, WorkedWith};
pub use intents::{
    BatchLink, BatchRow, ChangeSet, ChunkCounts, ClaimChange, FeedCounts, FeedState, HeldDigest, HeldRow, Holding,
    Quarantined, Recalled, RecalledClaim, RegisterPart, SealSet, Snapshot,
};
pub use leases::{LONGEST_LEASE, Lease, LeaseView, for_backfill};
pub use operations::Operations;
pub use progress::{
    FileCounts, FileEnd, FileStart, FileState, FileStatus, HeldFile, Pulled, RunEnd, RunStart, RunStatus,
};
pub use review::{Bond, Reviewed};
pub use rows::{
    ClaimView, DeliveryView, EntityView, FeedView, FileView, HistoryView, LedgerRow, QuarantineFilter, QuarantineView,
    ReceiptRow, RunView,
};
pub use shapes::{OfferedColumn, ShapeView, same_shape};
pub use stamps::{StampDue, StampRow, Unstamped};
pub use suspension::{Side, Suspension};

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;

use crate::config::Register;
use crate::crypto::DigestAlgorithm;
use crate::error::Disposition;
use crate::linking::{Before, ClaimId, EntityId, Known, Layout, StreamId};

/// The store said no.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Busy, locked, disk full, connection lost: the same call may succeed later. Nothing of it was kept.
    #[error("HL0934 the store is not available: {0}")]
    Unavailable(String),
    /// The store's own data is not what it should be.
    #[error("HL0935 the store is not what it should be: {0}")]
    Damaged(String),
    /// The lease under which this was written has another holder now. Nothing of it was kept.
    #[error("HL0410 the lease \"{0}\" has another holder now; nothing was written")]
    Fenced(String),
    /// A value does not fit: SQLSTATE classes 21, 22 and 23. Nothing of the commit was kept, and no repetition mends it.
    #[error("HL0405 a value does not fit {place} (SQLSTATE {state})")]
    Data {
        /// SQLSTATE.
        state: String,
        /// Table and column, as far as the server said.
        place: String,
    },
    /// What is there does not fit this program, these definitions or this installation.
    #[error(transparent)]
    Refused(#[from] Box<crate::error::Problem>),
}

impl StoreError {
    /// What the engine does about it.
    pub fn disposition(&self) -> Disposition {
        match self {
            Self::Unavailable(_) => Disposition::Retry,
            Self::Data { .. } => Disposition::Quarantine,
            Self::Damaged(_) | Self::Fenced(_) | Self::Refused(_) => Disposition::Halt,
        }
    }
}

/// What every method returns.
pub type Result<T> = std::result::Result<T, StoreError>;

/// The registers and everything that explains them.
///
/// One writer at a time; calls that change something are transactions of their own. Implementations: SQLite
/// ([`sqlite::SqliteStore`]) now, PostgreSQL next. What a store must do is what the tests of `tests/` ask of it.
#[async_trait]
pub trait Store: Operations {
    /// Makes or widens the typed tables of these registers. Additive changes happen; anything that would lose data is
    /// refused with the SQL that a person would have to run.
    async fn prepare(&mut self, registers: &[&Register]) -> Result<()>;
    /// The stream of this dataset into this register, made on first use.
    async fn stream(&mut self, system: &str, dataset: &str, register: &str) -> Result<StreamId>;
    /// All streams: id → (system, dataset, register).
    async fn streams(&mut self) -> Result<HashMap<StreamId, (String, String, String)>>;
    /// The stored layout of these register fields, made on first use.
    async fn layout(&mut self, register: &str, fields: &[String]) -> Result<Layout>;

    /// Opens a run. Earlier runs of the same pipeline and kind that never ended are closed as failed (HL0506).
    async fn begin_run(&mut self, start: RunStart) -> Result<i64>;
    /// Closes a run.
    async fn end_run(&mut self, run: i64, end: RunEnd) -> Result<()>;
    /// Runs of a pipeline (or all), newest first.
    async fn runs(&mut self, pipeline: Option<&str>, limit: i64) -> Result<Vec<RunView>>;

    /// What is known about a file of a dataset, by content digest; of content that was taken several times, the last.
    async fn file(&mut self, dataset: &str, digest: &str) -> Result<Option<FileState>>;
    /// Notes that a file is being taken: one that is known, from where it is, unless it is to be taken again.
    async fn begin_file(&mut self, start: FileStart) -> Result<FileState>;
    /// Says how a file ended.
    async fn end_file(&mut self, file: i64, end: FileEnd) -> Result<()>;

    /// Which claims the source keys of these rows (key, digest) already have: for row `i`, the claims of its key in
    /// order of occurrence, and whether they say what it says.
    async fn recall(&mut self, stream: StreamId, rows: &[(Arc<str>, i64)]) -> Result<Vec<Recalled>>;
    /// Which of these source keys a source said are gone, and since when (microseconds).
    async fn gone(&mut self, stream: StreamId, keys: &[Arc<str>]) -> Result<HashMap<Arc<str>, i64>>;
    /// The entities that these key values name, and all keys of those entities.
    async fn known(&mut self, register: &str, keys: &[(usize, Arc<str>)]) -> Result<Known>;
    /// Everything held about these entities.
    async fn before(&mut self, register: &str, entities: &[EntityId]) -> Result<HashMap<EntityId, Before>>;
    /// The next free claim and entity ids.
    async fn next_ids(&mut self) -> Result<(ClaimId, EntityId)>;
    /// Writes one chunk: claims, entities, history, change log, quarantine, counts and position, in one transaction.
    ///
    /// May return before it is durable; then the next call waits for it, or answers as if it had, and an error is told
    /// by the next call that has to wait.
    async fn commit(&mut self, change: ChangeSet) -> Result<()>;
    /// Waits until what was committed is durable, and says how that ended; others may write until the next chunk.
    async fn rest(&mut self) -> Result<()>;
    /// Claims of a stream that a full extract did not show, given the claims it did show; at most `limit` from `after`.
    async fn vanished(
        &mut self,
        stream: StreamId,
        file: i64,
        after: ClaimId,
        limit: i64,
    ) -> Result<Vec<(ClaimId, EntityId)>>;
    /// How many claims a stream has.
    async fn claim_count(&mut self, stream: StreamId) -> Result<u64>;
    /// The claims of a stream that this file has shown so far.
    async fn seen(&mut self, stream: StreamId, file: i64) -> Result<roaring::RoaringTreemap>;
    /// Open quarantine entries of a dataset that its newest full extract no longer shows are `vanished`.
    async fn quarantine_vanished(&mut self, dataset: &str, file: i64) -> Result<u64>;

    /// A feed's state, made on first use.
    async fn feed(&mut self, feed: &str) -> Result<FeedState>;
    /// The newest change of a register that may be released.
    async fn horizon(&mut self, register: &str) -> Result<i64>;
    /// Live entities with id above `after`, ascending: ids, versions, these fields as typed columns.
    async fn entities_after(
        &mut self,
        register: &str,
        fields: &[&str],
        after: EntityId,
        limit: i64,
    ) -> Result<Snapshot>;
    /// Entities with changes in `window` = `(after, through]` and id above `from_entity`, ascending, with the present
    /// state of these fields; gone ones in `gone`.
    async fn changed_between(
        &mut self,
        of: (&str, &[&str]),
        window: (i64, i64),
        from_entity: EntityId,
        limit: i64,
    ) -> Result<Snapshot>;
    /// What the feed's subscriber holds of these entities.
    async fn held(&mut self, feed: &str, entities: &[EntityId]) -> Result<HashMap<EntityId, HeldDigest>>;
    /// Entities that the subscriber holds, with id above `after`, ascending. The digest is [`HeldDigest::AGAIN`] where the
    /// record is to be sent again.
    async fn holdings_after(&mut self, feed: &str, after: EntityId, limit: i64) -> Result<Vec<HeldRow>>;
    /// Keeps a sealed batch with the feed's new state, holdings and ledger, in one transaction.
    async fn seal(&mut self, seal: SealSet) -> Result<()>;
    /// Records sealed for a feed since an instant (microseconds).
    async fn sealed_since(&mut self, feed: &str, at: i64) -> Result<u64>;
    /// The first `most` batches of a feed that no outlet has made durable yet, in order.
    async fn undelivered(&mut self, feed: &str, most: i64) -> Result<Vec<BatchRow>>;
    /// The outlet has it. The body stays until [`Operations::drop_bodies`], so that it can be sent again.
    async fn mark_durable(&mut self, feed: &str, seq: i64) -> Result<()>;

    /// One entity by key value or id.
    async fn entity(&mut self, register: &str, key: &str) -> Result<Option<EntityView>>;
    /// Entities whose field equals or contains a text.
    async fn find(&mut self, register: &str, field: &str, text: &str, limit: i64) -> Result<Vec<EntityView>>;
    /// Earlier states of an entity, newest first.
    async fn history(&mut self, register: &str, entity: EntityId) -> Result<Vec<HistoryView>>;
    /// All claims about an entity with their origin.
    async fn claims(&mut self, register: &str, entity: EntityId) -> Result<Vec<ClaimView>>;
    /// Set-aside rows.
    async fn quarantine(&mut self, filter: &QuarantineFilter) -> Result<Vec<QuarantineView>>;
    /// Changes the state of set-aside rows, with `note` in the audit log; returns how many changed.
    async fn set_quarantine(&mut self, ids: &[i64], status: &str, why: &str, note: Option<Note>) -> Result<u64>;
    /// Ledger lines of a run, or sums over all runs.
    async fn ledger(&mut self, run: Option<i64>) -> Result<Vec<LedgerRow>>;
    /// Entities of a register that have a row or a claim, ascending, above `after`.
    async fn claimed_entities(&mut self, register: &str, after: EntityId, limit: i64) -> Result<Vec<EntityId>>;
    /// All batches of a feed, in order, as links of its chain.
    async fn batch_links(&mut self, feed: &str) -> Result<Vec<BatchLink>>;
    /// From here on answers are of one moment, whatever others write, until [`Store::move_on`]; nothing is written between.
    async fn hold_still(&mut self) -> Result<()>;
    /// Answers are of the present again.
    async fn move_on(&mut self) -> Result<()>;
    /// Whether a first load (首次装载) is under way or broke off: lookups read whole tables for want of an index.
    async fn lacks_indexes(&mut self) -> Result<bool>;
    /// How many records a subscriber held once this batch was sealed; `None` unless it is the feed's last.
    async fn holding_at(&mut self, feed: &str, seq: i64) -> Result<Option<u64>>;
    /// All feeds with counts.
    async fn feeds(&mut self) -> Result<Vec<FeedView>>;
    /// Which feeds hold this entity: feed, version, batch.
    async fn holders(&mut self, entity: EntityId) -> Result<Vec<(String, i64, i64)>>;
    /// Live rows of a register.
    async fn count(&mut self, register: &str) -> Result<u64>;
    /// The manifest of a sealed batch.
    async fn manifest(&mut self, feed: &str, seq: i64) -> Result<Option<Vec<u8>>>;
    /// Keeps a subscriber's answer; false when it is there already.
    async fn record_receipt(&mut self, receipt: &ReceiptRow) -> Result<bool>;
    /// Answers for a feed, newest batch first.
    async fn receipts(&mut self, feed: &str, limit: i64) -> Result<Vec<ReceiptRow>>;
    /// How far a feed's batches are: sealed, durable, received.
    async fn delivery(&mut self, feed: &str) -> Result<DeliveryView>;
    /// How audit entries are digested from now on: as everything that the installation's key signs.
    fn audit_by(&mut self, algorithm: DigestAlgorithm);
    /// Writes an audit entry of what has no transaction of its own: who, what, why, result — never values.
    async fn audit(&mut self, at: i64, action: &'static str, detail: &str) -> Result<()> {
        self.audit_all(&[Note::new(at, action, detail)]).await
    }
}
