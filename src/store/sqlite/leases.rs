//! Leases, and the fence that they put around writes.

use std::time::Duration;

use sqlx::{Row, SqliteConnection};

use super::super::leases::{LONGEST_LEASE, micros};
use super::super::{Lease, LeaseView, Result, StoreError};
use super::{SqliteStore, unavailable};

/// The present, microseconds: milliseconds are exact.
macro_rules! now {
    () => {
        "cast(unixepoch('now', 'subsec') * 1000 as integer) * 1000"
    };
}

/// Refuses to go on in a transaction whose lease somebody else took.
pub(super) async fn check(conn: &mut SqliteConnection, fence: Option<&Lease>) -> Result<()> {
    let Some(fence) = fence else { return Ok(()) };
    let ours: Option<i64> = sqlx::query_scalar("select token from lease where name = ? and holder = ? and token = ?")
        .bind(&fence.name)
        .bind(&fence.holder)
        .bind(fence.token)
        .fetch_optional(conn)
        .await
        .map_err(unavailable)?;
    if ours.is_some() { Ok(()) } else { Err(StoreError::Fenced(fence.name.clone())) }
}

impl SqliteStore {
    pub(super) async fn take_lease(&mut self, (name, holder): (&str, &str), ttl: Duration) -> Result<Option<Lease>> {
        // One statement: SQLite lets one writer in at a time, so of two that ask together one sees the other.
        let token: Option<i64> = sqlx::query_scalar(concat!(
            "insert into lease (name, holder, token, until) values (?1, ?2, 1, ",
            now!(),
            " + ?3) on conflict (name) do update set \
             token = case when lease.holder = ?2 and lease.until > excluded.until - ?3 then lease.token \
             else lease.token + 1 end, holder = ?2, until = excluded.until where lease.holder in ('', ?2) \
             or lease.until <= excluded.until - ?3 or lease.until > excluded.until - ?3 + ?4 returning token"
        ))
        .bind(name)
        .bind(holder)
        .bind(micros(ttl))
        .bind(micros(LONGEST_LEASE))
        .fetch_optional(&mut self.conn)
        .await
        .map_err(unavailable)?;
        Ok(token.map(|token| Lease { name: name.to_owned(), holder: holder.to_owned(), token }))
    }

    pub(super) async fn hold_lease(&mut self, lease: &Lease, ttl: Duration) -> Result<bool> {
        let done = sqlx::query(concat!(
            "update lease set until = ",
            now!(),
            " + ? where name = ? and holder = ? and token = ?"
        ))
        .bind(micros(ttl))
        .bind(&lease.name)
        .bind(&lease.holder)
        .bind(lease.token)
        .execute(&mut self.conn)
        .await
        .map_err(unavailable)?;
        Ok(done.rows_affected() == 1)
    }

    pub(super) async fn give_back(&mut self, lease: &Lease) -> Result<()> {
        sqlx::query("update lease set holder = '', until = 0 where name = ? and holder = ? and token = ?")
            .bind(&lease.name)
            .bind(&lease.holder)
            .bind(lease.token)
            .execute(&mut self.conn)
            .await
            .map_err(unavailable)?;
        Ok(())
    }

    pub(super) async fn own_time(&mut self) -> Result<i64> {
        sqlx::query_scalar(concat!("select ", now!())).fetch_one(&mut self.conn).await.map_err(unavailable)
    }

    pub(super) async fn all_leases(&mut self) -> Result<Vec<LeaseView>> {
        let rows = sqlx::query("select name, holder, token, until from lease where holder <> '' order by name")
            .fetch_all(&mut self.conn)
            .await
            .map_err(unavailable)?;
        Ok(rows
            .iter()
            .map(|row| LeaseView { name: row.get(0), holder: row.get(1), token: row.get(2), until: row.get(3) })
            .collect())
    }
}
