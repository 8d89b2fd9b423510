//! Corrections, recalls, who holds what, and what was found in free text.

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

use super::super::{ChaseView, Found, HolderView, NewChase, Note, Result, SealSet};
use super::PostgresStore;
use super::audit::append;
use super::connect::refused;
use super::schema::{begin, finish};
use crate::batch::Kind;
use crate::linking::EntityId;

impl PostgresStore {
    pub(super) async fn keep_chase(&mut self, chase: &NewChase, note: Note) -> Result<Vec<String>> {
        let algorithm = self.audited_by;
        let conn = self.link.get().await?;
        begin(conn).await?;
        let kept = async {
            let feeds = keep(conn, chase).await?;
            append(conn, algorithm, &[note]).await.map(|()| feeds)
        }
        .await;
        finish(conn, kept).await
    }

    pub(super) async fn list_chases(&mut self, feed: Option<&str>, entity: Option<EntityId>) -> Result<Vec<ChaseView>> {
        let rows = sqlx::query(
            "select c.id, f.name, c.register, c.entity, c.kind, c.why, c.reference, c.at, c.seq, coalesce(b.durable, false), \
             (select min(r.recorded_at) from receipt r where r.feed = f.name and r.seq >= c.seq and r.mismatch is null) \
             from chase c join feed f on f.id = c.feed left join batch b on b.feed = c.feed and b.seq = c.seq \
             where ($1::text is null or f.name = $1) and ($2::bigint is null or c.entity = $2) order by c.id",
        )
        .bind(feed)
        .bind(entity)
        .fetch_all(self.link.get().await?)
        .await
        .map_err(refused)?;
        let view = |row: &PgRow| ChaseView {
            id: row.get(0),
            feed: row.get(1),
            register: row.get(2),
            entity: row.get(3),
            kind: row.get(4),
            why: row.get(5),
            reference: row.get(6),
            at: row.get(7),
            seq: row.get(8),
            durable: row.get(9),
            answered: row.get(10),
        };
        Ok(rows.iter().map(view).collect())
    }

    pub(super) async fn recalled_of(&mut self, register: &str) -> Result<Vec<EntityId>> {
        sqlx::query_scalar("select entity from recalled where register = $1 order by entity")
            .bind(register)
            .fetch_all(self.link.get().await?)
            .await
            .map_err(refused)
    }

    pub(super) async fn ever_held(&mut self, entity: EntityId) -> Result<Vec<HolderView>> {
        let rows = sqlx::query(
            "select f.name, h.version, h.batch, null::bigint from feed f cross join lateral (select version, batch from holding \
             where feed = f.id and entity = $1 offset 0) h \
             union all select f.name, b.version, b.batch, b.withdrawn from held_before b join feed f on f.id = b.feed \
             where b.entity = $1 and not exists (select 1 from holding h where h.feed = b.feed and h.entity = $1) order by 1",
        )
        .bind(entity)
        .fetch_all(self.link.get().await?)
        .await
        .map_err(refused)?;
        let view = |row: &PgRow| HolderView {
            feed: row.get(0),
            version: row.get(1),
            batch: row.get(2),
            withdrawn: row.get(3),
        };
        Ok(rows.iter().map(view).collect())
    }

    pub(super) async fn found_in(&mut self, feed: &str) -> Result<Vec<Found>> {
        let rows = sqlx::query(
            "select field, policy, sum(citizen_ids)::bigint, sum(mobiles)::bigint from feed_found \
             where feed = (select id from feed where name = $1) group by field, policy order by field, policy",
        )
        .bind(feed)
        .fetch_all(self.link.get().await?)
        .await
        .map_err(refused)?;
        let view =
            |row: &PgRow| Found { field: row.get(0), policy: row.get(1), citizen_ids: row.get(2), mobiles: row.get(3) };
        Ok(rows.iter().map(view).collect())
    }
}

async fn keep(conn: &mut PgConnection, chase: &NewChase) -> Result<Vec<String>> {
    let feeds = sqlx::query_scalar(
        "with w as (insert into chase (feed, register, entity, kind, why, reference, at) \
         select feed, $1, $2, $3, $4, $5, $6 from (select f.id as feed from feed f \
         cross join lateral (select 1 from holding where feed = f.id and entity = $2 offset 0) h \
         union select feed from held_before where entity = $2) h returning feed) \
         select name from feed where id in (select feed from w) order by name",
    )
    .bind(&chase.register)
    .bind(chase.entity)
    .bind(chase.kind.name())
    .bind(&chase.why)
    .bind(&chase.reference)
    .bind(chase.at)
    .fetch_all(&mut *conn)
    .await
    .map_err(refused)?;
    sqlx::query("delete from recalled where register = $1 and entity = $2")
        .bind(&chase.register)
        .bind(chase.entity)
        .execute(&mut *conn)
        .await
        .map_err(refused)?;
    if chase.kind == Kind::Recall {
        sqlx::query("insert into recalled (register, entity, why, reference, at) values ($1, $2, $3, $4, $5)")
            .bind(&chase.register)
            .bind(chase.entity)
            .bind(&chase.why)
            .bind(&chase.reference)
            .bind(chase.at)
            .execute(conn)
            .await
            .map_err(refused)?;
    }
    Ok(feeds)
}

/// What a sealed batch says about holdings that end, chases that it settles, and free text; before holdings change.
pub(super) async fn write(conn: &mut PgConnection, seal: &SealSet) -> Result<()> {
    let (feed, seq) = (seal.state.id, seal.state.seq);
    if !seal.withdrawals.is_empty() {
        sqlx::query(
            "insert into held_before (feed, entity, version, batch, withdrawn) select feed, entity, version, batch, $3 \
             from holding where feed = $1 and entity = any($2) on conflict (feed, entity) do update set \
             version = excluded.version, batch = excluded.batch, withdrawn = excluded.withdrawn",
        )
        .bind(feed)
        .bind(&seal.withdrawals)
        .bind(seq)
        .execute(&mut *conn)
        .await
        .map_err(refused)?;
    }
    if !seal.chased.is_empty() {
        sqlx::query("update chase set seq = $1 where id = any($2)")
            .bind(seq)
            .bind(&seal.chased)
            .execute(&mut *conn)
            .await
            .map_err(refused)?;
    }
    for found in &seal.found {
        sqlx::query(
            "insert into feed_found (feed, seq, field, policy, citizen_ids, mobiles) values ($1, $2, $3, $4, $5, $6)",
        )
        .bind(feed)
        .bind(seq)
        .bind(&found.field)
        .bind(&found.policy)
        .bind(found.citizen_ids)
        .bind(found.mobiles)
        .execute(&mut *conn)
        .await
        .map_err(refused)?;
    }
    Ok(())
}
