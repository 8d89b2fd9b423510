//! Corrections, recalls, who holds what, and what was found in free text.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::super::{ChaseView, Found, HolderView, NewChase, Note, Result, SealSet};
use super::audit::append;
use super::bulk::json_integers;
use super::commit::{begin, finish};
use super::{SqliteStore, unavailable};
use crate::batch::Kind;
use crate::linking::EntityId;

impl SqliteStore {
    pub(super) async fn keep_chase(&mut self, chase: &NewChase, note: Note) -> Result<Vec<String>> {
        begin(&mut self.conn).await?;
        let mut feeds = Vec::new();
        let written = async {
            feeds = keep(&mut self.conn, chase).await?;
            append(&mut self.conn, self.audited_by, &[note]).await
        }
        .await;
        finish(&mut self.conn, written).await.map(|()| feeds)
    }

    pub(super) async fn list_chases(&mut self, feed: Option<&str>, entity: Option<EntityId>) -> Result<Vec<ChaseView>> {
        let rows = sqlx::query(
            "select c.id, f.name, c.register, c.entity, c.kind, c.why, c.reference, c.at, c.seq, coalesce(b.durable, 0), \
             (select min(r.recorded_at) from receipt r where r.feed = f.name and r.seq >= c.seq and r.mismatch is null) \
             from chase c join feed f on f.id = c.feed left join batch b on b.feed = c.feed and b.seq = c.seq \
             where (?1 is null or f.name = ?1) and (?2 is null or c.entity = ?2) order by c.id",
        )
        .bind(feed)
        .bind(entity)
        .fetch_all(&mut self.conn)
        .await
        .map_err(unavailable)?;
        let view = |row: &SqliteRow| ChaseView {
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
        sqlx::query_scalar("select entity from recalled where register = ?1 order by entity")
            .bind(register)
            .fetch_all(&mut self.conn)
            .await
            .map_err(unavailable)
    }

    pub(super) async fn ever_held(&mut self, entity: EntityId) -> Result<Vec<HolderView>> {
        let rows = sqlx::query(
            "select f.name, h.version, h.batch, null from holding h join feed f on f.id = h.feed where h.entity = ?1 \
             union all select f.name, b.version, b.batch, b.withdrawn from held_before b join feed f on f.id = b.feed \
             where b.entity = ?1 and not exists (select 1 from holding h where h.feed = b.feed and h.entity = ?1) order by 1",
        )
        .bind(entity)
        .fetch_all(&mut self.conn)
        .await
        .map_err(unavailable)?;
        let view = |row: &SqliteRow| HolderView {
            feed: row.get(0),
            version: row.get(1),
            batch: row.get(2),
            withdrawn: row.get(3),
        };
        Ok(rows.iter().map(view).collect())
    }

    pub(super) async fn found_in(&mut self, feed: &str) -> Result<Vec<Found>> {
        let rows = sqlx::query(
            "select field, policy, sum(citizen_ids), sum(mobiles) from feed_found \
             where feed = (select id from feed where name = ?1) group by field, policy order by field, policy",
        )
        .bind(feed)
        .fetch_all(&mut self.conn)
        .await
        .map_err(unavailable)?;
        let view = |row: &SqliteRow| Found {
            field: row.get(0),
            policy: row.get(1),
            citizen_ids: row.get(2),
            mobiles: row.get(3),
        };
        Ok(rows.iter().map(view).collect())
    }
}

async fn keep(conn: &mut SqliteConnection, chase: &NewChase) -> Result<Vec<String>> {
    let feeds: Vec<String> = sqlx::query_scalar(
        "select name from feed where id in (select feed from holding where entity = ?1 \
         union select feed from held_before where entity = ?1) order by name",
    )
    .bind(chase.entity)
    .fetch_all(&mut *conn)
    .await
    .map_err(unavailable)?;
    for feed in &feeds {
        sqlx::query(
            "insert into chase (feed, register, entity, kind, why, reference, at) \
             values ((select id from feed where name = ?1), ?2, ?3, ?4, ?5, ?6, ?7)",
        )
        .bind(feed)
        .bind(&chase.register)
        .bind(chase.entity)
        .bind(chase.kind.name())
        .bind(&chase.why)
        .bind(&chase.reference)
        .bind(chase.at)
        .execute(&mut *conn)
        .await
        .map_err(unavailable)?;
    }
    sqlx::query("delete from recalled where register = ?1 and entity = ?2")
        .bind(&chase.register)
        .bind(chase.entity)
        .execute(&mut *conn)
        .await
        .map_err(unavailable)?;
    if chase.kind == Kind::Recall {
        sqlx::query("insert into recalled (register, entity, why, reference, at) values (?1, ?2, ?3, ?4, ?5)")
            .bind(&chase.register)
            .bind(chase.entity)
            .bind(&chase.why)
            .bind(&chase.reference)
            .bind(chase.at)
            .execute(conn)
            .await
            .map_err(unavailable)?;
    }
    Ok(feeds)
}

/// What a sealed batch says about holdings that end, chases that it settles, and free text; before holdings change.
pub(super) async fn write(conn: &mut SqliteConnection, seal: &SealSet) -> Result<()> {
    let (feed, seq) = (seal.state.id, seal.state.seq);
    if !seal.withdrawals.is_empty() {
        sqlx::query(
            "insert into held_before (feed, entity, version, batch, withdrawn) select feed, entity, version, batch, ?3 \
             from holding where feed = ?1 and entity in (select value from json_each(?2)) on conflict do update set \
             version = excluded.version, batch = excluded.batch, withdrawn = excluded.withdrawn",
        )
        .bind(feed)
        .bind(json_integers(&seal.withdrawals))
        .bind(seq)
        .execute(&mut *conn)
        .await
        .map_err(unavailable)?;
    }
    if !seal.chased.is_empty() {
        sqlx::query("update chase set seq = ?1 where id in (select value from json_each(?2))")
            .bind(seq)
            .bind(json_integers(&seal.chased))
            .execute(&mut *conn)
            .await
            .map_err(unavailable)?;
    }
    for found in &seal.found {
        sqlx::query(
            "insert into feed_found (feed, seq, field, policy, citizen_ids, mobiles) values (?1, ?2, ?3, ?4, ?5, ?6)",
        )
        .bind(feed)
        .bind(seq)
        .bind(&found.field)
        .bind(&found.policy)
        .bind(found.citizen_ids)
        .bind(found.mobiles)
        .execute(&mut *conn)
        .await
        .map_err(unavailable)?;
    }
    Ok(())
}
