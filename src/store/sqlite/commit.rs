//! One chunk, one transaction.

use sqlx::{AssertSqlSafe, SqliteConnection};

use super::super::{ChangeSet, Quarantined, RegisterPart, Result, StoreError};
use super::bulk::{Bulk, json_integers, json_texts};
use super::schema::{RegisterTable, quoted};
use super::{SqliteStore, unavailable};
use crate::linking::{ClaimId, EntityState};

/// Where and when a part is written.
struct Writing<'a> {
    run: i64,
    file: i64,
    at: i64,
    chunk: i64,
    table: &'a RegisterTable,
    part: &'a RegisterPart,
}

impl SqliteStore {
    pub(super) async fn write(&mut self, change: ChangeSet) -> Result<()> {
        let ChangeSet { run, file, at, resume, mut parts } = change;
        let tables =
            parts.iter().map(|part| self.table(&part.register).cloned()).collect::<Result<Vec<RegisterTable>>>()?;
        let conn = &mut self.conn;
        begin(conn).await?;
        let written = async {
            let chunk = match file {
                Some(file) => advance(conn, file, resume).await?,
                None => 0,
            };
            for (part, table) in parts.iter_mut().zip(&tables) {
                let new = std::mem::take(&mut part.absorbed.new);
                let changed = std::mem::take(&mut part.absorbed.changed);
                let writing = Writing { run, file: file.unwrap_or(0), at, chunk, table, part };
                writing.entities(conn, new, changed).await?;
                writing.claims(conn).await?;
                writing.keys(conn).await?;
                writing.seen(conn).await?;
                writing.quarantine(conn).await?;
                writing.ledger(conn).await?;
                writing.counters(conn).await?;
            }
            Ok(())
        }
        .await;
        finish(conn, written).await
    }
}

/// Opens a write transaction.
pub(super) async fn begin(conn: &mut SqliteConnection) -> Result<()> {
    sqlx::query("begin immediate").execute(conn).await.map_err(unavailable)?;
    Ok(())
}

/// Commits what went well, takes back what did not.
pub(super) async fn finish(conn: &mut SqliteConnection, written: Result<()>) -> Result<()> {
    let end = if written.is_ok() { "commit" } else { "rollback" };
    let ended = sqlx::query(end).execute(&mut *conn).await.map_err(unavailable);
    if written.is_ok() && ended.is_err() {
        // A commit that failed (disk full) leaves the transaction open: nothing of it may stay.
        sqlx::query("rollback").execute(conn).await.ok();
    }
    written.and(ended.map(|_| ()))
}

async fn advance(conn: &mut SqliteConnection, file: i64, resume: Option<crate::decode::Resume>) -> Result<i64> {
    let resume = resume
        .map(|resume| serde_json::to_string(&resume).map_err(|error| StoreError::Damaged(error.to_string())))
        .transpose()?;
    sqlx::query_scalar(
        "update file set resume = coalesce(?, resume), chunks = chunks + 1 where id = ? returning chunks",
    )
    .bind(resume)
    .bind(file)
    .fetch_one(conn)
    .await
    .map_err(unavailable)
}

impl Writing<'_> {
    async fn entities(
        &self,
        conn: &mut SqliteConnection,
        new: Vec<EntityState>,
        changed: Vec<EntityState>,
    ) -> Result<()> {
        let absorbed = &self.part.absorbed;
        let log = self.log_entries(&new, &changed);
        self.retire(conn, &changed).await?;
        self.insert_entities(conn, new).await?;
        self.insert_entities(conn, changed).await?;
        let live = quoted(&self.part.register);
        for state in &absorbed.resourced {
            let sources = self.sources(state);
            let sql = format!("update {live} set _sources = ?1 where _id = ?2 and _sources <> ?1");
            sqlx::query(AssertSqlSafe(sql))
                .bind(sources)
                .bind(state.id)
                .execute(&mut *conn)
                .await
                .map_err(unavailable)?;
        }
        self.log(conn, log).await
    }

    /// Rows that change or go move to the history.
    async fn retire(&self, conn: &mut SqliteConnection, changed: &[EntityState]) -> Result<()> {
        let absorbed = &self.part.absorbed;
        let ids: Vec<i64> = changed.iter().map(|s| s.id).chain(absorbed.gone.iter().map(|g| g.id)).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let (live, past) = (quoted(&self.part.register), quoted(&format!("{}_history", self.part.register)));
        let columns: Vec<String> = self.table.fields.iter().map(|(name, _)| quoted(name)).collect();
        let columns = columns.join(", ");
        let list = json_integers(&ids);
        let sql = format!(
            "insert into {past} (_id, _version, _since, _run, _sources, _until, _ended_by, {columns}) \
             select _id, _version, _since, _run, _sources, ?, ?, {columns} from {live} \
             where _id in (select value from json_each(?))"
        );
        sqlx::query(AssertSqlSafe(sql))
            .bind(self.at)
            .bind(self.run)
            .bind(&list)
            .execute(&mut *conn)
            .await
            .map_err(unavailable)?;
        let sql = format!("delete from {live} where _id in (select value from json_each(?))");
        sqlx::query(AssertSqlSafe(sql)).bind(&list).execute(&mut *conn).await.map_err(unavailable)?;
        let mut merged = Bulk::new("insert into merged (entity, register, into_entity, run, at)", 5, "");
        for gone in &absorbed.gone {
            if let Some(into) = gone.into {
                merged.put(gone.id)?;
                merged.put(self.part.register.clone())?;
                merged.put(into)?;
                merged.put(self.run)?;
                merged.put(self.at)?;
                merged.row(conn).await?;
            }
        }
        merged.finish(conn).await
    }

    async fn insert_entities(&self, conn: &mut SqliteConnection, states: Vec<EntityState>) -> Result<()> {
        let columns: Vec<String> = self.table.fields.iter().map(|(name, _)| quoted(name)).collect();
        let head = format!(
            "insert into {} (_id, _version, _since, _run, _sources, {})",
            quoted(&self.part.register),
            columns.join(", ")
        );
        let mut bulk = Bulk::new(head, 5 + columns.len(), "");
        for state in states {
            bulk.put(state.id)?;
            bulk.put(state.version)?;
            bulk.put(self.at)?;
            bulk.put(self.run)?;
            bulk.put(self.sources(&state))?;
            for value in state.golden.row {
                bulk.put_value(value)?;
            }
            bulk.row(conn).await?;
        }
        bulk.finish(conn).await
    }

    /// `12` when one claim says everything, else `name:12 address:13`.
    fn sources(&self, state: &EntityState) -> String {
        sources_text(&self.table.fields, &state.golden.sources)
    }

    /// The change log's new entries, in entity order.
    fn log_entries(&self, new: &[EntityState], changed: &[EntityState]) -> Vec<(i64, i64, &'static str)> {
        let gone = &self.part.absorbed.gone;
        let mut entries: Vec<(i64, i64, &str)> = Vec::with_capacity(new.len() + changed.len() + gone.len());
        entries.extend(new.iter().map(|s| (s.id, s.version, "new")));
        entries.extend(changed.iter().map(|s| (s.id, s.version, "changed")));
        entries.extend(gone.iter().map(|g| (g.id, g.version, if g.into.is_some() { "merged" } else { "gone" })));
        entries.sort_unstable_by_key(|(entity, _, _)| *entity);
        entries
    }

    async fn log(&self, conn: &mut SqliteConnection, entries: Vec<(i64, i64, &'static str)>) -> Result<()> {
        let head =
            format!("insert into {} (entity, version, kind, run)", quoted(&format!("{}_change", self.part.register)));
        let mut bulk = Bulk::new(head, 4, "");
        for (entity, version, kind) in entries {
            bulk.put(entity)?;
            bulk.put(version)?;
            bulk.put(kind)?;
            bulk.put(self.run)?;
            bulk.row(conn).await?;
        }
        bulk.finish(conn).await
    }

    async fn claims(&self, conn: &mut SqliteConnection) -> Result<()> {
        for (claim, entity) in &self.part.absorbed.moved {
            sqlx::query("update claim set entity = ? where id = ?")
                .bind(entity)
                .bind(claim)
                .execute(&mut *conn)
                .await
                .map_err(unavailable)?;
        }
        let replaced: Vec<ClaimId> = self
            .part
            .claims
            .iter()
            .filter(|change| change.replaces)
            .map(|claim| claim.id)
            .chain(self.part.departed.iter().copied())
            .collect();
        if !replaced.is_empty() {
            let list = json_integers(&replaced);
            sqlx::query(
                "insert or ignore into claim_past select id, ?, stream, key, occurrence, entity, digest, updated, file, row, run, \
                 layout, vals from claim where id in (select value from json_each(?))",
            )
            .bind(self.run)
            .bind(&list)
            .execute(&mut *conn)
            .await
            .map_err(unavailable)?;
            sqlx::query("delete from claim where id in (select value from json_each(?))")
                .bind(&list)
                .execute(&mut *conn)
                .await
                .map_err(unavailable)?;
        }
        self.insert_claims(conn).await
    }

    async fn insert_claims(&self, conn: &mut SqliteConnection) -> Result<()> {
        let mut bulk = Bulk::new(
            "insert into claim (id, stream, key, occurrence, entity, digest, updated, file, row, run, layout, vals)",
            12,
            "",
        );
        for claim in &self.part.claims {
            bulk.put(claim.id)?;
            bulk.put(claim.stream)?;
            bulk.put(&*claim.key)?;
            bulk.put(claim.occurrence)?;
            bulk.put(claim.entity)?;
            bulk.put(claim.digest)?;
            bulk.put(claim.updated)?;
            bulk.put(claim.origin.file)?;
            bulk.put(claim.origin.row)?;
            bulk.put(claim.origin.run)?;
            bulk.put(self.part.layout.id)?;
            bulk.put(claim.values.as_slice())?;
            bulk.row(conn).await?;
        }
        bulk.finish(conn).await
    }

    async fn keys(&self, conn: &mut SqliteConnection) -> Result<()> {
        for (loser, winner) in self.part.absorbed.gone.iter().filter_map(|g| g.into.map(|into| (g.id, into))) {
            sqlx::query("update identity set entity = ? where entity = ?")
                .bind(winner)
                .bind(loser)
                .execute(&mut *conn)
                .await
                .map_err(unavailable)?;
        }
        for (kind, value) in &self.part.absorbed.dropped_keys {
            sqlx::query("delete from identity where field = ? and value = ?")
                .bind(self.table.key_ids[*kind])
                .bind(&**value)
                .execute(&mut *conn)
                .await
                .map_err(unavailable)?;
        }
        let mut bulk = Bulk::new(
            "insert into identity (field, value, entity)",
            3,
            " on conflict (field, value) do update set entity = excluded.entity",
        );
        for (kind, value, entity) in &self.part.new_keys {
            bulk.put(self.table.key_ids[*kind])?;
            bulk.put(&**value)?;
            bulk.put(*entity)?;
            bulk.row(conn).await?;
        }
        bulk.finish(conn).await
    }

    async fn seen(&self, conn: &mut SqliteConnection) -> Result<()> {
        if self.part.seen.is_empty() || self.file == 0 {
            return Ok(());
        }
        let seen: roaring::RoaringTreemap = self.part.seen.iter().filter_map(|&id| u64::try_from(id).ok()).collect();
        let mut bytes = Vec::new();
        seen.serialize_into(&mut bytes).map_err(|error| StoreError::Damaged(error.to_string()))?;
        // A file that is taken has no use for it: what it did not show was retracted when it ended.
        let sql = "insert or replace into seen (file, stream, chunk, ids) \
                   select id, ?, ?, ? from file where id = ? and status <> 'taken'";
        sqlx::query(sql)
            .bind(self.part.stream)
            .bind(self.chunk)
            .bind(bytes)
            .bind(self.file)
            .execute(conn)
            .await
            .map_err(unavailable)?;
        Ok(())
    }

    async fn quarantine(&self, conn: &mut SqliteConnection) -> Result<()> {
        let part = self.part;
        if !part.healed.is_empty() {
            sqlx::query(
                "update quarantine set status = 'corrected', last_run = ? where status = 'open' and dataset = ? and register = ? \
                 and key in (select value from json_each(?))",
            )
            .bind(self.run)
            .bind(&part.dataset)
            .bind(&part.register)
            .bind(json_texts(part.healed.iter().map(|key| &**key)))
            .execute(&mut *conn)
            .await
            .map_err(unavailable)?;
        }
        let mut bulk = Bulk::new(
            "insert into quarantine (dataset, register, key, digest, status, file, row, line, byte, mapping, reasons, raw, \
             cells, first_run, last_run)",
            15,
            " on conflict (dataset, register, digest) do update set last_run = excluded.last_run, \
             reasons = excluded.reasons, mapping = excluded.mapping, \
             file = case excluded.file when 0 then quarantine.file else excluded.file end, row = excluded.row, \
             line = excluded.line, byte = excluded.byte, \
             status = case quarantine.status when 'dismissed' then 'dismissed' else 'open' end",
        );
        for bad in &part.quarantined {
            self.put_bad(&mut bulk, bad)?;
            bulk.row(conn).await?;
        }
        bulk.finish(conn).await
    }

    fn put_bad(&self, bulk: &mut Bulk, bad: &Quarantined) -> Result<()> {
        let reasons = serde_json::to_string(&bad.reasons).map_err(|error| StoreError::Damaged(error.to_string()))?;
        bulk.put(self.part.dataset.clone())?;
        bulk.put(bad.register.clone().unwrap_or_default())?;
        bulk.put(bad.key.as_deref())?;
        bulk.put(bad.digest)?;
        bulk.put("open")?;
        bulk.put(self.file)?;
        for number in [bad.place.row, bad.place.line, bad.place.byte] {
            bulk.put(i64::try_from(number).unwrap_or(i64::MAX))?;
        }
        bulk.put(self.part.mapping.clone())?;
        bulk.put(reasons)?;
        bulk.put(bad.raw.clone())?;
        bulk.put(bad.cells.clone())?;
        bulk.put(self.run)?;
        bulk.put(self.run)
    }

    async fn ledger(&self, conn: &mut SqliteConnection) -> Result<()> {
        let c = &self.part.counts;
        let mut bulk = Bulk::new(
            "insert into ledger (run, register, file, chunk, read, undecodable, filtered, quarantined, mapped, new, changed, \
             unchanged, superseded, retracted, notes)",
            15,
            " on conflict do update set read = read + excluded.read, undecodable = undecodable + excluded.undecodable, \
             filtered = filtered + excluded.filtered, quarantined = quarantined + excluded.quarantined, \
             mapped = mapped + excluded.mapped, new = new + excluded.new, changed = changed + excluded.changed, \
             unchanged = unchanged + excluded.unchanged, superseded = superseded + excluded.superseded, \
             retracted = retracted + excluded.retracted, notes = notes + excluded.notes",
        );
        bulk.put(self.run)?;
        bulk.put(self.part.register.clone())?;
        bulk.put(self.file)?;
        bulk.put(self.chunk)?;
        for n in [
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
        ] {
            bulk.put(i64::try_from(n).unwrap_or(i64::MAX))?;
        }
        bulk.row(conn).await?;
        bulk.finish(conn).await?;
        let mut codes = Bulk::new(
            "insert into ledger_code (run, register, kind, code, n)",
            5,
            " on conflict do update set n = n + excluded.n",
        );
        for (kind, code, n) in &self.part.codes {
            codes.put(self.run)?;
            codes.put(self.part.register.clone())?;
            codes.put(*kind)?;
            codes.put(code.clone())?;
            codes.put(i64::try_from(*n).unwrap_or(i64::MAX))?;
            codes.row(conn).await?;
        }
        codes.finish(conn).await
    }

    async fn counters(&self, conn: &mut SqliteConnection) -> Result<()> {
        let (claim, entity) = self.part.next_ids;
        for (name, next) in [("claim", claim), ("entity", entity)] {
            sqlx::query("update counter set next = max(next, ?) where name = ?")
                .bind(next)
                .bind(name)
                .execute(&mut *conn)
                .await
                .map_err(unavailable)?;
        }
        Ok(())
    }
}

/// Winning claims as text: `12` when one claim says everything, else `name:12 address:13`.
pub(super) fn sources_text(fields: &[(String, crate::record::FieldType)], sources: &[Option<ClaimId>]) -> String {
    let mut claims = sources.iter().flatten();
    let first = claims.next();
    if let Some(only) = first
        && claims.all(|claim| claim == only)
    {
        return only.to_string();
    }
    fields
        .iter()
        .zip(sources)
        .filter_map(|((name, _), claim)| claim.map(|claim| format!("{name}:{claim}")))
        .collect::<Vec<_>>()
        .join(" ")
}
