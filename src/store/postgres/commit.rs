//! One chunk, one transaction.

use std::collections::{BTreeMap, HashMap};

use sqlx::{AssertSqlSafe, PgConnection};

use super::super::table::{RegisterTable, quoted, sources_text};
use super::super::{ChangeSet, ClaimChange, Lease, Quarantined, RegisterPart, Result, StoreError};
use super::connect::refused;
use super::copy::Rows;
use super::schema::{Month, begin, finish, in_registers};
use crate::failpoint::Boundary;
use crate::linking::{ClaimId, EntityState};

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

/// Writes a change under a fence; `tables` are those of its parts, `months` those whose partitions may be missing.
pub(super) async fn write(
    conn: &mut PgConnection,
    tables: &[RegisterTable],
    (months, fence): (&[Month], Option<&Lease>),
    change: &ChangeSet,
) -> Result<()> {
    begin(conn).await?;
    let written = match super::leases::check(conn, fence).await {
        Ok(()) => write_in(conn, tables, months, change).await,
        Err(fenced) => Err(fenced),
    };
    Boundary::ChunkWritten.reached();
    finish(conn, written).await?;
    Boundary::ChunkCommitted.reached();
    Ok(())
}

async fn write_in(
    conn: &mut PgConnection,
    tables: &[RegisterTable],
    months: &[Month],
    change: &ChangeSet,
) -> Result<()> {
    for month in months {
        month.make(conn).await?;
    }
    let chunk = match change.file {
        Some(file) => advance(conn, file, change.position.clone()).await?,
        None => 0,
    };
    for (part, table) in change.parts.iter().zip(tables) {
        let file = change.file.unwrap_or(0);
        Writing { conn: &mut *conn, run: change.run, file, at: change.at, chunk, table, part }.all().await?;
    }
    Ok(())
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
    async fn all(&mut self) -> Result<()> {
        self.entities().await?;
        self.claims().await?;
        self.keys().await?;
        self.gone().await?;
        self.seen().await?;
        self.quarantine().await?;
        self.ledger().await?;
        self.counters().await
    }

    async fn entities(&mut self) -> Result<()> {
        let absorbed = &self.part.absorbed;
        self.retire().await?;
        // Only this mapping speaks of a new entity: other fields stay null, and need not be said.
        let mut set = self.part.layout.fields.clone();
        set.sort_unstable();
        self.copy_entities(&absorbed.new, &set).await?;
        let all: Vec<usize> = (0..self.table.fields.len()).collect();
        self.copy_entities(&absorbed.changed, &all).await?;
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
        self.log().await
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
        let mut merged = Rows::new(5);
        for gone in &absorbed.gone {
            if let Some(into) = gone.into {
                merged.row();
                merged.bigint(gone.id);
                merged.text(&self.part.register);
                merged.bigint(into);
                merged.bigint(self.run);
                merged.bigint(self.at);
            }
        }
        merged.copy(self.conn, "merged (entity, register, into_entity, run, at)").await
    }

    /// Writes register rows; `fields` are those that can be set.
    async fn copy_entities(&mut self, states: &[EntityState], fields: &[usize]) -> Result<()> {
        let mut rows = Rows::new(5 + fields.len());
        for state in states {
            rows.row();
            rows.bigint(state.id);
            rows.bigint(state.version);
            rows.instant(self.at);
            rows.bigint(self.run);
            rows.text(&sources_text(&self.table.fields, &state.golden.sources));
            for &field in fields {
                rows.value(state.golden.row[field].as_ref());
            }
        }
        let columns: Vec<String> = fields.iter().map(|&field| quoted(&self.table.fields[field].0)).collect();
        let live = in_registers(&self.part.register);
        let into = format!("{live} (_id, _version, _since, _run, _sources, {})", columns.join(", "));
        rows.copy(self.conn, &into).await
    }

    /// The change log: entities that were there before, in entity order, then the new ones, whose ids are all above.
    async fn log(&mut self) -> Result<()> {
        let absorbed = &self.part.absorbed;
        let mut entries: Vec<(i64, i64, &str)> = Vec::with_capacity(absorbed.changed.len() + absorbed.new.len());
        entries.extend(absorbed.changed.iter().map(|s| (s.id, s.version, "changed")));
        let ended = |g: &crate::linking::Gone| if g.into.is_some() { "merged" } else { "gone" };
        entries.extend(absorbed.gone.iter().map(|g| (g.id, g.version, ended(g))));
        entries.sort_unstable_by_key(|(entity, _, _)| *entity);
        entries.extend(absorbed.new.iter().map(|s| (s.id, s.version, "new")));
        let mut rows = Rows::new(5);
        for (entity, version, kind) in entries {
            rows.row();
            rows.instant(self.at);
            rows.bigint(entity);
            rows.bigint(version);
            rows.text(kind);
            rows.bigint(self.run);
        }
        let change = in_registers(&format!("{}_change", self.part.register));
        rows.copy(self.conn, &format!("{change} (at, entity, version, kind, run)")).await
    }

    async fn claims(&mut self) -> Result<()> {
        let moved = &self.part.absorbed.moved;
        if !moved.is_empty() {
            let (ids, homes): (Vec<i64>, Vec<i64>) = moved.iter().copied().unzip();
            sqlx::query("update claim c set entity = w.entity from unnest($1::bigint[], $2::bigint[]) w(id, entity) where c.id = w.id")
                .bind(ids)
                .bind(homes)
                .execute(&mut *self.conn)
                .await
                .map_err(refused)?;
        }
        let changes = self.part.claims.iter().filter(|change| change.replaces).map(|claim| claim.id);
        let replaced: Vec<ClaimId> = changes.chain(self.part.departed.iter().copied()).collect();
        if !replaced.is_empty() {
            sqlx::query(
                "with old as (delete from claim where id = any($2) returning *) \
                 insert into claim_past (id, until_run, stream, key, occurrence, entity, digest, updated, file, row, run, \
                 layout, vals) select id, $1, stream, key, occurrence, entity, digest, updated, file, row, run, layout, \
                 vals from old on conflict do nothing",
            )
            .bind(self.run)
            .bind(replaced)
            .execute(&mut *self.conn)
            .await
            .map_err(refused)?;
        }
        self.copy_claims().await
    }

    async fn copy_claims(&mut self) -> Result<()> {
        let mut rows = Rows::new(12);
        for claim in &self.part.claims {
            let ClaimChange { id, key, occurrence, entity, digest, updated, origin, values, .. } = claim;
            rows.row();
            for n in [*id, self.part.stream] {
                rows.bigint(n);
            }
            rows.text(key);
            for n in [*occurrence, *entity, *digest, *updated, origin.file, origin.row, self.run, self.part.layout.id] {
                rows.bigint(n);
            }
            rows.raw(values);
        }
        let into = "claim (id, stream, key, occurrence, entity, digest, updated, file, row, run, layout, vals)";
        rows.copy(self.conn, into).await
    }

    async fn keys(&mut self) -> Result<()> {
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
        let mut last: BTreeMap<(i64, &str), i64> = BTreeMap::new();
        for (kind, value, entity) in &self.part.new_keys {
            last.insert((self.table.key_ids[*kind], &**value), *entity);
        }
        if last.is_empty() {
            return Ok(());
        }
        let fields: Vec<i64> = last.keys().map(|(field, _)| *field).collect();
        let values: Vec<&str> = last.keys().map(|(_, value)| *value).collect();
        let entities: Vec<i64> = last.values().copied().collect();
        sqlx::query(
            "insert into identity (field, value, entity) select * from unnest($1::bigint[], $2::text[], $3::bigint[]) \
             on conflict (field, value) do update set entity = excluded.entity",
        )
        .bind(fields)
        .bind(values)
        .bind(entities)
        .execute(&mut *self.conn)
        .await
        .map(|_| ())
        .map_err(refused)
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
        let seen: roaring::RoaringTreemap = self.part.seen.iter().filter_map(|&id| u64::try_from(id).ok()).collect();
        let mut bytes = Vec::new();
        seen.serialize_into(&mut bytes).map_err(|error| StoreError::Damaged(error.to_string()))?;
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

    async fn quarantine(&mut self) -> Result<()> {
        let part = self.part;
        if !part.healed.is_empty() {
            let keys: Vec<&str> = part.healed.iter().map(|key| &**key).collect();
            sqlx::query(
                "update quarantine set status = 'corrected', last_run = $1 where status = 'open' and dataset = $2 \
                 and register = $3 and key = any($4)",
            )
            .bind(self.run)
            .bind(&part.dataset)
            .bind(&part.register)
            .bind(keys)
            .execute(&mut *self.conn)
            .await
            .map_err(refused)?;
        }
        let set_aside = SetAside::of(&part.quarantined)?;
        if set_aside.digests.is_empty() { Ok(()) } else { self.set_aside(&set_aside).await }
    }

    /// Known bad rows are seen again, others are new; ids are drawn for new ones only.
    async fn set_aside(&mut self, bad: &SetAside<'_>) -> Result<()> {
        sqlx::query(
            "update quarantine q set last_run = $1, reasons = w.reasons::jsonb, mapping = $2, \
             file = case $3 when 0 then q.file else $3 end, row = w.row, line = w.line, byte = w.byte, \
             status = case q.status when 'dismissed' then 'dismissed' else 'open' end \
             from unnest($5::text[], $6::bigint[], $7::text[], $8::bigint[], $9::bigint[], $10::bigint[]) \
             w(register, digest, reasons, row, line, byte) \
             where q.dataset = $4 and q.register = w.register and q.digest = w.digest",
        )
        .bind(self.run)
        .bind(&self.part.mapping)
        .bind(self.file)
        .bind(&self.part.dataset)
        .bind(&bad.registers)
        .bind(&bad.digests)
        .bind(&bad.reasons)
        .bind(&bad.rows)
        .bind(&bad.lines)
        .bind(&bad.bytes)
        .execute(&mut *self.conn)
        .await
        .map_err(refused)?;
        sqlx::query(
            "insert into quarantine (dataset, register, key, digest, status, file, row, line, byte, mapping, reasons, raw, \
             cells, first_run, last_run) \
             select $4, w.register, w.key, w.digest, 'open', $3, w.row, w.line, w.byte, $2, w.reasons::jsonb, w.raw, \
             w.cells, $1, $1 from unnest($5::text[], $6::bigint[], $7::text[], $8::bigint[], $9::bigint[], $10::bigint[], \
             $11::text[], $12::bytea[], $13::text[]) with ordinality \
             w(register, digest, reasons, row, line, byte, key, raw, cells, i) \
             where not exists (select 1 from quarantine q where q.dataset = $4 and q.register = w.register \
             and q.digest = w.digest) order by w.i",
        )
        .bind(self.run)
        .bind(&self.part.mapping)
        .bind(self.file)
        .bind(&self.part.dataset)
        .bind(&bad.registers)
        .bind(&bad.digests)
        .bind(&bad.reasons)
        .bind(&bad.rows)
        .bind(&bad.lines)
        .bind(&bad.bytes)
        .bind(&bad.keys)
        .bind(&bad.raws)
        .bind(&bad.cells)
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
        for (kind, code, n) in &self.part.codes {
            sqlx::query(
                "insert into ledger_code as l (run, register, kind, code, n) values ($1, $2, $3, $4, $5) \
                 on conflict (run, register, kind, code) do update set n = l.n + excluded.n",
            )
            .bind(self.run)
            .bind(&self.part.register)
            .bind(*kind)
            .bind(code)
            .bind(i64::try_from(*n).unwrap_or(i64::MAX))
            .execute(&mut *self.conn)
            .await
            .map_err(refused)?;
        }
        Ok(())
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

/// Rows set aside, by column; a row that comes twice is kept once, at the place where it came last.
#[derive(Default)]
struct SetAside<'a> {
    registers: Vec<&'a str>,
    digests: Vec<i64>,
    reasons: Vec<String>,
    rows: Vec<i64>,
    lines: Vec<i64>,
    bytes: Vec<i64>,
    keys: Vec<Option<&'a str>>,
    raws: Vec<&'a [u8]>,
    cells: Vec<Option<&'a str>>,
}

impl<'a> SetAside<'a> {
    fn of(quarantined: &'a [Quarantined]) -> Result<Self> {
        let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let mut at: HashMap<(&str, i64), usize> = HashMap::new();
        let mut all = Self::default();
        for bad in quarantined {
            let register = bad.register.as_deref().unwrap_or_default();
            let next = all.digests.len();
            let i = *at.entry((register, bad.digest)).or_insert(next);
            let place = [bad.place.row, bad.place.line, bad.place.byte].map(number);
            if i < next {
                (all.rows[i], all.lines[i], all.bytes[i]) = (place[0], place[1], place[2]);
                continue;
            }
            let reasons = serde_json::to_string(&bad.reasons);
            all.reasons.push(reasons.map_err(|error| StoreError::Damaged(error.to_string()))?);
            all.registers.push(register);
            all.digests.push(bad.digest);
            all.rows.push(place[0]);
            all.lines.push(place[1]);
            all.bytes.push(place[2]);
            all.keys.push(bad.key.as_deref());
            all.raws.push(&bad.raw);
            all.cells.push(bad.cells.as_deref());
        }
        Ok(all)
    }
}
