//! What feeds read and what they keep.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Date32Builder, Decimal128Builder, Int64Builder, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use futures::TryStreamExt;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row};

use super::super::{
    BatchRow, FeedCounts, FeedState, FeedView, HeldDigest, Holding, Result, SealSet, Snapshot, StoreError,
};
use super::bulk::{Bulk, json_integers};
use super::lookup::columns;
use super::schema::{RegisterTable, quoted};
use super::{SqliteStore, unavailable};
use crate::linking::EntityId;
use crate::record::{DECIMAL_PRECISION, DECIMAL_SCALE, FieldType, Value, decimal_from_text};

impl SqliteStore {
    pub(super) async fn feed_state(&mut self, feed: &str) -> Result<FeedState> {
        sqlx::query("insert into feed (name) values (?) on conflict do nothing")
            .bind(feed)
            .execute(&mut self.conn)
            .await
            .map_err(unavailable)?;
        let row = sqlx::query(
            "select id, grant_digest, cursor, seq, previous, schema_version, fingerprint, sweep_entity, sweep_through, part \
             from feed where name = ?",
        )
        .bind(feed)
        .fetch_one(&mut self.conn)
        .await
        .map_err(unavailable)?;
        let sweep: (Option<i64>, Option<i64>) = (row.get(7), row.get(8));
        Ok(FeedState {
            id: row.get(0),
            grant: row.get(1),
            cursor: row.get(2),
            seq: row.get(3),
            previous: row.get(4),
            schema: (row.get(5), row.get(6)),
            sweep: sweep.0.zip(sweep.1),
            part: row.get(9),
        })
    }

    pub(super) async fn newest_change(&mut self, register: &str) -> Result<i64> {
        let sql = format!("select coalesce(max(seq), 0) from {}", quoted(&format!("{register}_change")));
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut self.conn).await.map_err(unavailable)
    }

    pub(super) async fn live_after(&mut self, register: &str, after: EntityId, limit: i64) -> Result<Snapshot> {
        let table = self.table(register)?.clone();
        let sql = format!(
            "select _id, _version, {} from {} where _id > ? order by _id limit ?",
            columns(&table),
            quoted(register)
        );
        let mut builder = SnapshotBuilder::new(&table);
        let mut rows = sqlx::query(AssertSqlSafe(sql)).bind(after).bind(limit).fetch(&mut self.conn);
        while let Some(row) = rows.try_next().await.map_err(unavailable)? {
            builder.push(&row)?;
        }
        let last = builder.ids.last().copied();
        builder.finish(Vec::new(), last)
    }

    pub(super) async fn changed_after(
        &mut self,
        register: &str,
        (after, through): (i64, i64),
        from_entity: EntityId,
        limit: i64,
    ) -> Result<Snapshot> {
        let table = self.table(register)?.clone();
        let sql = format!(
            "select distinct entity from {} where seq > ? and seq <= ? and entity > ? order by entity limit ?",
            quoted(&format!("{register}_change"))
        );
        let entities: Vec<EntityId> = sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(after)
            .bind(through)
            .bind(from_entity)
            .bind(limit)
            .fetch_all(&mut self.conn)
            .await
            .map_err(unavailable)?;
        self.present(register, &table, &entities).await
    }

    /// The present state of these entities (ascending).
    async fn present(&mut self, register: &str, table: &RegisterTable, entities: &[EntityId]) -> Result<Snapshot> {
        let sql = format!(
            "select _id, _version, {} from {} where _id in (select value from json_each(?)) order by _id",
            columns(table),
            quoted(register)
        );
        let mut builder = SnapshotBuilder::new(table);
        let mut rows = sqlx::query(AssertSqlSafe(sql)).bind(json_integers(entities)).fetch(&mut self.conn);
        while let Some(row) = rows.try_next().await.map_err(unavailable)? {
            builder.push(&row)?;
        }
        let gone = entities.iter().copied().filter(|id| builder.ids.binary_search(id).is_err()).collect();
        builder.finish(gone, entities.last().copied())
    }

    pub(super) async fn held_of(&mut self, feed: &str, entities: &[EntityId]) -> Result<HashMap<EntityId, HeldDigest>> {
        let rows = sqlx::query(
            "select entity, version, digest from holding where feed = (select id from feed where name = ?) \
             and entity in (select value from json_each(?))",
        )
        .bind(feed)
        .bind(json_integers(entities))
        .fetch_all(&mut self.conn)
        .await
        .map_err(unavailable)?;
        rows.iter().map(|row| holding(row).map(|h| (h.entity, h.held))).collect()
    }

    pub(super) async fn holdings_from(&mut self, feed: &str, after: EntityId, limit: i64) -> Result<Vec<Holding>> {
        let rows = sqlx::query(
            "select entity, version, digest from holding where feed = (select id from feed where name = ?) \
             and entity > ? order by entity limit ?",
        )
        .bind(feed)
        .bind(after)
        .bind(limit)
        .fetch_all(&mut self.conn)
        .await
        .map_err(unavailable)?;
        rows.iter().map(holding).collect()
    }

    pub(super) async fn keep_sealed(&mut self, seal: SealSet) -> Result<()> {
        let conn = &mut self.conn;
        super::commit::begin(conn).await?;
        let written = async {
            let state = &seal.state;
            sqlx::query(
                "update feed set grant_digest = ?, cursor = ?, seq = ?, previous = ?, schema_version = ?, fingerprint = ?, \
                 sweep_entity = ?, sweep_through = ?, part = ? where id = ?",
            )
            .bind(&state.grant)
            .bind(state.cursor)
            .bind(state.seq)
            .bind(&state.previous)
            .bind(state.schema.0)
            .bind(&state.schema.1)
            .bind(state.sweep.map(|(entity, _)| entity))
            .bind(state.sweep.map(|(_, through)| through))
            .bind(state.part)
            .bind(state.id)
            .execute(&mut *conn)
            .await
            .map_err(unavailable)?;
            if let Some(batch) = &seal.batch {
                insert_batch(conn, state.id, batch, seal.at).await?;
            }
            let mut bulk = Bulk::new(
                "insert into holding (feed, entity, version, digest, batch)",
                5,
                " on conflict do update set version = excluded.version, digest = excluded.digest, batch = excluded.batch",
            );
            for sent in &seal.upserts {
                bulk.put(state.id)?;
                bulk.put(sent.entity)?;
                bulk.put(sent.held.version)?;
                bulk.put(sent.held.digest.to_vec())?;
                bulk.put(state.seq)?;
                bulk.row(conn).await?;
            }
            bulk.finish(conn).await?;
            sqlx::query("delete from holding where feed = ? and entity in (select value from json_each(?))")
                .bind(state.id)
                .bind(json_integers(&seal.withdrawals))
                .execute(&mut *conn)
                .await
                .map_err(unavailable)?;
            insert_counts(conn, &seal).await
        }
        .await;
        super::commit::finish(conn, written).await
    }

    pub(super) async fn not_durable(&mut self, feed: &str) -> Result<Vec<BatchRow>> {
        let rows = sqlx::query(
            "select seq, kind, body, manifest, signature, manifest_digest, records from batch \
             where feed = (select id from feed where name = ?) and durable = 0 order by seq limit 16",
        )
        .bind(feed)
        .fetch_all(&mut self.conn)
        .await
        .map_err(unavailable)?;
        rows.iter()
            .map(|row| {
                let body: Option<Vec<u8>> = row.get(2);
                Ok(BatchRow {
                    seq: row.get(0),
                    kind: row.get(1),
                    body: body.ok_or_else(|| StoreError::Damaged("an undelivered batch has no body".into()))?,
                    manifest: row.get(3),
                    signature: row.get(4),
                    manifest_digest: row.get(5),
                    records: row.get(6),
                })
            })
            .collect()
    }

    pub(super) async fn set_durable(&mut self, feed: &str, seq: i64) -> Result<()> {
        // The outlet keeps the body from here on; manifest and signature stay as evidence.
        sqlx::query(
            "update batch set durable = 1, body = null where feed = (select id from feed where name = ?) and seq = ?",
        )
        .bind(feed)
        .bind(seq)
        .execute(&mut self.conn)
        .await
        .map_err(unavailable)?;
        Ok(())
    }

    pub(super) async fn feed_views(&mut self) -> Result<Vec<FeedView>> {
        let rows = sqlx::query(
            "select f.name, f.cursor, f.seq, \
             (select count(*) from batch b where b.feed = f.id and b.durable = 0), \
             (select count(*) from holding h where h.feed = f.id), \
             coalesce(sum(l.considered), 0), coalesce(sum(l.released), 0), coalesce(sum(l.unaffected), 0), \
             coalesce(sum(l.withheld), 0), \
             coalesce((select sum(records) from batch b where b.feed = f.id and b.durable = 1), 0) \
             from feed f left join feed_ledger l on l.feed = f.id group by f.id order by f.name",
        )
        .fetch_all(&mut self.conn)
        .await
        .map_err(unavailable)?;
        let n = |row: &SqliteRow, column: usize| u64::try_from(row.get::<i64, _>(column)).unwrap_or(0);
        Ok(rows
            .iter()
            .map(|row| FeedView {
                feed: row.get(0),
                cursor: row.get(1),
                seq: row.get(2),
                undelivered: row.get(3),
                holding: row.get(4),
                counts: FeedCounts {
                    considered: n(row, 5),
                    released: n(row, 6),
                    unaffected: n(row, 7),
                    withheld: n(row, 8),
                },
                durable: row.get(9),
            })
            .collect())
    }
}

async fn insert_batch(conn: &mut sqlx::SqliteConnection, feed: i64, batch: &BatchRow, at: i64) -> Result<()> {
    sqlx::query(
        "insert into batch (feed, seq, kind, body, manifest, signature, manifest_digest, records, sealed_at) \
         values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(feed)
    .bind(batch.seq)
    .bind(&batch.kind)
    .bind(&batch.body)
    .bind(&batch.manifest)
    .bind(&batch.signature)
    .bind(&batch.manifest_digest)
    .bind(batch.records)
    .bind(at)
    .execute(conn)
    .await
    .map_err(unavailable)?;
    Ok(())
}

async fn insert_counts(conn: &mut sqlx::SqliteConnection, seal: &SealSet) -> Result<()> {
    let n = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    sqlx::query(
        "insert into feed_ledger (feed, seq, considered, released, unaffected, withheld, at) values (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(seal.state.id)
    .bind(seal.batch.as_ref().map(|batch| batch.seq))
    .bind(n(seal.counts.considered))
    .bind(n(seal.counts.released))
    .bind(n(seal.counts.unaffected))
    .bind(n(seal.counts.withheld))
    .bind(seal.at)
    .execute(conn)
    .await
    .map_err(unavailable)?;
    Ok(())
}

fn holding(row: &SqliteRow) -> Result<Holding> {
    let digest: Vec<u8> = row.get(2);
    let digest = digest.try_into().map_err(|_| StoreError::Damaged("a held digest is not 32 bytes".into()))?;
    Ok(Holding { entity: row.get(0), held: HeldDigest { version: row.get(1), digest } })
}

/// Register rows → typed columns.
struct SnapshotBuilder {
    ids: Vec<EntityId>,
    versions: Vec<i64>,
    schema: Arc<Schema>,
    columns: Vec<ColumnBuilder>,
}

enum ColumnBuilder {
    Text(StringBuilder),
    Integer(Int64Builder),
    Decimal(Decimal128Builder),
    Date(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder),
    Boolean(BooleanBuilder),
}

impl SnapshotBuilder {
    fn new(table: &RegisterTable) -> Self {
        let fields: Vec<Field> = table.fields.iter().map(|(name, kind)| Field::new(name, kind.arrow(), true)).collect();
        let columns = table.fields.iter().map(|(_, kind)| ColumnBuilder::new(*kind)).collect();
        Self { ids: Vec::new(), versions: Vec::new(), schema: Arc::new(Schema::new(fields)), columns }
    }

    fn push(&mut self, row: &SqliteRow) -> Result<()> {
        self.ids.push(row.get(0));
        self.versions.push(row.get(1));
        for (i, column) in self.columns.iter_mut().enumerate() {
            column.push(row, i + 2).map_err(|error| {
                StoreError::Damaged(format!("register column {}: {error}", self.schema.field(i).name()))
            })?;
        }
        Ok(())
    }

    fn finish(self, gone: Vec<EntityId>, last: Option<EntityId>) -> Result<Snapshot> {
        let columns = self.columns.into_iter().map(ColumnBuilder::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.ids.len()));
        let rows = RecordBatch::try_new_with_options(self.schema, columns, &options)
            .map_err(|error| StoreError::Damaged(error.to_string()))?;
        Ok(Snapshot { ids: self.ids, versions: self.versions, rows, gone, last })
    }
}

impl ColumnBuilder {
    fn new(kind: FieldType) -> Self {
        match kind {
            FieldType::Text => Self::Text(StringBuilder::new()),
            FieldType::Integer => Self::Integer(Int64Builder::new()),
            FieldType::Decimal => Self::Decimal(
                Decimal128Builder::new()
                    .with_data_type(arrow::datatypes::DataType::Decimal128(DECIMAL_PRECISION, DECIMAL_SCALE)),
            ),
            FieldType::Date => Self::Date(Date32Builder::new()),
            FieldType::Timestamp => {
                Self::Timestamp(TimestampMicrosecondBuilder::new().with_data_type(FieldType::Timestamp.arrow()))
            }
            FieldType::Boolean => Self::Boolean(BooleanBuilder::new()),
        }
    }

    fn push(&mut self, row: &SqliteRow, column: usize) -> std::result::Result<(), String> {
        let text = || row.try_get_unchecked::<Option<&str>, _>(column).map_err(|error| error.to_string());
        match self {
            Self::Text(builder) => builder.append_option(text()?),
            Self::Integer(builder) => builder.append_option(row.try_get_unchecked(column).map_err(|e| e.to_string())?),
            Self::Timestamp(builder) => {
                builder.append_option(row.try_get_unchecked(column).map_err(|e| e.to_string())?)
            }
            Self::Boolean(builder) => builder.append_option(row.try_get_unchecked(column).map_err(|e| e.to_string())?),
            Self::Decimal(builder) => builder.append_option(
                text()?
                    .map(|digits| decimal_from_text(digits.strip_suffix(".0").unwrap_or(digits)).ok_or("not a decimal"))
                    .transpose()?,
            ),
            Self::Date(builder) => builder.append_option(
                text()?
                    .map(|date| match Value::from_text(FieldType::Date, date) {
                        Some(Value::Date(days)) => Ok(days),
                        _ => Err("not a date"),
                    })
                    .transpose()?,
            ),
        }
        Ok(())
    }

    fn finish(self) -> ArrayRef {
        match self {
            Self::Text(mut builder) => Arc::new(builder.finish()),
            Self::Integer(mut builder) => Arc::new(builder.finish()),
            Self::Decimal(mut builder) => Arc::new(builder.finish()),
            Self::Date(mut builder) => Arc::new(builder.finish()),
            Self::Timestamp(mut builder) => Arc::new(builder.finish()),
            Self::Boolean(mut builder) => Arc::new(builder.finish()),
        }
    }
}
