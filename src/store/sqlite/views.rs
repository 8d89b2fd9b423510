//! What people ask the registers.

use futures::TryStreamExt;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row};

use super::super::table::{RegisterTable, quoted, winners};
use super::super::{ClaimView, EntityView, HistoryView, Result, StoreError};
use super::lookup::{columns, read_row};
use super::{SqliteStore, unavailable};
use crate::linking::EntityId;

impl SqliteStore {
    /// By id (`42` or `#42`) or by the value of any key.
    pub(super) async fn entity_by_key(&mut self, register: &str, key: &str) -> Result<Option<EntityView>> {
        let table = self.table(register)?.clone();
        let mut found: Option<EntityId> = None;
        for field in &table.key_ids {
            if found.is_none() {
                found = sqlx::query_scalar("select entity from identity where field = ? and value = ?")
                    .bind(field)
                    .bind(key)
                    .fetch_optional(&mut self.conn)
                    .await
                    .map_err(unavailable)?;
            }
        }
        let asked = found.or_else(|| key.strip_prefix('#').unwrap_or(key).parse().ok());
        let Some(asked) = asked else { return Ok(None) };
        let mut id = asked;
        while let Some(into) = sqlx::query_scalar("select into_entity from merged where entity = ?")
            .bind(id)
            .fetch_optional(&mut self.conn)
            .await
            .map_err(unavailable)?
        {
            id = into;
        }
        let sql = format!(
            "select _id, _version, _since, _sources, {} from {} where _id = ?",
            columns(&table),
            quoted(register)
        );
        let row = sqlx::query(AssertSqlSafe(sql)).bind(id).fetch_optional(&mut self.conn).await.map_err(unavailable)?;
        row.map(|row| {
            let mut view = entity_view(&row, &table)?;
            view.merged_from = (asked != id).then_some(asked);
            Ok(view)
        })
        .transpose()
    }

    pub(super) async fn find_entities(
        &mut self,
        register: &str,
        field: &str,
        text: &str,
        limit: i64,
    ) -> Result<Vec<EntityView>> {
        let table = self.table(register)?.clone();
        if !table.fields.iter().any(|(name, _)| name == field) {
            return Err(StoreError::Damaged(format!("register {register} has no field {field}")));
        }
        let sql = format!(
            "select _id, _version, _since, _sources, {} from {} where instr({}, ?) > 0 order by _id limit ?",
            columns(&table),
            quoted(register),
            quoted(field)
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(text)
            .bind(limit)
            .fetch_all(&mut self.conn)
            .await
            .map_err(unavailable)?;
        rows.iter().map(|row| entity_view(row, &table)).collect()
    }

    pub(super) async fn history_of(&mut self, register: &str, entity: EntityId) -> Result<Vec<HistoryView>> {
        let table = self.table(register)?.clone();
        let sql = format!(
            "select _version, _since, _until, _ended_by, {} from {} where _id = ? order by _version desc",
            columns(&table),
            quoted(&format!("{register}_history"))
        );
        let rows = sqlx::query(AssertSqlSafe(sql)).bind(entity).fetch_all(&mut self.conn).await.map_err(unavailable)?;
        rows.iter()
            .map(|row| {
                let values = read_row(row, &table, 4)?;
                let fields = table.fields.iter().zip(values).map(|((n, _), v)| (n.clone(), v.map(|v| v.to_text())));
                Ok(HistoryView {
                    version: row.get(0),
                    since: row.get(1),
                    until: row.get(2),
                    ended_by: row.get(3),
                    fields: fields.collect(),
                })
            })
            .collect()
    }

    pub(super) async fn claim_views(&mut self, register: &str, entity: EntityId) -> Result<Vec<ClaimView>> {
        let table = self.table(register)?.clone();
        let claims = self.claims_of(register, &[entity]).await?;
        let mut views = Vec::new();
        for (_, claim) in claims {
            let row = sqlx::query(
                "select s.system, s.dataset, coalesce(f.name, ''), coalesce(r.definitions, '') from stream s \
                 left join file f on f.id = ?2 left join run r on r.id = ?3 where s.id = ?1",
            )
            .bind(claim.stream)
            .bind(claim.origin.file)
            .bind(claim.origin.run)
            .fetch_one(&mut self.conn)
            .await
            .map_err(unavailable)?;
            let fields = table.fields.iter().zip(&claim.values);
            views.push(ClaimView {
                id: claim.id,
                stream: claim.stream,
                system: row.get(0),
                dataset: row.get(1),
                updated: claim.updated,
                file: row.get(2),
                row: claim.origin.row,
                run: claim.origin.run,
                mapping: row.get(3),
                fields: fields.filter_map(|((n, _), v)| v.as_ref().map(|v| (n.clone(), v.to_text()))).collect(),
                claim: Some(claim),
            });
        }
        Ok(views)
    }

    pub(super) async fn feeds_holding(&mut self, entity: EntityId) -> Result<Vec<(String, i64, i64)>> {
        let rows = sqlx::query(
            "select f.name, h.version, h.batch from feed f join holding h on h.feed = f.id and h.entity = ? order by f.name",
        )
        .bind(entity)
        .fetch_all(&mut self.conn)
        .await
        .map_err(unavailable)?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect())
    }

    pub(super) async fn claimed_after(&mut self, register: &str, after: EntityId, limit: i64) -> Result<Vec<EntityId>> {
        let sql = format!(
            "select _id from {} where _id > ?1 union select entity from claim where entity > ?1 \
             and stream in (select id from stream where register = ?2) order by 1 limit ?3",
            quoted(register)
        );
        sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(after)
            .bind(register)
            .bind(limit)
            .fetch_all(&mut self.conn)
            .await
            .map_err(unavailable)
    }

    pub(super) async fn all_streams(&mut self) -> Result<std::collections::HashMap<i64, (String, String, String)>> {
        let mut streams = std::collections::HashMap::new();
        let mut rows = sqlx::query("select id, system, dataset, register from stream").fetch(&mut self.conn);
        while let Some(row) = rows.try_next().await.map_err(unavailable)? {
            streams.insert(row.get(0), (row.get(1), row.get(2), row.get(3)));
        }
        Ok(streams)
    }
}

fn entity_view(row: &SqliteRow, table: &RegisterTable) -> Result<EntityView> {
    let values = read_row(row, table, 4)?;
    let winners = winners(row.get(3));
    let fields = table.fields.iter().zip(values).map(|((name, _), value)| {
        let claim = value.as_ref().and_then(|_| winners(name));
        (name.clone(), value.map(|v| v.to_text()), claim)
    });
    Ok(EntityView {
        id: row.get(0),
        version: row.get(1),
        since: row.get(2),
        fields: fields.collect(),
        merged_from: None,
    })
}
