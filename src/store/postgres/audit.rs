//! The audit log: asked, and its checkpoints.

use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use super::super::audit::chained;
use super::super::{AuditFilter, Note, Result};
use super::PostgresStore;
use super::connect::refused;
use super::schema::{begin, finish};
use crate::audit::{Entry, SignedCheckpoint};
use crate::crypto::DigestAlgorithm;

/// Appends entries at the end of a transaction, each with the digest of the one before it. From here to the commit nobody else
/// appends, so this comes last.
pub(super) async fn append(conn: &mut PgConnection, algorithm: DigestAlgorithm, notes: &[Note]) -> Result<()> {
    if notes.is_empty() {
        return Ok(());
    }
    sqlx::query("select pg_advisory_xact_lock(7414)").execute(&mut *conn).await.map_err(refused)?;
    let previous: Option<String> = sqlx::query_scalar("select digest from audit order by id desc limit 1")
        .fetch_optional(&mut *conn)
        .await
        .map_err(refused)?;
    let (previous, digests): (Vec<String>, Vec<String>) = chained(algorithm, previous, notes).into_iter().unzip();
    sqlx::query(
        "insert into audit (at, action, detail, previous, digest) select at, action, detail, previous, digest \
         from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[]) with ordinality \
         e(at, action, detail, previous, digest, n) order by n",
    )
    .bind(notes.iter().map(|note| note.at).collect::<Vec<i64>>())
    .bind(notes.iter().map(|note| &*note.action).collect::<Vec<&str>>())
    .bind(notes.iter().map(|note| note.detail.as_str()).collect::<Vec<&str>>())
    .bind(previous)
    .bind(digests)
    .execute(conn)
    .await
    .map(|_| ())
    .map_err(refused)
}

impl PostgresStore {
    pub(super) async fn append_audit(&mut self, notes: &[Note]) -> Result<()> {
        let algorithm = self.audited_by;
        let conn = self.link.get().await?;
        begin(conn).await?;
        let written = append(conn, algorithm, notes).await;
        finish(conn, written).await
    }

    pub(super) async fn drop_audit(&mut self, through: i64, note: Note) -> Result<u64> {
        let algorithm = self.audited_by;
        let conn = self.link.get().await?;
        begin(conn).await?;
        let gone = async {
            let sql = "delete from audit where id <= $1";
            let gone = sqlx::query(sql).bind(through).execute(&mut *conn).await.map_err(refused)?.rows_affected();
            append(conn, algorithm, &[note]).await.map(|()| gone)
        }
        .await;
        finish(conn, gone).await
    }

    pub(super) async fn list_audit(&mut self, filter: &AuditFilter) -> Result<Vec<Entry>> {
        let sql = format!(
            "select id, at, action, detail, previous, digest from audit where id > coalesce($1, 0) \
             and ($2::bigint is null or at >= $2) and ($3::bigint is null or at < $3) \
             and ($4::text is null or action = $4 or action like $4 || '.%') \
             and ($5::text is null or position($5 in detail) > 0) order by id {} limit $6",
            filter.direction()
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(filter.after)
            .bind(filter.from)
            .bind(filter.until)
            .bind(filter.action.as_deref())
            .bind(filter.text.as_deref())
            .bind(filter.limit)
            .fetch_all(self.link.get().await?)
            .await
            .map_err(refused)?;
        let entry = |row: &sqlx::postgres::PgRow| Entry {
            id: row.get(0),
            at: row.get(1),
            action: row.get(2),
            detail: row.get(3),
            previous: row.get(4),
            digest: row.get(5),
        };
        Ok(rows.iter().map(entry).collect())
    }

    pub(super) async fn audit_behind(&mut self, id: i64) -> Result<Option<(u64, i64, String)>> {
        let row = sqlx::query(
            "select (select count(*) from audit where id > $1), id, digest from audit where id > $1 order by id desc limit 1",
        )
        .bind(id)
        .fetch_optional(self.link.get().await?)
        .await
        .map_err(refused)?;
        Ok(row.map(|row| (row.get::<i64, _>(0).unsigned_abs(), row.get(1), row.get(2))))
    }

    pub(super) async fn list_checkpoints(&mut self) -> Result<Vec<SignedCheckpoint>> {
        let rows = sqlx::query("select body, signature from audit_checkpoint order by through")
            .fetch_all(self.link.get().await?)
            .await
            .map_err(refused)?;
        Ok(rows.iter().map(|row| SignedCheckpoint { body: row.get(0), signature: row.get(1) }).collect())
    }

    pub(super) async fn keep_checkpoint(
        &mut self,
        (before, through): (Option<i64>, i64),
        signed: &SignedCheckpoint,
    ) -> Result<bool> {
        let conn = self.link.get().await?;
        begin(conn).await?;
        let kept = async {
            // As whoever appends: of two at the same time one comes second, and sees the first.
            sqlx::query("select pg_advisory_xact_lock(7414)").execute(&mut *conn).await.map_err(refused)?;
            sqlx::query(
                "insert into audit_checkpoint (through, body, signature) \
                 select $1, $2, $3 where (select max(through) from audit_checkpoint) is not distinct from $4",
            )
            .bind(through)
            .bind(&signed.body)
            .bind(&signed.signature)
            .bind(before)
            .execute(&mut *conn)
            .await
            .map(|done| done.rows_affected() > 0)
            .map_err(refused)
        }
        .await;
        finish(conn, kept).await
    }
}
