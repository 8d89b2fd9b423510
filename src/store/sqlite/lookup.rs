//! What is remembered about source keys, identity keys and entities.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::TryStreamExt;
use roaring::RoaringTreemap;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use super::super::table::{RegisterTable, quoted};
use super::super::{Recalled, RecalledClaim, Result, StoreError};
use super::bulk::{json_integers, json_texts, put};
use super::{SqliteStore, unavailable};
use crate::linking::{Before, Claim, ClaimId, EntityId, Known, Layout, Origin, StreamId, decode_values};
use crate::record::{FieldType, Value, decimal_from_text};

/// Rows of the largest recall.
const RECALL_ROWS: usize = 8192;

/// Asks about `slots` rows (number, key, digest). One text answers instead of one row per claim, for a row costs a
/// thread hop; a claim that stands costs two numbers: row and claim.
fn recall_sql(slots: usize) -> String {
    let rows: Vec<String> = (0..slots).map(|i| format!("({i},?,?)")).collect();
    format!(
        "with w(i, key, digest) as (values {}) select group_concat(w.i || ' ' || c.id || case \
         when c.digest = w.digest and c.occurrence = 0 then '' \
         when c.digest = w.digest then ' ' || c.occurrence \
         else ' ' || c.occurrence || ' ' || c.entity end, ';') \
         from w cross join claim c on c.key = w.key and c.stream = ?",
        rows.join(",")
    )
}

/// One entry of its answer: the row's number, and the claim.
fn recalled_claim(entry: &str) -> Option<(usize, RecalledClaim)> {
    let mut numbers = entry.split(' ');
    let index = numbers.next()?.parse().ok()?;
    let id = numbers.next()?.parse().ok()?;
    let occurrence = numbers.next().map_or(Some(0), |number| number.parse().ok())?;
    let differs = numbers.next().map(str::parse).transpose().ok()?;
    Some((index, RecalledClaim { id, occurrence, differs }))
}

impl SqliteStore {
    pub(super) async fn recall_claims(&mut self, stream: StreamId, rows: &[(Arc<str>, i64)]) -> Result<Vec<Recalled>> {
        let mut recalled = vec![Recalled::default(); rows.len()];
        for (start, part) in (0..).step_by(RECALL_ROWS).zip(rows.chunks(RECALL_ROWS)) {
            let slots = part.len().next_power_of_two();
            let mut args = SqliteArguments::default();
            for row in part.iter().map(Some).chain(std::iter::repeat(None)).take(slots) {
                put(&mut args, row.map(|(key, _)| Arc::clone(key)))?;
                put(&mut args, row.map(|(_, digest)| *digest))?;
            }
            put(&mut args, stream)?;
            let sql = self.recall_sql.entry(slots).or_insert_with(|| recall_sql(slots).into());
            let found: Option<String> = sqlx::query_scalar_with(AssertSqlSafe(Arc::clone(sql)), args)
                .fetch_one(&mut self.conn)
                .await
                .map_err(unavailable)?;
            for entry in found.as_deref().unwrap_or("").split(';').filter(|entry| !entry.is_empty()) {
                let (index, claim) =
                    recalled_claim(entry).ok_or_else(|| StoreError::Damaged("a claim's numbers do not read".into()))?;
                if let Some(recalled) = recalled.get_mut(start + index) {
                    recalled.claims.push(claim);
                }
            }
        }
        for key in &mut recalled {
            key.claims.sort_unstable_by_key(|claim| claim.occurrence);
        }
        Ok(recalled)
    }

    pub(super) async fn gone_keys(&mut self, stream: StreamId, keys: &[Arc<str>]) -> Result<HashMap<Arc<str>, i64>> {
        let sql = "select key, updated from gone where stream = ? and key in (select value from json_each(?))";
        let found: Vec<(String, i64)> = sqlx::query_as(sql)
            .bind(stream)
            .bind(json_texts(keys.iter().map(|key| &**key)))
            .fetch_all(&mut self.conn)
            .await
            .map_err(unavailable)?;
        Ok(found.into_iter().map(|(key, updated)| (key.into(), updated)).collect())
    }

    pub(super) async fn known_keys(&mut self, register: &str, keys: &[(usize, Arc<str>)]) -> Result<Known> {
        let table = self.table(register)?.clone();
        let mut known = Known::default();
        let mut entities: Vec<EntityId> = Vec::new();
        for (kind, field) in table.key_ids.iter().enumerate() {
            let values: Vec<&Arc<str>> = keys.iter().filter(|(k, _)| *k == kind).map(|(_, value)| value).collect();
            if values.is_empty() {
                continue;
            }
            let mut rows = sqlx::query(
                "select j.key, i.entity from json_each(?) j cross join identity i on i.field = ? and i.value = j.value",
            )
            .bind(json_texts(values.iter().map(|value| &***value)))
            .bind(field)
            .fetch(&mut self.conn);
            while let Some(row) = rows.try_next().await.map_err(unavailable)? {
                let index = usize::try_from(row.get::<i64, _>(0)).unwrap_or(usize::MAX);
                let Some(value) = values.get(index) else { continue };
                let entity: EntityId = row.get(1);
                known.entity_of.insert((kind, Arc::clone(value)), entity);
                entities.push(entity);
            }
        }
        known.keys_of = keys_of(&mut self.conn, &table, &entities).await?;
        Ok(known)
    }

    pub(super) async fn before_of(
        &mut self,
        register: &str,
        entities: &[EntityId],
    ) -> Result<HashMap<EntityId, Before>> {
        let table = self.table(register)?.clone();
        let mut before: HashMap<EntityId, Before> =
            entities.iter().map(|&entity| (entity, Before::default())).collect();
        if entities.is_empty() {
            return Ok(before);
        }
        for (entity, claim) in self.claims_of(register, entities).await? {
            before.entry(entity).or_default().claims.push(claim);
        }
        for (entity, keys) in keys_of(&mut self.conn, &table, entities).await? {
            before.entry(entity).or_default().keys = keys;
        }
        let sql = format!(
            "select _id, _version, {} from {} where _id in (select value from json_each(?))",
            columns(&table),
            quoted(register)
        );
        let mut rows = sqlx::query(AssertSqlSafe(sql)).bind(json_integers(entities)).fetch(&mut self.conn);
        while let Some(row) = rows.try_next().await.map_err(unavailable)? {
            let values = read_row(&row, &table, 2)?;
            before.entry(row.get(0)).or_default().row = Some((values, row.get(1)));
        }
        Ok(before)
    }

    /// All claims of these entities, in claim order.
    pub(super) async fn claims_of(&mut self, register: &str, entities: &[EntityId]) -> Result<Vec<(EntityId, Claim)>> {
        let layouts = self.layouts(register).await?;
        let width = self.table(register)?.fields.len();
        let mut claims = Vec::new();
        let mut rows = sqlx::query(
            "select id, stream, key, occurrence, entity, updated, file, row, run, layout, vals from claim \
             where entity in (select value from json_each(?)) order by id",
        )
        .bind(json_integers(entities))
        .fetch(&mut self.conn);
        while let Some(row) = rows.try_next().await.map_err(unavailable)? {
            let layout = layouts
                .get(&row.get::<i64, _>(9))
                .ok_or_else(|| StoreError::Damaged("a claim names an unknown layout".into()))?;
            let (values, past) = decode_values(layout, width, row.get(10))
                .ok_or_else(|| StoreError::Damaged(format!("claim {} does not unpack", row.get::<i64, _>(0))))?;
            let claim = Claim {
                id: row.get(0),
                stream: row.get(1),
                key: row.get::<&str, _>(2).into(),
                occurrence: row.get(3),
                updated: row.get(5),
                values,
                past,
                origin: Origin { file: row.get(6), row: row.get(7), run: row.get(8) },
            };
            claims.push((row.get(4), claim));
        }
        Ok(claims)
    }

    /// Stored layouts of a register, as indexes into its present fields; fields that are gone are skipped by value.
    pub(super) async fn layouts(&mut self, register: &str) -> Result<HashMap<i64, Layout>> {
        let fields = self.table(register)?.fields.clone();
        let rows = sqlx::query("select id, fields from layout where register = ?")
            .bind(register)
            .fetch_all(&mut self.conn)
            .await
            .map_err(unavailable)?;
        rows.iter()
            .map(|row| {
                let id: i64 = row.get(0);
                let names: Vec<&str> = row.get::<&str, _>(1).split(',').collect();
                let indexes = names.iter().map(|name| {
                    fields.iter().position(|(field, _)| field == name).ok_or_else(|| {
                        StoreError::Damaged(format!("layout {id} names field {name}, which register {register} lacks"))
                    })
                });
                Ok((id, Layout { id, fields: indexes.collect::<Result<_>>()? }))
            })
            .collect()
    }

    pub(super) async fn vanished_claims(
        &mut self,
        stream: StreamId,
        file: i64,
        after: ClaimId,
        limit: i64,
    ) -> Result<Vec<(ClaimId, EntityId)>> {
        let seen = self.seen_claims(stream, file).await?;
        let mut vanished: Vec<ClaimId> = Vec::new();
        let mut after = after;
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
        while vanished.len() < wanted {
            let page: Option<String> = sqlx::query_scalar(
                "select group_concat(id) from (select id from claim where stream = ? and id > ? order by id limit 65536)",
            )
            .bind(stream)
            .bind(after)
            .fetch_one(&mut self.conn)
            .await
            .map_err(unavailable)?;
            let Some(page) = page else { break };
            for id in page.split(',').filter_map(|id| id.parse::<i64>().ok()) {
                after = id;
                if !seen.contains(id.unsigned_abs()) {
                    vanished.push(id);
                    if vanished.len() == wanted {
                        break;
                    }
                }
            }
        }
        let rows = sqlx::query("select id, entity from claim where id in (select value from json_each(?)) order by id")
            .bind(json_integers(&vanished))
            .fetch_all(&mut self.conn)
            .await
            .map_err(unavailable)?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    pub(super) async fn seen_claims(&mut self, stream: StreamId, file: i64) -> Result<RoaringTreemap> {
        let blobs: Vec<Vec<u8>> = sqlx::query_scalar("select ids from seen where file = ? and stream = ?")
            .bind(file)
            .bind(stream)
            .fetch_all(&mut self.conn)
            .await
            .map_err(unavailable)?;
        let mut seen = RoaringTreemap::new();
        for blob in blobs {
            seen |= RoaringTreemap::deserialize_from(blob.as_slice())
                .map_err(|error| StoreError::Damaged(format!("claims seen by file {file}: {error}")))?;
        }
        Ok(seen)
    }
}

async fn keys_of(
    conn: &mut SqliteConnection,
    table: &RegisterTable,
    entities: &[EntityId],
) -> Result<HashMap<EntityId, Vec<(usize, Arc<str>)>>> {
    let mut keys: HashMap<EntityId, Vec<(usize, Arc<str>)>> = HashMap::new();
    if entities.is_empty() {
        return Ok(keys);
    }
    let distinct: HashSet<EntityId> = entities.iter().copied().collect();
    let mut distinct: Vec<EntityId> = distinct.into_iter().collect();
    distinct.sort_unstable();
    let mut rows = sqlx::query(
        "select entity, field, value from identity where entity in (select value from json_each(?)) order by field, value",
    )
    .bind(json_integers(&distinct))
    .fetch(conn);
    while let Some(row) = rows.try_next().await.map_err(unavailable)? {
        let field: i64 = row.get(1);
        if let Some(kind) = table.key_ids.iter().position(|id| *id == field) {
            keys.entry(row.get(0)).or_default().push((kind, row.get::<&str, _>(2).into()));
        }
    }
    Ok(keys)
}

/// The register's columns for a select list; decimals as text, so that every digit comes back.
pub(super) fn columns(table: &RegisterTable) -> String {
    let columns: Vec<String> = table
        .fields
        .iter()
        .map(|(name, kind)| match kind {
            FieldType::Decimal => table.column_or_null(name, format!("cast({} as text)", quoted(name))),
            _ => table.column_or_null(name, quoted(name)),
        })
        .collect();
    columns.join(", ")
}

/// Reads the register fields of a row, which start at column `first`.
pub(super) fn read_row(row: &SqliteRow, table: &RegisterTable, first: usize) -> Result<crate::linking::Row> {
    table
        .fields
        .iter()
        .enumerate()
        .map(|(i, (name, kind))| {
            read_value(row, first + i, *kind)
                .map_err(|error| StoreError::Damaged(format!("register column {name}: {error}")))
        })
        .collect()
}

fn read_value(row: &SqliteRow, column: usize, kind: FieldType) -> std::result::Result<Option<Value>, String> {
    let text = |row: &SqliteRow| row.try_get_unchecked::<Option<&str>, _>(column).map(|t| t.map(str::to_owned));
    let value = match kind {
        FieldType::Text => text(row).map_err(|e| e.to_string())?.map(Value::Text),
        FieldType::Integer => {
            row.try_get_unchecked(column).map(|n: Option<i64>| n.map(Value::Integer)).map_err(|e| e.to_string())?
        }
        FieldType::Timestamp => {
            row.try_get_unchecked(column).map(|n: Option<i64>| n.map(Value::Timestamp)).map_err(|e| e.to_string())?
        }
        FieldType::Boolean => {
            row.try_get_unchecked(column).map(|n: Option<bool>| n.map(Value::Boolean)).map_err(|e| e.to_string())?
        }
        FieldType::Decimal => match text(row).map_err(|e| e.to_string())? {
            None => None,
            Some(digits) => Some(Value::Decimal(
                decimal_from_text(digits.strip_suffix(".0").unwrap_or(&digits)).ok_or("not a decimal")?,
            )),
        },
        FieldType::Date => match text(row).map_err(|e| e.to_string())? {
            None => None,
            Some(date) => Some(Value::from_text(FieldType::Date, &date).ok_or("not a date")?),
        },
    };
    Ok(value)
}
