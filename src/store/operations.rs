//! What daemons and backfills ask of a store: who may write, what is planned, what waits.

use std::time::Duration;

use async_trait::async_trait;

use super::{
    AuditFilter, BackfillState, BackfillView, BatchRow, Bond, ChaseView, ChunkEnd, ChunkState, ChunkView, ClaimsMade,
    Definition, FeedLag, FileCounts, Found, HeldFile, HolderView, Lease, LeaseView, NewBackfill, NewChase, Note,
    OfferedColumn, Pulled, QuarantineBacklog, Result, Reviewed, ShapeView, StampDue, StampRow, Surveyed, Suspension,
    Unstamped, Versions, WorkedWith,
};
use crate::audit::{Entry, SignedCheckpoint};
use crate::config::Register;
use crate::linking::{EntityId, StreamId};

/// The part of a [`super::Store`] that lets several processes work over it. Calls that change something are
/// transactions of their own. Instants come from the caller's clock, but for leases, which end by the store's own: several
/// machines that disagree about the time agree about who holds what.
#[async_trait]
pub trait Operations: Send {
    /// Takes a lease for `ttl` from now if nobody holds it, or its holder asks again. A new holder gets a token above all
    /// earlier ones of this name; the same holder, while the lease has not ended, keeps its own. `None`: somebody else
    /// holds it. Two calls at the same time never both succeed. A lease that ends later than [`super::LONGEST_LEASE`]
    /// from now was taken before the store's clock went back, and counts as ended.
    async fn acquire_lease(&mut self, name: &str, holder: &str, ttl: Duration) -> Result<Option<Lease>>;
    /// Holds a lease for `ttl` from now, also when it has ended and nobody took it. False: it has another holder or
    /// was released, and nothing changed.
    async fn renew_lease(&mut self, lease: &Lease, ttl: Duration) -> Result<bool>;
    /// Gives a lease back: anybody may take it at once. Nothing happens when it has another holder.
    async fn release_lease(&mut self, lease: &Lease) -> Result<()>;
    /// Leases that have a holder, by name; those that ended without a release too.
    async fn leases(&mut self) -> Result<Vec<LeaseView>>;
    /// The store's own clock, microseconds: the one that all who work over it share.
    async fn now(&mut self) -> Result<i64>;
    /// From now on `begin_run`, `begin_file`, `commit`, `end_file` and `seal` look, in the transaction in which they
    /// write, whether this lease still has this holder and token, and else write nothing and answer
    /// [`super::StoreError::Fenced`]. Time does not matter, only whether somebody else took it. `None` looks no more. A commit
    /// under way is waited for.
    async fn set_fence(&mut self, fence: Option<Lease>) -> Result<()>;

    /// Keeps a backfill with all its chunks as `pending`, in one transaction; returns its id.
    async fn add_backfill(&mut self, new: NewBackfill) -> Result<i64>;
    /// One backfill, or all, newest first.
    async fn backfills(&mut self, id: Option<i64>) -> Result<Vec<BackfillView>>;
    /// Chunks of a backfill in this state (or any), in order, at most `limit`.
    async fn backfill_chunks(&mut self, id: i64, state: Option<ChunkState>, limit: i64) -> Result<Vec<ChunkView>>;
    /// Moves a backfill to a state if it is in one of `from`; false, and nothing changed, if it is not. `started` is
    /// noted the first time it runs, `ended` when it is over, `note` goes into the audit log.
    async fn move_backfill(
        &mut self,
        id: i64,
        from: &[BackfillState],
        to: (BackfillState, Option<&str>, i64),
        note: Option<Note>,
    ) -> Result<bool>;
    /// Notes the run of a backfill and what was there before it, once.
    async fn note_backfill(&mut self, id: i64, run: Option<i64>, before: &str) -> Result<()>;
    /// Says how a chunk ended.
    async fn end_chunk(&mut self, id: i64, n: i64, end: ChunkEnd) -> Result<()>;
    /// Makes the failed chunks of a backfill pending; returns how many.
    async fn retry_chunks(&mut self, id: i64) -> Result<u64>;

    /// Digest and business time (microseconds) of the newest file of a dataset that was taken as a whole.
    async fn newest_file(&mut self, dataset: &str) -> Result<Option<(String, i64)>>;
    /// The digest of what was last taken, or superseded, under this name.
    async fn named_file(&mut self, dataset: &str, name: &str) -> Result<Option<String>>;
    /// Notes that digest.
    async fn name_file(&mut self, dataset: &str, name: &str, digest: &str) -> Result<()>;
    /// What was counted of a file, by register.
    async fn file_counts(&mut self, file: i64) -> Result<Vec<FileCounts>>;
    /// Rows read and mapped for a register of the files that were taken by the last run of a pipeline that succeeded and
    /// took any with rows in it; of files that several runs took, the rows of all of them.
    async fn last_taken_rows(&mut self, pipeline: &str, register: &str) -> Result<Option<(u64, u64)>>;
    /// A file that is held, that changed this register, and after which nothing of its dataset was taken.
    async fn held_into(&mut self, register: &str) -> Result<Option<HeldFile>>;
    /// Files of a dataset that are held need no decision any more.
    async fn drop_held(&mut self, dataset: &str, why: &str) -> Result<()>;
    /// The last thing taken, or begun to be taken, of a dataset.
    async fn pulled(&mut self, dataset: &str) -> Result<Option<Pulled>>;
    /// Batches of a feed from this number on, in order, durable or not. The body is empty where it was dropped.
    async fn batches_from(&mut self, feed: &str, seq: i64, limit: i64) -> Result<Vec<BatchRow>>;
    /// Drops the bodies of durable batches sealed before an instant (microseconds); manifests and signatures stay as
    /// evidence. Returns how many.
    async fn drop_bodies(&mut self, before: i64) -> Result<u64>;
    /// Lets go of whole months of history and change logs that ended before this instant (microseconds), except change
    /// logs that a feed has not read to their end. Returns what went. A store that does not keep them by month keeps all.
    async fn retain_since(&mut self, before: i64) -> Result<Vec<String>>;
    /// Makes the feed's next release a whole new snapshot: every record that the grant allows is sent again, and what
    /// the subscriber should no longer hold is withdrawn. Numbers and chain go on.
    async fn reopen_feed(&mut self, feed: &str) -> Result<()>;
    /// Suspends a feed's grant; `None` resumes it. With `note` in the
    /// audit log.
    async fn suspend_feed(&mut self, feed: &str, now: Option<&Suspension>, note: Note) -> Result<()>;
    /// Keeps why a feed may not release now (`None`: it may); if that was not known, with `note` in the audit log.
    async fn note_refusal(&mut self, feed: &str, why: Option<&str>, note: Note) -> Result<()>;
    /// Batches of a feed, in order, that want a token of time, or whose token the outlet does not have.
    async fn stamps_due(&mut self, feed: &str, limit: i64) -> Result<Vec<StampDue>>;
    /// Keeps a token; false when the batch has one or wants none.
    async fn keep_stamp(&mut self, feed: &str, stamp: &StampRow) -> Result<bool>;
    /// The outlet has the token of this batch.
    async fn stamp_handed_on(&mut self, feed: &str, seq: i64) -> Result<()>;
    /// Tokens of a feed behind this number, in order.
    async fn stamps(&mut self, feed: &str, after: i64, limit: i64) -> Result<Vec<StampRow>>;
    /// How many batches of a feed wait for a token, and since when.
    async fn unstamped(&mut self, feed: &str) -> Result<Unstamped>;
    /// What waits for this feed. Changes nothing, also when the feed is not known yet.
    async fn feed_lag(&mut self, feed: &str, register: &str) -> Result<FeedLag>;
    /// Notes what a pipeline or feed works with from now on, and in the audit log what changed, by digest; what it worked
    /// with before no longer counts. Nothing is written when nothing changed.
    async fn note_definitions(&mut self, with: &WorkedWith) -> Result<()>;
    /// What this pipeline or feed last worked with, by path; of all when none is named.
    async fn definitions(&mut self, owner: Option<&str>) -> Result<Vec<Definition>>;
    /// What is noted of the store as a whole under this name; `value` from now on, when nothing is.
    async fn noted_once(&mut self, name: &str, value: &str) -> Result<String>;
    /// Notes which version of its mapping a run uses for each of its streams.
    async fn note_versions(&mut self, run: i64, versions: Versions<'_>) -> Result<()>;
    /// The claims of a stream by the run that wrote them.
    async fn claims_made(&mut self, stream: StreamId) -> Result<Vec<ClaimsMade>>;
    /// In place of [`super::Store::prepare`], for questions only: looks at what is stored of these registers and changes
    /// nothing. A field that is not stored yet reads as null.
    async fn survey(&mut self, registers: &[&Register]) -> Result<Vec<Surveyed>>;

    /// Looks whether something holds between the entities of a register, and counts; at most `limit` examples.
    async fn review(&mut self, register: &str, bond: Bond<'_>, limit: i64) -> Result<Reviewed>;

    /// Open quarantine entries by dataset.
    async fn quarantine_backlog(&mut self) -> Result<Vec<QuarantineBacklog>>;

    /// Keeps a correction or recall for every feed whose subscriber has or had the record, with `note` in the audit log; returns
    /// the feeds. A recalled record is one until somebody corrects it.
    async fn add_chase(&mut self, chase: &NewChase, note: Note) -> Result<Vec<String>>;
    /// Corrections and recalls of one feed or all, of one record or all, oldest first.
    async fn chases(&mut self, feed: Option<&str>, entity: Option<EntityId>) -> Result<Vec<ChaseView>>;
    /// Records of a register that are recalled, ascending.
    async fn recalled(&mut self, register: &str) -> Result<Vec<EntityId>>;
    /// Who has a record, and who had it, by feed.
    async fn ever_holding(&mut self, entity: EntityId) -> Result<Vec<HolderView>>;
    /// Numbers of persons found in the free text that a feed released, by field.
    async fn found_in_text(&mut self, feed: &str) -> Result<Vec<Found>>;

    /// Appends entries in this order, durable as a whole or not there at all; one writer at a time.
    async fn audit_all(&mut self, notes: &[Note]) -> Result<()>;
    /// Lets go of the entries up to this one, if all are older than the rules ask (the database refuses else), and notes that.
    async fn prune_audit(&mut self, through: i64, note: Note) -> Result<u64>;
    /// Entries of the audit log.
    async fn audit_entries(&mut self, filter: &AuditFilter) -> Result<Vec<Entry>>;
    /// How many entries there are behind one (0: in all), and number and digest of the last; `None` when there is none.
    async fn audit_since(&mut self, id: i64) -> Result<Option<(u64, i64, String)>>;
    /// Checkpoints of the audit log, oldest first.
    async fn audit_checkpoints(&mut self) -> Result<Vec<SignedCheckpoint>>;
    /// Keeps a checkpoint that ends at an entry, if the last one ends at `before`; says whether it did.
    async fn add_audit_checkpoint(
        &mut self,
        before_and_through: (Option<i64>, i64),
        checkpoint: &SignedCheckpoint,
    ) -> Result<bool>;

    /// Keeps what the source of a dataset offers at an instant (microseconds); all versions, the present one first.
    async fn note_shape(&mut self, dataset: &str, columns: &[OfferedColumn], at: i64) -> Result<Vec<ShapeView>>;
    /// Every version that was seen of a dataset, or of all, by dataset, newest first.
    async fn shapes(&mut self, dataset: Option<&str>) -> Result<Vec<ShapeView>>;
    /// Rows of this version are being taken.
    async fn use_shape(&mut self, dataset: &str, version: i64) -> Result<()>;
    /// A person approves of a version; false when there is none.
    async fn approve_shape(&mut self, dataset: &str, version: i64, why: &str, at: i64) -> Result<bool>;

    /// What is noted about encryption at rest, by name; nothing where it is off.
    async fn at_rest_notes(&mut self) -> Result<Vec<(String, String)>>;
    /// Notes (name, text), all or none. What is there already stays, unless `replace`.
    async fn note_at_rest(&mut self, notes: &[(String, String)], replace: bool) -> Result<()>;
}
