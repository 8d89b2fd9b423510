//! Corrections and recalls (更正，撤回) on their way to everybody who has or had the record, and what was found in free text.

use serde::Serialize;

use crate::batch::Kind;
use crate::linking::EntityId;

/// Somebody demands that every copy of a record is corrected or given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewChase {
    /// [`Kind::Correction`] or [`Kind::Recall`]; a recalled record goes out to nobody until it is corrected.
    pub kind: Kind,
    /// Register.
    pub register: String,
    /// Whose record.
    pub entity: EntityId,
    /// 事由.
    pub why: String,
    /// 文号.
    pub reference: String,
    /// Microseconds.
    pub at: i64,
}

/// One subscriber who must be reached with one of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChaseView {
    /// Number.
    pub id: i64,
    /// Feed.
    pub feed: String,
    /// Register.
    pub register: String,
    /// Whose record.
    pub entity: EntityId,
    /// `correction`, `recall`.
    pub kind: String,
    /// 事由.
    pub why: String,
    /// 文号.
    pub reference: String,
    /// Since when, microseconds.
    pub at: i64,
    /// The batch that carries it; `None` while it waits for the feed's next pass.
    pub seq: Option<i64>,
    /// Whether the outlet has that batch.
    pub durable: bool,
    /// When the subscriber answered for that batch or a later one, microseconds.
    pub answered: Option<i64>,
}

/// A subscriber who has or had a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HolderView {
    /// Feed.
    pub feed: String,
    /// Version of the copy.
    pub version: i64,
    /// The batch that brought it.
    pub batch: i64,
    /// The batch that withdrew it; `None` while it is held.
    pub withdrawn: Option<i64>,
}

/// Numbers of persons found in one field's free text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Found {
    /// Field.
    pub field: String,
    /// `mask`, `withhold`, `flag`.
    pub policy: String,
    /// 公民身份号码.
    pub citizen_ids: i64,
    /// 手机号.
    pub mobiles: i64,
}
