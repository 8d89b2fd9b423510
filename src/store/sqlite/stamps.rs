//! Time stamps of batches.

use sqlx::Row as _;

use super::super::{Result, StampDue, StampRow, Unstamped};
use super::{SqliteStore, unavailable};

impl SqliteStore {
    pub(super) async fn due_stamps(&mut self, feed: &str, limit: i64) -> Result<Vec<StampDue>> {
        let rows = sqlx::query(
            "select s.seq, b.signature, s.token from stamp s join batch b on b.feed = s.feed and b.seq = s.seq \
             where s.feed = (select id from feed where name = ?) and s.handed_on = 0 order by s.seq limit ?",
        )
        .bind(feed)
        .bind(limit)
        .fetch_all(&mut self.conn)
        .await
        .map_err(unavailable)?;
        Ok(rows.iter().map(|row| StampDue { seq: row.get(0), signature: row.get(1), token: row.get(2) }).collect())
    }

    pub(super) async fn put_stamp(&mut self, feed: &str, stamp: &StampRow) -> Result<bool> {
        let done = sqlx::query(
            "update stamp set token = ?, at = ?, authority = ?, recorded_at = ? \
             where feed = (select id from feed where name = ?) and seq = ? and token is null",
        )
        .bind(&stamp.token)
        .bind(stamp.at)
        .bind(&stamp.authority)
        .bind(stamp.recorded_at)
        .bind(feed)
        .bind(stamp.seq)
        .execute(&mut self.conn)
        .await
        .map_err(unavailable)?;
        Ok(done.rows_affected() > 0)
    }

    pub(super) async fn set_handed_on(&mut self, feed: &str, seq: i64) -> Result<()> {
        sqlx::query("update stamp set handed_on = true where feed = (select id from feed where name = ?) and seq = ?")
            .bind(feed)
            .bind(seq)
            .execute(&mut self.conn)
            .await
            .map(|_| ())
            .map_err(unavailable)
    }

    pub(super) async fn stamps_after(&mut self, feed: &str, after: i64, limit: i64) -> Result<Vec<StampRow>> {
        let rows = sqlx::query(
            "select seq, token, at, authority, recorded_at from stamp \
             where feed = (select id from feed where name = ?) and seq > ? and token is not null order by seq limit ?",
        )
        .bind(feed)
        .bind(after)
        .bind(limit)
        .fetch_all(&mut self.conn)
        .await
        .map_err(unavailable)?;
        let read = |row: &sqlx::sqlite::SqliteRow| StampRow {
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
            "select count(*), min(since) from stamp where feed = (select id from feed where name = ?) and token is null",
        )
        .bind(feed)
        .fetch_one(&mut self.conn)
        .await
        .map_err(unavailable)?;
        Ok(Unstamped { batches: row.get::<i64, _>(0).unsigned_abs(), since: row.get(1) })
    }
}

/// Notes, in the transaction that keeps a batch (feed, number), that it is to be stamped.
pub(super) async fn want(conn: &mut sqlx::SqliteConnection, (feed, seq): (i64, i64), at: i64) -> Result<()> {
    sqlx::query("insert into stamp (feed, seq, since) values (?, ?, ?)")
        .bind(feed)
        .bind(seq)
        .bind(at)
        .execute(conn)
        .await
        .map(|_| ())
        .map_err(unavailable)
}
