//! What the engine asks a store to write, as values.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;

use super::{Found, Note};
use crate::decode::{Position, RowPlace};
use crate::linking::{Absorbed, Claim, ClaimId, Departure, EntityId, Layout, Origin, SourceKey, StreamId};
use crate::mapping::Reason;

/// The stored claims of one source key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recalled {
    /// By occurrence.
    pub claims: Vec<RecalledClaim>,
}

/// One stored claim of a source key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecalledClaim {
    /// Claim.
    pub id: ClaimId,
    /// Occurrence.
    pub occurrence: i64,
    /// Its entity, if it was made from another row or by another mapping than the one asked about: if it would change.
    pub differs: Option<EntityId>,
}

/// A claim to be written.
#[derive(Debug, Clone)]
pub struct ClaimChange {
    /// Claim.
    pub id: ClaimId,
    /// Dataset and register.
    pub stream: StreamId,
    /// The source's own key.
    pub key: SourceKey,
    /// Further rows with the same key: 0, 1, …
    pub occurrence: i64,
    /// Its entity.
    pub entity: EntityId,
    /// XXH3 over the row's cells, and the mapping version.
    pub digest: i64,
    /// Business time, microseconds.
    pub updated: i64,
    /// Where it was read.
    pub origin: Origin,
    /// Packed values.
    pub values: Vec<u8>,
    /// The entity of its older state, if there is one, which goes to the claims' history.
    pub replaces: Option<EntityId>,
}

impl ClaimChange {
    /// The claim as it will be stored, its `values` packed; the digest is set by who knows it.
    pub fn new(claim: &Claim, values: Vec<u8>, entity: EntityId, replaces: Option<EntityId>) -> Self {
        Self {
            id: claim.id,
            stream: claim.stream,
            key: SourceKey::clone(&claim.key),
            occurrence: claim.occurrence,
            entity,
            digest: 0,
            updated: claim.updated,
            origin: claim.origin,
            values,
            replaces,
        }
    }
}

/// A row set aside.
#[derive(Debug, Clone)]
pub struct Quarantined {
    /// Register whose mapping refused it; `None` when it could not be decoded.
    pub register: Option<String>,
    /// Where in its file.
    pub place: RowPlace,
    /// The source's key of the row, if it has one.
    pub key: Option<Arc<str>>,
    /// Raw bytes.
    pub raw: Vec<u8>,
    /// Decoded cells as a JSON object, if it was decoded.
    pub cells: Option<String>,
    /// All reasons.
    pub reasons: Vec<Reason>,
    /// Digest of raw bytes, so that the same bad row is kept once.
    pub digest: i64,
}

/// Counts of one chunk for one register; the ledger's unit.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct ChunkCounts {
    /// Rows read.
    pub read: u64,
    /// Rows that could not be decoded.
    pub undecodable: u64,
    /// Rows the mapping's `where` left out, or layout rules dropped.
    pub filtered: u64,
    /// Rows refused.
    pub quarantined: u64,
    /// Rows that became claims.
    pub mapped: u64,
    /// … of a new entity.
    pub new: u64,
    /// … that changed an entity.
    pub changed: u64,
    /// … that said what was known.
    pub unchanged: u64,
    /// … that lost in every field.
    pub superseded: u64,
    /// Claims withdrawn because their row vanished or is filtered now (beside the equation).
    pub retracted: u64,
    /// Repairs noted (beside the equation).
    pub notes: u64,
}

impl ChunkCounts {
    /// Adds another chunk.
    pub fn add(&mut self, other: &Self) {
        self.read += other.read;
        self.undecodable += other.undecodable;
        self.filtered += other.filtered;
        self.quarantined += other.quarantined;
        self.mapped += other.mapped;
        self.new += other.new;
        self.changed += other.changed;
        self.unchanged += other.unchanged;
        self.superseded += other.superseded;
        self.retracted += other.retracted;
        self.notes += other.notes;
    }

    /// `read = undecodable + filtered + quarantined + mapped` and
    /// `mapped = new + changed + unchanged + superseded`.
    pub fn balanced(&self) -> bool {
        self.read == self.undecodable + self.filtered + self.quarantined + self.mapped
            && self.mapped == self.new + self.changed + self.unchanged + self.superseded
    }
}

/// One chunk's changes to one register. A chunk that feeds several registers is one [`ChangeSet`] with several parts.
#[derive(Debug)]
pub struct ChangeSet {
    /// Run.
    pub run: i64,
    /// File, also of rows that are replayed: a held file must not miss at its end what was replayed meanwhile.
    pub file: Option<i64>,
    /// Microseconds.
    pub at: i64,
    /// The file's position after this chunk; `None` leaves it where it is.
    pub position: Option<Position>,
    /// One per register.
    pub parts: Vec<RegisterPart>,
}

/// A chunk's changes to one register.
#[derive(Debug)]
pub struct RegisterPart {
    /// Register.
    pub register: String,
    /// `system.dataset`.
    pub dataset: String,
    /// Dataset and register.
    pub stream: StreamId,
    /// Version of the mapping (digest).
    pub mapping: String,
    /// How claims are packed.
    pub layout: Layout,
    /// Entities.
    pub absorbed: Absorbed,
    /// Claims to write.
    pub claims: Vec<ClaimChange>,
    /// Claims no longer made.
    pub departed: Vec<Departure>,
    /// Source keys that the source says are gone, and since when (microseconds): an older row must not bring them back.
    pub gone: Vec<(SourceKey, i64)>,
    /// Keys that now name an entity.
    pub new_keys: Vec<(usize, Arc<str>, EntityId)>,
    /// Claims this file has shown in this chunk (for full extracts).
    pub seen: Vec<ClaimId>,
    /// Source keys whose row was mapped: open quarantine entries of theirs are settled.
    pub healed: Vec<Arc<str>>,
    /// Rows set aside.
    pub quarantined: Vec<Quarantined>,
    /// Counts.
    pub counts: ChunkCounts,
    /// Quarantined rows and notes by code.
    pub codes: Vec<(&'static str, String, u64)>,
    /// Next free ids after this part.
    pub next_ids: (ClaimId, EntityId),
}

/// Where a feed is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedState {
    /// Stored id.
    pub id: i64,
    /// Digest of the grant the last release followed; `None` before the first.
    pub grant: Option<String>,
    /// Changes up to here are released.
    pub cursor: i64,
    /// Last sealed batch; 0 is none.
    pub seq: i64,
    /// Digest of the last manifest, hex.
    pub previous: Option<String>,
    /// Schema version and fingerprint.
    pub schema: (i64, Option<String>),
    /// A full comparison under way: entity after which it goes on, and the change it brings the feed to.
    pub sweep: Option<(EntityId, i64)>,
    /// Parts sealed of the sweep under way.
    pub part: i64,
    /// Whether somebody has suspended the grant.
    pub suspended: Option<super::Suspension>,
    /// Why it could not release when it last tried.
    pub refused: Option<String>,
}

/// What the subscriber holds of one entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldDigest {
    /// Version it was sent as.
    pub version: i64,
    /// Digest of the record it was sent as.
    pub digest: [u8; 32],
}

impl HeldDigest {
    /// Stands where a digest was once the feed is to send everything again: it is that of no record.
    pub const AGAIN: [u8; 32] = [0; 32];
}

/// One held record, and the batch that brought it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldRow {
    /// Entity.
    pub entity: EntityId,
    /// What is held of it.
    pub held: HeldDigest,
    /// Number of the batch.
    pub batch: i64,
}

/// One held record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    /// Entity.
    pub entity: EntityId,
    /// What is held of it.
    pub held: HeldDigest,
}

/// Register rows as a feed reads them.
#[derive(Debug)]
pub struct Snapshot {
    /// Entity ids.
    pub ids: Vec<EntityId>,
    /// Their versions.
    pub versions: Vec<i64>,
    /// The fields asked for, in register order, typed.
    pub rows: RecordBatch,
    /// Entities that changed and are no more.
    pub gone: Vec<EntityId>,
    /// The last entity looked at, live or gone; `None` at the end.
    pub last: Option<EntityId>,
}

/// A sealed batch with everything that must become durable with it.
#[derive(Debug)]
pub struct SealSet {
    /// Feed.
    pub feed: String,
    /// The feed's state after it.
    pub state: FeedState,
    /// The batch, unless this step released nothing.
    pub batch: Option<BatchRow>,
    /// Whether the batch is to be given a token of time (时间戳).
    pub stamp: bool,
    /// Records sent: entity, version, digest.
    pub upserts: Vec<Holding>,
    /// Records withdrawn.
    pub withdrawals: Vec<EntityId>,
    /// considered, released, unaffected, withheld by rule.
    pub counts: FeedCounts,
    /// Microseconds.
    pub at: i64,
    /// Corrections and recalls that the batch carries, by number.
    pub chased: Vec<i64>,
    /// Numbers of persons found in the batch's free text, by field.
    pub found: Vec<Found>,
    /// What the audit log says of it.
    pub notes: Vec<Note>,
}

/// What one release step counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct FeedCounts {
    /// Entities looked at.
    pub considered: u64,
    /// Records put into batches (upserts and withdrawals).
    pub released: u64,
    /// Entities whose released fields are what the subscriber holds.
    pub unaffected: u64,
    /// Entities not released, by rule.
    pub withheld: u64,
}

impl FeedCounts {
    /// `considered = released + withheld + unaffected`.
    pub fn balanced(&self) -> bool {
        self.considered == self.released + self.withheld + self.unaffected
    }

    /// Adds another step.
    pub fn add(&mut self, other: &Self) {
        self.considered += other.considered;
        self.released += other.released;
        self.unaffected += other.unaffected;
        self.withheld += other.withheld;
    }
}

/// A sealed batch as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchRow {
    /// Number within its feed, from 1 without holes.
    pub seq: i64,
    /// `snapshot`, `delta`, …
    pub kind: String,
    /// Avro object container.
    pub body: Vec<u8>,
    /// Manifest, exactly as signed.
    pub manifest: Vec<u8>,
    /// Detached CMS.
    pub signature: Vec<u8>,
    /// Digest of the manifest by the algorithm it names, hex.
    pub manifest_digest: String,
    /// Records.
    pub records: i64,
}

/// One link of a feed's chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchLink {
    /// Number.
    pub seq: i64,
    /// Manifest, exactly as signed.
    pub manifest: Vec<u8>,
}
