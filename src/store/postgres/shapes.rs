//! What sources offered.

use sqlx::Row as _;

use super::super::shapes::{Kept, read, seen, written};
use super::super::{OfferedColumn, Result, ShapeView};
use super::PostgresStore;
use super::connect::refused;

impl PostgresStore {
    pub(super) async fn keep_shape(
        &mut self,
        dataset: &str,
        columns: &[OfferedColumn],
        at: i64,
    ) -> Result<Vec<ShapeView>> {
        let mut known = self.list_shapes(Some(dataset)).await?;
        match seen(dataset, &known, columns, at) {
            Kept::Again(shape) => {
                sqlx::query("update shape set last = $1 where dataset = $2 and version = $3")
                    .bind(shape.last)
                    .bind(dataset)
                    .bind(shape.version)
                    .execute(self.link.get().await?)
                    .await
                    .map_err(refused)?;
                known[0] = shape;
            }
            Kept::New(shape) => {
                sqlx::query(
                    "insert into shape (dataset, version, columns, since, last, approved, why) values ($1, $2, $3, $4, $5, $6, $7)",
                )
                .bind(dataset)
                .bind(shape.version)
                .bind(written(columns)?)
                .bind(shape.since)
                .bind(shape.last)
                .bind(shape.approved)
                .bind(shape.why.as_deref())
                .execute(self.link.get().await?)
                .await
                .map_err(refused)?;
                known.insert(0, shape);
            }
        }
        Ok(known)
    }

    pub(super) async fn list_shapes(&mut self, dataset: Option<&str>) -> Result<Vec<ShapeView>> {
        let rows = sqlx::query(
            "select dataset, version, columns, since, last, used, approved, why from shape \
             where $1::text is null or dataset = $1 order by dataset, version desc",
        )
        .bind(dataset)
        .fetch_all(self.link.get().await?)
        .await
        .map_err(refused)?;
        let view = |row: &sqlx::postgres::PgRow| {
            Ok(ShapeView {
                dataset: row.get(0),
                version: row.get(1),
                columns: read(row.get(2))?,
                since: row.get(3),
                last: row.get(4),
                used: row.get(5),
                approved: row.get(6),
                why: row.get(7),
            })
        };
        rows.iter().map(view).collect()
    }

    pub(super) async fn mark_shape_used(&mut self, dataset: &str, version: i64) -> Result<()> {
        let sql = "update shape set used = true where dataset = $1 and version = $2 and not used";
        sqlx::query(sql).bind(dataset).bind(version).execute(self.link.get().await?).await.map(|_| ()).map_err(refused)
    }

    pub(super) async fn mark_shape_approved(
        &mut self,
        dataset: &str,
        version: i64,
        why: &str,
        at: i64,
    ) -> Result<bool> {
        let sql = "update shape set approved = $1, why = $2 where dataset = $3 and version = $4";
        let done =
            sqlx::query(sql).bind(at).bind(why).bind(dataset).bind(version).execute(self.link.get().await?).await;
        Ok(done.map_err(refused)?.rows_affected() > 0)
    }
}
