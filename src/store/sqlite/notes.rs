//! Notes about encryption at rest.

use super::super::Result;
use super::{SqliteStore, unavailable};

impl SqliteStore {
    pub(super) async fn noted_at_rest(&mut self) -> Result<Vec<(String, String)>> {
        let sql = "select name, note from at_rest order by name";
        sqlx::query_as(sql).fetch_all(&mut self.conn).await.map_err(unavailable)
    }

    pub(super) async fn keep_at_rest(&mut self, notes: &[(String, String)], replace: bool) -> Result<()> {
        let sql = if replace {
            "insert into at_rest (name, note) values (?, ?) on conflict do update set note = excluded.note"
        } else {
            "insert into at_rest (name, note) values (?, ?) on conflict do nothing"
        };
        super::commit::begin(&mut self.conn).await?;
        let written = async {
            for (name, note) in notes {
                let kept = sqlx::query(sql).bind(name).bind(note).execute(&mut self.conn).await;
                kept.map_err(unavailable)?;
            }
            Ok(())
        }
        .await;
        super::commit::finish(&mut self.conn, written).await
    }
}
