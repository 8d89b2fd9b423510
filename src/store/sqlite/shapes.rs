//! What sources offered.

use sqlx::Row as _;

use super::super::shapes::{Kept, read, seen, written};
use super::super::{OfferedColumn, Result, ShapeView};
use super::{SqliteStore, unavailable};

impl SqliteStore {
    pub(super) async fn keep_shape(
        &mut self,
        dataset: &str,
        columns: &[OfferedColumn],
        at: i64,
    ) -> Result<Vec<ShapeView>> {
        let mut known = self.list_shapes(Some(dataset)).await?;
        match seen(dataset, &known, columns, at) {
            Kept::Again(shape) => {
                sqlx::query("update shape set last = ? where dataset = ? and version = ?")
                    .bind(shape.last)
                    .bind(dataset)
                    .bind(shape.version)
                    .execute(&mut self.conn)
                    .await
                    .map_err(unavailable)?;
                known[0] = shape;
            }
            Kept::New(shape) => {
                sqlx::query(
                    "insert into shape (dataset, version, columns, since, last, approved, why) values (?, ?, ?, ?, ?, ?, ?)",
                )
                .bind(dataset)
                .bind(shape.version)
                .bind(written(columns)?)
                .bind(shape.since)
                .bind(shape.last)
                .bind(shape.approved)
                .bind(shape.why.as_deref())
                .execute(&mut self.conn)
                .await
                .map_err(unavailable)?;
                known.insert(0, shape);
            }
        }
        Ok(known)
    }

    pub(super) async fn list_shapes(&mut self, dataset: Option<&str>) -> Result<Vec<ShapeView>> {
        let rows = sqlx::query(
            "select dataset, version, columns, since, last, used, approved, why from shape \
             where ?1 is null or dataset = ?1 order by dataset, version desc",
        )
        .bind(dataset)
        .fetch_all(&mut self.conn)
        .await
        .map_err(unavailable)?;
        let view = |row: &sqlx::sqlite::SqliteRow| {
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
        let sql = "update shape set used = 1 where dataset = ? and version = ? and used = 0";
        sqlx::query(sql).bind(dataset).bind(version).execute(&mut self.conn).await.map(|_| ()).map_err(unavailable)
    }

    pub(super) async fn mark_shape_approved(
        &mut self,
        dataset: &str,
        version: i64,
        why: &str,
        at: i64,
    ) -> Result<bool> {
        let sql = "update shape set approved = ?, why = ? where dataset = ? and version = ?";
        let done = sqlx::query(sql).bind(at).bind(why).bind(dataset).bind(version).execute(&mut self.conn).await;
        Ok(done.map_err(unavailable)?.rows_affected() > 0)
    }
}
