//! What is remembered about source keys, identity keys and entities.

use std::collections::HashMap;
use std::sync::Arc;

use roaring::RoaringTreemap;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use super::super::table::{RegisterTable, quoted};
use super::super::{Recalled, RecalledClaim, Result, StoreError};
use super::PostgresStore;
use super::connect::refused;
use super::schema::in_registers;
use crate::linking::{Before, Claim, ClaimId, EntityId, Known, Layout, Origin, StreamId, decode_values};
use crate::record::{FieldType, Value, decimal_from_text};

impl PostgresStore {
    pub(super) async fn recall_claims(&mut self, stream: StreamId, rows: &[(Arc<str>, i64)]) -> Result<Vec<Recalled>> {
        let mut recalled = vec![Recalled::default(); rows.len()];
        let keys: Vec<&str> = rows.iter().map(|(key, _)| &**key).collect();
        let digests: Vec<i64> = rows.iter().map(|(_, digest)| *digest).collect();
        let found = sqlx::query(
            "select w.i, c.id, c.occurrence, case when c.digest = w.digest then null else c.entity end \
             from unnest($2::text[], $3::bigint[]) with ordinality w(key, digest, i) \
             join claim c on c.stream = $1 and c.key = w.key order by w.i, c.occurrence",
        )
        .bind(stream)
        .bind(keys)
        .bind(digests)
        .fetch_all(self.link.get().await?)
        .await
        .map_err(refused)?;
        for row in &found {
            let index = usize::try_from(row.get::<i64, _>(0) - 1).unwrap_or(usize::MAX);
            let claim = RecalledClaim { id: row.get(1), occurrence: row.get(2), differs: row.get(3) };
            if let Some(recalled) = recalled.get_mut(index) {
                recalled.claims.push(claim);
            }
        }
        Ok(recalled)
    }

    pub(super) async fn gone_keys(&mut self, stream: StreamId, keys: &[Arc<str>]) -> Result<HashMap<Arc<str>, i64>> {
        let keys: Vec<&str> = keys.iter().map(|key| &**key).collect();
        let found: Vec<(String, i64)> =
            sqlx::query_as("select key, updated from gone where stream = $1 and key = any($2)")
                .bind(stream)
                .bind(keys)
                .fetch_all(self.link.get().await?)
                .await
                .map_err(refused)?;
        Ok(found.into_iter().map(|(key, updated)| (key.into(), updated)).collect())
    }

    pub(super) async fn known_keys(&mut self, register: &str, keys: &[(usize, Arc<str>)]) -> Result<Known> {
        let table = self.table(register)?.clone();
        let mut known = Known::default();
        let fields: Vec<i64> = keys.iter().map(|(kind, _)| table.key_ids[*kind]).collect();
        let values: Vec<&str> = keys.iter().map(|(_, value)| &**value).collect();
        let conn = self.link.get().await?;
        let rows = sqlx::query(
            "select w.i, i.entity from unnest($1::bigint[], $2::text[]) with ordinality w(field, value, i) \
             join identity i on i.field = w.field and i.value = w.value",
        )
        .bind(fields)
        .bind(values)
        .fetch_all(&mut *conn)
        .await
        .map_err(refused)?;
        let mut entities: Vec<EntityId> = Vec::with_capacity(rows.len());
        for row in &rows {
            let index = usize::try_from(row.get::<i64, _>(0) - 1).unwrap_or(usize::MAX);
            let Some((kind, value)) = keys.get(index) else { continue };
            let entity: EntityId = row.get(1);
            known.entity_of.insert((*kind, Arc::clone(value)), entity);
            entities.push(entity);
        }
        known.keys_of = keys_of(conn, &table, &entities).await?;
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
        let conn = self.link.get().await?;
        for (entity, keys) in keys_of(conn, &table, entities).await? {
            before.entry(entity).or_default().keys = keys;
        }
        let sql =
            format!("select _id, _version{} from {} where _id = any($1)", columns(&table), in_registers(register));
        let rows = sqlx::query(AssertSqlSafe(sql)).bind(entities).fetch_all(conn).await.map_err(refused)?;
        for row in &rows {
            before.entry(row.get(0)).or_default().row = Some((read_row(row, &table, 2)?, row.get(1)));
        }
        Ok(before)
    }

    /// All claims of these entities, in claim order.
    pub(super) async fn claims_of(&mut self, register: &str, entities: &[EntityId]) -> Result<Vec<(EntityId, Claim)>> {
        let layouts = self.layouts(register).await?;
        let width = self.table(register)?.fields.len();
        let rows = sqlx::query(
            "select id, stream, key, occurrence, entity, updated, file, row, run, layout, vals from claim \
             where entity = any($1) order by id",
        )
        .bind(entities)
        .fetch_all(self.link.get().await?)
        .await
        .map_err(refused)?;
        let claim = |row: &PgRow| {
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
            Ok((row.get(4), claim))
        };
        rows.iter().map(claim).collect()
    }

    /// Stored layouts of a register, as indexes into its present fields.
    pub(super) async fn layouts(&mut self, register: &str) -> Result<HashMap<i64, Layout>> {
        let fields = self.table(register)?.fields.clone();
        let rows = sqlx::query("select id, fields from layout where register = $1")
            .bind(register)
            .fetch_all(self.link.get().await?)
            .await
            .map_err(refused)?;
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
        const PAGE: i64 = 65_536;
        let seen = self.seen_claims(stream, file).await?;
        let mut vanished: Vec<(ClaimId, EntityId)> = Vec::new();
        let mut place: (EntityId, ClaimId) = (0, 0);
        loop {
            let page: Vec<(ClaimId, EntityId)> = sqlx::query_as(
                "select id, entity from claim where stream = $1 and (entity, id) > ($2, $3) order by entity, id limit $4",
            )
            .bind(stream)
            .bind(place.0)
            .bind(place.1)
            .bind(PAGE)
            .fetch_all(self.link.get().await?)
            .await
            .map_err(refused)?;
            let Some((id, entity)) = page.last().copied() else { break };
            place = (entity, id);
            vanished.extend(page.into_iter().filter(|(id, _)| *id > after && !seen.contains(id.unsigned_abs())));
        }
        vanished.sort_unstable();
        vanished.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(vanished)
    }

    pub(super) async fn seen_claims(&mut self, stream: StreamId, file: i64) -> Result<RoaringTreemap> {
        let blobs: Vec<Vec<u8>> = sqlx::query_scalar("select ids from seen where file = $1 and stream = $2")
            .bind(file)
            .bind(stream)
            .fetch_all(self.link.get().await?)
            .await
            .map_err(refused)?;
        let mut seen = RoaringTreemap::new();
        for blob in blobs {
            seen |= RoaringTreemap::deserialize_from(blob.as_slice())
                .map_err(|error| StoreError::Damaged(format!("claims seen by file {file}: {error}")))?;
        }
        Ok(seen)
    }
}

async fn keys_of(
    conn: &mut PgConnection,
    table: &RegisterTable,
    entities: &[EntityId],
) -> Result<HashMap<EntityId, Vec<(usize, Arc<str>)>>> {
    let mut keys: HashMap<EntityId, Vec<(usize, Arc<str>)>> = HashMap::new();
    if entities.is_empty() {
        return Ok(keys);
    }
    // The order is made of what was found: a planner that knows little of the table would walk along all keys for it.
    let sql = "select entity, field, value from (select entity, field, value from identity where entity = any($1) offset 0) k \
               order by field, value";
    let rows = sqlx::query(sql).bind(entities).fetch_all(conn).await.map_err(refused)?;
    for row in &rows {
        let field: i64 = row.get(1);
        if let Some(kind) = table.key_ids.iter().position(|id| *id == field) {
            keys.entry(row.get(0)).or_default().push((kind, row.get::<&str, _>(2).into()));
        }
    }
    Ok(keys)
}

/// One register column as it is read: decimals as text, so that every digit comes back; dates and instants as numbers.
pub(super) fn column(name: &str, kind: FieldType) -> String {
    let name = quoted(name);
    match kind {
        FieldType::Decimal => format!("trim_scale({name})::text"),
        FieldType::Date => format!("({name} - date '1970-01-01')"),
        FieldType::Timestamp => format!("(extract(epoch from {name}) * 1000000)::bigint"),
        FieldType::Text | FieldType::Integer | FieldType::Boolean => name,
    }
}

/// The register's columns for the end of a select list.
pub(super) fn columns(table: &RegisterTable) -> String {
    table.fields.iter().map(|(name, kind)| format!(", {}", table.column_or_null(name, column(name, *kind)))).collect()
}

/// An instant column in microseconds.
pub(super) fn micros(name: &str) -> String {
    format!("(extract(epoch from {name}) * 1000000)::bigint")
}

/// Reads the register fields of a row, which start at column `first`.
pub(super) fn read_row(row: &PgRow, table: &RegisterTable, first: usize) -> Result<crate::linking::Row> {
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

fn read_value(row: &PgRow, column: usize, kind: FieldType) -> std::result::Result<Option<Value>, sqlx::Error> {
    Ok(match kind {
        FieldType::Text => row.try_get::<Option<String>, _>(column)?.map(Value::Text),
        FieldType::Integer => row.try_get::<Option<i64>, _>(column)?.map(Value::Integer),
        FieldType::Timestamp => row.try_get::<Option<i64>, _>(column)?.map(Value::Timestamp),
        FieldType::Boolean => row.try_get::<Option<bool>, _>(column)?.map(Value::Boolean),
        FieldType::Date => row.try_get::<Option<i32>, _>(column)?.map(Value::Date),
        FieldType::Decimal => match row.try_get::<Option<&str>, _>(column)? {
            None => None,
            Some(digits) => Some(Value::Decimal(
                decimal_from_text(digits).ok_or_else(|| sqlx::Error::Decode("not a decimal".into()))?,
            )),
        },
    })
}
