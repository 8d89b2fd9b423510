//! The store of an installation: one PostgreSQL database (15 or later), several processes at once.
//!
//! Reads go over one connection, commits of chunks over another: the next chunk is worked out while the last is written.
//! Lost connections are made again by the next call; what was under way is told as [`StoreError::Unavailable`].

mod ahead;
mod audit;
mod backfills;
mod chases;
mod commit;
mod connect;
mod copy;
mod definitions;
mod feeds;
mod files;
mod first_load;
mod leases;
mod lookup;
mod notes;
mod operations;
mod pack;
mod pages;
mod quarantine;
mod recall;
mod receipts;
mod review;
mod runs;
mod schema;
mod shapes;
mod stamps;
mod turn;
mod views;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use self::ahead::Ahead;
use self::connect::{Address, Link, refused, within};
use self::first_load::FirstLoad;
use self::schema::{Month, in_registers};
use self::turn::Turn;
use super::novelty::Novelty;
use super::pending::Pending;
use super::recollection::Recollections;
use super::table::RegisterTable;
use super::{
    BatchLink, BatchRow, ChangeSet, ClaimView, DeliveryView, EntityView, FeedState, FeedView, FileEnd, FileStart,
    FileState, HeldDigest, HeldRow, HistoryView, Lease, LedgerRow, Note, QuarantineFilter, QuarantineView, Recalled,
    ReceiptRow, Result, RunEnd, RunStart, RunView, SealSet, Snapshot, Store, StoreError,
};
use crate::config::Register;
use crate::linking::{Before, ClaimId, EntityId, Known, Layout, StreamId};

/// Registers in one PostgreSQL database.
pub struct PostgresStore {
    /// Everything but commits of chunks.
    link: Link,
    /// Commits of chunks, and the turn to make them; away while one is under way.
    writer: Link,
    turn: Turn,
    pending: Option<Pending<PgConnection>>,
    registers: HashMap<String, RegisterTable>,
    /// Claims of the streams that are being taken; true while the turn is ours.
    recollections: Recollections,
    novelty: Novelty,
    ahead: Ahead,
    first_load: FirstLoad,
    /// Months whose partitions are there.
    months: HashSet<Month>,
    /// The lease that writes stand under.
    fence: Option<Lease>,
    audited_by: crate::crypto::DigestAlgorithm,
}

impl PostgresStore {
    /// Opens the database, brings its fixed tables up to date, and makes sure that it is this installation's.
    pub async fn open(url: &str, installation: &str) -> Result<Self> {
        let address = Address::parse(url)?;
        let mut link = Link::new(address.clone());
        within(async {
            let conn = link.get().await?;
            schema::migrate(conn).await?;
            schema::claim_for(conn, installation).await
        })
        .await?;
        Ok(Self {
            link,
            writer: Link::new(address.clone()),
            turn: Turn::default(),
            pending: None,
            registers: HashMap::new(),
            recollections: Recollections::default(),
            novelty: Novelty::default(),
            ahead: Ahead::new(Link::new(address)),
            first_load: FirstLoad::default(),
            months: HashSet::new(),
            fence: None,
            audited_by: crate::crypto::DigestAlgorithm::Sha256,
        })
    }

    fn table(&self, register: &str) -> Result<&RegisterTable> {
        self.registers.get(register).ok_or_else(|| StoreError::Damaged(format!("register {register} was not prepared")))
    }

    /// Nothing is known from memory any more.
    fn forget(&mut self) {
        self.recollections.forget();
        self.novelty.forget();
    }

    /// Nothing is under way, and others may write.
    async fn at_rest(&mut self) -> Result<()> {
        let settled = self.settle().await;
        self.pass_turn().await?;
        settled
    }

    /// After an error that leaves nobody knowing what a connection does, the next call makes a new one.
    fn told<T>(&mut self, done: Result<T>) -> Result<T> {
        if matches!(done, Err(StoreError::Unavailable(_))) {
            self.link.lose();
        }
        done
    }
}

/// A question that waits for the commit under way and leaves the turn to others.
macro_rules! at_rest {
    ($store:ident . $call:ident ( $($arg:expr),* )) => {{
        $store.at_rest().await?;
        let done = within($store.$call($($arg),*)).await;
        $store.told(done)
    }};
}

pub(in crate::store::postgres) use at_rest;

/// A question in the middle of a chunk.
macro_rules! in_turn {
    ($store:ident . $call:ident ( $($arg:expr),* )) => {{
        let done = within($store.$call($($arg),*)).await;
        $store.told(done)
    }};
}

impl PostgresStore {
    async fn prepare_all(&mut self, registers: &[&Register]) -> Result<()> {
        for register in registers {
            let table = schema::prepare(self.link.get().await?, register).await?;
            self.registers.insert(register.name.clone(), table);
        }
        Ok(())
    }

    async fn stream_id(&mut self, system: &str, dataset: &str, register: &str) -> Result<StreamId> {
        let conn = self.link.get().await?;
        sqlx::query(
            "insert into stream (system, dataset, register) select $1, $2, $3 where not exists \
             (select 1 from stream where system = $1 and dataset = $2 and register = $3) on conflict do nothing",
        )
        .bind(system)
        .bind(dataset)
        .bind(register)
        .execute(&mut *conn)
        .await
        .map_err(refused)?;
        sqlx::query_scalar("select id from stream where system = $1 and dataset = $2 and register = $3")
            .bind(system)
            .bind(dataset)
            .bind(register)
            .fetch_one(conn)
            .await
            .map_err(refused)
    }

    async fn stored_layout(&mut self, register: &str, fields: &[String]) -> Result<Layout> {
        let names = fields.join(",");
        let conn = self.link.get().await?;
        sqlx::query(
            "insert into layout (register, fields) select $1, $2 where not exists \
             (select 1 from layout where register = $1 and fields = $2) on conflict do nothing",
        )
        .bind(register)
        .bind(&names)
        .execute(&mut *conn)
        .await
        .map_err(refused)?;
        let id: i64 = sqlx::query_scalar("select id from layout where register = $1 and fields = $2")
            .bind(register)
            .bind(&names)
            .fetch_one(conn)
            .await
            .map_err(refused)?;
        let layouts = self.layouts(register).await?;
        layouts.get(&id).cloned().ok_or_else(|| StoreError::Damaged("a layout that was just noted is not there".into()))
    }

    async fn claims_in(&mut self, stream: StreamId) -> Result<u64> {
        let count: i64 = sqlx::query_scalar("select coalesce((select claims from stream where id = $1), 0)")
            .bind(stream)
            .fetch_one(self.link.get().await?)
            .await
            .map_err(refused)?;
        Ok(count.unsigned_abs())
    }

    async fn vanish(&mut self, dataset: &str, file: i64) -> Result<u64> {
        let done = sqlx::query(
            "update quarantine set status = 'vanished' where status = 'open' and dataset = $1 and file <> $2",
        )
        .bind(dataset)
        .bind(file)
        .execute(self.link.get().await?)
        .await
        .map_err(refused)?;
        Ok(done.rows_affected())
    }

    async fn sealed_records(&mut self, feed: &str, at: i64) -> Result<u64> {
        let count: i64 = sqlx::query_scalar(
            "select coalesce(sum(records), 0)::bigint from batch where feed = (select id from feed where name = $1) \
             and sealed_at >= $2",
        )
        .bind(feed)
        .bind(at)
        .fetch_one(self.link.get().await?)
        .await
        .map_err(refused)?;
        Ok(count.unsigned_abs())
    }

    async fn links(&mut self, feed: &str) -> Result<Vec<BatchLink>> {
        let rows = sqlx::query(
            "select seq, manifest from batch where feed = (select id from feed where name = $1) order by seq",
        )
        .bind(feed)
        .fetch_all(self.link.get().await?)
        .await
        .map_err(refused)?;
        Ok(rows.iter().map(|row| BatchLink { seq: row.get(0), manifest: row.get(1) }).collect())
    }

    async fn live_count(&mut self, register: &str) -> Result<u64> {
        let sql = format!("select count(*) from {}", in_registers(register));
        let count: i64 =
            sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(self.link.get().await?).await.map_err(refused)?;
        Ok(count.unsigned_abs())
    }

    async fn gone_settled(&mut self, stream: StreamId, keys: &[Arc<str>]) -> Result<HashMap<Arc<str>, i64>> {
        self.settle().await?;
        self.gone_keys(stream, keys).await
    }

    async fn before_settled(&mut self, register: &str, entities: &[EntityId]) -> Result<HashMap<EntityId, Before>> {
        self.before_looking_up(usize::from(!entities.is_empty())).await?;
        self.settle_entities(entities.iter().copied()).await?;
        self.before_of(register, entities).await
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn prepare(&mut self, registers: &[&Register]) -> Result<()> {
        at_rest!(self.prepare_all(registers))
    }

    async fn stream(&mut self, system: &str, dataset: &str, register: &str) -> Result<StreamId> {
        at_rest!(self.stream_id(system, dataset, register))
    }

    async fn streams(&mut self) -> Result<HashMap<StreamId, (String, String, String)>> {
        at_rest!(self.all_streams())
    }

    async fn layout(&mut self, register: &str, fields: &[String]) -> Result<Layout> {
        at_rest!(self.stored_layout(register, fields))
    }

    async fn begin_run(&mut self, start: RunStart) -> Result<i64> {
        at_rest!(self.start_run(start))
    }

    async fn end_run(&mut self, run: i64, end: RunEnd) -> Result<()> {
        self.end_first_load().await?;
        self.forget();
        at_rest!(self.finish_run(run, end))
    }

    async fn runs(&mut self, pipeline: Option<&str>, limit: i64) -> Result<Vec<RunView>> {
        at_rest!(self.list_runs(pipeline, limit))
    }

    async fn file(&mut self, dataset: &str, digest: &str) -> Result<Option<FileState>> {
        at_rest!(self.known_file(dataset, digest))
    }

    async fn begin_file(&mut self, start: FileStart) -> Result<FileState> {
        at_rest!(self.start_file(start))
    }

    async fn end_file(&mut self, file: i64, end: FileEnd) -> Result<()> {
        self.settle().await?;
        in_turn!(self.keep_packed())?;
        self.end_first_load().await?;
        self.forget();
        at_rest!(self.finish_file(file, end))
    }

    async fn recall(&mut self, stream: StreamId, rows: &[(Arc<str>, i64)]) -> Result<Vec<Recalled>> {
        in_turn!(self.recall_in_turn(stream, rows))
    }

    async fn gone(&mut self, stream: StreamId, keys: &[Arc<str>]) -> Result<HashMap<Arc<str>, i64>> {
        in_turn!(self.gone_settled(stream, keys))
    }

    async fn known(&mut self, register: &str, keys: &[(usize, Arc<str>)]) -> Result<Known> {
        in_turn!(self.known_in_turn(register, keys))
    }

    async fn before(&mut self, register: &str, entities: &[EntityId]) -> Result<HashMap<EntityId, Before>> {
        in_turn!(self.before_settled(register, entities))
    }

    async fn next_ids(&mut self) -> Result<(ClaimId, EntityId)> {
        self.ids_in_turn().await
    }

    async fn commit(&mut self, change: ChangeSet) -> Result<()> {
        self.begin_commit(change).await
    }

    async fn rest(&mut self) -> Result<()> {
        self.at_rest().await
    }

    async fn vanished(
        &mut self,
        stream: StreamId,
        file: i64,
        after: ClaimId,
        limit: i64,
    ) -> Result<Vec<(ClaimId, EntityId)>> {
        self.end_first_load().await?;
        at_rest!(self.vanished_claims(stream, file, after, limit))
    }

    async fn claim_count(&mut self, stream: StreamId) -> Result<u64> {
        at_rest!(self.claims_in(stream))
    }

    async fn seen(&mut self, stream: StreamId, file: i64) -> Result<roaring::RoaringTreemap> {
        at_rest!(self.seen_claims(stream, file))
    }

    async fn quarantine_vanished(&mut self, dataset: &str, file: i64) -> Result<u64> {
        at_rest!(self.vanish(dataset, file))
    }

    async fn feed(&mut self, feed: &str) -> Result<FeedState> {
        at_rest!(self.feed_state(feed))
    }

    async fn horizon(&mut self, register: &str) -> Result<i64> {
        at_rest!(self.newest_change(register))
    }

    async fn entities_after(
        &mut self,
        register: &str,
        fields: &[&str],
        after: EntityId,
        limit: i64,
    ) -> Result<Snapshot> {
        at_rest!(self.live_after(register, fields, after, limit))
    }

    async fn changed_between(
        &mut self,
        of: (&str, &[&str]),
        window: (i64, i64),
        from_entity: EntityId,
        limit: i64,
    ) -> Result<Snapshot> {
        at_rest!(self.changed_after(of, window, from_entity, limit))
    }

    async fn held(&mut self, feed: &str, entities: &[EntityId]) -> Result<HashMap<EntityId, HeldDigest>> {
        at_rest!(self.held_of(feed, entities))
    }

    async fn holdings_after(&mut self, feed: &str, after: EntityId, limit: i64) -> Result<Vec<HeldRow>> {
        at_rest!(self.holdings_from(feed, after, limit))
    }

    async fn seal(&mut self, seal: SealSet) -> Result<()> {
        at_rest!(self.keep_sealed(&seal))
    }

    async fn sealed_since(&mut self, feed: &str, at: i64) -> Result<u64> {
        at_rest!(self.sealed_records(feed, at))
    }

    async fn undelivered(&mut self, feed: &str, most: i64) -> Result<Vec<BatchRow>> {
        at_rest!(self.not_durable(feed, most))
    }

    async fn mark_durable(&mut self, feed: &str, seq: i64) -> Result<()> {
        at_rest!(self.set_durable(feed, seq))
    }

    async fn entity(&mut self, register: &str, key: &str) -> Result<Option<EntityView>> {
        at_rest!(self.entity_by_key(register, key))
    }

    async fn find(&mut self, register: &str, field: &str, text: &str, limit: i64) -> Result<Vec<EntityView>> {
        at_rest!(self.find_entities(register, field, text, limit))
    }

    async fn history(&mut self, register: &str, entity: EntityId) -> Result<Vec<HistoryView>> {
        at_rest!(self.history_of(register, entity))
    }

    async fn claims(&mut self, register: &str, entity: EntityId) -> Result<Vec<ClaimView>> {
        at_rest!(self.claim_views(register, entity))
    }

    async fn quarantine(&mut self, filter: &QuarantineFilter) -> Result<Vec<QuarantineView>> {
        at_rest!(self.list_quarantine(filter))
    }

    async fn set_quarantine(&mut self, ids: &[i64], status: &str, why: &str, note: Option<Note>) -> Result<u64> {
        at_rest!(self.change_quarantine(ids, (status, why), note))
    }

    async fn ledger(&mut self, run: Option<i64>) -> Result<Vec<LedgerRow>> {
        at_rest!(self.ledger_lines(run))
    }

    async fn claimed_entities(&mut self, register: &str, after: EntityId, limit: i64) -> Result<Vec<EntityId>> {
        at_rest!(self.claimed_after(register, after, limit))
    }

    async fn batch_links(&mut self, feed: &str) -> Result<Vec<BatchLink>> {
        at_rest!(self.links(feed))
    }

    async fn hold_still(&mut self) -> Result<()> {
        at_rest!(self.say("begin isolation level repeatable read, read only"))
    }

    async fn move_on(&mut self) -> Result<()> {
        at_rest!(self.say("commit"))
    }

    async fn lacks_indexes(&mut self) -> Result<bool> {
        at_rest!(self.is_in_first_load())
    }

    async fn holding_at(&mut self, feed: &str, seq: i64) -> Result<Option<u64>> {
        at_rest!(self.held_at(feed, seq))
    }

    async fn feeds(&mut self) -> Result<Vec<FeedView>> {
        at_rest!(self.feed_views())
    }

    async fn holders(&mut self, entity: EntityId) -> Result<Vec<(String, i64, i64)>> {
        at_rest!(self.feeds_holding(entity))
    }

    async fn count(&mut self, register: &str) -> Result<u64> {
        at_rest!(self.live_count(register))
    }

    async fn manifest(&mut self, feed: &str, seq: i64) -> Result<Option<Vec<u8>>> {
        at_rest!(self.sealed_manifest(feed, seq))
    }

    async fn record_receipt(&mut self, receipt: &ReceiptRow) -> Result<bool> {
        at_rest!(self.keep_receipt(receipt))
    }

    async fn receipts(&mut self, feed: &str, limit: i64) -> Result<Vec<ReceiptRow>> {
        at_rest!(self.list_receipts(feed, limit))
    }

    async fn delivery(&mut self, feed: &str) -> Result<DeliveryView> {
        at_rest!(self.delivery_of(feed))
    }

    fn audit_by(&mut self, algorithm: crate::crypto::DigestAlgorithm) {
        self.audited_by = algorithm;
    }
}
