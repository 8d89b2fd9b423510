//! Backfills and their chunks, and what they ask of feeds.

use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row};

use super::super::table::quoted;
use super::super::{
    BackfillState, BackfillView, BatchRow, ChunkEnd, ChunkState, ChunkView, FeedLag, NewBackfill, Note,
    QuarantineBacklog, Result, StoreError,
};
use super::{SqliteStore, unavailable};

impl SqliteStore {
    pub(super) async fn keep_backfill(&mut self, new: NewBackfill) -> Result<i64> {
        super::commit::begin(&mut self.conn).await?;
        let mut id = 0;
        let written = async {
            id = sqlx::query_scalar(
                "insert into backfill (kind, target, spec, state, why, asked) values (?, ?, ?, 'pending', ?, ?) returning id",
            )
            .bind(new.kind)
            .bind(&new.target)
            .bind(&new.spec)
            .bind(&new.why)
            .bind(new.at)
            .fetch_one(&mut self.conn)
            .await
            .map_err(unavailable)?;
            for (n, chunk) in (1_i64..).zip(&new.chunks) {
                sqlx::query(
                    "insert into backfill_chunk (backfill, n, label, spec, rows, state) values (?, ?, ?, ?, ?, 'pending')",
                )
                .bind(id)
                .bind(n)
                .bind(&chunk.label)
                .bind(&chunk.spec)
                .bind(i64::try_from(chunk.rows).unwrap_or(i64::MAX))
                .execute(&mut self.conn)
                .await
                .map_err(unavailable)?;
            }
            Ok(())
        }
        .await;
        super::commit::finish(&mut self.conn, written).await?;
        Ok(id)
    }

    pub(super) async fn list_backfills(&mut self, id: Option<i64>) -> Result<Vec<BackfillView>> {
        let rows = sqlx::query(
            "select b.id, kind, target, b.spec, b.state, b.why, note, asked, started, b.ended, run, before, \
             coalesce(sum(c.state = 'pending'), 0), coalesce(sum(c.state = 'done'), 0), \
             coalesce(sum(c.state = 'failed'), 0), coalesce(sum(c.rows), 0), \
             coalesce(sum(case c.state when 'done' then c.rows end), 0) \
             from backfill b left join backfill_chunk c on c.backfill = b.id where ?1 is null or b.id = ?1 \
             group by b.id order by b.id desc",
        )
        .bind(id)
        .fetch_all(&mut self.conn)
        .await
        .map_err(unavailable)?;
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
             where backfill = ?1 and (?2 is null or state = ?2) order by n limit ?3",
        )
        .bind(id)
        .bind(state.map(ChunkState::name))
        .bind(limit)
        .fetch_all(&mut self.conn)
        .await
        .map_err(unavailable)?;
        rows.iter()
            .map(|row| {
                Ok(ChunkView {
                    n: row.get(0),
                    label: row.get(1),
                    spec: row.get(2),
                    rows: unsigned(row, 3),
                    state: ChunkState::from_name(row.get(4)).ok_or_else(|| damaged(id))?,
                    why: row.get(5),
                    ended: row.get(6),
                })
            })
            .collect()
    }

    pub(super) async fn change_backfill(
        &mut self,
        id: i64,
        from: &[BackfillState],
        (to, said, at): (BackfillState, Option<&str>, i64),
        note: Option<Note>,
    ) -> Result<bool> {
        let from: Vec<&str> = from.iter().map(|state| state.name()).collect();
        super::commit::begin(&mut self.conn).await?;
        let mut moved = false;
        let written = async {
            let done = sqlx::query(
                "update backfill set state = ?1, note = ?2, \
             started = case when ?1 = 'running' then coalesce(started, ?3) else started end, \
             ended = case when ?4 then ?3 end where id = ?5 and state in (select value from json_each(?6))",
            )
            .bind(to.name())
            .bind(said)
            .bind(at)
            .bind(to.over())
            .bind(id)
            .bind(super::bulk::json_texts(from))
            .execute(&mut self.conn)
            .await
            .map_err(unavailable)?;
            moved = done.rows_affected() == 1;
            let notes = note.as_slice().get(..usize::from(moved)).unwrap_or_default();
            super::audit::append(&mut self.conn, self.audited_by, notes).await
        }
        .await;
        super::commit::finish(&mut self.conn, written).await.map(|()| moved)
    }

    pub(super) async fn annotate_backfill(&mut self, id: i64, run: Option<i64>, before: &str) -> Result<()> {
        sqlx::query("update backfill set run = coalesce(run, ?), before = coalesce(before, ?) where id = ?")
            .bind(run)
            .bind(before)
            .bind(id)
            .execute(&mut self.conn)
            .await
            .map_err(unavailable)?;
        Ok(())
    }

    pub(super) async fn finish_chunk(&mut self, id: i64, n: i64, end: ChunkEnd) -> Result<()> {
        sqlx::query("update backfill_chunk set state = ?, why = ?, ended = ? where backfill = ? and n = ?")
            .bind(end.state.name())
            .bind(end.why)
            .bind(end.at)
            .bind(id)
            .bind(n)
            .execute(&mut self.conn)
            .await
            .map_err(unavailable)?;
        Ok(())
    }

    pub(super) async fn reset_chunks(&mut self, id: i64) -> Result<u64> {
        let done = sqlx::query(
            "update backfill_chunk set state = 'pending', why = null, ended = null where backfill = ? and state = 'failed'",
        )
        .bind(id)
        .execute(&mut self.conn)
        .await
        .map_err(unavailable)?;
        Ok(done.rows_affected())
    }

    pub(super) async fn last_taken(&mut self, dataset: &str) -> Result<Option<(String, i64)>> {
        let row = sqlx::query(
            "select digest, at from file where dataset = ? and status = 'taken' order by at desc, id desc limit 1",
        )
        .bind(dataset)
        .fetch_optional(&mut self.conn)
        .await
        .map_err(unavailable)?;
        Ok(row.map(|row| (row.get(0), row.get(1))))
    }

    pub(super) async fn stored_batches(&mut self, feed: &str, seq: i64, limit: i64) -> Result<Vec<BatchRow>> {
        let rows = sqlx::query(
            "select seq, kind, coalesce(body, x''), manifest, signature, manifest_digest, records from batch \
             where feed = (select id from feed where name = ?) and seq >= ? order by seq limit ?",
        )
        .bind(feed)
        .bind(seq)
        .bind(limit)
        .fetch_all(&mut self.conn)
        .await
        .map_err(unavailable)?;
        Ok(rows
            .iter()
            .map(|row| BatchRow {
                seq: row.get(0),
                kind: row.get(1),
                body: row.get(2),
                manifest: row.get(3),
                signature: row.get(4),
                manifest_digest: row.get(5),
                records: row.get(6),
            })
            .collect())
    }

    pub(super) async fn forget_bodies(&mut self, before: i64) -> Result<u64> {
        let done = sqlx::query("update batch set body = null where durable = 1 and sealed_at < ? and body is not null")
            .bind(before)
            .execute(&mut self.conn)
            .await
            .map_err(unavailable)?;
        Ok(done.rows_affected())
    }

    /// Nothing that the subscriber holds is forgotten, for it must be withdrawn where it may no longer be held; only
    /// its digests are, so that no record passes as already sent.
    pub(super) async fn start_feed_over(&mut self, feed: &str) -> Result<()> {
        super::commit::begin(&mut self.conn).await?;
        let written = async {
            sqlx::query("update holding set digest = zeroblob(32) where feed = (select id from feed where name = ?)")
                .bind(feed)
                .execute(&mut self.conn)
                .await
                .map_err(unavailable)?;
            sqlx::query(
                "update feed set grant_digest = null, cursor = 0, sweep_entity = null, sweep_through = null, part = 0 \
                 where name = ?",
            )
            .bind(feed)
            .execute(&mut self.conn)
            .await
            .map_err(unavailable)?;
            Ok(())
        }
        .await;
        super::commit::finish(&mut self.conn, written).await
    }

    pub(super) async fn lag_of(&mut self, feed: &str, register: &str) -> Result<FeedLag> {
        let waiting = sqlx::query(
            "select coalesce(sum(records), 0), coalesce(sum(length(body)), 0), min(sealed_at), \
             (select coalesce(max(cursor), 0) from feed where name = ?1), \
             (select cast(length(body) as real) / records from batch where feed = (select id from feed where name = ?1) \
             and records > 0 order by seq desc limit 1) \
             from batch where durable = 0 and feed = (select id from feed where name = ?1)",
        )
        .bind(feed)
        .fetch_one(&mut self.conn)
        .await
        .map_err(unavailable)?;
        let (sealed, cursor): (Option<i64>, i64) = (waiting.get(2), waiting.get(3));
        let (live, past) = (quoted(register), quoted(&format!("{register}_history")));
        let change = quoted(&format!("{register}_change"));
        let sql = format!(
            "select (select max(seq) from {change}) - ?1, coalesce(l._since, h._since, r.started) \
             from (select * from {change} where seq > ?1 order by seq limit 1) c \
             left join {live} l on l._id = c.entity and l._version = c.version \
             left join {past} h on h._id = c.entity and h._version = c.version left join run r on r.id = c.run"
        );
        let changes =
            sqlx::query(AssertSqlSafe(sql)).bind(cursor).fetch_optional(&mut self.conn).await.map_err(unavailable)?;
        let (count, oldest) = changes.map_or((0, None), |row| (unsigned(&row, 0), row.get::<Option<i64>, _>(1)));
        let sealed_lag = FeedLag { records: unsigned(&waiting, 0), bytes: unsigned(&waiting, 1), since: sealed };
        Ok(sealed_lag.and_unsealed(count, oldest, waiting.get(4)))
    }

    pub(super) async fn waiting_quarantine(&mut self) -> Result<Vec<QuarantineBacklog>> {
        let rows = sqlx::query(
            "select q.dataset, q.open, coalesce(r.started, 0) from (select dataset, count(*) as open, \
             min(first_run) as first from quarantine where status = 'open' group by dataset) q \
             left join run r on r.id = q.first order by q.dataset",
        )
        .fetch_all(&mut self.conn)
        .await
        .map_err(unavailable)?;
        Ok(rows
            .iter()
            .map(|row| QuarantineBacklog { dataset: row.get(0), open: unsigned(row, 1), oldest: row.get(2) })
            .collect())
    }
}

fn backfill_view(row: &SqliteRow) -> Result<BackfillView> {
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

fn unsigned(row: &SqliteRow, column: usize) -> u64 {
    u64::try_from(row.get::<i64, _>(column)).unwrap_or(0)
}
