//! Leases, and the fence that they put around writes.

use std::time::Duration;

use sqlx::{PgConnection, Row as _};

use super::super::leases::{LONGEST_LEASE, micros};
use super::super::{Lease, LeaseView, Result, StoreError};
use super::PostgresStore;
use super::connect::refused;

/// The server's present, microseconds.
macro_rules! now {
    () => {
        "(extract(epoch from clock_timestamp()) * 1000000)::bigint"
    };
}

/// Refuses to go on in a transaction whose lease somebody else took, and keeps others from taking it until it ends.
pub(super) async fn check(conn: &mut PgConnection, fence: Option<&Lease>) -> Result<()> {
    let Some(fence) = fence else { return Ok(()) };
    let ours: Option<i64> =
        sqlx::query_scalar("select token from lease where name = $1 and holder = $2 and token = $3 for share")
            .bind(&fence.name)
            .bind(&fence.holder)
            .bind(fence.token)
            .fetch_optional(conn)
            .await
            .map_err(refused)?;
    if ours.is_some() { Ok(()) } else { Err(StoreError::Fenced(fence.name.clone())) }
}

impl PostgresStore {
    pub(super) async fn take_lease(&mut self, (name, holder): (&str, &str), ttl: Duration) -> Result<Option<Lease>> {
        // One statement, which locks the row: of two that ask together one sees the other.
        let token: Option<i64> = sqlx::query_scalar(concat!(
            "insert into lease as l (name, holder, token, until) values ($1, $2, 1, ",
            now!(),
            " + $3) on conflict (name) do update set \
             token = case when l.holder = $2 and l.until > excluded.until - $3 then l.token else l.token + 1 end, \
             holder = $2, until = excluded.until where l.holder in ('', $2) \
             or l.until <= excluded.until - $3 or l.until > excluded.until - $3 + $4 returning token"
        ))
        .bind(name)
        .bind(holder)
        .bind(micros(ttl))
        .bind(micros(LONGEST_LEASE))
        .fetch_optional(self.link.get().await?)
        .await
        .map_err(refused)?;
        Ok(token.map(|token| Lease { name: name.to_owned(), holder: holder.to_owned(), token }))
    }

    pub(super) async fn hold_lease(&mut self, lease: &Lease, ttl: Duration) -> Result<bool> {
        // Nobody waits for the disk, for whoever checks the lease would wait as well: forgotten in a power cut, it ends earlier.
        let done = sqlx::query(concat!(
            "with soon as (select set_config('synchronous_commit', 'off', true)) update lease set until = ",
            now!(),
            " + $1 from soon where name = $2 and holder = $3 and token = $4"
        ))
        .bind(micros(ttl))
        .bind(&lease.name)
        .bind(&lease.holder)
        .bind(lease.token)
        .execute(self.link.get().await?)
        .await
        .map_err(refused)?;
        Ok(done.rows_affected() == 1)
    }

    pub(super) async fn give_back(&mut self, lease: &Lease) -> Result<()> {
        sqlx::query("update lease set holder = '', until = 0 where name = $1 and holder = $2 and token = $3")
            .bind(&lease.name)
            .bind(&lease.holder)
            .bind(lease.token)
            .execute(self.link.get().await?)
            .await
            .map(|_| ())
            .map_err(refused)
    }

    pub(super) async fn own_time(&mut self) -> Result<i64> {
        sqlx::query_scalar(concat!("select ", now!())).fetch_one(self.link.get().await?).await.map_err(refused)
    }

    pub(super) async fn all_leases(&mut self) -> Result<Vec<LeaseView>> {
        let rows = sqlx::query("select name, holder, token, until from lease where holder <> '' order by name")
            .fetch_all(self.link.get().await?)
            .await
            .map_err(refused)?;
        let view = |row: &sqlx::postgres::PgRow| LeaseView {
            name: row.get(0),
            holder: row.get(1),
            token: row.get(2),
            until: row.get(3),
        };
        Ok(rows.iter().map(view).collect())
    }
}
