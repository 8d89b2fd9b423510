//! The embedded store: one SQLite file in WAL mode, every commit synced.

mod audit;
mod backfills;
mod bulk;
mod chases;
mod checkpoint;
mod commit;
mod definitions;
mod feeds;
mod files;
mod leases;
mod lookup;
mod notes;
mod operations;
mod pages;
mod pending;
mod recall;
mod receipts;
mod review;
mod runs;
mod schema;
mod shapes;
mod stamps;
mod views;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Row, SqliteConnection};

use self::checkpoint::Checkpointer;
use super::novelty::Novelty;
use super::pending::Pending;
use super::recollection::Recollections;
use super::table::{RegisterTable, quoted};
use super::{
    BatchLink, BatchRow, ChangeSet, ClaimView, DeliveryView, EntityView, FeedState, FeedView, FileEnd, FileStart,
    FileState, HeldDigest, HeldRow, HistoryView, Lease, LedgerRow, Note, QuarantineFilter, QuarantineView, Recalled,
    ReceiptRow, Result, RunEnd, RunStart, RunView, SealSet, Snapshot, Store, StoreError,
};
use crate::config::Register;
use crate::crypto::DigestAlgorithm;
use crate::linking::{Before, ClaimId, EntityId, Known, Layout, StreamId};

/// Registers in one SQLite file.
pub struct SqliteStore {
    /// Everything but commits of chunks.
    conn: SqliteConnection,
    /// Commits of chunks: opened for the first, away while one is under way.
    writer: Option<SqliteConnection>,
    options: SqliteConnectOptions,
    pending: Option<Pending<SqliteConnection>>,
    checkpointer: Checkpointer,
    registers: HashMap<String, RegisterTable>,
    recollections: Recollections,
    novelty: Novelty,
    /// The lease that writes stand under.
    fence: Option<Lease>,
    /// How audit entries are digested.
    audited_by: DigestAlgorithm,
    /// By number of rows: long texts, made once.
    recall_sql: HashMap<usize, Arc<str>>,
}

impl SqliteStore {
    /// Opens or makes the file, and brings its fixed tables up to date.
    pub async fn open(path: &Path) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(10))
            .statement_cache_capacity(256)
            .row_buffer_size(1024)
            .page_size(8192)
            .pragma("temp_store", "memory")
            .disable_statement_logging();
        let mut conn = options.clone().pragma("cache_size", "-24576").connect().await.map_err(unavailable)?;
        schema::migrate(&mut conn).await?;
        let checkpointer = Checkpointer::new(options.clone());
        Ok(Self {
            conn,
            writer: None,
            options,
            pending: None,
            checkpointer,
            registers: HashMap::new(),
            recollections: Recollections::default(),
            novelty: Novelty::default(),
            fence: None,
            audited_by: DigestAlgorithm::Sha256,
            recall_sql: HashMap::new(),
        })
    }

    fn table(&self, register: &str) -> Result<&RegisterTable> {
        self.registers.get(register).ok_or_else(|| StoreError::Damaged(format!("register {register} was not prepared")))
    }
}

/// SQLite errors are about the file, the disk or another process: nothing was kept, the call may be repeated. But a table
/// or column that is not there (1) was altered by somebody, and a file that is none of ours (11, 26) stays so.
fn unavailable(error: sqlx::Error) -> StoreError {
    match &error {
        sqlx::Error::Database(inner) if inner.code().is_some_and(|code| ["1", "11", "26"].contains(&&*code)) => {
            StoreError::Damaged(inner.message().to_owned())
        }
        _ => StoreError::Unavailable(error.to_string()),
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn prepare(&mut self, registers: &[&Register]) -> Result<()> {
        self.settle().await?;
        for register in registers {
            let table = schema::prepare(&mut self.conn, register).await?;
            self.registers.insert(register.name.clone(), table);
        }
        Ok(())
    }

    async fn stream(&mut self, system: &str, dataset: &str, register: &str) -> Result<StreamId> {
        self.settle().await?;
        sqlx::query("insert into stream (system, dataset, register) values (?, ?, ?) on conflict do nothing")
            .bind(system)
            .bind(dataset)
            .bind(register)
            .execute(&mut self.conn)
            .await
            .map_err(unavailable)?;
        sqlx::query_scalar("select id from stream where system = ? and dataset = ? and register = ?")
            .bind(system)
            .bind(dataset)
            .bind(register)
            .fetch_one(&mut self.conn)
            .await
            .map_err(unavailable)
    }

    async fn streams(&mut self) -> Result<HashMap<StreamId, (String, String, String)>> {
        self.settle().await?;
        self.all_streams().await
    }

    async fn layout(&mut self, register: &str, fields: &[String]) -> Result<Layout> {
        self.settle().await?;
        let names = fields.join(",");
        sqlx::query("insert into layout (register, fields) values (?, ?) on conflict do nothing")
            .bind(register)
            .bind(&names)
            .execute(&mut self.conn)
            .await
            .map_err(unavailable)?;
        let id: i64 = sqlx::query_scalar("select id from layout where register = ? and fields = ?")
            .bind(register)
            .bind(&names)
            .fetch_one(&mut self.conn)
            .await
            .map_err(unavailable)?;
        let layouts = self.layouts(register).await?;
        layouts.get(&id).cloned().ok_or_else(|| StoreError::Damaged("a layout that was just noted is not there".into()))
    }

    async fn begin_run(&mut self, start: RunStart) -> Result<i64> {
        self.settle().await?;
        self.start_run(start).await
    }

    async fn end_run(&mut self, run: i64, end: RunEnd) -> Result<()> {
        self.settle().await?;
        self.forget();
        self.finish_run(run, end).await?;
        self.checkpointer.finish().await
    }

    async fn runs(&mut self, pipeline: Option<&str>, limit: i64) -> Result<Vec<RunView>> {
        self.settle().await?;
        self.list_runs(pipeline, limit).await
    }

    async fn file(&mut self, dataset: &str, digest: &str) -> Result<Option<FileState>> {
        self.settle().await?;
        self.known_file(dataset, digest).await
    }

    async fn begin_file(&mut self, start: FileStart) -> Result<FileState> {
        self.settle().await?;
        self.start_file(start).await
    }

    async fn end_file(&mut self, file: i64, end: FileEnd) -> Result<()> {
        self.settle().await?;
        self.keep_packed().await?;
        self.forget();
        self.finish_file(file, end).await
    }

    async fn recall(&mut self, stream: StreamId, rows: &[(Arc<str>, i64)]) -> Result<Vec<Recalled>> {
        self.recall_or_remember(stream, rows).await
    }

    async fn gone(&mut self, stream: StreamId, keys: &[Arc<str>]) -> Result<HashMap<Arc<str>, i64>> {
        self.settle().await?;
        self.gone_keys(stream, keys).await
    }

    async fn known(&mut self, register: &str, keys: &[(usize, Arc<str>)]) -> Result<Known> {
        if self.novelty.is_open(register) {
            self.settle().await?;
            let empty = self.is_without_keys(register).await?;
            self.novelty.begin(register, empty.then_some(0));
        }
        match self.novelty.may_be_known(register, keys) {
            Some(keys) if keys.is_empty() => Ok(Known::default()),
            Some(keys) => self.known_settled(register, &keys).await,
            None => self.known_settled(register, keys).await,
        }
    }

    async fn before(&mut self, register: &str, entities: &[EntityId]) -> Result<HashMap<EntityId, Before>> {
        self.settle_entities(entities.iter().copied()).await?;
        self.before_of(register, entities).await
    }

    async fn next_ids(&mut self) -> Result<(ClaimId, EntityId)> {
        if let Some(next) = self.pending_ids() {
            return Ok(next);
        }
        let rows =
            sqlx::query("select name, next from counter").fetch_all(&mut self.conn).await.map_err(unavailable)?;
        let next = |name: &str| {
            rows.iter()
                .find(|row| row.get::<&str, _>(0) == name)
                .map(|row| row.get(1))
                .ok_or_else(|| StoreError::Damaged(format!("counter {name} is missing")))
        };
        Ok((next("claim")?, next("entity")?))
    }

    async fn commit(&mut self, change: ChangeSet) -> Result<()> {
        self.begin_commit(change).await
    }

    async fn rest(&mut self) -> Result<()> {
        self.settle().await
    }

    async fn vanished(
        &mut self,
        stream: StreamId,
        file: i64,
        after: ClaimId,
        limit: i64,
    ) -> Result<Vec<(ClaimId, EntityId)>> {
        self.settle().await?;
        self.vanished_claims(stream, file, after, limit).await
    }

    async fn claim_count(&mut self, stream: StreamId) -> Result<u64> {
        self.settle().await?;
        Ok(self.stream_claims(stream).await?.unsigned_abs())
    }

    async fn seen(&mut self, stream: StreamId, file: i64) -> Result<roaring::RoaringTreemap> {
        self.settle().await?;
        self.seen_claims(stream, file).await
    }

    async fn quarantine_vanished(&mut self, dataset: &str, file: i64) -> Result<u64> {
        self.settle().await?;
        let done = sqlx::query(
            "update quarantine set status = 'vanished' where status = 'open' and dataset = ? and file <> ?",
        )
        .bind(dataset)
        .bind(file)
        .execute(&mut self.conn)
        .await
        .map_err(unavailable)?;
        Ok(done.rows_affected())
    }

    async fn feed(&mut self, feed: &str) -> Result<FeedState> {
        self.settle().await?;
        self.feed_state(feed).await
    }

    async fn horizon(&mut self, register: &str) -> Result<i64> {
        self.settle().await?;
        self.newest_change(register).await
    }

    async fn entities_after(
        &mut self,
        register: &str,
        fields: &[&str],
        after: EntityId,
        limit: i64,
    ) -> Result<Snapshot> {
        self.settle().await?;
        self.live_after(register, fields, after, limit).await
    }

    async fn changed_between(
        &mut self,
        of: (&str, &[&str]),
        window: (i64, i64),
        from_entity: EntityId,
        limit: i64,
    ) -> Result<Snapshot> {
        self.settle().await?;
        self.changed_after(of, window, from_entity, limit).await
    }

    async fn held(&mut self, feed: &str, entities: &[EntityId]) -> Result<HashMap<EntityId, HeldDigest>> {
        self.settle().await?;
        self.held_of(feed, entities).await
    }

    async fn holdings_after(&mut self, feed: &str, after: EntityId, limit: i64) -> Result<Vec<HeldRow>> {
        self.settle().await?;
        self.holdings_from(feed, after, limit).await
    }

    async fn seal(&mut self, seal: SealSet) -> Result<()> {
        self.settle().await?;
        self.keep_sealed(seal).await
    }

    async fn sealed_since(&mut self, feed: &str, at: i64) -> Result<u64> {
        self.settle().await?;
        let records: i64 = sqlx::query_scalar(
            "select coalesce(sum(records), 0) from batch where feed = (select id from feed where name = ?) and sealed_at >= ?",
        )
        .bind(feed)
        .bind(at)
        .fetch_one(&mut self.conn)
        .await
        .map_err(unavailable)?;
        Ok(records.unsigned_abs())
    }

    async fn undelivered(&mut self, feed: &str, most: i64) -> Result<Vec<BatchRow>> {
        self.settle().await?;
        self.not_durable(feed, most).await
    }

    async fn mark_durable(&mut self, feed: &str, seq: i64) -> Result<()> {
        self.settle().await?;
        self.set_durable(feed, seq).await
    }

    async fn entity(&mut self, register: &str, key: &str) -> Result<Option<EntityView>> {
        self.settle().await?;
        self.entity_by_key(register, key).await
    }

    async fn find(&mut self, register: &str, field: &str, text: &str, limit: i64) -> Result<Vec<EntityView>> {
        self.settle().await?;
        self.find_entities(register, field, text, limit).await
    }

    async fn history(&mut self, register: &str, entity: EntityId) -> Result<Vec<HistoryView>> {
        self.settle().await?;
        self.history_of(register, entity).await
    }

    async fn claims(&mut self, register: &str, entity: EntityId) -> Result<Vec<ClaimView>> {
        self.settle().await?;
        self.claim_views(register, entity).await
    }

    async fn quarantine(&mut self, filter: &QuarantineFilter) -> Result<Vec<QuarantineView>> {
        self.settle().await?;
        self.list_quarantine(filter).await
    }

    async fn set_quarantine(&mut self, ids: &[i64], status: &str, why: &str, note: Option<Note>) -> Result<u64> {
        self.settle().await?;
        self.change_quarantine(ids, (status, why), note).await
    }

    async fn ledger(&mut self, run: Option<i64>) -> Result<Vec<LedgerRow>> {
        self.settle().await?;
        self.ledger_lines(run).await
    }

    async fn claimed_entities(&mut self, register: &str, after: EntityId, limit: i64) -> Result<Vec<EntityId>> {
        self.settle().await?;
        self.claimed_after(register, after, limit).await
    }

    async fn batch_links(&mut self, feed: &str) -> Result<Vec<BatchLink>> {
        self.settle().await?;
        let rows = sqlx::query(
            "select seq, manifest from batch where feed = (select id from feed where name = ?) order by seq",
        )
        .bind(feed)
        .fetch_all(&mut self.conn)
        .await
        .map_err(unavailable)?;
        Ok(rows.iter().map(|row| BatchLink { seq: row.get(0), manifest: row.get(1) }).collect())
    }

    async fn hold_still(&mut self) -> Result<()> {
        self.settle().await?;
        sqlx::query("begin").execute(&mut self.conn).await.map(|_| ()).map_err(unavailable)
    }

    async fn move_on(&mut self) -> Result<()> {
        sqlx::query("commit").execute(&mut self.conn).await.map(|_| ()).map_err(unavailable)
    }

    async fn lacks_indexes(&mut self) -> Result<bool> {
        Ok(false)
    }

    async fn holding_at(&mut self, feed: &str, seq: i64) -> Result<Option<u64>> {
        self.settle().await?;
        self.held_at(feed, seq).await
    }

    async fn feeds(&mut self) -> Result<Vec<FeedView>> {
        self.settle().await?;
        self.feed_views().await
    }

    async fn holders(&mut self, entity: EntityId) -> Result<Vec<(String, i64, i64)>> {
        self.settle().await?;
        self.feeds_holding(entity).await
    }

    async fn count(&mut self, register: &str) -> Result<u64> {
        self.settle().await?;
        let sql = format!("select count(*) from {}", quoted(register));
        let count: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut self.conn).await.map_err(unavailable)?;
        Ok(count.unsigned_abs())
    }

    async fn manifest(&mut self, feed: &str, seq: i64) -> Result<Option<Vec<u8>>> {
        self.settle().await?;
        self.sealed_manifest(feed, seq).await
    }

    async fn record_receipt(&mut self, receipt: &ReceiptRow) -> Result<bool> {
        self.settle().await?;
        self.keep_receipt(receipt).await
    }

    async fn receipts(&mut self, feed: &str, limit: i64) -> Result<Vec<ReceiptRow>> {
        self.settle().await?;
        self.list_receipts(feed, limit).await
    }

    async fn delivery(&mut self, feed: &str) -> Result<DeliveryView> {
        self.settle().await?;
        self.delivery_of(feed).await
    }

    fn audit_by(&mut self, algorithm: DigestAlgorithm) {
        self.audited_by = algorithm;
    }
}
