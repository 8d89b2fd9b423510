//! One chunk, one transaction.

use std::collections::HashMap;

use sqlx::{AssertSqlSafe, PgConnection};

use super::super::recollection::{claim_set, packed, touches};
use super::super::table::{RegisterTable, quoted, sources_text};
use super::super::{ChangeSet, Lease, RegisterPart, Result, StoreError};
use super::connect::refused;
use super::pack::Packed;
use super::quarantine;
use super::schema::{Month, begin, finish, in_registers};
use crate::failpoint::Boundary;
use crate::linking::{ClaimId, EntityId};

/// Where and when a part is written.
struct Writing<'a> {
    conn: &'a mut PgConnection,
    run: i64,
    file: i64,
    at: i64,
    chunk: i64,
    table: &'a RegisterTable,
    part: &'a RegisterPart,
}

/// What a change stands on.
pub(super) struct Ground<'a> {
    /// Months whose partitions may be missing.
    pub(super) months: &'a [Month],
    pub(super) fence: Option<&'a Lease>,
    /// The chunks of its file that were committed here before.
    pub(super) chunks: Option<i64>,
}

/// Writes a change; `tables` are those of its parts with their rows. Returns how many chunks its file has now.
///
/// A chunk of a file does not wait for the disk: whatever is committed after it, the file's end before all, is durable only
/// with it, and a server that lost its last chunks in a power cut lost the file's position with them.
pub(super) async fn write(
    conn: &mut PgConnection,
    tables: Vec<(RegisterTable, Packed)>,
    ground: Ground<'_>,
    change: &ChangeSet,
) -> Result<i64> {
    begin(conn).await?;
    let written = match super::leases::check(conn, ground.fence).await {
        Ok(()) => write_in(conn, tables, &ground, change).await,
        Err(fenced) => Err(fenced),
    };
    Boundary::ChunkWritten.reached();
    let chunks = finish(conn, written).await?;
    Boundary::ChunkCommitted.reached();
    Ok(chunks)
}

async fn write_in(
    conn: &mut PgConnection,
    tables: Vec<(RegisterTable, Packed)>,
    ground: &Ground<'_>,
    change: &ChangeSet,
) -> Result<i64> {
    for month in ground.months {
        month.make(conn).await?;
    }
    let chunk = match change.file {
        Some(file) => {
            let soon = "set local synchronous_commit = off";
            sqlx::query(soon).execute(&mut *conn).await.map_err(refused)?;
            advance(conn, file, change.position.clone()).await?
        }
        None => 0,
    };
    if ground.chunks.is_some_and(|before| chunk != before + 1) {
        return Err(StoreError::Unavailable(
            "the server came back without its last chunks; they are taken again".into(),
        ));
    }
    for (part, (table, packed)) in change.parts.iter().zip(tables) {
        let file = change.file.unwrap_or(0);
        let table = &table;
        Writing { conn: &mut *conn, run: change.run, file, at: change.at, chunk, table, part }.all(packed).await?;
    }
    Ok(chunk)
}

async fn advance(conn: &mut PgConnection, file: i64, position: Option<crate::decode::Position>) -> Result<i64> {
    let resume = position
        .map(|position| serde_json::to_string(&position).map_err(|error| StoreError::Damaged(error.to_string())))
        .transpose()?;
    sqlx::query_scalar(
        "update file set resume = coalesce($1, resume), chunks = chunks + 1 where id = $2 returning chunks",
    )
    .bind(resume)
    .bind(file)
    .fetch_one(conn)
    .await
    .map_err(refused)
}

impl Writing<'_> {
    async fn all(&mut self, packed: Packed) -> Result<()> {
        self.retire().await?;
        packed.merged.send(self.conn).await?;
        for entities in packed.entities {
            entities.send(self.conn).await?;
        }
        self.resource().await?;
        packed.log.send(self.conn).await?;
        self.remember().await?;
        let gone = self.replace_claims().await?;
        packed.claims.send(self.conn).await?;
        self.count_claims(gone).await?;
        self.move_keys().await?;
        packed.keys.send(self.conn).await?;
        self.gone().await?;
        self.seen().await?;
        quarantine::write(self.conn, (self.run, self.file), self.part).await?;
        self.ledger().await?;
        self.counters().await
    }

    /// Entities whose values stand, under other claims.
    async fn resource(&mut self) -> Result<()> {
        let absorbed = &self.part.absorbed;
        if !absorbed.resourced.is_empty() {
            let ids: Vec<i64> = absorbed.resourced.iter().map(|state| state.id).collect();
            let texts: Vec<String> = absorbed
                .resourced
                .iter()
                .map(|state| sources_text(&self.table.fields, &state.golden.sources))
                .collect();
            let live = in_registers(&self.part.register);
            let sql = format!(
                "update {live} r set _sources = w.sources from unnest($1::bigint[], $2::text[]) w(id, sources) \
                 where r._id = w.id and r._sources <> w.sources"
            );
            let update = sqlx::query(AssertSqlSafe(sql)).bind(ids).bind(texts);
            update.execute(&mut *self.conn).await.map_err(refused)?;
        }
        Ok(())
    }

    /// Rows that change or go move to the history.
    async fn retire(&mut self) -> Result<()> {
        let absorbed = &self.part.absorbed;
        let ids: Vec<i64> = absorbed.changed.iter().map(|s| s.id).chain(absorbed.gone.iter().map(|g| g.id)).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let (live, past) =
            (in_registers(&self.part.register), in_registers(&format!("{}_history", self.part.register)));
        let columns: Vec<String> = self.table.fields.iter().map(|(name, _)| quoted(name)).collect();
        let columns = columns.join(", ");
        let sql = format!(
            "with old as (delete from {live} where _id = any($3) returning *) \
             insert into {past} (_id, _version, _since, _run, _sources, _until, _ended_by, {columns}) \
             select _id, _version, _since, _run, _sources, 'epoch'::timestamptz + $1 * interval '1 microsecond', $2, \
             {columns} from old"
        );
        let retire = sqlx::query(AssertSqlSafe(sql)).bind(self.at).bind(self.run).bind(ids);
        retire.execute(&mut *self.conn).await.map_err(refused)?;
        Ok(())
    }

    /// Claims that move to another entity, and those that make room for what replaces them; returns how many went.
    async fn replace_claims(&mut self) -> Result<i64> {
        let moved = &self.part.absorbed.moved;
        if !moved.is_empty() {
            let sql = "update claim c set entity = w.into_entity from unnest($1::bigint[], $2::bigint[], $3::bigint[]) \
                       w(id, entity, into_entity) where c.entity = w.entity and c.id = w.id";
            sqlx::query(sql)
                .bind(moved.iter().map(|moved| moved.claim).collect::<Vec<_>>())
                .bind(moved.iter().map(|moved| moved.from).collect::<Vec<_>>())
                .bind(moved.iter().map(|moved| moved.into).collect::<Vec<_>>())
                .execute(&mut *self.conn)
                .await
                .map_err(refused)?;
        }
        let homes: HashMap<ClaimId, EntityId> = moved.iter().map(|moved| (moved.claim, moved.into)).collect();
        let changes = self.part.claims.iter().filter_map(|change| Some((change.id, change.replaces?)));
        let departed = self.part.departed.iter().map(|departure| (departure.claim, departure.entity));
        let replaced = changes.chain(departed).map(|(id, home)| (id, homes.get(&id).copied().unwrap_or(home)));
        let (ids, entities): (Vec<ClaimId>, Vec<EntityId>) = replaced.unzip();
        if ids.is_empty() {
            return Ok(0);
        }
        sqlx::query_scalar(
            "with old as (delete from claim c using unnest($2::bigint[], $3::bigint[]) w(id, entity) \
             where c.entity = w.entity and c.id = w.id returning c.*), \
             kept as (insert into claim_past (id, until_run, stream, key, occurrence, entity, digest, updated, file, row, \
             run, layout, vals) select id, $1, stream, key, occurrence, entity, digest, updated, file, row, run, layout, \
             vals from old on conflict do nothing) select count(*) from old",
        )
        .bind(self.run)
        .bind(ids)
        .bind(entities)
        .fetch_one(&mut *self.conn)
        .await
        .map_err(refused)
    }

    /// What the claims of the stream now say, packed, if it is so kept from its first claim on.
    async fn remember(&mut self) -> Result<()> {
        if !touches(self.part) {
            return Ok(());
        }
        let departed = self.part.departed.iter().map(|departure| departure.claim);
        let gone = if self.part.departed.is_empty() { None } else { Some(claim_set(departed)?) };
        sqlx::query(
            "insert into remembered (stream, entries, gone) select $1, $2, $3 where \
             exists (select 1 from remembered where stream = $1) or not exists (select 1 from claim where stream = $1)",
        )
        .bind(self.part.stream)
        .bind(packed(&self.part.claims))
        .bind(gone)
        .execute(&mut *self.conn)
        .await
        .map(|_| ())
        .map_err(refused)
    }

    /// Tells those who keep the stream's claims in mind.
    async fn count_claims(&mut self, gone: i64) -> Result<()> {
        if !touches(self.part) {
            return Ok(());
        }
        let more = i64::try_from(self.part.claims.len()).unwrap_or(i64::MAX) - gone;
        sqlx::query("update stream set version = version + 1, claims = claims + $2 where id = $1")
            .bind(self.part.stream)
            .bind(more)
            .execute(&mut *self.conn)
            .await
            .map(|_| ())
            .map_err(refused)
    }

    /// Keys of merged entities, and those that nobody supports any more.
    async fn move_keys(&mut self) -> Result<()> {
        let absorbed = &self.part.absorbed;
        for (loser, winner) in absorbed.gone.iter().filter_map(|g| g.into.map(|into| (g.id, into))) {
            let update = sqlx::query("update identity set entity = $1 where entity = $2").bind(winner).bind(loser);
            update.execute(&mut *self.conn).await.map_err(refused)?;
        }
        for (kind, value) in &absorbed.dropped_keys {
            let drop = sqlx::query("delete from identity where field = $1 and value = $2");
            let drop = drop.bind(self.table.key_ids[*kind]).bind(&**value);
            drop.execute(&mut *self.conn).await.map_err(refused)?;
        }
        Ok(())
    }

    async fn gone(&mut self) -> Result<()> {
        if self.part.gone.is_empty() {
            return Ok(());
        }
        let (keys, since): (Vec<&str>, Vec<i64>) = self.part.gone.iter().map(|(key, since)| (&**key, *since)).unzip();
        sqlx::query(
            "insert into gone select $1, key, max(updated) from unnest($2::text[], $3::bigint[]) w(key, updated) group by key \
             on conflict (stream, key) do update set updated = greatest(gone.updated, excluded.updated)",
        )
        .bind(self.part.stream)
        .bind(keys)
        .bind(since)
        .execute(&mut *self.conn)
        .await
        .map(|_| ())
        .map_err(refused)
    }

    async fn seen(&mut self) -> Result<()> {
        if self.part.seen.is_empty() || self.file == 0 {
            return Ok(());
        }
        let bytes = claim_set(self.part.seen.iter().copied())?;
        // A file that is taken has no use for it: what it did not show was retracted when it ended.
        sqlx::query(
            "insert into seen (file, stream, chunk, ids) select id, $1, $2, $3 from file where id = $4 and status <> 'taken' \
             on conflict (file, stream, chunk) do update set ids = excluded.ids",
        )
        .bind(self.part.stream)
        .bind(self.chunk)
        .bind(bytes)
        .bind(self.file)
        .execute(&mut *self.conn)
        .await
        .map(|_| ())
        .map_err(refused)
    }

    async fn ledger(&mut self) -> Result<()> {
        let c = &self.part.counts;
        let counted = [
            c.read,
            c.undecodable,
            c.filtered,
            c.quarantined,
            c.mapped,
            c.new,
            c.changed,
            c.unchanged,
            c.superseded,
            c.retracted,
            c.notes,
        ];
        let mut line = sqlx::query(
            "insert into ledger as l (run, register, file, chunk, read, undecodable, filtered, quarantined, mapped, new, \
             changed, unchanged, superseded, retracted, notes) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) \
             on conflict (run, register, file, chunk) do update set read = l.read + excluded.read, \
             undecodable = l.undecodable + excluded.undecodable, filtered = l.filtered + excluded.filtered, \
             quarantined = l.quarantined + excluded.quarantined, mapped = l.mapped + excluded.mapped, \
             new = l.new + excluded.new, changed = l.changed + excluded.changed, \
             unchanged = l.unchanged + excluded.unchanged, superseded = l.superseded + excluded.superseded, \
             retracted = l.retracted + excluded.retracted, notes = l.notes + excluded.notes",
        )
        .bind(self.run)
        .bind(&self.part.register)
        .bind(self.file)
        .bind(self.chunk);
        for n in counted {
            line = line.bind(i64::try_from(n).unwrap_or(i64::MAX));
        }
        line.execute(&mut *self.conn).await.map_err(refused)?;
        if self.part.codes.is_empty() {
            return Ok(());
        }
        let kinds: Vec<&str> = self.part.codes.iter().map(|(kind, _, _)| *kind).collect();
        let codes: Vec<&str> = self.part.codes.iter().map(|(_, code, _)| code.as_str()).collect();
        let counts: Vec<i64> = self.part.codes.iter().map(|(_, _, n)| i64::try_from(*n).unwrap_or(i64::MAX)).collect();
        sqlx::query(
            "insert into ledger_code as l (run, register, kind, code, n) \
             select $1, $2, w.kind, w.code, sum(w.n)::bigint from unnest($3::text[], $4::text[], $5::bigint[]) \
             w(kind, code, n) group by w.kind, w.code \
             on conflict (run, register, kind, code) do update set n = l.n + excluded.n",
        )
        .bind(self.run)
        .bind(&self.part.register)
        .bind(kinds)
        .bind(codes)
        .bind(counts)
        .execute(&mut *self.conn)
        .await
        .map(|_| ())
        .map_err(refused)
    }

    async fn counters(&mut self) -> Result<()> {
        let (claim, entity) = self.part.next_ids;
        sqlx::query(
            "update counter set next = greatest(next, case name when 'claim' then $1 else $2 end) \
             where name in ('claim', 'entity')",
        )
        .bind(claim)
        .bind(entity)
        .execute(&mut *self.conn)
        .await
        .map(|_| ())
        .map_err(refused)
    }
}
