//! Backfills and their chunks, and what they ask of feeds.

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use super::super::{
    BackfillState, BackfillView, BatchRow, ChunkEnd, ChunkState, ChunkView, FeedLag, NewBackfill, Note,
    QuarantineBacklog, Result, StoreError,
};
use super::PostgresStore;
use super::audit::append;
use super::connect::refused;
use super::copy::Rows;
use super::lookup::micros;
use super::schema::{begin, finish, in_registers};

impl PostgresStore {
    pub(super) async fn keep_backfill(&mut self, new: &NewBackfill) -> Result<i64> {
        let conn = self.link.get().await?;
        begin(conn).await?;
        let kept = keep(conn, new).await;
        finish(conn, kept).await
    }

    pub(super) async fn list_backfills(&mut self, id: Option<i64>) -> Result<Vec<BackfillView>> {
        let rows = sqlx::query(
            "select b.id, kind, target, b.spec, b.state, b.why, note, asked, started, b.ended, run, before, \
             count(*) filter (where c.state = 'pending'), count(*) filter (where c.state = 'done'), \
             count(*) filter (where c.state = 'failed'), coalesce(sum(c.rows), 0)::bigint, \
             coalesce(sum(c.rows) filter (where c.state = 'done'), 0)::bigint \
             from backfill b left join backfill_chunk c on c.backfill = b.id where $1::bigint is null or b.id = $1 \
             group by b.id order by b.id desc",
        )
        .bind(id)
        .fetch_all(self.link.get().await?)
        .await
        .map_err(refused)?;
        rows.iter().map(backfill_view).collect()
    }

    pub(super) async fn list_chunks(
        &mut self,
        id: i64,
        state: Option<ChunkState>,
        limit: i64,
    ) -> Result<Vec<ChunkView>> {
        let rows = sqlx::query(
            "select n, label, spec, rows, state, why, ended from backfill_chunk \
             where backfill = $1 and ($2::text is null or state = $2) order by n limit $3",
        )
        .bind(id)
        .bind(state.map(ChunkState::name))
        .bind(limit)
        .fetch_all(self.link.get().await?)
        .await
        .map_err(refused)?;
        let view = |row: &PgRow| {
            Ok(ChunkView {
                n: row.get(0),
                label: row.get(1),
                spec: row.get(2),
                rows: unsigned(row, 3),
                state: ChunkState::from_name(row.get(4)).ok_or_else(|| damaged(id))?,
                why: row.get(5),
                ended: row.get(6),
            })
        };
        rows.iter().map(view).collect()
    }

    pub(super) async fn change_backfill(
        &mut self,
        id: i64,
        from: &[BackfillState],
        (to, said, at): (BackfillState, Option<&str>, i64),
        note: Option<Note>,
    ) -> Result<bool> {
        let from: Vec<&str> = from.iter().map(|state| state.name()).collect();
        let algorithm = self.audited_by;
        let conn = self.link.get().await?;
        begin(conn).await?;
        let moved = async {
            let done = sqlx::query(
                "update backfill set state = $1, note = $2, \
                 started = case when $1 = 'running' then coalesce(started, $3) else started end, \
                 ended = case when $4 then $3 end where id = $5 and state = any($6)",
            )
            .bind(to.name())
            .bind(said)
            .bind(at)
            .bind(to.over())
            .bind(id)
            .bind(from)
            .execute(&mut *conn)
            .await
            .map_err(refused)?;
            let moved = done.rows_affected() == 1;
            append(conn, algorithm, note.as_slice().get(..usize::from(moved)).unwrap_or_default()).await.map(|()| moved)
        }
        .await;
        finish(conn, moved).await
    }

    pub(super) async fn annotate_backfill(&mut self, id: i64, run: Option<i64>, before: &str) -> Result<()> {
        sqlx::query("update backfill set run = coalesce(run, $1), before = coalesce(before, $2) where id = $3")
            .bind(run)
            .bind(before)
            .bind(id)
            .execute(self.link.get().await?)
            .await
            .map(|_| ())
            .map_err(refused)
    }

    pub(super) async fn finish_chunk(&mut self, id: i64, n: i64, end: ChunkEnd) -> Result<()> {
        sqlx::query("update backfill_chunk set state = $1, why = $2, ended = $3 where backfill = $4 and n = $5")
            .bind(end.state.name())
            .bind(end.why)
            .bind(end.at)
            .bind(id)
            .bind(n)
            .execute(self.link.get().await?)
            .await
            .map(|_| ())
            .map_err(refused)
    }

    pub(super) async fn reset_chunks(&mut self, id: i64) -> Result<u64> {
        let done = sqlx::query(
            "update backfill_chunk set state = 'pending', why = null, ended = null where backfill = $1 and state = 'failed'",
        )
        .bind(id)
        .execute(self.link.get().await?)
        .await
        .map_err(refused)?;
        Ok(done.rows_affected())
    }

    pub(super) async fn last_taken(&mut self, dataset: &str) -> Result<Option<(String, i64)>> {
        sqlx::query_as(
            "select digest, at from file where dataset = $1 and status = 'taken' order by at desc, id desc limit 1",
        )
        .bind(dataset)
        .fetch_optional(self.link.get().await?)
        .await
        .map_err(refused)
    }

    pub(super) async fn stored_batches(&mut self, feed: &str, seq: i64, limit: i64) -> Result<Vec<BatchRow>> {
        let rows = sqlx::query(
            "select seq, kind, coalesce(body, ''::bytea), manifest, signature, manifest_digest, records from batch \
             where feed = (select id from feed where name = $1) and seq >= $2 order by seq limit $3",
        )
        .bind(feed)
        .bind(seq)
        .bind(limit)
        .fetch_all(self.link.get().await?)
        .await
        .map_err(refused)?;
        let batch = |row: &PgRow| BatchRow {
            seq: row.get(0),
            kind: row.get(1),
            body: row.get(2),
            manifest: row.get(3),
            signature: row.get(4),
            manifest_digest: row.get(5),
            records: row.get(6),
        };
        Ok(rows.iter().map(batch).collect())
    }

    pub(super) async fn forget_bodies(&mut self, before: i64) -> Result<u64> {
        let done = sqlx::query("update batch set body = null where durable and sealed_at < $1 and body is not null")
            .bind(before)
            .execute(self.link.get().await?)
            .await
            .map_err(refused)?;
        Ok(done.rows_affected())
    }

    /// Nothing that the subscriber holds is forgotten, for it must be withdrawn where it may no longer be held; only
    /// its digests are, so that no record passes as already sent.
    pub(super) async fn start_feed_over(&mut self, feed: &str) -> Result<()> {
        let conn = self.link.get().await?;
        begin(conn).await?;
        let done = start_over(conn, feed).await;
        finish(conn, done).await
    }

    pub(super) async fn lag_of(&mut self, feed: &str, register: &str) -> Result<FeedLag> {
        let conn = self.link.get().await?;
        let waiting = sqlx::query(
            "select coalesce(sum(records), 0)::bigint, coalesce(sum(length(body)), 0)::bigint, min(sealed_at), \
             (select coalesce(max(cursor), 0) from feed where name = $1), \
             (select length(body)::float8 / records from batch where feed = (select id from feed where name = $1) \
             and records > 0 order by seq desc limit 1) \
             from batch where not durable and feed = (select id from feed where name = $1)",
        )
        .bind(feed)
        .fetch_one(&mut *conn)
        .await
        .map_err(refused)?;
        let (sealed, cursor): (Option<i64>, i64) = (waiting.get(2), waiting.get(3));
        let change = in_registers(&format!("{register}_change"));
        // Numbers, not rows, are counted: a feed that waits for weeks has millions of them. And planned for this number: for
        // any number the server reckons with a third of the log, and reads all of it.
        let sql = format!(
            "select greatest((select max(seq) from {change}) - {cursor}, 0), \
             (select {} from {change} where seq > {cursor} order by seq limit 1)",
            micros("at")
        );
        let changes = sqlx::query(AssertSqlSafe(sql)).persistent(false).fetch_one(conn).await.map_err(refused)?;
        let sealed_lag = FeedLag { records: unsigned(&waiting, 0), bytes: unsigned(&waiting, 1), since: sealed };
        let changed = changes.get::<Option<i64>, _>(0).map_or(0, i64::unsigned_abs);
        Ok(sealed_lag.and_unsealed(changed, changes.get(1), waiting.get(4)))
    }

    pub(super) async fn waiting_quarantine(&mut self) -> Result<Vec<QuarantineBacklog>> {
        let rows = sqlx::query(
            "select q.dataset, q.open, coalesce(r.started, 0) from (select dataset, count(*) as open, \
             min(first_run) as first from quarantine where status = 'open' group by dataset) q \
             left join run r on r.id = q.first order by q.dataset",
        )
        .fetch_all(self.link.get().await?)
        .await
        .map_err(refused)?;
        let backlog =
            |row: &PgRow| QuarantineBacklog { dataset: row.get(0), open: unsigned(row, 1), oldest: row.get(2) };
        Ok(rows.iter().map(backlog).collect())
    }
}

async fn keep(conn: &mut PgConnection, new: &NewBackfill) -> Result<i64> {
    let id: i64 = sqlx::query_scalar(
        "insert into backfill (kind, target, spec, state, why, asked) values ($1, $2, $3, 'pending', $4, $5) returning id",
    )
    .bind(new.kind)
    .bind(&new.target)
    .bind(&new.spec)
    .bind(&new.why)
    .bind(new.at)
    .fetch_one(&mut *conn)
    .await
    .map_err(refused)?;
    let mut rows = Rows::new(6);
    for (n, chunk) in (1_i64..).zip(&new.chunks) {
        rows.row();
        rows.bigint(id);
        rows.bigint(n);
        rows.text(&chunk.label);
        rows.text(&chunk.spec);
        rows.bigint(i64::try_from(chunk.rows).unwrap_or(i64::MAX));
        rows.text("pending");
    }
    rows.into_table("backfill_chunk (backfill, n, label, spec, rows, state)".into()).send(conn).await?;
    Ok(id)
}

async fn start_over(conn: &mut PgConnection, feed: &str) -> Result<()> {
    sqlx::query(
        "update holding set digest = decode(repeat('00', 32), 'hex') where feed = (select id from feed where name = $1)",
    )
    .bind(feed)
    .execute(&mut *conn)
    .await
    .map_err(refused)?;
    sqlx::query(
        "update feed set grant_digest = null, cursor = 0, sweep_entity = null, sweep_through = null, part = 0 \
         where name = $1",
    )
    .bind(feed)
    .execute(conn)
    .await
    .map(|_| ())
    .map_err(refused)
}

fn backfill_view(row: &PgRow) -> Result<BackfillView> {
    let id = row.get(0);
    Ok(BackfillView {
        id,
        kind: row.get(1),
        target: row.get(2),
        spec: row.get(3),
        state: BackfillState::from_name(row.get(4)).ok_or_else(|| damaged(id))?,
        why: row.get(5),
        note: row.get(6),
        asked: row.get(7),
        started: row.get(8),
        ended: row.get(9),
        run: row.get(10),
        before: row.get(11),
        pending: unsigned(row, 12),
        done: unsigned(row, 13),
        failed: unsigned(row, 14),
        rows: unsigned(row, 15),
        rows_done: unsigned(row, 16),
    })
}

fn damaged(id: i64) -> StoreError {
    StoreError::Damaged(format!("the state of backfill {id} does not read"))
}

fn unsigned(row: &PgRow, column: usize) -> u64 {
    u64::try_from(row.get::<i64, _>(column)).unwrap_or(0)
}
