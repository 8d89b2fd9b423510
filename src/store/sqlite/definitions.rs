//! What was run with, and what is stored of registers.

use sqlx::{Row as _, SqliteConnection};

use super::super::definitions::{change, claims_made};
use super::super::table::RegisterTable;
use super::super::{ClaimsMade, Definition, Result, Surveyed, Versions, WorkedWith};
use super::audit::append;
use super::bulk::json_texts;
use super::schema::declared;
use super::{SqliteStore, unavailable};
use crate::config::Register;
use crate::linking::StreamId;

impl SqliteStore {
    pub(super) async fn keep_definitions(&mut self, with: &WorkedWith) -> Result<()> {
        let known = self.list_definitions(Some(&with.owner)).await?;
        let listed = known.iter().map(|definition| (&definition.path, &definition.digest));
        if listed.eq(with.files.iter().map(|(path, (digest, _))| (path, digest))) {
            return Ok(());
        }
        super::commit::begin(&mut self.conn).await?;
        let written = match super::leases::check(&mut self.conn, self.fence.as_ref()).await {
            Ok(()) => replace(&mut self.conn, with).await,
            Err(fenced) => Err(fenced),
        };
        let written = match written {
            Ok(()) => append(&mut self.conn, self.audited_by, &[change(&known, with)]).await,
            Err(error) => Err(error),
        };
        super::commit::finish(&mut self.conn, written).await
    }

    pub(super) async fn list_definitions(&mut self, owner: Option<&str>) -> Result<Vec<Definition>> {
        let rows = sqlx::query(
            "select d.owner, d.path, d.digest, t.text, d.since from definition d \
             join definition_text t on t.digest = d.digest where ?1 is null or d.owner = ?1 order by d.owner, d.path",
        )
        .bind(owner)
        .fetch_all(&mut self.conn)
        .await
        .map_err(unavailable)?;
        let view = |row: &sqlx::sqlite::SqliteRow| Definition {
            owner: row.get(0),
            path: row.get(1),
            digest: row.get(2),
            text: row.get(3),
            since: row.get(4),
        };
        Ok(rows.iter().map(view).collect())
    }

    pub(super) async fn keep_versions(&mut self, run: i64, versions: Versions<'_>) -> Result<()> {
        for (stream, mapping) in versions {
            sqlx::query("insert into run_mapping (run, stream, mapping) values (?, ?, ?) on conflict do nothing")
                .bind(run)
                .bind(stream)
                .bind(mapping)
                .execute(&mut self.conn)
                .await
                .map_err(unavailable)?;
        }
        Ok(())
    }

    pub(super) async fn count_claims_made(&mut self, stream: StreamId) -> Result<Vec<ClaimsMade>> {
        let counted = sqlx::query(
            "select run, count(*), min(updated), max(updated) from claim where stream = ? group by run order by run",
        )
        .bind(stream)
        .fetch_all(&mut self.conn)
        .await
        .map_err(unavailable)?;
        let used = sqlx::query("select run, mapping from run_mapping where stream = ?")
            .bind(stream)
            .fetch_all(&mut self.conn)
            .await
            .map_err(unavailable)?;
        let counted =
            counted.iter().map(|row| (row.get(0), row.get::<i64, _>(1).unsigned_abs(), row.get(2), row.get(3)));
        Ok(claims_made(counted.collect(), used.iter().map(|row| (row.get(0), row.get(1)))))
    }

    pub(super) async fn survey_all(&mut self, registers: &[&Register]) -> Result<Vec<Surveyed>> {
        let mut all = Vec::new();
        for register in registers {
            let rows = sqlx::query(
                "select f.name, f.kind, f.id from register_field f join register r on r.id = f.register \
                 where r.name = ? order by f.id",
            )
            .bind(&register.name)
            .fetch_all(&mut self.conn)
            .await
            .map_err(unavailable)?;
            let existing: Vec<_> = rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
            let (table, surveyed) = RegisterTable::surveyed(register, &existing, declared);
            self.registers.insert(register.name.clone(), table);
            all.push(surveyed);
        }
        Ok(all)
    }
}

async fn replace(conn: &mut SqliteConnection, with: &WorkedWith) -> Result<()> {
    for (path, (digest, text)) in &with.files {
        sqlx::query("insert into definition_text (digest, text) values (?, ?) on conflict do nothing")
            .bind(digest)
            .bind(text)
            .execute(&mut *conn)
            .await
            .map_err(unavailable)?;
        sqlx::query(
            "insert into definition (owner, path, digest, since) values (?, ?, ?, ?) on conflict (owner, path) do update \
             set digest = excluded.digest, since = excluded.since where definition.digest <> excluded.digest",
        )
        .bind(&with.owner)
        .bind(path)
        .bind(digest)
        .bind(with.at)
        .execute(&mut *conn)
        .await
        .map_err(unavailable)?;
    }
    sqlx::query("delete from definition where owner = ? and path not in (select value from json_each(?))")
        .bind(&with.owner)
        .bind(json_texts(with.files.keys().map(String::as_str)))
        .execute(conn)
        .await
        .map(|_| ())
        .map_err(unavailable)
}
