//! What was run with, and what is stored of registers.

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};

use super::super::definitions::{change, claims_made};
use super::super::table::RegisterTable;
use super::super::{ClaimsMade, Definition, Result, Surveyed, Versions, WorkedWith};
use super::PostgresStore;
use super::audit::append;
use super::connect::refused;
use super::schema::{begin, declared, finish};
use crate::config::Register;
use crate::linking::StreamId;

impl PostgresStore {
    pub(super) async fn keep_definitions(&mut self, with: &WorkedWith) -> Result<()> {
        let known = self.list_definitions(Some(&with.owner)).await?;
        let listed = known.iter().map(|definition| (&definition.path, &definition.digest));
        if listed.eq(with.files.iter().map(|(path, (digest, _))| (path, digest))) {
            return Ok(());
        }
        let (fence, algorithm) = (self.fence.as_ref(), self.audited_by);
        let conn = self.link.get().await?;
        begin(conn).await?;
        let written = match super::leases::check(conn, fence).await {
            Ok(()) => replace(conn, with).await,
            Err(fenced) => Err(fenced),
        };
        let written = match written {
            Ok(()) => append(conn, algorithm, &[change(&known, with)]).await,
            Err(error) => Err(error),
        };
        finish(conn, written).await
    }

    pub(super) async fn list_definitions(&mut self, owner: Option<&str>) -> Result<Vec<Definition>> {
        let rows = sqlx::query(
            "select d.owner, d.path, d.digest, t.text, d.since from definition d \
             join definition_text t on t.digest = d.digest where $1::text is null or d.owner = $1 order by d.owner, d.path",
        )
        .bind(owner)
        .fetch_all(self.link.get().await?)
        .await
        .map_err(refused)?;
        let view = |row: &PgRow| Definition {
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
            sqlx::query("insert into run_mapping (run, stream, mapping) values ($1, $2, $3) on conflict do nothing")
                .bind(run)
                .bind(stream)
                .bind(mapping)
                .execute(self.link.get().await?)
                .await
                .map_err(refused)?;
        }
        Ok(())
    }

    pub(super) async fn count_claims_made(&mut self, stream: StreamId) -> Result<Vec<ClaimsMade>> {
        let counted = sqlx::query(
            "select run, count(*), min(updated), max(updated) from claim where stream = $1 group by run order by run",
        )
        .bind(stream)
        .fetch_all(self.link.get().await?)
        .await
        .map_err(refused)?;
        let used = sqlx::query("select run, mapping from run_mapping where stream = $1")
            .bind(stream)
            .fetch_all(self.link.get().await?)
            .await
            .map_err(refused)?;
        let counted =
            counted.iter().map(|row| (row.get(0), row.get::<i64, _>(1).unsigned_abs(), row.get(2), row.get(3)));
        Ok(claims_made(counted.collect(), used.iter().map(|row| (row.get(0), row.get(1)))))
    }

    pub(super) async fn noted_of_all(&mut self, name: &str, value: &str) -> Result<String> {
        super::schema::noted_once(self.link.get().await?, name, value).await
    }

    pub(super) async fn survey_all(&mut self, registers: &[&Register]) -> Result<Vec<Surveyed>> {
        let mut all = Vec::new();
        for register in registers {
            let rows = sqlx::query(
                "select f.name, f.kind, f.id from register_field f join register r on r.id = f.register \
                 where r.name = $1 order by f.id",
            )
            .bind(&register.name)
            .fetch_all(self.link.get().await?)
            .await
            .map_err(refused)?;
            let existing: Vec<_> = rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
            let (table, surveyed) = RegisterTable::surveyed(register, &existing, declared);
            self.registers.insert(register.name.clone(), table);
            all.push(surveyed);
        }
        Ok(all)
    }
}

async fn replace(conn: &mut PgConnection, with: &WorkedWith) -> Result<()> {
    for (path, (digest, text)) in &with.files {
        sqlx::query("insert into definition_text (digest, text) values ($1, $2) on conflict do nothing")
            .bind(digest)
            .bind(text)
            .execute(&mut *conn)
            .await
            .map_err(refused)?;
        sqlx::query(
            "insert into definition as d (owner, path, digest, since) values ($1, $2, $3, $4) on conflict (owner, path) do update \
             set digest = excluded.digest, since = excluded.since where d.digest <> excluded.digest",
        )
        .bind(&with.owner)
        .bind(path)
        .bind(digest)
        .bind(with.at)
        .execute(&mut *conn)
        .await
        .map_err(refused)?;
    }
    sqlx::query("delete from definition where owner = $1 and path <> all($2)")
        .bind(&with.owner)
        .bind(with.files.keys().cloned().collect::<Vec<String>>())
        .execute(conn)
        .await
        .map(|_| ())
        .map_err(refused)
}
