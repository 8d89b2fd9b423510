//! What feeds read and what they keep.

use std::collections::HashMap;

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use super::super::{
    BatchRow, FeedCounts, FeedState, FeedView, HeldDigest, HeldRow, Note, Result, SealSet, Side, StoreError, Suspension,
};
use super::PostgresStore;
use super::audit::append;
use super::connect::refused;
use super::copy::Rows;
use super::schema::{begin, finish, in_registers};
use crate::failpoint::Boundary;
use crate::linking::EntityId;

impl PostgresStore {
    pub(super) async fn feed_state(&mut self, feed: &str) -> Result<FeedState> {
        self.ahead.forget();
        let conn = self.link.get().await?;
        let found = stored_feed(conn, feed).await?;
        let row = match found {
            Some(row) => row,
            None => {
                let sql = "insert into feed (name) values ($1) on conflict do nothing";
                sqlx::query(sql).bind(feed).execute(&mut *conn).await.map_err(refused)?;
                stored_feed(conn, feed).await?.ok_or_else(|| StoreError::Damaged("a feed does not stay".into()))?
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

    /// Writers draw numbers one after the other and keep their turn until they commit (`one_writer`), so whatever is
    /// visible has everything below it.
    pub(super) async fn newest_change(&mut self, register: &str) -> Result<i64> {
        self.ahead.forget();
        let change = in_registers(&format!("{register}_change"));
        let sql = format!("select coalesce(max(seq), 0) from {change}");
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(self.link.get().await?).await.map_err(refused)
    }

    pub(super) async fn held_of(&mut self, feed: &str, entities: &[EntityId]) -> Result<HashMap<EntityId, HeldDigest>> {
        const NAMED: &str = "(select id from feed where name = $1)";
        let Some((first, last)) = range(entities) else { return Ok(HashMap::new()) };
        let sql = format!(
            "select entity, version, digest, batch from holding where feed = {NAMED} and entity = any($2) and {}",
            any_held(NAMED, ["$3", "$4"])
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(feed)
            .bind(entities)
            .bind(first)
            .bind(last)
            .fetch_all(self.link.get().await?)
            .await
            .map_err(refused)?;
        rows.iter().map(|row| holding(row).map(|h| (h.entity, h.held))).collect()
    }

    pub(super) async fn holdings_from(&mut self, feed: &str, after: EntityId, limit: i64) -> Result<Vec<HeldRow>> {
        let rows = sqlx::query(
            "select entity, version, digest, batch from holding where feed = (select id from feed where name = $1) \
             and entity > $2 order by entity limit $3",
        )
        .bind(feed)
        .bind(after)
        .bind(limit)
        .fetch_all(self.link.get().await?)
        .await
        .map_err(refused)?;
        rows.iter().map(holding).collect()
    }

    pub(super) async fn keep_sealed(&mut self, seal: &SealSet) -> Result<()> {
        let (fence, algorithm) = (self.fence.as_ref(), self.audited_by);
        let conn = self.link.get().await?;
        begin(conn).await?;
        let written = async {
            super::leases::check(conn, fence).await?;
            keep(conn, seal).await?;
            append(conn, algorithm, &seal.notes).await
        }
        .await;
        Boundary::BatchSealing.reached();
        finish(conn, written).await?;
        Boundary::BatchSealed.reached();
        Ok(())
    }

    pub(super) async fn not_durable(&mut self, feed: &str, most: i64) -> Result<Vec<BatchRow>> {
        let rows = sqlx::query(
            "select seq, kind, body, manifest, signature, manifest_digest, records from batch \
             where feed = (select id from feed where name = $1) and not durable order by seq limit $2",
        )
        .bind(feed)
        .bind(most)
        .fetch_all(self.link.get().await?)
        .await
        .map_err(refused)?;
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
        // Nobody waits for the disk: forgotten in a power cut, the same bytes go out once more.
        let sql = "with soon as (select set_config('synchronous_commit', 'off', true)) update batch set durable = true \
                   from soon where feed = (select id from feed where name = $1) and seq = $2";
        sqlx::query(sql).bind(feed).bind(seq).execute(self.link.get().await?).await.map(|_| ()).map_err(refused)
    }

    pub(super) async fn note_suspended(&mut self, feed: &str, now: Option<&Suspension>, note: Note) -> Result<()> {
        let algorithm = self.audited_by;
        let conn = self.link.get().await?;
        begin(conn).await?;
        let written = async {
            sqlx::query("update feed set suspended = $1, suspended_why = $2, suspended_side = $3 where name = $4")
                .bind(now.map(|now| now.at))
                .bind(now.map(|now| now.why.as_str()))
                .bind(now.map(|now| now.side.name()))
                .bind(feed)
                .execute(&mut *conn)
                .await
                .map_err(refused)?;
            append(conn, algorithm, &[note]).await
        }
        .await;
        finish(conn, written).await
    }

    pub(super) async fn keep_refusal(&mut self, feed: &str, why: Option<&str>, note: Note) -> Result<()> {
        let algorithm = self.audited_by;
        let conn = self.link.get().await?;
        begin(conn).await?;
        let written = async {
            let sql = "update feed set refused = $1 where name = $2 and refused is distinct from $1";
            let done = sqlx::query(sql).bind(why).bind(feed).execute(&mut *conn).await.map_err(refused)?;
            if done.rows_affected() == 0 { Ok(()) } else { append(conn, algorithm, &[note]).await }
        }
        .await;
        finish(conn, written).await
    }

    /// Number and count in one statement: beside it another daemon seals the next batch.
    pub(super) async fn held_at(&mut self, feed: &str, seq: i64) -> Result<Option<u64>> {
        let count: Option<i64> = sqlx::query_scalar(
            "select (select count(*) from holding h where h.feed = f.id) from feed f where f.name = $1 and f.seq = $2",
        )
        .bind(feed)
        .bind(seq)
        .fetch_optional(self.link.get().await?)
        .await
        .map_err(refused)?;
        Ok(count.map(i64::unsigned_abs))
    }

    pub(super) async fn feed_views(&mut self) -> Result<Vec<FeedView>> {
        let rows = sqlx::query(
            "select f.name, f.cursor, f.seq, \
             (select count(*) from batch b where b.feed = f.id and not b.durable), \
             (select count(*) from holding h where h.feed = f.id), \
             l.considered, l.released, l.unaffected, l.withheld, \
             coalesce((select sum(records) from batch b where b.feed = f.id and b.durable), 0)::bigint, f.suspended, f.suspended_why, \
             f.suspended_side \
             from feed f cross join lateral (select coalesce(sum(considered), 0)::bigint as considered, \
             coalesce(sum(released), 0)::bigint as released, coalesce(sum(unaffected), 0)::bigint as unaffected, \
             coalesce(sum(withheld), 0)::bigint as withheld from feed_ledger l where l.feed = f.id) l order by f.name",
        )
        .fetch_all(self.link.get().await?)
        .await
        .map_err(refused)?;
        let n = |row: &PgRow, column: usize| u64::try_from(row.get::<i64, _>(column)).unwrap_or(0);
        let view = |row: &PgRow| FeedView {
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
        };
        Ok(rows.iter().map(view).collect())
    }
}

async fn stored_feed(conn: &mut PgConnection, feed: &str) -> Result<Option<PgRow>> {
    sqlx::query(
        "select id, grant_digest, cursor, seq, previous, schema_version, fingerprint, sweep_entity, sweep_through, part, \
         suspended, suspended_why, suspended_side, refused from feed where name = $1",
    )
    .bind(feed)
    .fetch_optional(conn)
    .await
    .map_err(refused)
}

/// The three columns of a suspension, from this one on.
fn suspension(row: &PgRow, first: usize) -> Option<Suspension> {
    let at: Option<i64> = row.get(first);
    let (why, side): (Option<String>, Option<String>) = (row.get(first + 1), row.get(first + 2));
    Some(Suspension { at: at?, why: why?, side: Side::stored(side.as_deref()) })
}

async fn keep(conn: &mut PgConnection, seal: &SealSet) -> Result<()> {
    let state = &seal.state;
    let before = state.seq - i64::from(seal.batch.is_some());
    let kept = sqlx::query(
        "update feed set grant_digest = $1, cursor = $2, seq = $3, previous = $4, schema_version = $5, fingerprint = $6, \
         sweep_entity = $7, sweep_through = $8, part = $9 where id = $10 and seq = $11",
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
    .bind(before)
    .execute(&mut *conn)
    .await
    .map_err(refused)?;
    if kept.rows_affected() != 1 {
        return Err(StoreError::Unavailable(format!("another process released feed {} meanwhile", seal.feed)));
    }
    if let Some(batch) = &seal.batch {
        insert_batch(conn, state.id, batch, seal.at).await?;
        if seal.stamp {
            super::stamps::want(conn, (state.id, batch.seq), seal.at).await?;
        }
    }
    super::chases::write(conn, seal).await?;
    hold(conn, seal).await?;
    insert_counts(conn, seal).await
}

/// The least and the greatest of these.
fn range(entities: &[EntityId]) -> Option<(EntityId, EntityId)> {
    entities.iter().min().copied().zip(entities.iter().max().copied())
}

/// Whether a feed has any holding from one entity to another: asked first, and once, it spares a first snapshot one look for
/// every record.
fn any_held(feed: &str, [first, last]: [&str; 2]) -> String {
    format!("exists (select 1 from holding where feed = {feed} and entity between {first} and {last})")
}

/// What the subscriber holds from now on.
async fn hold(conn: &mut PgConnection, seal: &SealSet) -> Result<()> {
    let feed = seal.state.id;
    if !seal.withdrawals.is_empty() {
        let drop = sqlx::query("delete from holding where feed = $1 and entity = any($2)");
        drop.bind(feed).bind(&seal.withdrawals).execute(&mut *conn).await.map_err(refused)?;
    }
    let sent: Vec<EntityId> = seal.upserts.iter().map(|sent| sent.entity).collect();
    let Some((first, last)) = range(&sent) else { return Ok(()) };
    let asked = format!("select {}", any_held("$1", ["$2", "$3"]));
    let asked = sqlx::query_scalar(AssertSqlSafe(asked)).bind(feed).bind(first).bind(last);
    let held: bool = asked.fetch_one(&mut *conn).await.map_err(refused)?;
    if held {
        return hold_anew(conn, seal, sent).await;
    }
    let mut rows = Rows::new(5);
    for sent in &seal.upserts {
        rows.row();
        rows.bigint(feed);
        rows.bigint(sent.entity);
        rows.bigint(sent.held.version);
        rows.raw(&sent.held.digest);
        rows.bigint(seal.state.seq);
    }
    rows.into_table("holding (feed, entity, version, digest, batch)".into()).send(conn).await
}

/// Holdings of which some are there: those are changed where they are, so that no index learns of it.
async fn hold_anew(conn: &mut PgConnection, seal: &SealSet, sent: Vec<EntityId>) -> Result<()> {
    sqlx::query(
        "insert into holding (feed, entity, version, digest, batch) \
         select $1, w.entity, w.version, w.digest, $5 from unnest($2::bigint[], $3::bigint[], $4::bytea[]) \
         w(entity, version, digest) on conflict (feed, entity) do update set \
         version = excluded.version, digest = excluded.digest, batch = excluded.batch",
    )
    .bind(seal.state.id)
    .bind(sent)
    .bind(seal.upserts.iter().map(|sent| sent.held.version).collect::<Vec<_>>())
    .bind(seal.upserts.iter().map(|sent| sent.held.digest.as_slice()).collect::<Vec<_>>())
    .bind(seal.state.seq)
    .execute(conn)
    .await
    .map(|_| ())
    .map_err(refused)
}

async fn insert_batch(conn: &mut PgConnection, feed: i64, batch: &BatchRow, at: i64) -> Result<()> {
    sqlx::query(
        "insert into batch (feed, seq, kind, body, manifest, signature, manifest_digest, records, sealed_at) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
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
    .map(|_| ())
    .map_err(refused)
}

async fn insert_counts(conn: &mut PgConnection, seal: &SealSet) -> Result<()> {
    let n = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    sqlx::query(
        "insert into feed_ledger (feed, seq, considered, released, unaffected, withheld, at) \
         values ($1, $2, $3, $4, $5, $6, $7)",
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
    .map(|_| ())
    .map_err(refused)
}

fn holding(row: &PgRow) -> Result<HeldRow> {
    let digest: &[u8] = row.get(2);
    let digest = digest.try_into().map_err(|_| StoreError::Damaged("a held digest is not 32 bytes".into()))?;
    Ok(HeldRow { entity: row.get(0), held: HeldDigest { version: row.get(1), digest }, batch: row.get(3) })
}
