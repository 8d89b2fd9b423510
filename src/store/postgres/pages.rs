//! Pages of register rows, as columns.

use arrow::datatypes::DataType;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row as _};

use super::super::columns::{ColumnBuilder, PageBuilder};
use super::super::{Result, Snapshot, StoreError};
use super::PostgresStore;
use super::connect::refused;
use super::lookup::column;
use super::schema::in_registers;
use crate::linking::EntityId;
use crate::record::{FieldType, decimal_from_text};

impl PostgresStore {
    pub(super) async fn changed_after(
        &mut self,
        (register, fields): (&str, &[&str]),
        (after, through): (i64, i64),
        from_entity: EntityId,
        limit: i64,
    ) -> Result<Snapshot> {
        let change = in_registers(&format!("{register}_change"));
        let sql = format!(
            "select distinct entity from {change} where seq > $1 and seq <= $2 and entity > $3 order by entity limit $4"
        );
        let builder = PageBuilder::new(self.table(register)?, fields);
        let conn = self.link.get().await?;
        let entities: Vec<EntityId> = sqlx::query_scalar(AssertSqlSafe(sql))
            .bind(after)
            .bind(through)
            .bind(from_entity)
            .bind(limit)
            .fetch_all(&mut *conn)
            .await
            .map_err(refused)?;
        let sql = builder.select_rows(register, "_id = any($1) order by _id");
        let rows = sqlx::query(AssertSqlSafe(sql)).bind(&entities).fetch_all(conn).await.map_err(refused)?;
        let builder = builder.read_rows(&rows)?;
        let gone = entities.iter().copied().filter(|id| builder.ids.binary_search(id).is_err()).collect();
        builder.finish(gone, entities.last().copied())
    }
}

/// A page that PostgreSQL sends as rows.
impl PageBuilder {
    pub(super) fn select_rows(&self, register: &str, which: &str) -> String {
        let cell = |field: &std::sync::Arc<arrow::datatypes::Field>| {
            let kind = match field.data_type() {
                DataType::Decimal128(..) => FieldType::Decimal,
                DataType::Date32 => FieldType::Date,
                DataType::Timestamp(..) => FieldType::Timestamp,
                _ => FieldType::Text,
            };
            format!(", {}", column(field.name(), kind))
        };
        let cells: String = self.schema.fields().iter().map(cell).collect();
        format!("select _id, _version{cells} from {} where {which}", in_registers(register))
    }

    pub(super) fn read_rows(mut self, rows: &[PgRow]) -> Result<Self> {
        for row in rows {
            self.ids.push(row.get(0));
            self.versions.push(row.get(1));
            for (i, column) in self.columns.iter_mut().enumerate() {
                column.read(row, i + 2).map_err(|error| StoreError::Damaged(error.to_string()))?;
            }
        }
        Ok(self)
    }
}

impl ColumnBuilder {
    fn read(&mut self, row: &PgRow, i: usize) -> std::result::Result<(), sqlx::Error> {
        match self {
            Self::Text(builder) => builder.append_option(row.try_get::<Option<&str>, _>(i)?),
            Self::Integer(builder) => builder.append_option(row.try_get::<Option<i64>, _>(i)?),
            Self::Timestamp(builder) => builder.append_option(row.try_get::<Option<i64>, _>(i)?),
            Self::Date(builder) => builder.append_option(row.try_get::<Option<i32>, _>(i)?),
            Self::Boolean(builder) => builder.append_option(row.try_get::<Option<bool>, _>(i)?),
            Self::Decimal(builder) => match row.try_get::<Option<&str>, _>(i)? {
                None => builder.append_null(),
                Some(digits) => builder.append_value(
                    decimal_from_text(digits).ok_or_else(|| sqlx::Error::Decode("not a decimal".into()))?,
                ),
            },
        }
        Ok(())
    }
}
