//! What feeds read and what they keep.

use std::collections::HashMap;

use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row};

use super::super::table::quoted;
use super::super::{
    BatchRow, FeedCounts, FeedState, FeedView, HeldDigest, HeldRow, Note, Result, SealSet, Side, StoreError, Suspension,
};
use super::audit::append;
use super::bulk::{self, Bulk, Statement, json_integers};
use super::{SqliteStore, unavailable};
use crate::failpoint::Boundary;
use crate::linking::EntityId;

impl SqliteStore {
    pub(super) async fn feed_state(&mut self, feed: &str) -> Result<FeedState> {
        let found = self.stored_feed(feed).await?;
        let row = match found {
            Some(row) => row,
            None => {
                let sql = "insert into feed (name) values (?) on conflict do nothing";
                sqlx::query(sql).bind(feed).execute(&mut self.conn).await.map_err(unavailable)?;
                let found = self.stored_feed(feed).await?;
                found.ok_or_else(|| StoreError::Damaged("a feed does not stay".into()))?
            }
        };
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
            suspended: suspension(&row, 10),
            refused: row.get(13),
        })
    }

    async fn stored_feed(&mut self, feed: &str) -> Result<Option<SqliteRow>> {
        sqlx::query(
            "select id, grant_digest, cursor, seq, previous, schema_version, fingerprint, sweep_entity, sweep_through, part, \
             suspended, suspended_why, suspended_side, refused from feed where name = ?",
        )
        .bind(feed)
        .fetch_optional(&mut self.conn)
        .await
        .map_err(unavailable)
    }

    pub(super) async fn newest_change(&mut self, register: &str) -> Result<i64> {
        let sql = format!("select coalesce(max(seq), 0) from {}", quoted(&format!("{register}_change")));
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut self.conn).await.map_err(unavailable)
    }

    pub(super) async fn held_of(&mut self, feed: &str, entities: &[EntityId]) -> Result<HashMap<EntityId, HeldDigest>> {
        let rows = sqlx::query(
            "select entity, version, digest, batch from holding where feed = (select id from feed where name = ?) \
             and entity in (select value from json_each(?))",
        )
        .bind(feed)
        .bind(json_integers(entities))
        .fetch_all(&mut self.conn)
        .await
        .map_err(unavailable)?;
        rows.iter().map(|row| holding(row).map(|h| (h.entity, h.held))).collect()
    }

    pub(super) async fn holdings_from(&mut self, feed: &str, after: EntityId, limit: i64) -> Result<Vec<HeldRow>> {
        let rows = sqlx::query(
            "select entity, version, digest, batch from holding where feed = (select id from feed where name = ?) \
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

    pub(super) async fn keep_sealed(&mut self, mut seal: SealSet) -> Result<()> {
        let conn = &mut self.conn;
        super::commit::begin(conn).await?;
        let fence = self.fence.as_ref();
        let written = async {
            super::leases::check(conn, fence).await?;
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
                if seal.stamp {
                    super::stamps::want(conn, (state.id, batch.seq), seal.at).await?;
                }
            }
            super::chases::write(conn, &seal).await?;
            let (feed, seq) = (state.id, state.seq);
            let (upserts, withdrawals) = (std::mem::take(&mut seal.upserts), std::mem::take(&mut seal.withdrawals));
            bulk::run(conn, move |script| {
                let mut held = Bulk::new(
                    script,
                    "insert into holding (feed, entity, version, digest, batch)",
                    format!("({feed},?,?,?,?)"),
                    " on conflict do update set version = excluded.version, digest = excluded.digest, batch = excluded.batch",
                );
                for sent in &upserts {
                    held.put(sent.entity)?;
                    held.put(sent.held.version)?;
                    held.put(sent.held.digest.as_slice())?;
                    held.put(seq)?;
                    held.row();
                }
                held.finish();
                let sql = "delete from holding where feed = ? and entity in (select value from json_each(?))";
                script.say(Statement::new(sql).bind(feed)?.bind(json_integers(&withdrawals))?);
                Ok(())
            })
            .await?;
            insert_counts(conn, &seal).await?;
            append(conn, self.audited_by, &seal.notes).await
        }
        .await;
        Boundary::BatchSealing.reached();
        super::commit::finish(conn, written).await?;
        Boundary::BatchSealed.reached();
        Ok(())
    }

    pub(super) async fn not_durable(&mut self, feed: &str, most: i64) -> Result<Vec<BatchRow>> {
        let rows = sqlx::query(
            "select seq, kind, body, manifest, signature, manifest_digest, records from batch \
             where feed = (select id from feed where name = ?) and durable = 0 order by seq limit ?",
        )
        .bind(feed)
        .bind(most)
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
        sqlx::query("update batch set durable = 1 where feed = (select id from feed where name = ?) and seq = ?")
            .bind(feed)
            .bind(seq)
            .execute(&mut self.conn)
            .await
            .map_err(unavailable)?;
        Ok(())
    }

    pub(super) async fn note_suspended(&mut self, feed: &str, now: Option<&Suspension>, note: Note) -> Result<()> {
        super::commit::begin(&mut self.conn).await?;
        let written = async {
            sqlx::query("update feed set suspended = ?, suspended_why = ?, suspended_side = ? where name = ?")
                .bind(now.map(|now| now.at))
                .bind(now.map(|now| now.why.as_str()))
                .bind(now.map(|now| now.side.name()))
                .bind(feed)
                .execute(&mut self.conn)
                .await
                .map_err(unavailable)?;
            append(&mut self.conn, self.audited_by, &[note]).await
        }
        .await;
        super::commit::finish(&mut self.conn, written).await
    }

    pub(super) async fn keep_refusal(&mut self, feed: &str, why: Option<&str>, note: Note) -> Result<()> {
        super::commit::begin(&mut self.conn).await?;
        let written = async {
            let sql = "update feed set refused = ?1 where name = ?2 and refused is not ?1";
            let done = sqlx::query(sql).bind(why).bind(feed).execute(&mut self.conn).await.map_err(unavailable)?;
            if done.rows_affected() == 0 {
                return Ok(());
            }
            append(&mut self.conn, self.audited_by, &[note]).await
        }
        .await;
        super::commit::finish(&mut self.conn, written).await
    }

    /// Number and count in one statement: beside it another daemon seals the next batch.
    pub(super) async fn held_at(&mut self, feed: &str, seq: i64) -> Result<Option<u64>> {
        let count: Option<i64> = sqlx::query_scalar(
            "select (select count(*) from holding h where h.feed = f.id) from feed f where f.name = ? and f.seq = ?",
        )
        .bind(feed)
        .bind(seq)
        .fetch_optional(&mut self.conn)
        .await
        .map_err(unavailable)?;
        Ok(count.map(i64::unsigned_abs))
    }

    pub(super) async fn feed_views(&mut self) -> Result<Vec<FeedView>> {
        let rows = sqlx::query(
            "select f.name, f.cursor, f.seq, \
             (select count(*) from batch b where b.feed = f.id and b.durable = 0), \
             (select count(*) from holding h where h.feed = f.id), \
             coalesce(sum(l.considered), 0), coalesce(sum(l.released), 0), coalesce(sum(l.unaffected), 0), \
             coalesce(sum(l.withheld), 0), \
             coalesce((select sum(records) from batch b where b.feed = f.id and b.durable = 1), 0), f.suspended, f.suspended_why, \
             f.suspended_side \
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
                suspended: suspension(row, 10),
            })
            .collect())
    }
}

/// The three columns of a suspension, from this one on.
fn suspension(row: &SqliteRow, first: usize) -> Option<Suspension> {
    let at: Option<i64> = row.get(first);
    let (why, side): (Option<String>, Option<String>) = (row.get(first + 1), row.get(first + 2));
    Some(Suspension { at: at?, why: why?, side: Side::stored(side.as_deref()) })
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

fn holding(row: &SqliteRow) -> Result<HeldRow> {
    let digest: Vec<u8> = row.get(2);
    let digest = digest.try_into().map_err(|_| StoreError::Damaged("a held digest is not 32 bytes".into()))?;
    Ok(HeldRow { entity: row.get(0), held: HeldDigest { version: row.get(1), digest }, batch: row.get(3) })
}
