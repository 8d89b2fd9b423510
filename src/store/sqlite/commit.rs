//! One chunk, one transaction.

use sqlx::SqliteConnection;

use super::super::recollection::{claim_set, packed};
use super::super::table::{RegisterTable, only_source, quoted, sources_text};
use super::super::{ChangeSet, Lease, Quarantined, RegisterPart, Result, StoreError};
use super::bulk::{self, Bulk, Script, Statement, json_integers, json_texts};
use super::unavailable;
use crate::failpoint::Boundary;
use crate::linking::{ClaimId, EntityState};

/// Where and when a part is written; makes its statements.
struct Writing<'a> {
    script: &'a Script,
    run: i64,
    file: i64,
    at: i64,
    chunk: i64,
    table: &'a RegisterTable,
    part: &'a RegisterPart,
}

/// Writes a change under a fence; `tables` are those of its parts.
pub(super) async fn write(
    conn: &mut SqliteConnection,
    (tables, fence): (Vec<RegisterTable>, Option<Lease>),
    change: ChangeSet,
) -> Result<()> {
    let ChangeSet { run, file, at, position, mut parts } = change;
    begin(conn).await?;
    let written = async {
        super::leases::check(conn, fence.as_ref()).await?;
        let chunk = match file {
            Some(file) => advance(conn, file, position).await?,
            None => 0,
        };
        bulk::run(conn, move |script| {
            for (part, table) in parts.iter_mut().zip(&tables) {
                let new = std::mem::take(&mut part.absorbed.new);
                let changed = std::mem::take(&mut part.absorbed.changed);
                let file = file.unwrap_or(0);
                Writing { script, run, file, at, chunk, table, part }.all(new, changed)?;
            }
            Ok(())
        })
        .await
    }
    .await;
    Boundary::ChunkWritten.reached();
    finish(conn, written).await?;
    Boundary::ChunkCommitted.reached();
    Ok(())
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

async fn advance(conn: &mut SqliteConnection, file: i64, position: Option<crate::decode::Position>) -> Result<i64> {
    let resume = position
        .map(|position| serde_json::to_string(&position).map_err(|error| StoreError::Damaged(error.to_string())))
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
    fn all(&self, new: Vec<EntityState>, changed: Vec<EntityState>) -> Result<()> {
        self.entities(new, changed)?;
        self.claims()?;
        self.keys()?;
        self.gone()?;
        self.seen()?;
        self.quarantine()?;
        self.ledger()?;
        self.counters()
    }

    fn entities(&self, new: Vec<EntityState>, changed: Vec<EntityState>) -> Result<()> {
        let added = new.first().map(|first| first.id).zip(new.last().map(|last| last.id));
        self.retire(&changed)?;
        let log = self.log_entries(&changed);
        let all: Vec<usize> = (0..self.table.fields.len()).collect();
        // Only this mapping speaks of a new entity: other fields stay null, and need not be said.
        let mut set = self.part.layout.fields.clone();
        set.sort_unstable();
        self.insert_entities(new, &set)?;
        self.insert_entities(changed, &all)?;
        let live = quoted(&self.part.register);
        let sql = format!("update {live} set _sources = ?1 where _id = ?2 and _sources <> ?1");
        for state in &self.part.absorbed.resourced {
            let sources = sources_text(&self.table.fields, &state.golden.sources);
            self.script.say(Statement::new(sql.as_str()).bind(sources)?.bind(state.id)?);
        }
        self.log(log, added)
    }

    /// Rows that change or go move to the history.
    fn retire(&self, changed: &[EntityState]) -> Result<()> {
        let absorbed = &self.part.absorbed;
        let ids: Vec<i64> = changed.iter().map(|s| s.id).chain(absorbed.gone.iter().map(|g| g.id)).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let (live, past) = (quoted(&self.part.register), quoted(&format!("{}_history", self.part.register)));
        let columns = self.columns();
        let list = json_integers(&ids);
        let sql = format!(
            "insert into {past} (_id, _version, _since, _run, _sources, _until, _ended_by, {columns}) \
             select _id, _version, _since, _run, _sources, ?, ?, {columns} from {live} \
             where _id in (select value from json_each(?))"
        );
        self.script.say(Statement::new(sql).bind(self.at)?.bind(self.run)?.bind(list.as_str())?);
        let sql = format!("delete from {live} where _id in (select value from json_each(?))");
        self.script.say(Statement::new(sql).bind(list)?);
        let head = "insert into merged (entity, register, into_entity, run, at)";
        let mut merged = Bulk::new(self.script, head, "(?,?,?,?,?)", "");
        for gone in &absorbed.gone {
            if let Some(into) = gone.into {
                merged.put(gone.id)?;
                merged.put(self.part.register.as_str())?;
                merged.put(into)?;
                merged.put(self.run)?;
                merged.put(self.at)?;
                merged.row();
            }
        }
        merged.finish();
        Ok(())
    }

    fn columns(&self) -> String {
        let columns: Vec<String> = self.table.fields.iter().map(|(name, _)| quoted(name)).collect();
        columns.join(", ")
    }

    /// Writes register rows; `fields` are those that can be set.
    fn insert_entities(&self, states: Vec<EntityState>, fields: &[usize]) -> Result<()> {
        let columns: Vec<String> = fields.iter().map(|&field| quoted(&self.table.fields[field].0)).collect();
        let live = quoted(&self.part.register);
        let head = format!("insert into {live} (_id, _version, _since, _run, _sources, {})", columns.join(", "));
        let tuple = format!("(?,?,?,{},?{})", self.run, ",?".repeat(fields.len()));
        let mut bulk = Bulk::new(self.script, head, tuple, "");
        for mut state in states {
            bulk.put(state.id)?;
            bulk.put(state.version)?;
            bulk.put(self.at)?;
            match only_source(&state.golden.sources) {
                Some(claim) => bulk.put(claim)?, // the column has text affinity: SQLite writes the digits
                None => bulk.put(sources_text(&self.table.fields, &state.golden.sources))?,
            }
            for &field in fields {
                bulk.put_value(state.golden.row[field].take())?;
            }
            bulk.row();
        }
        bulk.finish();
        Ok(())
    }

    /// What the change log says about entities that were there before, in entity order.
    fn log_entries(&self, changed: &[EntityState]) -> Vec<(i64, i64, &'static str)> {
        let gone = &self.part.absorbed.gone;
        let mut entries: Vec<(i64, i64, &str)> = Vec::with_capacity(changed.len() + gone.len());
        entries.extend(changed.iter().map(|s| (s.id, s.version, "changed")));
        entries.extend(gone.iter().map(|g| (g.id, g.version, if g.into.is_some() { "merged" } else { "gone" })));
        entries.sort_unstable_by_key(|(entity, _, _)| *entity);
        entries
    }

    /// The change log: `entries`, then the new entities, whose ids are all above and lie between the two `added`.
    fn log(&self, entries: Vec<(i64, i64, &'static str)>, added: Option<(i64, i64)>) -> Result<()> {
        let head =
            format!("insert into {} (entity, version, kind, run)", quoted(&format!("{}_change", self.part.register)));
        let new = added.map(|_| {
            format!(
                "{head} select _id, _version, 'new', _run from {} where _id between ? and ? order by _id",
                quoted(&self.part.register)
            )
        });
        let mut bulk = Bulk::new(self.script, head, format!("(?,?,?,{})", self.run), "");
        for (entity, version, kind) in entries {
            bulk.put(entity)?;
            bulk.put(version)?;
            bulk.put(kind)?;
            bulk.row();
        }
        bulk.finish();
        if let Some((sql, (first, last))) = new.zip(added) {
            self.script.say(Statement::new(sql).bind(first)?.bind(last)?);
        }
        Ok(())
    }

    fn claims(&self) -> Result<()> {
        self.remember()?;
        for moved in &self.part.absorbed.moved {
            self.script
                .say(Statement::new("update claim set entity = ? where id = ?").bind(moved.into)?.bind(moved.claim)?);
        }
        let changes = self.part.claims.iter().filter(|change| change.replaces.is_some()).map(|claim| claim.id);
        let replaced: Vec<ClaimId> =
            changes.chain(self.part.departed.iter().map(|departure| departure.claim)).collect();
        if !replaced.is_empty() {
            let list = json_integers(&replaced);
            let keep = "insert or ignore into claim_past select id, ?, stream, key, occurrence, entity, digest, updated, \
                        file, row, run, layout, vals from claim where id in (select value from json_each(?))";
            self.script.say(Statement::new(keep).bind(self.run)?.bind(list.as_str())?);
            let drop = "delete from claim where id in (select value from json_each(?))";
            self.script.say(Statement::new(drop).bind(list)?);
        }
        self.insert_claims()
    }

    /// What the claims of the stream now say, packed, if it is so kept from its first claim on.
    fn remember(&self) -> Result<()> {
        let (claims, departed) = (&self.part.claims, &self.part.departed);
        if claims.is_empty() && departed.is_empty() {
            return Ok(());
        }
        let sql = "insert into remembered (stream, entries, gone) select ?1, ?2, ?3 where \
                   exists (select 1 from remembered where stream = ?1) or not exists (select 1 from claim where stream = ?1)";
        let statement = Statement::new(sql).bind(self.part.stream)?.bind(packed(claims))?;
        let gone = departed.iter().map(|departure| departure.claim);
        let gone = if departed.is_empty() { None } else { Some(claim_set(gone)?) };
        self.script.say(statement.bind(gone)?);
        Ok(())
    }

    fn insert_claims(&self) -> Result<()> {
        let head =
            "insert into claim (id, stream, key, occurrence, entity, digest, updated, file, row, run, layout, vals)";
        let tuple = format!("(?,{},?,?,?,?,?,?,?,{},{},?)", self.part.stream, self.run, self.part.layout.id);
        let mut bulk = Bulk::new(self.script, head, tuple, "");
        for claim in &self.part.claims {
            bulk.put(claim.id)?;
            bulk.put(std::sync::Arc::clone(&claim.key))?;
            bulk.put(claim.occurrence)?;
            bulk.put(claim.entity)?;
            bulk.put(claim.digest)?;
            bulk.put(claim.updated)?;
            bulk.put(claim.origin.file)?;
            bulk.put(claim.origin.row)?;
            bulk.put(claim.values.as_slice())?;
            bulk.row();
        }
        bulk.finish();
        Ok(())
    }

    fn keys(&self) -> Result<()> {
        let script = self.script;
        for (loser, winner) in self.part.absorbed.gone.iter().filter_map(|g| g.into.map(|into| (g.id, into))) {
            script.say(Statement::new("update identity set entity = ? where entity = ?").bind(winner)?.bind(loser)?);
        }
        for (kind, value) in &self.part.absorbed.dropped_keys {
            let drop = Statement::new("delete from identity where field = ? and value = ?");
            script.say(drop.bind(self.table.key_ids[*kind])?.bind(&**value)?);
        }
        for (kind, field) in self.table.key_ids.iter().enumerate() {
            let mut bulk = Bulk::new(
                script,
                "insert into identity (field, value, entity)",
                format!("({field},?,?)"),
                " on conflict (field, value) do update set entity = excluded.entity",
            );
            for (_, value, entity) in self.part.new_keys.iter().filter(|(k, _, _)| *k == kind) {
                bulk.put(std::sync::Arc::clone(value))?;
                bulk.put(*entity)?;
                bulk.row();
            }
            bulk.finish();
        }
        Ok(())
    }

    fn gone(&self) -> Result<()> {
        let mut bulk = Bulk::new(
            self.script,
            "insert into gone (stream, key, updated)",
            format!("({},?,?)", self.part.stream),
            " on conflict (stream, key) do update set updated = max(updated, excluded.updated)",
        );
        for (key, updated) in &self.part.gone {
            bulk.put(std::sync::Arc::clone(key))?;
            bulk.put(*updated)?;
            bulk.row();
        }
        bulk.finish();
        Ok(())
    }

    fn seen(&self) -> Result<()> {
        if self.part.seen.is_empty() || self.file == 0 {
            return Ok(());
        }
        let bytes = claim_set(self.part.seen.iter().copied())?;
        // A file that is taken has no use for it: what it did not show was retracted when it ended.
        let sql = "insert or replace into seen (file, stream, chunk, ids) \
                   select id, ?, ?, ? from file where id = ? and status <> 'taken'";
        let seen = Statement::new(sql).bind(self.part.stream)?.bind(self.chunk)?.bind(bytes)?.bind(self.file)?;
        self.script.say(seen);
        Ok(())
    }

    fn quarantine(&self) -> Result<()> {
        let part = self.part;
        if !part.healed.is_empty() {
            let sql = "update quarantine set status = 'corrected', last_run = ? where status = 'open' and dataset = ? \
                       and register = ? and key in (select value from json_each(?))";
            let keys = json_texts(part.healed.iter().map(|key| &**key));
            let heal = Statement::new(sql).bind(self.run)?.bind(part.dataset.as_str())?;
            self.script.say(heal.bind(part.register.as_str())?.bind(keys)?);
        }
        let mut bulk = Bulk::new(
            self.script,
            "insert into quarantine (dataset, register, key, digest, status, file, row, line, byte, mapping, reasons, raw, \
             cells, first_run, last_run)",
            format!("(?,?,?,?,'open',{file},?,?,?,?,?,?,?,{run},{run})", file = self.file, run = self.run),
            " on conflict (dataset, register, digest) do update set last_run = excluded.last_run, \
             reasons = excluded.reasons, mapping = excluded.mapping, \
             file = case excluded.file when 0 then quarantine.file else excluded.file end, row = excluded.row, \
             line = excluded.line, byte = excluded.byte, \
             status = case quarantine.status when 'dismissed' then 'dismissed' else 'open' end",
        );
        for bad in &part.quarantined {
            self.put_bad(&mut bulk, bad)?;
            bulk.row();
        }
        bulk.finish();
        Ok(())
    }

    fn put_bad(&self, bulk: &mut Bulk<'_>, bad: &Quarantined) -> Result<()> {
        let reasons = serde_json::to_string(&bad.reasons).map_err(|error| StoreError::Damaged(error.to_string()))?;
        bulk.put(self.part.dataset.as_str())?;
        bulk.put(bad.register.as_deref().unwrap_or_default())?;
        bulk.put(bad.key.as_deref())?;
        bulk.put(bad.digest)?;
        for number in [bad.place.row, bad.place.line, bad.place.byte] {
            bulk.put(i64::try_from(number).unwrap_or(i64::MAX))?;
        }
        bulk.put(self.part.mapping.as_str())?;
        bulk.put(reasons)?;
        bulk.put(bad.raw.as_slice())?;
        bulk.put(bad.cells.as_deref())
    }

    fn ledger(&self) -> Result<()> {
        let c = &self.part.counts;
        let mut line = Bulk::new(
            self.script,
            "insert into ledger (run, register, file, chunk, read, undecodable, filtered, quarantined, mapped, new, changed, \
             unchanged, superseded, retracted, notes)",
            "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
            " on conflict do update set read = read + excluded.read, undecodable = undecodable + excluded.undecodable, \
             filtered = filtered + excluded.filtered, quarantined = quarantined + excluded.quarantined, \
             mapped = mapped + excluded.mapped, new = new + excluded.new, changed = changed + excluded.changed, \
             unchanged = unchanged + excluded.unchanged, superseded = superseded + excluded.superseded, \
             retracted = retracted + excluded.retracted, notes = notes + excluded.notes",
        );
        line.put(self.run)?;
        line.put(self.part.register.as_str())?;
        line.put(self.file)?;
        line.put(self.chunk)?;
        let before_linking = [c.read, c.undecodable, c.filtered, c.quarantined, c.mapped];
        let after_linking = [c.new, c.changed, c.unchanged, c.superseded, c.retracted, c.notes];
        for n in before_linking.into_iter().chain(after_linking) {
            line.put(i64::try_from(n).unwrap_or(i64::MAX))?;
        }
        line.row();
        line.finish();
        let mut codes = Bulk::new(
            self.script,
            "insert into ledger_code (run, register, kind, code, n)",
            "(?,?,?,?,?)",
            " on conflict do update set n = n + excluded.n",
        );
        for (kind, code, n) in &self.part.codes {
            codes.put(self.run)?;
            codes.put(self.part.register.as_str())?;
            codes.put(*kind)?;
            codes.put(code.as_str())?;
            codes.put(i64::try_from(*n).unwrap_or(i64::MAX))?;
            codes.row();
        }
        codes.finish();
        Ok(())
    }

    fn counters(&self) -> Result<()> {
        let (claim, entity) = self.part.next_ids;
        for (name, next) in [("claim", claim), ("entity", entity)] {
            let count = Statement::new("update counter set next = max(next, ?) where name = ?");
            self.script.say(count.bind(next)?.bind(name)?);
        }
        Ok(())
    }
}
