//! Notes about encryption at rest.

use sqlx::AssertSqlSafe;

use super::super::Result;
use super::PostgresStore;
use super::connect::refused;

impl PostgresStore {
    pub(super) async fn noted_at_rest(&mut self) -> Result<Vec<(String, String)>> {
        let sql = "select name, note from at_rest order by name";
        sqlx::query_as(sql).fetch_all(self.link.get().await?).await.map_err(refused)
    }

    pub(super) async fn keep_at_rest(&mut self, notes: &[(String, String)], replace: bool) -> Result<()> {
        let (names, texts): (Vec<&str>, Vec<&str>) =
            notes.iter().map(|(name, note)| (name.as_str(), note.as_str())).unzip();
        let kept = if replace { "update set note = excluded.note" } else { "nothing" };
        let sql = format!(
            "insert into at_rest (name, note) select * from unnest($1::text[], $2::text[]) on conflict (name) do {kept}"
        );
        let insert = sqlx::query(AssertSqlSafe(sql)).bind(names).bind(texts);
        insert.execute(self.link.get().await?).await.map(|_| ()).map_err(refused)
    }
}
