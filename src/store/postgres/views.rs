//! What people ask the registers.

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row as _};

use super::super::table::{RegisterTable, winners};
use super::super::{ClaimView, EntityView, HistoryView, Result, StoreError};
use super::PostgresStore;
use super::connect::refused;
use super::lookup::{columns, micros, read_row};
use super::schema::in_registers;
use crate::linking::EntityId;

impl PostgresStore {
    /// A statement of no answer, to the connection that reads.
    pub(super) async fn say(&mut self, what: &'static str) -> Result<()> {
        sqlx::query(what).execute(self.link.get().await?).await.map(|_| ()).map_err(refused)
    }

    /// By id (`42` or `#42`) or by the value of any key.
    pub(super) async fn entity_by_key(&mut self, register: &str, key: &str) -> Result<Option<EntityView>> {
        let table = self.table(register)?.clone();
        let conn = self.link.get().await?;
        let found: Option<EntityId> = sqlx::query_scalar(
            "select i.entity from unnest($1::bigint[]) with ordinality w(field, n) \
             join identity i on i.field = w.field and i.value = $2 order by w.n limit 1",
        )
        .bind(&table.key_ids)
        .bind(key)
        .fetch_optional(&mut *conn)
        .await
        .map_err(refused)?;
        let asked = found.or_else(|| key.strip_prefix('#').unwrap_or(key).parse().ok());
        let Some(asked) = asked else { return Ok(None) };
        let mut id = asked;
        while let Some(into) = sqlx::query_scalar("select into_entity from merged where entity = $1")
            .bind(id)
            .fetch_optional(&mut *conn)
            .await
            .map_err(refused)?
        {
            id = into;
        }
        let sql = format!("{} where _id = $1", select_view(&table, register));
        let row = sqlx::query(AssertSqlSafe(sql)).bind(id).fetch_optional(conn).await.map_err(refused)?;
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
        let Some((_, kind)) = table.fields.iter().find(|(name, _)| name == field) else {
            return Err(StoreError::Damaged(format!("register {register} has no field {field}")));
        };
        let shown = super::lookup::column(field, *kind);
        let sql = format!(
            "{} where position($1 in ({shown})::text) > 0 order by _id limit $2",
            select_view(&table, register)
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(text)
            .bind(limit)
            .fetch_all(self.link.get().await?)
            .await
            .map_err(refused)?;
        rows.iter().map(|row| entity_view(row, &table)).collect()
    }

    pub(super) async fn history_of(&mut self, register: &str, entity: EntityId) -> Result<Vec<HistoryView>> {
        let table = self.table(register)?.clone();
        let sql = format!(
            "select _version, {}, {}, _ended_by{} from {} where _id = $1 order by _version desc",
            micros("_since"),
            micros("_until"),
            columns(&table),
            in_registers(&format!("{register}_history"))
        );
        let rows =
            sqlx::query(AssertSqlSafe(sql)).bind(entity).fetch_all(self.link.get().await?).await.map_err(refused)?;
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
        let conn = self.link.get().await?;
        let mut views = Vec::new();
        for (_, claim) in claims {
            let row = sqlx::query(
                "select s.system, s.dataset, coalesce(f.name, ''), coalesce(r.definitions, '') from stream s \
                 left join file f on f.id = $2 left join run r on r.id = $3 where s.id = $1",
            )
            .bind(claim.stream)
            .bind(claim.origin.file)
            .bind(claim.origin.run)
            .fetch_one(&mut *conn)
            .await
            .map_err(refused)?;
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
        sqlx::query_as(
            "select f.name, h.version, h.batch from feed f cross join lateral (select version, batch from holding \
             where feed = f.id and entity = $1 offset 0) h order by f.name",
        )
        .bind(entity)
        .fetch_all(self.link.get().await?)
        .await
        .map_err(refused)
    }

    pub(super) async fn claimed_after(&mut self, register: &str, after: EntityId, limit: i64) -> Result<Vec<EntityId>> {
        let live = in_registers(register);
        let sql = format!(
            "(select _id from {live} where _id > $1 order by _id limit $3) union (select distinct entity from claim \
             where entity > $1 and stream in (select id from stream where register = $2) order by entity limit $3) \
             order by 1 limit $3"
        );
        sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(after)
            .bind(register)
            .bind(limit)
            .fetch_all(self.link.get().await?)
            .await
            .map_err(refused)
    }

    pub(super) async fn all_streams(&mut self) -> Result<std::collections::HashMap<i64, (String, String, String)>> {
        let rows = sqlx::query("select id, system, dataset, register from stream")
            .fetch_all(self.link.get().await?)
            .await
            .map_err(refused)?;
        Ok(rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2), row.get(3)))).collect())
    }
}

fn select_view(table: &RegisterTable, register: &str) -> String {
    format!("select _id, _version, {}, _sources{} from {}", micros("_since"), columns(table), in_registers(register))
}

fn entity_view(row: &PgRow, table: &RegisterTable) -> Result<EntityView> {
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
