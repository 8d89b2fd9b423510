//! Time stamps of batches.

use sqlx::Row as _;

use super::super::{Result, StampDue, StampRow, Unstamped};
use super::PostgresStore;
use super::connect::refused;

impl PostgresStore {
    pub(super) async fn due_stamps(&mut self, feed: &str, limit: i64) -> Result<Vec<StampDue>> {
        let rows = sqlx::query(
            "select s.seq, b.signature, s.token from stamp s join batch b on b.feed = s.feed and b.seq = s.seq \
             where s.feed = (select id from feed where name = $1) and not s.handed_on order by s.seq limit $2",
        )
        .bind(feed)
        .bind(limit)
        .fetch_all(self.link.get().await?)
        .await
        .map_err(refused)?;
        Ok(rows.iter().map(|row| StampDue { seq: row.get(0), signature: row.get(1), token: row.get(2) }).collect())
    }

    pub(super) async fn put_stamp(&mut self, feed: &str, stamp: &StampRow) -> Result<bool> {
        let done = sqlx::query(
            "update stamp set token = $1, at = $2, authority = $3, recorded_at = $4 \
             where feed = (select id from feed where name = $5) and seq = $6 and token is null",
        )
        .bind(&stamp.token)
        .bind(stamp.at)
        .bind(&stamp.authority)
        .bind(stamp.recorded_at)
        .bind(feed)
        .bind(stamp.seq)
        .execute(self.link.get().await?)
        .await
        .map_err(refused)?;
        Ok(done.rows_affected() > 0)
    }

    pub(super) async fn set_handed_on(&mut self, feed: &str, seq: i64) -> Result<()> {
        sqlx::query("update stamp set handed_on = true where feed = (select id from feed where name = $1) and seq = $2")
            .bind(feed)
            .bind(seq)
            .execute(self.link.get().await?)
            .await
            .map(|_| ())
            .map_err(refused)
    }

    pub(super) async fn stamps_after(&mut self, feed: &str, after: i64, limit: i64) -> Result<Vec<StampRow>> {
        let rows = sqlx::query(
            "select seq, token, at, authority, recorded_at from stamp \
             where feed = (select id from feed where name = $1) and seq > $2 and token is not null order by seq limit $3",
        )
        .bind(feed)
        .bind(after)
        .bind(limit)
        .fetch_all(self.link.get().await?)
        .await
        .map_err(refused)?;
        let read = |row: &sqlx::postgres::PgRow| StampRow {
            seq: row.get(0),
            token: row.get(1),
            at: row.get(2),
            authority: row.get(3),
            recorded_at: row.get(4),
        };
        Ok(rows.iter().map(read).collect())
    }

    pub(super) async fn waiting_for_stamps(&mut self, feed: &str) -> Result<Unstamped> {
        let row = sqlx::query(
            "select count(*), min(since) from stamp where feed = (select id from feed where name = $1) and token is null",
        )
        .bind(feed)
        .fetch_one(self.link.get().await?)
        .await
        .map_err(refused)?;
        Ok(Unstamped { batches: row.get::<i64, _>(0).unsigned_abs(), since: row.get(1) })
    }
}

/// Notes, in the transaction that keeps a batch (feed, number), that it is to be stamped.
pub(super) async fn want(conn: &mut sqlx::PgConnection, (feed, seq): (i64, i64), at: i64) -> Result<()> {
    sqlx::query("insert into stamp (feed, seq, since) values ($1, $2, $3)")
        .bind(feed)
        .bind(seq)
        .bind(at)
        .execute(conn)
        .await
        .map(|_| ())
        .map_err(refused)
}
